"""Contrast and contrast-to-noise ratio of two regions, in display grey levels.

Both change with the display's curve; gCNR (`gcnr.py`) does not, and is the figure to trust.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from echoq_models.errors import RegionError

Mask = NDArray[np.bool_]


def contrast(frame: NDArray[np.uint8], a: Mask, b: Mask) -> float:
    """Mean of region `b` minus mean of region `a`, in grey levels (-255 to 255).

    Echo displays are log compressed, so a difference in grey levels is a ratio of echo strength.
    frame: uint8 (H, W).  a, b: bool (H, W).  Raises RegionError when a region is empty.
    """
    grey_a, grey_b = _pixels(frame, a), _pixels(frame, b)
    return float(grey_b.mean() - grey_a.mean())


def cnr(frame: NDArray[np.uint8], a: Mask, b: Mask) -> float:
    """|mean_A - mean_B| / sqrt(var_A + var_B), 0 or more (Patterson & Foster 1983, Ultrason. Imaging 5(3), 195-213).

    Infinite when both regions are uniform and differ, 0 when they are uniform and equal.
    Arguments and errors as for `contrast`.
    """
    grey_a, grey_b = _pixels(frame, a), _pixels(frame, b)
    difference = abs(float(grey_a.mean() - grey_b.mean()))
    spread = float(np.sqrt(grey_a.var() + grey_b.var()))
    if spread == 0.0:
        return float("inf") if difference else 0.0
    return difference / spread


def _pixels(frame: NDArray[np.uint8], mask: Mask) -> NDArray[np.float64]:
    if frame.shape != mask.shape:
        raise ValueError(f"a mask of the frame's size {frame.shape} is needed, not {mask.shape}")
    grey = frame[mask].astype(np.float64)
    if grey.size == 0:
        raise RegionError("A region holds no pixel of this frame: draw it inside the picture.")
    return grey
