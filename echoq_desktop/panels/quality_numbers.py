"""Figures of the current loop's panes, frame by frame: measured a few milliseconds at a time, kept until they age."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, QRunnable, QThreadPool, QTimer, Signal

from echoq_models.errors import RegionError
from echoq_models.metrics.contrast import cnr, contrast
from echoq_models.metrics.gcnr import MedianCI, histograms, median_ci, overlap_gcnr

if TYPE_CHECKING:
    from echoq_desktop.session import Session

ORIGINAL = "original"
_VERSIONS = count()  # no two series share one, also not those of two loops


@dataclass(frozen=True)
class Pace:
    """How the whole loop is measured without anybody noticing."""

    settle_ms: int = 150  # after the last change of a region, before the curve is measured again
    slice_ms: float = 4.0  # work in one go
    pause_ms: int = 8  # between two goes: the window's turn


class FrameNumbers(NamedTuple):
    """gCNR (0-1), contrast (grey levels) and CNR of one frame, as `echoq_models.metrics` defines them."""

    gcnr: float
    contrast: float
    cnr: float


@dataclass(frozen=True)
class Cut:
    """Both masks of a frame, cut to the box around them: what lies outside cannot change a figure.

    box: rows and columns of the frame.  lv, myocardium: bool masks of that box.  pixels: of lv and myocardium.
    """

    box: tuple[slice, slice]
    lv: NDArray[np.bool_]
    myocardium: NDArray[np.bool_]
    pixels: tuple[int, int]

    def numbers(self, frame: NDArray[np.uint8]) -> FrameNumbers:
        """All figures of one frame, uint8 (H, W)."""
        part = np.ascontiguousarray(frame[self.box])
        masks = self.lv, self.myocardium
        return FrameNumbers(overlap_gcnr(*histograms(part, *masks)), contrast(part, *masks), cnr(part, *masks))

    def histograms(self, frame: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Shares of the 256 grey levels in LV and myocardium, float64 (256,) each, summing to 1."""
        return histograms(np.ascontiguousarray(frame[self.box]), self.lv, self.myocardium)


def cut_of(lv: NDArray[np.bool_], myocardium: NDArray[np.bool_]) -> Cut:
    """The cut of two masks bool (H, W), neither of them empty."""
    both = lv | myocardium
    rows, columns = np.flatnonzero(both.any(axis=1)), np.flatnonzero(both.any(axis=0))
    box = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    return Cut(box, lv[box], myocardium[box], (int(lv.sum()), int(myocardium.sum())))


@dataclass
class Series:
    """One pane over the loop: values (T, 3) of FrameNumbers, NaN where none; fresh (T,): still true.

    median: only once every frame is measured; a part of a beat would be compared with a whole one.
    """

    values: NDArray[np.float64]
    fresh: NDArray[np.bool_]
    median: MedianCI | None = None
    asked: bool = False  # whether the median is on its way
    version: int = field(default_factory=lambda: next(_VERSIONS))  # a median of another version is thrown away

    def drop(self, frames: list[int] | None = None) -> None:
        """Forget that these frames (or all) are up to date."""
        self.version = next(_VERSIONS)
        self.median, self.asked = None, False
        self.fresh[... if frames is None else frames] = False


class _Relay(QObject):
    """Brings a median home; it outlives the panel while a thread still holds it."""

    median = Signal(str, int, object)  # pane, version, MedianCI


class _Bootstrap(QRunnable):
    """The median's confidence interval, in a thread: NumPy lets go of the interpreter while it sorts."""

    def __init__(self, relay: _Relay, key: tuple[str, int], values: NDArray[np.float64]) -> None:
        super().__init__()
        self._relay, self._key, self._values = relay, key, values

    def run(self) -> None:
        self._relay.median.emit(*self._key, median_ci(self._values))


@dataclass
class _State:
    series: dict[str, Series] = field(default_factory=dict)
    cuts: dict[int, Cut] = field(default_factory=dict)


