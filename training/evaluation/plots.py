"""The report's figures, as PNG (see `echoq_models.figures`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from echoq_models.figures import colour_of, notched_boxes, sheet
from training.evaluation.certainty import Certainty
from training.evaluation.records import Records

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Picture = NDArray[np.uint8]  # (H, W) grey or (H, W, 3) RGB


@dataclass(frozen=True)
class Panel:
    """One panel of box plots: the figure `key` of set `part`, by method. limits: of the axis.  without: methods."""

    part: str
    key: str
    title: str
    limits: tuple[float, float] | None = None
    without: tuple[str, ...] = ()


def boxes(path: Path, records: Records, panels: Sequence[Panel], methods: Sequence[str]) -> None:
    """Notched box plots side by side; a notch is the bootstrap 95 % interval of the median."""
    with sheet(path, 1, len(panels), (3.1 * len(panels), 3.7)) as axes:
        for ax, panel in zip(axes[0], panels, strict=True):
            _box_panel(ax, records, panel, methods)


def _box_panel(ax: Axes, records: Records, panel: Panel, methods: Sequence[str]) -> None:
    shown = [m for m in methods if m not in panel.without and records.values(panel.part, m, panel.key).size]
    if not shown:
        ax.set_axis_off()
        return
    intervals = {m: ci for m in shown if (ci := records.interval(panel.part, m, panel.key)) is not None}
    notched_boxes(ax, {m: records.values(panel.part, m, panel.key) for m in intervals}, intervals)
    ax.set_title(panel.title)
    if panel.limits:
        ax.set_ylim(*panel.limits)


def strip(path: Path, rows: Sequence[Sequence[Picture]], titles: Sequence[str], labels: Sequence[str]) -> None:
    """Pictures in rows. titles: of the columns.  labels: of the rows, one or more lines each."""
    height, width = rows[0][0].shape[:2]
    inches = 1.95
    size = (inches * len(titles) + 0.3, inches * height / width * len(rows) + 0.3)
    with sheet(path, len(rows), len(titles), size) as axes:
        for line, pictures, label in zip(axes, rows, labels, strict=True):
            for ax, picture in zip(line, pictures, strict=True):
                ax.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="antialiased", aspect="auto")
                ax.set(xticks=[], yticks=[])
                for side in ax.spines.values():
                    side.set_visible(False)
            line[0].set_ylabel(label, fontsize=7.5)
        for ax, title in zip(axes[0], titles, strict=True):
            ax.set_title(title)


def marked(picture: Picture, where: NDArray[np.bool_], colour: tuple[int, int, int] = (230, 40, 40)) -> Picture:
    """A grey picture (H, W) as RGB with the pixels `where` tinted."""
    rgb = np.repeat(picture[..., None], 3, axis=2).astype(np.float64)
    rgb[where] = 0.35 * rgb[where] + 0.65 * np.array(colour)
    return rgb.round().astype(np.uint8)


def difference(before: Picture, after: Picture, times: float = 4.0) -> Picture:
    """After minus before, `times` enlarged, mid grey for no change: uint8 (H, W)."""
    change = (after.astype(np.float64) - before) * times
    return np.clip(128.0 + change, 0, 255).round().astype(np.uint8)


def outlined(picture: Picture, *masks: NDArray[np.bool_]) -> Picture:
    """A grey picture (H, W) as RGB with the outline of each mask (H, W): the first blue, the others amber."""
    rgb = np.ascontiguousarray(np.repeat(picture[..., None], 3, axis=2))
    width = max(1, round(max(picture.shape) / 256))
    for i, mask in enumerate(masks):
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(rgb, contours, -1, (90, 170, 255) if i == 0 else (255, 190, 60), width)
    return rgb


def fitted(picture: Picture, side: int = 320) -> Picture:
    """A picture shrunk or enlarged into a black square of `side` pixels."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    small = max(1, round(width * scale)), max(1, round(height * scale))
    resized = cv2.resize(picture, small, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    square = np.zeros((side, side, *picture.shape[2:]), dtype=np.uint8)
    y, x = (side - small[1]) // 2, (side - small[0]) // 2
    square[y : y + small[1], x : x + small[0]] = resized
    return square


def beat_curves(path: Path, records: Records, methods: Sequence[str], most: int = 4) -> None:
    """gCNR over the frames of the first beats, one panel each."""
    loops = list(dict.fromkeys(r.loop for r in records if r.part == "beat"))[:most]
    with sheet(path, 1, len(loops), (3.1 * len(loops) + 0.8, 2.9), sharey=True) as axes:
        for ax, loop in zip(axes[0], loops, strict=True):
            for name in methods:
                rows = [r for r in records if (r.part, r.loop, r.method) == ("beat", loop, name)]
                times, values = [r.values["time_ms"] for r in rows], [r.values["gcnr"] for r in rows]
                ax.plot(times, values, label=name, color=colour_of(name), linewidth=1.5)
            ax.set(title=f"beat {int(loop) + 1}", xlabel="ms", ylim=(0, 1.02))
            ax.grid(color="#e4e4e4", linewidth=0.6)
        axes[0][0].set_ylabel("gCNR")
        axes[0][0].figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside right center", frameon=False)


def reliability_plot(path: Path, networks: Mapping[str, Certainty]) -> None:
    """Error by confidence with its quartiles, and how many pixels have each confidence."""
    with sheet(path, 2, 1, (4.6, 4.2), sharex=True, height_ratios=[3, 1]) as axes:
        upper, lower = axes[0][0], axes[1][0]
        for i, (name, sure) in enumerate(networks.items()):
            bins, colour = sure.bins, colour_of(name)
            label = f"{name}, Spearman {sure.rank_correlation:.2f}"
            upper.plot(bins.confidence, bins.mean, "o-", color=colour, markersize=4, label=label)
            upper.fill_between(bins.confidence, bins.low, bins.high, color=colour, alpha=0.18, linewidth=0)
            width = 0.08 / len(networks)
            lower.bar(bins.confidence + (i - (len(networks) - 1) / 2) * width, bins.share, width, color=colour)
        upper.set(ylabel="error, grey levels", ylim=(0, None))
        upper.legend(frameon=False)
        lower.set(xlabel="confidence", ylabel="share of pixels", xlim=(0, 1))
        for ax in (upper, lower):
            ax.grid(color="#e4e4e4", linewidth=0.6)
            ax.set_axisbelow(True)
