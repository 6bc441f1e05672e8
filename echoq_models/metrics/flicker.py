"""Does a denoiser make a loop flicker? Frame-to-frame change where the heart hardly moves, before and after."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

STILL_SHARE = 0.25  # of the picture: the part that moves least
DARK = 10.0  # mean grey level under which a pixel cannot flicker, so that it says nothing


@dataclass(frozen=True)
class Flicker:
    """Mean absolute frame-to-frame change in still areas, in grey levels.

    source, denoised: that of each loop.  added: that of their difference, what the denoiser itself brings about.
    """

    source: float
    denoised: float
    added: float

    @property
    def ratio(self) -> float:
        """denoised / source: above 1 the denoiser makes the loop flicker more; nan for a source that never changes."""
        return self.denoised / self.source if self.source > 0 else float("nan")


def still_areas(frames: NDArray[np.uint8], mask: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
    """Where the heart moves least: bool (H, W), the stillest quarter of the pixels that are not black.

    frames: uint8 (T, H, W), at least two.  mask: bool (H, W), the sector.  Speckle is smoothed away first
    (Gaussian, 2 % of the frame's height), so that what is judged is tissue that moves.
    """
    if len(frames) < 2:
        raise ValueError("flicker needs at least two frames")
    sigma = max(1.0, 0.02 * frames.shape[1])
    motion, mean = np.zeros(frames.shape[1:]), np.zeros(frames.shape[1:])
    last = None
    for frame in frames:
        mean += frame
        smooth = cv2.GaussianBlur(frame.astype(np.float32), (0, 0), sigma)
        if last is not None:
            motion += np.abs(smooth - last)
        last = smooth
    candidates = mean >= DARK * len(frames)
    if mask is not None:
        candidates &= mask
    if not candidates.any():
        raise ValueError("there is no picture inside the mask")
    return candidates & (motion <= np.quantile(motion[candidates], STILL_SHARE))


def flicker(source: NDArray[np.uint8], denoised: NDArray[np.uint8], mask: NDArray[np.bool_] | None = None) -> Flicker:
    """Frame-to-frame change of a loop and of its denoised version, in the source's still areas.

    source, denoised: uint8 (T, H, W) of the same shape, at least two frames.  mask: bool (H, W), the sector.
    Raises ValueError for differing shapes, a single frame or a black picture.
    """
    if source.shape != denoised.shape:
        raise ValueError(f"loops of one size are needed, not {source.shape} and {denoised.shape}")
    still = still_areas(source, mask)
    sums = np.zeros(3)
    last: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    for before, after in zip(source, denoised, strict=True):
        now = before[still].astype(np.float64), after[still].astype(np.float64)
        if last is not None:
            change, changed = now[0] - last[0], now[1] - last[1]
            sums += np.abs(change).mean(), np.abs(changed).mean(), np.abs(changed - change).mean()
        last = now
    return Flicker(*(float(s) for s in sums / (len(source) - 1)))
