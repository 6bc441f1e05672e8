"""Phantom frames beside real ones: a contact sheet to look at, grey levels, and how wide the speckle is.

All is measured on what networks see, the 256 x 256 patch around the sector. Speckle width: full width at half maximum
of the local autocorrelation of the grey levels, along the beam (down, near the middle) and across it: the median over
even windows of WINDOW pixels, after a local mean (a Gaussian of LOCAL pixels) was taken away, so that walls and
chambers do not count as speckle. That narrows coarse speckle too (5 pixels read 4.5, 10 read 8.4), in all sets alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from echoq_models import cine
from echoq_models.cine import sector
from echoq_models.cine.sector import PATCH
from echoq_models.errors import InputError, OutputError
from echoq_models.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

U8 = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

WINDOW, STEP, LAGS = 32, 16, 14  # pixels
LOCAL = 7.0  # pixels
EVEN = 0.7  # the local mean varies by at most this share of what is left: no wall or chamber fills the window
MIDDLE = 48  # pixels to either side of the patch's middle, where beams run about downwards
PER_LOOP = 6  # frames looked at of each real loop
SHOWN = 16  # of each kind, on the sheet
COLUMNS = 8
BLACK, WHITE = 5, 250  # grey levels from which on a pixel counts as crushed


@dataclass(frozen=True)
class Frames:
    """What is looked at. patches: uint8 (N, 256, 256), 0 outside the sector.  masks: bool (N, 256, 256)."""

    name: str
    patches: U8
    masks: Mask


@dataclass(frozen=True)
class Look:
    """How a set of frames looks.

    histogram: (256,) share of the sector's pixels at each grey level.  quantiles: grey at 10, 50 and 90 %.
    widths: (N, 2) axial and lateral width of the speckle in pixels, nan where a frame has no window to measure in.
    roughness: (N,) standard deviation of the grey levels within a window.
    curves: (2, LAGS + 1) mean autocorrelation along and across the beam at lags 0, 1, ...
    """

    frames: Frames
    histogram: Floats
    quantiles: Floats
    widths: Floats
    roughness: Floats
    curves: Floats


@dataclass(frozen=True)
class Comparison:
    """Real frames, phantom frames and the clean twins of these."""

    real: Look
    phantom: Look
    clean: Look

    @property
    def looks(self) -> tuple[Look, Look, Look]:
        """All three."""
        return self.real, self.phantom, self.clean


def real_frames(path: Path) -> Frames:
    """Patches of up to PER_LOOP frames of every loop at `path`. Raises InputError when there is none."""
    from echoq_models.runtime.batch import find_loops, holds_only_stills

    loops = find_loops(path) if path.is_dir() and not holds_only_stills(path) else [path]
    patches: list[U8] = []
    masks: list[Mask] = []
    for file in loops:
        loop = cine.read(file)
        found = sector.fit(loop)
        chosen = np.unique(np.linspace(0, len(loop) - 1, PER_LOOP).round().astype(int))
        patches.append(_grey(sector.patches(np.stack([loop.frames[t] for t in chosen]), found)))
        inside = sector.patches(np.where(found.mask, 255, 0).astype(np.uint8)[None], found)[:, 0] > 0.99
        masks.append(np.repeat(inside, len(chosen), axis=0))
    if not patches:
        raise InputError(f"{path}: there is no loop in this folder.")
    return Frames("real", np.concatenate(patches), np.concatenate(masks))


def phantom_frames(count: int, seed: int) -> tuple[Frames, Frames]:
    """Frames as a network is trained on them, and their clean twins."""
    from training.phantom.report import pixels
    from training.phantom.simulate import seeded, simulate

    generator = seeded(seed)
    batches = [simulate(min(8, count - n), generator) for n in range(0, count, 8)]
    masks = np.concatenate([batch.sector[:, 0].numpy() for batch in batches])
    noisy, clean = (np.concatenate([pixels(getattr(b, name)) for b in batches]) for name in ("noisy", "clean"))
    return Frames("phantom", noisy, masks), Frames("clean twin", clean, masks)


def _grey(patches: NDArray[np.float32]) -> U8:
    return np.clip(np.rint(patches[:, 0] * 255), 0, 255).astype(np.uint8)


def _windows(patch: U8, mask: Mask) -> Floats:
    """Windows (n, WINDOW, WINDOW) of a patch, less its local mean, that lie in the sector's middle, are neither
    black nor white, and hold no large structure."""
    grey, weight = patch.astype(np.float64), mask.astype(np.float64)
    local = _mean(grey * weight) / np.maximum(_mean(weight), 1e-3)
    residual = (grey - local) * weight
    middle, found = patch.shape[1] / 2, []
    for y in range(0, patch.shape[0] - WINDOW + 1, STEP):
        for x in range(0, patch.shape[1] - WINDOW + 1, STEP):
            at = slice(y, y + WINDOW), slice(x, x + WINDOW)
            inside = mask[at].all() and abs(x + WINDOW / 2 - middle) <= MIDDLE
            even = local[at].std() < EVEN * residual[at].std()
            if inside and even and 15 < grey[at].mean() < 240 and residual[at].std() > 2:
                found.append(residual[at] - residual[at].mean())
    return np.stack(found) if found else np.empty((0, WINDOW, WINDOW))


def _mean(image: Floats) -> Floats:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), LOCAL))


def autocorrelation(windows: Floats) -> Floats:
    """(2, LAGS + 1): normalised autocorrelation of windows (n, WINDOW, WINDOW) of mean 0, downwards and sideways, the
    median over the windows at each lag."""
    power = np.abs(np.fft.rfft2(windows, (2 * WINDOW, 2 * WINDOW))) ** 2
    whole = np.fft.irfft2(power, (2 * WINDOW, 2 * WINDOW))
    overlap = WINDOW / (WINDOW - np.arange(LAGS + 1))  # products at a lag are fewer than at none
    down, side = whole[:, : LAGS + 1, 0] * overlap, whole[:, 0, : LAGS + 1] * overlap
    scaled = np.stack([down, side], axis=1) / whole[:, :1, :1]
    return np.asarray(np.median(scaled, axis=0))


def half_width(curve: Floats) -> float:
    """Full width at half maximum, in lags, of a symmetric curve given from its peak (1) on; nan if it stays above."""
    below = np.flatnonzero(curve < 0.5)
    if not below.size:
        return float("nan")
    n = int(below[0])
    return float(2 * (n - 1 + (curve[n - 1] - 0.5) / (curve[n - 1] - curve[n])))


def look(frames: Frames) -> Look:
    """Measure a set of frames."""
    inside = frames.patches[frames.masks]
    histogram = np.bincount(inside, minlength=256) / inside.size
    curves, roughness = [], []
    for patch, mask in zip(frames.patches, frames.masks, strict=True):
        windows = _windows(patch, mask)
        nothing = not len(windows)
        curves.append(np.full((2, LAGS + 1), np.nan) if nothing else autocorrelation(windows))
        roughness.append(np.nan if nothing else float(windows.std(axis=(1, 2)).mean()))
    widths = np.array([[half_width(curve) for curve in pair] for pair in curves])
    mean = np.nanmean(np.stack(curves), axis=0) if np.isfinite(roughness).any() else np.zeros((2, LAGS + 1))
    return Look(frames, histogram, np.percentile(inside, (10, 50, 90)), widths, np.array(roughness), mean)


def compare(real: Path, seed: int = 0, frames: int = 48) -> Comparison:
    """Look at the loops at `real` and at as many as `frames` phantom frames.

    Raises InputError.
    """
    phantom, clean = phantom_frames(frames, seed)
    return Comparison(look(real_frames(real)), look(phantom), look(clean))


def grey_distance(one: Look, other: Look) -> float:
    """Kolmogorov-Smirnov distance of the grey levels, 0-1."""
    return float(np.abs(np.cumsum(one.histogram) - np.cumsum(other.histogram)).max())


def _spread(values: Floats, digits: int = 1) -> str:
    """Median, and the range from 10 to 90 %."""
    known = values[np.isfinite(values)]
    if not known.size:
        return "-"
    low, middle, high = np.percentile(known, (10, 50, 90))
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def as_table(found: Comparison) -> str:
    """A Markdown table: median over frames, in brackets the range from 10 to 90 % of them."""
    lines = [f"| quantity | {' | '.join(one.frames.name for one in found.looks)} |", "| --- | --- | --- | --- |"]

    def row(name: str, cell: Callable[[Look], str]) -> None:
        lines.append(f"| {name} | {' | '.join(cell(one) for one in found.looks)} |")

    row("frames", lambda one: str(len(one.frames.patches)))
    row("grey at 10 / 50 / 90 %", lambda one: " / ".join(f"{q:.0f}" for q in one.quantiles))
    row(f"black (<= {BLACK})", lambda one: f"{one.histogram[: BLACK + 1].sum():.1%}")
    row(f"white (>= {WHITE})", lambda one: f"{one.histogram[WHITE:].sum():.1%}")
    row("grey levels, KS distance to real", lambda one: f"{grey_distance(found.real, one):.3f}")
    row("speckle width, axial, pixels", lambda one: _spread(one.widths[:, 0]))
    row("speckle width, lateral, pixels", lambda one: _spread(one.widths[:, 1]))
    row("lateral / axial", lambda one: _spread(one.widths[:, 1] / one.widths[:, 0], 2))
    row("local standard deviation, grey levels", lambda one: _spread(one.roughness))
    return "\n".join(lines)


def draw(found: Comparison, path: Path) -> None:
    """Write the contact sheet (PNG): rows of real and phantom frames in turn, histograms, autocorrelations.
    Raises OutputError."""
    from matplotlib.figure import Figure

    names, sheet = _mosaic(found)
    figure = Figure(figsize=(15, 15 / COLUMNS * len(names) + 4.5), layout="constrained")
    grid = figure.add_gridspec(2, 3, height_ratios=[15 / COLUMNS * len(names), 4])
    axes = figure.add_subplot(grid[0, :])
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=255)
    axes.set_yticks([PATCH * (n + 0.5) for n in range(len(names))], names)
    axes.set_xticks([])
    _curves([figure.add_subplot(grid[1, n]) for n in range(3)], found)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as new:
            figure.savefig(new, format="png", dpi=100)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}).") from error


def _mosaic(found: Comparison) -> tuple[list[str], U8]:
    """Rows of COLUMNS frames, real and phantom in turn, each row's name, and the picture of all."""
    names, rows = [], []
    shown = [(one.frames.name, _chosen(one.frames.patches)) for one in (found.real, found.phantom)]
    for start in range(0, SHOWN, COLUMNS):
        for name, patches in shown:
            part = patches[start : start + COLUMNS]
            if len(part):
                row = np.zeros((COLUMNS, PATCH, PATCH), dtype=np.uint8)
                row[: len(part)] = part
                rows.append(np.concatenate(list(row), axis=1))
                names.append(name)
    return names, np.concatenate(rows)


def _chosen(patches: U8) -> U8:
    """At most SHOWN, spread over all."""
    index = np.unique(np.linspace(0, len(patches) - 1, min(SHOWN, len(patches))).round().astype(int))
    return patches[index]


def _curves(panels: list[Axes], found: Comparison) -> None:
    """Histograms of the grey levels, and both autocorrelations."""
    titles = ("grey levels in the sector, %", "autocorrelation along the beam", "autocorrelation across the beam")
    for one in found.looks:
        smooth = np.convolve(one.histogram, np.ones(5) / 5, "same") * 100
        for axes, curve in zip(panels, (smooth, *one.curves), strict=True):
            axes.plot(curve, label=one.frames.name)
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("grey level" if axes is panels[0] else "pixels at 256", fontsize=9)
        axes.legend(fontsize=9)
        axes.grid(alpha=0.3)
