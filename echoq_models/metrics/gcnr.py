"""Generalised contrast-to-noise ratio: how well two regions can be told apart by their grey levels.

gCNR = 1 - sum over grey levels of min(p_A, p_B), where p_A and p_B are the regions' grey-level distributions
(Rodriguez-Molares et al. 2020, IEEE TUFFC 67(4), 745-759). 0: the same distribution; 1: no grey level in common.
It does not change when grey levels are relabelled one to one, so no display curve can raise it.

Always computed on arrays in memory: lossy video alone can raise gCNR by 0.07.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from echoq_models.errors import RegionError

Mask = NDArray[np.bool_]
Masks = tuple[Mask, Mask]

# Under this many pixels the value of two identical regions is far from 0: show `null_gcnr` beside it.
SMALL_REGION_PIXELS = 1200


def histograms(
    frame: NDArray[np.uint8], a: Mask, b: Mask, bins: int = 256
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Grey-level distributions of two regions of one frame.

    frame: uint8 (H, W).  a, b: bool (H, W).  bins: 1-256 bins of equal width over 0-255.
    Returns p_A, p_B: float64 (bins,), each summing to 1.
    Raises RegionError when a region is empty or the two share a pixel, ValueError for arrays of the wrong form.
    """
    if frame.ndim != 2 or frame.dtype != np.uint8 or a.shape != frame.shape or b.shape != frame.shape:
        raise ValueError(f"one uint8 frame and two masks of its size are needed, not {frame.dtype} {frame.shape}")
    if a.dtype != bool or b.dtype != bool:
        raise ValueError("masks must be bool")
    if not 1 <= bins <= 256:
        raise ValueError("bins must be 1 to 256")
    if np.logical_and(a, b).any():
        raise RegionError("The two regions share pixels: move them apart.")
    p_a, p_b = _distribution(frame[a], bins), _distribution(frame[b], bins)
    return p_a, p_b


def _distribution(grey: NDArray[np.uint8], bins: int) -> NDArray[np.float64]:
    if grey.size == 0:
        raise RegionError("A region holds no pixel of this frame: draw it inside the picture.")
    binned = grey if bins == 256 else grey.astype(np.int64) * bins // 256
    return np.bincount(binned, minlength=bins) / grey.size


def gcnr(frame: NDArray[np.uint8], a: Mask, b: Mask, bins: int = 256) -> float:
    """gCNR in [0, 1] of regions `a` and `b` of one frame; arguments and errors as for `histograms`."""
    return overlap_gcnr(*histograms(frame, a, b, bins))


def overlap_gcnr(p_a: NDArray[np.float64], p_b: NDArray[np.float64]) -> float:
    """gCNR in [0, 1] of two distributions float64 (bins,) that each sum to 1."""
    return float(np.clip(1.0 - np.minimum(p_a, p_b).sum(), 0.0, 1.0))


def loop_gcnr(frames: NDArray[np.uint8], masks: Callable[[int], Masks] | Masks, bins: int = 256) -> NDArray[np.float64]:
    """gCNR of each frame: float64 (T,).

    frames: uint8 (T, H, W).  masks: two masks bool (H, W) for all frames, or a function from frame index to them.
    Raises as `gcnr` does; the message then names the frame.
    """
    values = np.empty(len(frames))
    for t, frame in enumerate(frames):
        try:
            values[t] = gcnr(frame, *(masks(t) if callable(masks) else masks), bins=bins)
        except RegionError as error:
            raise RegionError(f"Frame {t + 1}: {error}") from error
    return values


