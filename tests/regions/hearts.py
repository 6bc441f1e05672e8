"""Left ventricles of known shape for tests of regions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def bullet(
    size: tuple[int, int] = (240, 240),
    middle: tuple[float, float] = (120.0, 120.0),
    length: float = 120.0,
    width: float = 64.0,
    tilt: float = 0.0,
) -> Mask:
    """A ventricle as in an A4C: round at the apex, flat at the base.

    middle: x, y half way along the axis.  tilt: degrees; at 0 the apex is up, at positive ones the base swings right.
    """
    y, x = np.mgrid[: size[0], : size[1]] - np.array(middle[::-1])[:, None, None]
    angle = np.deg2rad(tilt)
    along = (x * np.sin(angle) + y * np.cos(angle)) / length + 0.5
    across = x * np.cos(angle) - y * np.sin(angle)
    narrow = np.sqrt(np.clip(1 - (1 - np.clip(along / 0.6, 0, 1)) ** 2, 0, 1))
    half = width / 2 * narrow * (1 - 0.15 * np.clip((along - 0.6) / 0.4, 0, 1) ** 2)
    return np.asarray((along > 0) & (along < 1) & (np.abs(across) < half))


def rectangle(size: tuple[int, int], left: int, top: int, width: int, height: int) -> Mask:
    mask = np.zeros(size, dtype=bool)
    mask[top : top + height, left : left + width] = True
    return mask


def fan(size: tuple[int, int], tilt: float = 0.0) -> Mask:
    """An ultrasound sector whose probe stands at the top middle."""
    y, x = np.mgrid[: size[0], : size[1]]
    dx, dy = x - (size[1] - 1) / 2, y + 0.5
    angle = np.arctan2(dx, dy) - np.deg2rad(tilt)
    return np.asarray((np.hypot(dx, dy) < 0.98 * size[0]) & (np.abs(angle) < 0.7))


def overlap(a: Mask, b: Mask) -> float:
    """Intersection over union."""
    return float(np.count_nonzero(a & b) / np.count_nonzero(a | b))
