"""The units of the encoder's body: residual units with squeeze and excitation (IR-SE, as in ArcFace's networks).

Deng et al. 2019, "ArcFace" (arXiv:1801.07698); Hu et al. 2018, "Squeeze-and-excitation networks" (arXiv:1709.01507).
Parameters have the names of the public encoders' checkpoints, so that their weights are these.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SQUEEZE = 16  # how many times fewer channels there are between squeeze and excitation


class Excitation(nn.Module):
    """Each channel times a weight in (0, 1) that the means of all channels decide."""

    def __init__(self, width: int) -> None:
        super().__init__()
        between = max(width // SQUEEZE, 1)
        self.fc1 = nn.Conv2d(width, between, 1, bias=False)
        self.fc2 = nn.Conv2d(between, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))))


class Unit(nn.Module):
    """(N, n_in, H, W) -> (N, n_out, H / stride, W / stride): shortcut + two 3 x 3 convolutions, the second strides."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(n_in),
            nn.Conv2d(n_in, n_out, 3, padding=1, bias=False),
            nn.PReLU(n_out),
            nn.Conv2d(n_out, n_out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            Excitation(n_out),
        )
        self.shortcut_layer: nn.Module | None = None  # the pixels themselves, every `stride`-th
        if n_in != n_out:
            self.shortcut_layer = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        s = self.stride
        short = x[:, :, ::s, ::s] if self.shortcut_layer is None else self.shortcut_layer(x)
        return short + self.res_layer(x)
