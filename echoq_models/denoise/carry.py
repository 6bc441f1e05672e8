"""The door every denoiser goes through: frames of a loop in, patches out; a change or pictures back to frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from echoq_models.cine import sector as sectors
from echoq_models.cine.loop import CineLoop
from echoq_models.cine.sector import Sector
from echoq_models.denoise.base import Settings
from echoq_models.errors import EchoQError


def check_strength(settings: Settings) -> None:
    """Raise EchoQError unless the strength is from 0 to 1."""
    if not 0 <= settings.strength <= 1:
        raise EchoQError(f"The strength is {settings.strength:g}: choose a value from 0 to 1.")


def take(loop: CineLoop, part: Sequence[int], sector: Sector) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Frames uint8 (N, H, W) and their sector patches float32 (N, 256, 256) in [0, 1]."""
    frames = np.asarray(loop.frames[list(part)])
    return frames, np.ascontiguousarray(sectors.patches(frames, sector)[:, 0])


def coloured_patches(loop: CineLoop, part: Sequence[int], sector: Sector) -> NDArray[np.bool_]:
    """Where coloured pixels (Doppler) contribute to the patches of `take`: bool (N, 256, 256)."""
    coloured = _coloured(loop, part)
    if coloured is None:
        return np.zeros((len(part), sectors.PATCH, sectors.PATCH), dtype=bool)
    return sectors.patches(coloured * np.uint8(255), sector)[:, 0] > 0


def give_change(
    loop: CineLoop,
    part: Sequence[int],
    frames: NDArray[np.uint8],
    change: NDArray[np.float32],
    sector: Sector,
    strength: float,
) -> NDArray[np.uint8]:
    """Frames uint8 (N, H, W) with `strength` times the change added.

    change: float32 (N, 256, 256) in units of the full grey scale; what is above 0 is dropped, since a gain never
    paints a wall.
    """
    weighted = np.float32(strength) * np.minimum(change, 0)
    return sectors.paste_change(frames, weighted, sector, _coloured(loop, part))


def give_image(
    loop: CineLoop,
    part: Sequence[int],
    frames: NDArray[np.uint8],
    patches: NDArray[np.float32],
    images: NDArray[np.float32],
    sector: Sector,
    strength: float,
) -> NDArray[np.uint8]:
    """Frames uint8 (N, H, W) moved by `strength` from their patches towards the images, both (N, 256, 256)."""
    blended = patches + np.float32(strength) * (images - patches)
    return sectors.paste_image(frames, blended, sector, _coloured(loop, part))


def _coloured(loop: CineLoop, part: Sequence[int]) -> NDArray[np.bool_] | None:
    """Masks (N, H, W) of the coloured pixels, None when the loop has none."""
    if loop.colour is None:
        return None
    return np.stack([loop.coloured(t) for t in part])  # type: ignore[misc]  # not None: the loop has colour
