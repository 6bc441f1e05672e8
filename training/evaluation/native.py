"""Is output at the scanner's own size worth it? Against the output at 256 pixels, enlarged."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.evaluation.fidelity import nearness
from training.evaluation.methods import Method
from training.evaluation.records import Record
from training.evaluation.sets import FrameSet

Frames = NDArray[np.uint8]
SMALL = 256  # lines


@dataclass(frozen=True)
class Sizes:
    """Results at native size and enlarged from 256 lines: uint8 (N, H, W)."""

    native: Frames
    enlarged: Frames


def both(method: Method, noisy: Frames) -> Sizes:
    """Frames (N, H, W) denoised at their own size, and shrunk, denoised, enlarged by cubic interpolation."""
    height, width = noisy.shape[1:]
    small = round(width * SMALL / height), SMALL
    shrunk = np.stack([cv2.resize(f, small, interpolation=cv2.INTER_AREA) for f in noisy])
    out = method.stills(shrunk)
    enlarged = np.stack([cv2.resize(f, (width, height), interpolation=cv2.INTER_CUBIC) for f in out])
    return Sizes(method.stills(noisy), enlarged)


def native_records(data: FrameSet, method: Method) -> tuple[list[Record], Sizes]:
    """PSNR and SSIM to the native clean twin; methods NAME (native) and "NAME enlarged"."""
    sizes = both(method, data.noisy)
    rows = []
    for name, images in ((method.name, sizes.native), (f"{method.name} enlarged", sizes.enlarged)):
        for i, frame in enumerate(images):
            values = nearness(data.clean[i], frame, data.sector[i])
            rows.append(Record("native", str(i), 0, name, values))
    return rows, sizes
