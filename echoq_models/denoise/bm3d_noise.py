"""The noise level BM3D is given: one robust figure for a loop.

Model. On a log-compressed display the envelope's multiplicative speckle becomes additive, I = tissue + noise, with
about the same spread at every brightness: 5.57 dB for fully developed speckle, 24 grey levels of a 60 dB display.
The noise is not white: neighbours within a speckle's width (3 to 8 pixels at 256 x 256) move together, so the
usual estimate from the finest wavelet details finds a third of it or less. Here differences are taken `lag` pixels
apart, where noise is nearly independent and tissue has mostly changed little.

Limits. Anatomy finer than the lag counts as noise; the median keeps edges from mattering much. The spread of
clipped or quiet regions is not seen. On simulated speckle the figure is 7 to 15 % low, since the distribution is
skewed. BM3D itself assumes white noise, so the figure that looks best may differ: a person can set it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MAD_OF_A_NORMAL = 0.6745  # median absolute deviation of a normal distribution with standard deviation 1


@dataclass(frozen=True)
class NoiseModel:
    """lag: pixels between the four compared ones.  dimmest, brightest: mean of the four, 0-1, within which they
    count, since a display clips noise at both ends.  fewest: sets of four without which there is no estimate.
    frames: how many frames of a loop are looked at, spread evenly.
    """

    lag: int = 6
    dimmest: float = 20 / 255
    brightest: float = 235 / 255
    fewest: int = 64
    frames: int = 9

    def sample(self, count: int) -> list[int]:
        """The frames of a loop of `count` to look at, always the same ones."""
        return np.unique(np.linspace(0, count - 1, min(count, self.frames)).round().astype(int)).tolist()


SPECKLE = NoiseModel()


def estimate_sigma(
    frames: NDArray[np.float32],
    mask: NDArray[np.bool_] | None = None,
    model: NoiseModel = SPECKLE,
) -> float:
    """Noise standard deviation in the frames' own unit (full scale 1), the median over the frames.

    frames: float (N, H, W) in [0, 1].  mask: bool (H, W) or (N, H, W), the pixels that count; None for all.
    sigma = median |a - b - c + d| / 2 / 0.6745 over squares of four pixels `lag` apart (the median absolute
    deviation of Donoho and Johnstone 1994, on a coarser grid). 0 where too few pixels can be judged.
    """
    usable = np.broadcast_to(True if mask is None else mask, frames.shape)
    each = (_one(frame, where, model) for frame, where in zip(frames, usable, strict=True))
    found = [sigma for sigma in each if sigma is not None]
    return float(np.median(found)) if found else 0.0


def _one(frame: NDArray[np.float32], mask: NDArray[np.bool_], model: NoiseModel) -> float | None:
    lag = model.lag
    near, far = slice(None, -lag), slice(lag, None)
    corners = [(y, x) for y in (near, far) for x in (near, far)]
    a, b, c, d = (frame[corner] for corner in corners)
    mean = (a + b + c + d) / 4
    usable = (mean >= model.dimmest) & (mean <= model.brightest)
    usable &= np.logical_and.reduce([mask[corner] for corner in corners])
    if np.count_nonzero(usable) < model.fewest:
        return None
    return float(np.median(np.abs(a - b - c + d)[usable]) / 2 / _MAD_OF_A_NORMAL)
