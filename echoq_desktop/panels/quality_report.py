"""What the quality dock shows, as text: table cells, a table for the clipboard, per-frame CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from echoq_desktop.panels.quality_cut import FrameNumbers
from echoq_desktop.panels.quality_numbers import Series
from echoq_models.metrics.gcnr import SMALL_REGION_PIXELS, null_gcnr

ROWS = ("gCNR, frame", "gCNR, loop", "95 % CI", "Frames", "Contrast", "CNR")
ROW_TIPS = (
    "Generalised contrast-to-noise ratio of this frame: 0 when both regions have the same grey levels,\n"
    "1 when they share none (Rodriguez-Molares et al. 2020).",
    "Median of gCNR over all frames, once all are measured.",
    "95 % confidence interval of the median: moving-block bootstrap over the frames.",
    "How many frames are measured so far, of how many.",
    "Mean of the myocardium minus mean of the left ventricle in this frame, in grey levels of 255.\n"
    "It changes with the display's curve; gCNR does not.",
    "Contrast-to-noise ratio of this frame: difference of the means over the noise of both regions.\n"
    "It changes with the display's curve; gCNR does not.",
)
NOTHING = "–"
WAITING = "…"


def number(value: float, digits: int) -> str:
    """A figure for people; a dash when there is none, the sign for infinity."""
    if math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.{digits}f}".replace("-", "−")


def cells(now: FrameNumbers | None, series: Series | None, empty: str) -> list[str]:
    """The six cells of a pane's column; `empty` stands where a figure is not there (yet)."""
    frame = [empty] * 3 if now is None else [number(now.gcnr, 3), number(now.contrast, 1), number(now.cnr, 2)]
    median = interval = frames = empty
    if series is not None and series.measured.any():
        count, total = int(series.measured.sum()), len(series.fresh)
        frames = f"{total}" if count == total else f"{count}/{total}"
        if series.median is not None:
            median = number(series.median.median, 3)
            interval = NOTHING if total == 1 else f"{number(series.median.low, 2)}–{number(series.median.high, 2)}"
    return [frame[0], median, interval, frames, frame[1], frame[2]]


def table_text(titles: Sequence[str], columns: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    """The table with tabs between cells, ready to be pasted into a spreadsheet; notes follow below."""
    lines = ["\t".join(["", *titles])]
    lines += ["\t".join([name, *(column[row] for column in columns)]) for row, name in enumerate(ROWS)]
    return "\n".join([*lines, *notes]) + "\n"


def counted(left_out: int, flawed: int, overlapping: int) -> list[tuple[str, bool]]:
    """Sentences about frames that are not, or not wholly, measured, each with whether it is a warning."""
    out = []
    if left_out:
        out.append((f"{_frames_are(left_out)} left out by hand.", False))
    if flawed:
        out.append((f"{_frames_are(flawed)} left out: their regions overlap or are empty.", True))
    if overlapping:
        where = "1 frame" if overlapping == 1 else f"{overlapping} frames"
        out.append((f"Both regions cover some pixels in {where}: these count in neither.", True))
    return out


def _frames_are(count: int) -> str:
    return "1 frame is" if count == 1 else f"{count} frames are"


def loop_csv(
    times_ms: NDArray[np.float64],
    series: Mapping[str, Series | None],
    area: tuple[NDArray[np.float64] | None, str],
) -> str:
    """One line a frame: frame (from 1), time in ms, the LV's area, then gCNR, contrast in grey levels and CNR of panes.

    area: float64 (T,), None while it is not known, and its unit. A cell is empty where the value is not measured.
    """
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\r\n")  # RFC 4180
    names = [f"{kind}_{pane}" for pane in series for kind in ("gcnr", "contrast_grey", "cnr")]
    areas = np.full(len(times_ms), np.nan) if area[0] is None else area[0]
    table.writerow(["frame", "time_ms", f"lv_area_{area[1]}", *names])
    for t, time in enumerate(times_ms.tolist()):
        row = [str(t + 1), f"{time:.3f}", f"{areas[t]:.2f}" if math.isfinite(areas[t]) else ""]
        for one in series.values():
            known = one is not None and bool(one.measured[t])
            row += [f"{v:.6f}" if known and math.isfinite(v) else "" for v in _values(one, t)]
        table.writerow(row)
    return out.getvalue()


def _values(series: Series | None, t: int) -> list[float]:
    return [math.nan] * 3 if series is None else series.values[t].tolist()


@lru_cache(maxsize=64)
def small_note(lv: int, myocardium: int) -> str | None:
    """A sentence when a region is so small that chance alone lifts gCNR, else None."""
    small = [
        f"{name} {count:,} pixels"
        for name, count in (("left ventricle", lv), ("myocardium", myocardium))
        if count < SMALL_REGION_PIXELS
    ]
    if not small:
        return None
    null = null_gcnr(lv, myocardium)
    return (
        f"Small region ({' and '.join(small)}, under {SMALL_REGION_PIXELS:,}): "
        f"two regions of the same tissue would already read {null:.2f}."
    )
