"""How alike two pictures are when nobody expects the same speckle: errors of blurred pictures, and multi-scale SSIM.

Both can be descended, and neither needs a trained network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

COARSEST = 16  # pixels: the smallest side at which structure is compared
# Wang et al. 2004, IEEE Trans. Image Process. 13(4), 600-612: the window's deviation in pixels, and the constants
SIGMA, C1, C2 = 1.5, 0.01**2, 0.03**2


def grey(pictures: Tensor) -> Tensor:
    """Pictures (N, 1 or 3, H, W) of -1 to 1 as float32 (N, 1, H, W), 0 to 1 where they keep to their range."""
    return pictures.float().mean(1, keepdim=True) * 0.5 + 0.5


def blurred(x: Tensor, sigma: float) -> Tensor:
    """(N, 1, H, W) under a Gaussian of `sigma` pixels; beyond the border it goes on as at the border."""
    radius = math.ceil(3 * sigma)
    place = torch.arange(-radius, radius + 1, device=x.device, dtype=x.dtype)
    taps = torch.exp(-0.5 * (place / sigma) ** 2)
    taps = taps / taps.sum()
    x = F.pad(x, [radius] * 4, mode="replicate")
    return F.conv2d(F.conv2d(x, taps[None, None, None]), taps[None, None, :, None])


def pyramid(a: Tensor, b: Tensor, blurs: Sequence[float]) -> Tensor:
    """Mean squared difference of pictures (N, C, H, W) of -1 to 1 under each of the blurs (pixels), their mean."""
    difference = 2 * (grey(a) - grey(b))
    return torch.stack([blurred(difference, sigma).square().mean() for sigma in blurs]).mean()


def structure(a: Tensor, b: Tensor) -> Tensor:
    """1 - SSIM of pictures (N, C, H, W) of -1 to 1, the mean over their halves, quarters ... down to `COARSEST`.

    The full size is left out, where speckle decides; so the scales have equal weights, not Wang's of 2003.
    """
    x, y = grey(a), grey(b)
    found: list[Tensor] = []
    while min(x.shape[2:]) >= 2 * COARSEST or not found:
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
        found.append(_ssim(x, y).mean())
    return 1 - torch.stack(found).mean()


def _ssim(x: Tensor, y: Tensor) -> Tensor:
    mean_x, mean_y = blurred(x, SIGMA), blurred(y, SIGMA)
    var_x, var_y = blurred(x * x, SIGMA) - mean_x**2, blurred(y * y, SIGMA) - mean_y**2
    covariance = blurred(x * y, SIGMA) - mean_x * mean_y
    likeness = (2 * mean_x * mean_y + C1) * (2 * covariance + C2)
    return likeness / ((mean_x**2 + mean_y**2 + C1) * (var_x + var_y + C2))
