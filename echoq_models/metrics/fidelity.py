"""How near a picture is to its reference: PSNR and SSIM, over the whole frame or inside a mask."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

PEAK = 255.0
# Wang et al. 2004: an 11 x 11 Gaussian window of 1.5 pixels, K1 = 0.01, K2 = 0.03.
_WINDOW, _SIGMA = (11, 11), 1.5
_C1, _C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2


def psnr(reference: NDArray[np.generic], image: NDArray[np.generic], mask: NDArray[np.bool_] | None = None) -> float:
    """Peak signal-to-noise ratio 10 log10(255^2 / MSE) in dB; infinite for equal pictures.

    reference, image: the same shape (H, W) or (T, H, W), grey levels 0-255, any real dtype.  mask: bool, of a shape
    that broadcasts to it; only its pixels count. Raises ValueError for differing shapes or an empty mask.
    """
    _check(reference, image)
    difference = reference.astype(np.float64) - image.astype(np.float64)
    squared = np.square(difference, out=difference)
    chosen = squared if mask is None else squared[np.broadcast_to(mask, squared.shape)]
    if chosen.size == 0:
        raise ValueError("the mask holds no pixel")
    mse = float(chosen.mean())
    return float("inf") if mse == 0.0 else float(10.0 * np.log10(PEAK**2 / mse))


def ssim(reference: NDArray[np.generic], image: NDArray[np.generic], mask: NDArray[np.bool_] | None = None) -> float:
    """Mean structural similarity, -1 to 1 (Wang et al. 2004, IEEE Trans. Image Process. 13(4), 600-612).

    reference, image: (H, W), grey levels 0-255.  mask: bool (H, W): the mean is over windows centred on its pixels.
    Raises ValueError for differing shapes or an empty mask.
    """
    _check(reference, image)
    if reference.ndim != 2:
        raise ValueError(f"one frame (H, W) is needed, not {reference.shape}")
    x, y = reference.astype(np.float64), image.astype(np.float64)
    mean_x, mean_y = _local(x), _local(y)
    var_x, var_y = _local(x * x) - mean_x**2, _local(y * y) - mean_y**2
    covariance = _local(x * y) - mean_x * mean_y
    similarity = (2.0 * mean_x * mean_y + _C1) * (2.0 * covariance + _C2)
    similarity /= (mean_x**2 + mean_y**2 + _C1) * (var_x + var_y + _C2)
    chosen = similarity if mask is None else similarity[mask]
    if chosen.size == 0:
        raise ValueError("the mask holds no pixel")
    return float(chosen.mean())


def _local(image: NDArray[np.float64]) -> NDArray[np.float64]:
    return cv2.GaussianBlur(image, _WINDOW, _SIGMA, borderType=cv2.BORDER_REFLECT)


def _check(reference: NDArray[np.generic], image: NDArray[np.generic]) -> None:
    if reference.shape != image.shape:
        raise ValueError(f"pictures of one size are needed, not {reference.shape} and {image.shape}")