def null_gcnr(n_a: int, n_b: int, bins: int = 256, p: NDArray[np.float64] | None = None) -> float:
    """Expected gCNR of two samples of `n_a` and `n_b` independent pixels from one and the same distribution.

    p: that distribution, float64 (bins,) summing to 1; by default fully developed speckle on a 60 dB display,
    `speckle_distribution`, which gives 0.18 at 1,000 and 0.31 at 300 pixels. Real neighbouring pixels depend on
    each other, so the true value is larger still.

    Counts of a bin are taken as Poisson of mean p n, n the harmonic mean of both sizes. With x = 2 p n,
    E|A - B| = x exp(-x) (I0(x) + I1(x)) for two such counts (mean of a Skellam variable's absolute value;
    Ramasubban 1958, Biometrika 45, 549-556), and gCNR = 1/2 sum |p_A - p_B|.
    """
    if n_a < 1 or n_b < 1:
        raise ValueError("both regions need a pixel")
    p = speckle_distribution(bins) if p is None else np.asarray(p, dtype=np.float64)
    harmonic = 2.0 / (1.0 / n_a + 1.0 / n_b)
    return float(np.clip(np.sum(p * _scaled_bessel_sum(2.0 * harmonic * p)), 0.0, 1.0))


def _scaled_bessel_sum(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """exp(-x) (I0(x) + I1(x)) for x >= 0, float64 of the same shape."""
    # Integral form (DLMF 10.32.3), by the midpoint rule, which converges exponentially for a periodic integrand.
    theta = (np.arange(64) + 0.5) * (np.pi / 64)
    small = np.minimum(x, 100.0)[..., None]
    exact = np.mean(np.exp(-small * (1.0 - np.cos(theta))) * (1.0 + np.cos(theta)), axis=-1)
    large = np.maximum(x, 100.0)
    asymptotic = np.sqrt(2.0 / (np.pi * large)) * (1.0 - 1.0 / (8.0 * large))  # DLMF 10.40.1
    return np.where(x <= 100.0, exact, asymptotic)


@lru_cache(maxsize=8)
def speckle_distribution(
    bins: int = 256, dynamic_range_db: float = 60.0, mean_grey: float = 128.0
) -> NDArray[np.float64]:
    """Grey levels of fully developed speckle after log compression: float64 (bins,), sums to 1, read-only.

    The envelope is Rayleigh, so its power is exponential (Wagner et al. 1983, IEEE Trans. Sonics Ultrason. 30(3));
    in grey levels the power in dB is scaled by 255 / `dynamic_range_db` and `mean_grey` is the level of the mean power.
    """
    # Bin edges in grey levels; the outermost bins take the tails that the display clips.
    edges = np.ceil(np.arange(1, bins) * 256 / bins) - 0.5
    power = 10.0 ** ((edges - mean_grey) * dynamic_range_db / 255.0 / 10.0)
    below = np.concatenate([[0.0], 1.0 - np.exp(-power), [1.0]])
    p = np.diff(below)
    p.setflags(write=False)
    return p


@dataclass(frozen=True)
class MedianCI:
    """Median of a per-frame value and its confidence interval, in the value's own unit."""

    median: float
    low: float
    high: float


def median_ci(
    values: NDArray[np.float64], level: float = 0.95, seed: int = 0, block: int | None = None, draws: int = 2000
) -> MedianCI:
    """Median over frames with a moving-block bootstrap percentile interval.

    Neighbouring frames resemble each other, so whole runs of frames are drawn (Künsch 1989, Ann. Stat. 17(3)).
    values: float64 (T,), finite.  level: 0-1.  block: frames a run, by default sqrt(T) rounded; one heart beat is a
    good choice where it is known.  draws: bootstrap samples.  The same seed gives the same interval.
    One frame gives an interval of no width. Raises ValueError for no or non-finite values.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError("one finite value a frame is needed")
    total = values.size
    block = min(max(round(total**0.5) if block is None else block, 1), total)
    runs = -(-total // block)
    start = np.random.default_rng(seed).integers(0, total - block + 1, size=(draws, runs, 1))
    index = (start + np.arange(block)).reshape(draws, -1)[:, :total]
    medians = np.median(values[index], axis=1)
    low, high = np.quantile(medians, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return MedianCI(float(np.median(values)), float(low), float(high))
