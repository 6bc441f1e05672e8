"""Figures as PNG. matplotlib is imported when the first one is drawn, and never opens a window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from echoq_models.files import replacing
from echoq_models.metrics.gcnr import MedianCI

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {
    "original": "#8c8c8c",
    "hazed": "#8c8c8c",
    "bm3d": "#b07aa1",
    "fast": "#4e79a7",
    "unet": "#e8892b",
    "pairs": "#17a2a8",
    "oracle": "#59a14f",
    "clean": "#9c755f",
}
INK = "#333333"
DOTS_PER_INCH = 140


@contextmanager
def sheet(path: Path, rows: int, columns: int, size: tuple[float, float], **grid: Any) -> Iterator[NDArray[Any]]:
    """Axes (rows, columns) of a figure of `size` inches, saved whole as PNG under `path` when the block ends."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    look: Any = {
        "font.size": 9,
        "axes.titlesize": 9.5,
        "axes.edgecolor": "#999999",
        "axes.labelcolor": INK,
        "text.color": INK,
        "xtick.color": INK,
        "ytick.color": INK,
    }
    with rc_context(look):
        figure = Figure(figsize=size, layout="constrained")
        yield figure.subplots(rows, columns, squeeze=False, **grid)
        with replacing(path) as new:
            figure.savefig(new, format="png", dpi=DOTS_PER_INCH, facecolor="white")


def notched_boxes(
    ax: Axes, values: Mapping[str, NDArray[np.float64] | Sequence[float]], intervals: Mapping[str, MedianCI]
) -> None:
    """One notched box for each method: values by name; a notch is the interval of the median (`median_ci`)."""
    names = list(values)
    drawn = ax.boxplot(
        [values[name] for name in names],
        notch=True,
        usermedians=[intervals[name].median for name in names],
        conf_intervals=[[intervals[name].low, intervals[name].high] for name in names],
        tick_labels=names,
        patch_artist=True,
        widths=0.62,
        flierprops={"marker": ".", "markersize": 3, "markerfacecolor": "#aaaaaa", "markeredgecolor": "none"},
        medianprops={"color": INK, "linewidth": 1.4},
        whiskerprops={"color": "#888888"},
        capprops={"color": "#888888"},
    )
    for box, name in zip(drawn["boxes"], names, strict=True):
        box.set(facecolor=colour_of(name), alpha=0.75, edgecolor="#666666", linewidth=0.8)
    ax.tick_params(axis="x", rotation=35)
    ax.grid(axis="y", color="#e4e4e4", linewidth=0.6)
    ax.set_axisbelow(True)


def colour_of(method: str) -> str:
    """The colour of a method, the same in every figure."""
    return COLOURS.get(method, "#76b7b2")
