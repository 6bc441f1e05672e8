"""How large a loop may be, checked from the header before any pixel is decoded."""

from __future__ import annotations

from pathlib import Path

from echoq_models.errors import InputError

MAX_SIDE = 16384
MAX_FRAME_PIXELS = 1 << 26  # 67 megapixels
MAX_LOOP_BYTES = 1 << 32  # 4 GiB of luminance
MAX_FRAMES = 200_000


def check_size(path: Path, height: int, width: int, frames: int = 1) -> None:
    """Refuse a frame or loop size (pixels, count) that no echo loop has. Raises InputError."""
    if frames < 1:
        raise InputError(f"{path}: the file holds no frames; nothing to show.")
    if height < 1 or width < 1:
        raise InputError(f"{path}: the frames are {width} x {height} pixels; nothing to show.")
    if max(height, width) > MAX_SIDE or height * width > MAX_FRAME_PIXELS:
        raise InputError(
            f"{path}: the header claims frames of {width} x {height} pixels, more than can be opened "
            f"({MAX_SIDE} a side, {MAX_FRAME_PIXELS // 10**6} megapixels); the file is probably damaged."
        )
    if frames > MAX_FRAMES or frames * height * width > MAX_LOOP_BYTES:
        raise InputError(
            f"{path}: {frames} frames of {width} x {height} pixels are more than can be opened "
            f"({MAX_LOOP_BYTES >> 30} GiB); cut the loop into shorter pieces, or the file is damaged."
        )
