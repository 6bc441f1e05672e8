"""What generator and discriminator are made of: equalised linear maps and the [1, 3, 3, 1] resampling filters.

"Equalised" (Karras et al. 2018, arXiv 1710.10196): weights are kept at unit variance and scaled when they are used, so
that all learn at the same pace.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SQRT2 = math.sqrt(2.0)


def normal(*shape: int, std: float = 1.0) -> Tensor:
    """Normal numbers; none on the meta device, where drawing would load torch's compiler, which installers lack."""
    numbers = torch.empty(shape)
    return numbers if numbers.is_meta else numbers.normal_(0.0, std)


def leaky(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2. Its gain of sqrt 2, which keeps the variance, is left to the caller: what multiplies
    before it multiplies after it."""
    return F.leaky_relu(x, 0.2)


class Linear(nn.Module):
    """y = x (weight gain)^T + bias lr, gain = lr / sqrt(inputs); with `active`, sqrt 2 leaky(y).

    lr: learning-rate multiplier.  bias: value to begin with.
    """

    def __init__(self, n_in: int, n_out: int, *, bias: float = 0.0, lr: float = 1.0, active: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(normal(n_out, n_in, std=1 / lr))
        self.bias = nn.Parameter(torch.full((n_out,), bias / lr))
        self.lr, self.gain, self.active = lr, lr / math.sqrt(n_in), active

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(x, self.weight * self.gain, self.bias * self.lr)
        return leaky(y) * SQRT2 if self.active else y


def _kernel(like: Tensor, taps: tuple[float, ...], gain: float = 1.0) -> Tensor:
    """The separable filter `taps` x `taps` of sum `gain`, for each channel of `like`: (C, 1, k, k)."""
    line = torch.tensor(taps, device=like.device, dtype=like.dtype) / sum(taps)
    return (torch.outer(line, line) * gain).expand(like.shape[1], 1, -1, -1)


FILTER = (1.0, 3.0, 3.0, 1.0)


def blur(x: Tensor, gain: float = 1.0, padding: int = 1) -> Tensor:
    """(N, C, H, W) filtered; H and W change by 2 padding - 3."""
    return F.conv2d(x, _kernel(x, FILTER, gain), padding=padding, groups=x.shape[1])


def upsampled(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, 2 H, 2 W): zeros between, then filtered."""
    return F.conv_transpose2d(x, _kernel(x, FILTER, 4.0), stride=2, padding=1, groups=x.shape[1])


def halved(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, H / 2, W / 2): filtered, then every second pixel.

    [1, 3, 3, 1] is [1, 2, 1] and then a mean of two; in two steps its gradient is five times as fast on a CPU.
    """
    return F.avg_pool2d(F.conv2d(x, _kernel(x, (1.0, 2.0, 1.0)), padding=1, groups=x.shape[1]), 2)
