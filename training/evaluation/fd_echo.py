"""FD-echo: how far apart two sets of echo frames are, by what our frozen left-ventricle network sees in them.

Frechet distance (Heusel et al. 2017, arXiv 1706.08500) and kernel distance (Binkowski et al. 2018, arXiv 1801.01401) as
in FID and KID, on other features: neither compares with figures that were measured on Inception's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from echoq_models.segment import architecture
from echoq_models.segment.architecture import SIDE, LvNetwork
from echoq_models.weights import store


@dataclass(frozen=True)
class Distances:
    """frechet: 0 for the same set, grows without limit.  kernel: about 0 (either sign) for sets of one kind."""

    frechet: float
    kernel: float


def network(device: torch.device, weights: str = "lv") -> LvNetwork:
    """The network whose features are compared, frozen. Raises WeightsError."""
    card, tensors = store.load(store.find(weights, store.OUTPUTS["lv"]))
    net = architecture.build(dict(card.architecture))
    net.load_state_dict(tensors)
    assert isinstance(net, LvNetwork)
    return net.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


@torch.no_grad()
def features(frames: NDArray[np.uint8], net: LvNetwork) -> NDArray[np.float64]:
    """Frames (N, H, W) as vectors (N, D): the mean over the frame of every channel of every level."""
    device = next(net.parameters()).device
    found = []
    for part in torch.from_numpy(frames).split(64):
        deepest, skips = net.encoded(for_lv(part[:, None].to(device).float() / 255))
        found.append(torch.cat([level.mean((2, 3)) for level in (*skips, deepest)], dim=1).double().cpu())
    return torch.cat(found).numpy()


def for_lv(grey: Tensor) -> Tensor:
    """Grey pictures (N, 1, H, W) of 0 to 1 as the left-ventricle network takes them: no neighbours in time, the frame
    three times. What lies outside 0 to 1 is clipped."""
    x = grey.clamp(0, 1)
    x = F.interpolate(x, size=(SIDE, SIDE), mode="bilinear", antialias=x.shape[-1] > SIDE, align_corners=False)
    return x.expand(-1, 3, -1, -1)


def frechet(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """|mean a - mean b|^2 + tr(A + B - 2 (A B)^(1/2)) for the covariances A and B of vectors (N, D) and (M, D)."""
    cov_a, cov_b = (torch.from_numpy(np.cov(x, rowvar=False)) for x in (a, b))
    values, vectors = torch.linalg.eigh(cov_a)
    root: Tensor = vectors * values.clamp_min(0).sqrt() @ vectors.T
    both = torch.linalg.eigvalsh(root @ cov_b @ root).clamp_min(0).sqrt().sum()
    shift = float(((a.mean(0) - b.mean(0)) ** 2).sum())
    return shift + float(cov_a.trace() + cov_b.trace() - 2 * both)


def kernel(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Unbiased squared maximum mean discrepancy under the kernel (x . y / D + 1)^3."""

    def similar(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)

    def within(x: NDArray[np.float64]) -> float:
        k = similar(x, x)
        return float((k.sum() - np.trace(k)) / (len(x) * (len(x) - 1)))

    return within(a) + within(b) - 2 * float(similar(a, b).mean())


def fd_echo(a: NDArray[np.uint8], b: NDArray[np.uint8], net: LvNetwork) -> Distances:
    """Distances of two sets of frames, uint8 (N, H, W) each; sets of different sizes are not comparable with others."""
    x, y = features(a, net), features(b, net)
    return Distances(frechet(x, y), kernel(x, y))
