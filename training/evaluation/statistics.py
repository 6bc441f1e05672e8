"""Small statistics that the evaluation needs: distances, ranks, intervals of medians, warping."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from echoq_models.metrics.gcnr import MedianCI, median_ci

Floats = NDArray[np.float64]
Frames = NDArray[np.uint8]
Masks = NDArray[np.bool_]


def ks_distance(a: Frames, b: Frames) -> float:
    """Kolmogorov-Smirnov distance of two samples of grey levels: largest difference of their distribution functions.

    a, b: uint8 of any shape, not empty. 0 for equal distributions, 1 when one lies wholly below the other.
    """
    if a.size == 0 or b.size == 0:
        raise ValueError("both samples need a pixel")
    f_a, f_b = (np.cumsum(np.bincount(x.ravel(), minlength=256)) / x.size for x in (a, b))
    return float(np.abs(f_a - f_b).max())


def ranks(values: Floats) -> Floats:
    """Ranks from 0, ties sharing their mean rank: float64 of the same length."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts + 1) / 2.0)[inverse])


def spearman(a: Floats, b: Floats) -> float:
    """Rank correlation of two samples (n,), -1 to 1; nan where one of them is constant."""
    x, y = ranks(a), ranks(b)
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / size if size > 0 else float("nan")


def loops_median_ci(
    values: Floats, loops: Sequence[Hashable], level: float = 0.95, seed: int = 0, draws: int = 2000
) -> MedianCI:
    """Median of a per-frame value with a bootstrap percentile interval that respects whose frames they are.

    Frames of one loop (or patient) resemble each other, so whole loops are drawn with replacement (Field & Welsh 2007,
    J. R. Stat. Soc. B 69(3), 369-390). With one loop alone, blocks of neighbouring frames (`median_ci`).
    values: float64 (n,), finite.  loops: the loop or patient of each.  level: 0-1.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.size != len(loops) or values.size == 0 or not np.isfinite(values).all():
        raise ValueError("one finite value and one loop a frame are needed")
    groups: dict[Hashable, list[float]] = {}
    for value, loop in zip(values, loops, strict=True):
        groups.setdefault(loop, []).append(float(value))
    if len(groups) == 1:
        return median_ci(values, level, seed, draws=draws)
    parts = [np.array(g) for g in groups.values()]
    chosen = np.random.default_rng(seed).integers(0, len(parts), size=(draws, len(parts)))
    if len({p.size for p in parts}) == 1:
        medians = np.median(np.stack(parts)[chosen].reshape(draws, -1), axis=1)
    else:
        medians = np.array([np.median(np.concatenate([parts[i] for i in row])) for row in chosen])
    low, high = np.quantile(medians, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return MedianCI(float(np.median(values)), float(low), float(high))


def warping_error(frames: Frames, displacement: NDArray[np.float32], inside: Masks) -> float:
    """How much a loop changes beyond its motion: mean |frame t+1 seen where t moved to, minus frame t|, grey levels.

    The warping error of Lai et al. 2018 (ECCV, 170-185), with absolute differences and the true motion.
    frames: uint8 (T, H, W), T >= 2.  displacement: float32 (T - 1, 2, H, W), pixels (x, y) that the material at each
    pixel moves until the next frame.  inside: bool (H, W) or (T, H, W), the pixels that count.
    """
    if len(frames) < 2 or displacement.shape != (len(frames) - 1, 2, *frames.shape[1:]):
        raise ValueError(f"a displacement for each step is needed, not {displacement.shape} for {frames.shape}")
    height, width = frames.shape[1:]
    inside = np.broadcast_to(inside, frames.shape)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    errors = []
    for t, move in enumerate(displacement):
        to_x, to_y = x + move[0], y + move[1]
        later = cv2.remap(frames[t + 1].astype(np.float32), to_x, to_y, cv2.INTER_LINEAR)
        stays = cv2.remap(inside[t + 1].astype(np.float32), to_x, to_y, cv2.INTER_LINEAR) > 0.999
        valid = inside[t] & stays
        if valid.any():
            errors.append(float(np.abs(later - frames[t])[valid].mean()))
    return float(np.mean(errors)) if errors else float("nan")


@dataclass(frozen=True)
class Reliability:
    """Error by confidence: of each bin its centre, the error's mean and quartiles, and its share of pixels; (bins,)."""

    confidence: Floats
    mean: Floats
    low: Floats
    high: Floats
    share: Floats


def reliability(confidence: Floats, error: Floats, bins: int = 10) -> Reliability:
    """The error in grey levels within equal bins of confidence 0-1; empty bins are left out.  Both: (n,)."""
    index = np.clip((confidence * bins).astype(int), 0, bins - 1)
    kept = [b for b in range(bins) if (index == b).any()]
    parts = [error[index == b] for b in kept]
    return Reliability(
        np.array([(b + 0.5) / bins for b in kept]),
        np.array([p.mean() for p in parts]),
        np.array([np.quantile(p, 0.25) for p in parts]),
        np.array([np.quantile(p, 0.75) for p in parts]),
        np.array([p.size / error.size for p in parts]),
    )
