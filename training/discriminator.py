"""The discriminator that the generator is trained against: StyleGAN2's residual one (Karras et al. 2020)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from echoq_models.generative.layers import SQRT2, Linear, blur, halved, leaky
from echoq_models.generative.stylegan2 import GeneratorConfig


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Channels at a side: channel_base / side, at most channel_max.  group: pictures whose spread is compared."""

    channel_base: int = 16384
    channel_max: int = 512
    group: int = 4


class _Conv(nn.Module):
    """k x k convolution with equalised weights, bias and sqrt 2 leaky; `gain` on top."""

    def __init__(self, n_in: int, n_out: int, size: int, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_out, n_in, size, size))
        self.bias = nn.Parameter(torch.zeros(n_out))
        self.scale, self.gain = 1 / (size * math.sqrt(n_in)), SQRT2 * gain

    def forward(self, x: Tensor, stride: int = 1) -> Tensor:
        padding = self.weight.shape[-1] // 2 if stride == 1 else 0
        return leaky(
            F.conv2d(x, self.weight * (self.scale * self.gain), self.bias * self.gain, stride=stride, padding=padding)
        )


class _Block(nn.Module):
    """Two convolutions beside a plain one, to half the side."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv0 = _Conv(n_in, n_in, 3)
        self.conv1 = _Conv(n_in, n_out, 3, gain=math.sqrt(0.5))
        self.skip = nn.Parameter(torch.randn(n_out, n_in, 1, 1))
        self.scale = math.sqrt(0.5 / n_in)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(blur(self.conv0(x), padding=2), stride=2)
        return y + F.conv2d(halved(x), self.skip * self.scale)


class Discriminator(nn.Module):
    """Pictures float32 (N, image_channels, side, side), -1 to 1 -> logits float32 (N,), high for what looks real."""

    def __init__(self, picture: GeneratorConfig, config: DiscriminatorConfig) -> None:
        super().__init__()
        sides = picture.sides[::-1]
        widths = [min(config.channel_base // side, config.channel_max) for side in sides]
        self.group = config.group
        self.first = _Conv(picture.image_channels, widths[0], 1)
        self.blocks = nn.ModuleList(_Block(a, b) for a, b in pairwise(widths))
        self.conv = _Conv(widths[-1] + 1, widths[-1], 3)
        self.inner = Linear(widths[-1] * 16, widths[-1], active=True)
        self.outer = Linear(widths[-1], 1)

    def features(self, pictures: Tensor) -> list[Tensor]:
        """What each block makes of the pictures, (N, C, H, W) each, from half the side down to 4."""
        x = self.first(pictures.contiguous(memory_format=torch.channels_last))
        found = []
        for block in self.blocks:
            x = block(x)
            found.append(x)
        return found

    def forward(self, pictures: Tensor) -> Tensor:
        x = self.features(pictures)[-1]
        x = self.conv(torch.cat([x, _spread(x, self.group)], dim=1))
        return self.outer(self.inner(x.flatten(1)))[:, 0].float()


def _spread(x: Tensor, group: int) -> Tensor:
    """How much the pictures of a group differ: mean over everything of the standard deviation within the group,
    (N, 1, H, W), so that a generator that always draws the same is found out (Karras et al. 2018)."""
    size, _, height, width = x.shape
    group = max(g for g in range(1, min(group, size) + 1) if size % g == 0)
    y = x.float().reshape(group, size // group, -1)
    y = (y.var(0, correction=0) + 1e-8).sqrt().mean(1)  # (groups,)
    return y.repeat(group)[:, None, None, None].expand(-1, 1, height, width).to(x.dtype)