class LoopNumbers(QObject):
    """Measures every pane of the session's current loop in the background, from the playhead outward."""

    changed = Signal()  # some values are new, or the work stopped

    def __init__(self, session: Session, parent: QObject | None = None, pace: Pace | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._pace = pace or Pace()
        self._state = _State()
        self._pool = QThreadPool(self)
        self._pool.setMaxThreadCount(1)
        self._pool.setStackSize(8 * 2**20)  # macOS gives 512 KiB, too little for BLAS
        self._settle = QTimer(self, singleShot=True, interval=self._pace.settle_ms)
        self._work = QTimer(self, singleShot=True, interval=self._pace.pause_ms)
        self._settle.timeout.connect(self._work.start)
        self._work.timeout.connect(self._slice)
        self._relay = _Relay()
        self._relay.median.connect(self._keep_median)
        session.current_changed.connect(self.restart)
        session.regions_changed.connect(self._on_regions)
        session.results_changed.connect(self._on_results)
        session.panes_changed.connect(self.resume)

    # what is known

    @property
    def panes(self) -> list[str]:
        """What is measured: the panes shown, and always the original to compare with."""
        shown = self._session.shown_panes
        return shown if ORIGINAL in shown else [ORIGINAL, *shown]

    @property
    def busy(self) -> bool:
        """Whether measuring goes on or is about to."""
        return self._settle.isActive() or self._work.isActive()

    def series(self, pane: str) -> Series | None:
        """What is known of a pane over the loop, None while nothing is."""
        return self._state.series.get(pane)

    def cut(self, t: int) -> Cut | None:
        """Both regions of frame `t`; None while nothing can be measured. Raises RegionError that says why."""
        opened = self._session.current
        regions = self._session.regions
        if opened is None or not regions:
            return None
        shown = regions.at(t)
        if not (shown.lv and shown.myocardium):
            return None
        key = regions.key(t)
        if key not in self._state.cuts:
            regions.check(opened.loop.size)
            self._state.cuts[key] = cut_of(*regions.masks(opened.loop.size, t))
        return self._state.cuts[key]

    def at(self, pane: str, t: int) -> FrameNumbers | None:
        """Figures of one frame, measured now unless they are known; None while its frame or a region is missing.

        Raises RegionError.
        """
        cut = self.cut(t)
        series = self._series(pane)
        if cut is None or series is None:
            return None
        if not series.fresh[t]:
            frame = self._session.frame_of(pane, t)
            if frame is None:
                return None
            series.values[t] = cut.numbers(frame)
            series.fresh[t] = True
        return FrameNumbers(*series.values[t].tolist())

    # the work

    def restart(self, *_: object) -> None:
        """Forget everything and measure again: another loop is shown."""
        self._state = _State()
        self._settle.stop()
        self.resume()
        self.changed.emit()

    def resume(self) -> None:
        """Go on with what is missing, unless a region was moved a moment ago."""
        if self._session.current is not None and not self._settle.isActive() and not self._work.isActive():
            self._work.start()

    def stop(self) -> None:
        """Stop measuring; `resume` goes on. Waits for nothing longer than one median."""
        self._settle.stop()
        self._work.stop()

    def _on_regions(self) -> None:
        self._state.cuts.clear()
        for series in self._state.series.values():
            series.drop()
        self._work.stop()
        self._settle.start()

    def _on_results(self, method: str, frames: list[int]) -> None:
        series = self._state.series.get(method)
        if series is not None and not frames:  # computed anew, with other settings
            series.drop()
            series.values[:] = np.nan
        elif series is not None and series.fresh[frames].any():
            series.drop(frames)
        self.resume()

    def _series(self, pane: str) -> Series | None:
        opened = self._session.current
        if opened is None:
            return None
        if pane not in self._state.series:
            frames = len(opened.loop)
            self._state.series[pane] = Series(np.full((frames, 3), np.nan), np.zeros(frames, dtype=bool))
        return self._state.series[pane]

    def _slice(self) -> None:
        """A few milliseconds of work; starts its timer again while some is left."""
        until = time.perf_counter() + self._pace.slice_ms / 1000
        done = 0
        try:
            for pane, t in self._missing():
                self.at(pane, t)
                done += 1
                if time.perf_counter() > until:
                    break
        except RegionError:  # the panel says it in words
            self.changed.emit()
            return
        self._ask_medians()
        if done:
            self._work.start()
            self.changed.emit()

    def _missing(self) -> Iterator[tuple[str, int]]:
        """Pane and frame of what can be measured and is not yet, nearest to the playhead first."""
        opened = self._session.current
        if opened is None or self.cut(self._session.frame) is None:
            return
        for pane in self.panes:
            series = self._series(pane)
            if series is None or series.fresh.all():
                continue
            ready = np.flatnonzero(~series.fresh & self._ready(pane))
            for t in ready[np.argsort(np.abs(ready - self._session.frame), kind="stable")].tolist():
                yield pane, t

    def _ready(self, pane: str) -> NDArray[np.bool_]:
        """Which frames of a pane there are, bool (T,)."""
        opened = self._session.current
        frames = len(opened.loop) if opened is not None else 0
        if pane == ORIGINAL:
            return np.ones(frames, dtype=bool)
        result = self._session.result(pane)
        return np.zeros(frames, dtype=bool) if result is None else np.asarray(result.done, dtype=bool)

    def _ask_medians(self) -> None:
        """Start the confidence interval of each pane whose last frame was just measured."""
        for pane, series in self._state.series.items():
            if series.fresh.all() and not series.asked:
                series.asked = True
                self._pool.start(_Bootstrap(self._relay, (pane, series.version), series.values[:, 0].copy()))

    def _keep_median(self, pane: str, version: int, median: MedianCI) -> None:
        series = self._state.series.get(pane)
        if series is not None and series.version == version:
            series.median = median
            self.changed.emit()
