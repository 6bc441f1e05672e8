"""The two steps of BM3D on one frame: hard threshold, then the empirical Wiener filter.

Block transforms are linear, so they are done once for each position of the frame, not for each member of a group:
before grouping for the blocks, and after adding up the filtered groups for the estimates. What remains for each
group is the Haar transform along its members and the shrinkage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from echoq_models.denoise.bm3d_matching import match
from echoq_models.denoise.bm3d_profile import Profile, Step
from echoq_models.denoise.bm3d_transforms import Matrix, bior15, dct, haar, kaiser, separable

# Values of a group chunk (blocks x pixels of a block): 1 MiB as float32 stays in a core's cache.
_CHUNK = 2**18
# Distances held at once, which bounds memory on large frames: 256 MiB.
_DISTANCES = 2**26


def denoise(image: Tensor, sigma: float, profile: Profile, mask: Tensor | None = None) -> Tensor:
    """Both steps on float32 (H, W), sides at least 2; the same shape back.

    sigma: noise standard deviation > 0 in the image's unit, of which the full scale is 1.
    mask: bool (H, W), only blocks that touch it are filtered; what no block covers is left as it is.
    """
    basic = hard_threshold(image, sigma, profile, mask)
    return wiener(image, basic, sigma, profile, mask)


def hard_threshold(image: Tensor, sigma: float, profile: Profile, mask: Tensor | None = None) -> Tensor:
    """The basic estimate: coefficients of a group below lambda_3D * sigma are dropped. Arguments of `denoise`."""
    step = profile.hard
    block = separable(bior15(step.N1))
    inverse: Matrix = np.linalg.inv(block).astype(np.float64)
    threshold = profile.lambda_3D * sigma

    def shrink(noisy: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        kept = noisy.abs() > threshold
        kept[0, :, 0] = True  # the group's mean: a flat frame stays as it is, however dark
        return noisy * kept, 1 / kept.sum(dim=(0, 2))

    return _filter(image, image, step, step.tau(sigma), block, inverse, shrink, mask)


def wiener(image: Tensor, basic: Tensor, sigma: float, profile: Profile, mask: Tensor | None = None) -> Tensor:
    """The final estimate: the basic one says how much of each coefficient is signal. Arguments of `denoise`."""
    step = profile.wiener
    block = separable(dct(step.N1))

    def shrink(noisy: Tensor, pilot: Tensor) -> tuple[Tensor, Tensor]:
        power = pilot.square()
        gain = power / (power + sigma * sigma)
        gain[0, :, 0] = 1
        return noisy * gain, 1 / gain.square().sum(dim=(0, 2))

    return _filter(image, basic, step, step.tau(sigma), block, block.T, shrink, mask)


Shrink = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # spectra (K, G, n) of noisy, pilot -> (K, G, n), (G,)


def _filter(
    image: Tensor,
    pilot: Tensor,
    step: Step,
    tau: float,
    forward: Matrix,
    inverse: Matrix,
    shrink: Shrink,
    mask: Tensor | None,
) -> Tensor:
    """Match on the pilot, shrink each group, add the weighted estimates up and divide by the weights."""
    size = image.shape
    bottom, right = (_short(side, step) for side in size)
    alone = pilot is image
    image = _pad(image, bottom, right)
    pilot = image if alone else _pad(pilot, bottom, right)
    mask = torch.ones_like(image) if mask is None else _pad(mask.to(image), bottom, right)
    over, under = torch.zeros_like(image), torch.zeros_like(image)
    window = kaiser(step.N1, step.beta)
    matrices = _Matrices(*(_like(image, m) for m in (forward, window.reshape(-1, 1) * inverse, window)))
    for rows, keep in _strips(mask, step):
        groups = match(pilot[rows], step, tau, keep)
        total, weight = _groups(image[rows], pilot[rows], groups, matrices, shrink)
        strip = image[rows].shape
        spread = (matrices.inverse @ total.T)[None]
        over[rows] += F.fold(spread, strip, step.N1)[0, 0]
        weights = weight.view(1, 1, strip[0] - step.N1 + 1, -1)
        under[rows] += F.conv_transpose2d(weights, matrices.window[None, None])[0, 0]
    estimate = torch.where(under > 0, over / under, image)
    return estimate[: size[0], : size[1]]


@dataclass(frozen=True)
class _Matrices:
    """forward (n, n): block to spectrum.  inverse (n, n): back, times the window.  window (N1, N1)."""

    forward: Tensor
    inverse: Tensor
    window: Tensor


def _groups(
    image: Tensor, pilot: Tensor, groups: tuple[Tensor, Tensor], matrices: _Matrices, shrink: Shrink
) -> tuple[Tensor, Tensor]:
    """The sum of weighted filtered spectra (positions, n) and of the weights (positions,) by block position.

    groups: what `match` found.
    """
    members, count = groups
    same = pilot.data_ptr() == image.data_ptr()
    noisy = _spectra(image, matrices)
    guide = noisy if same else _spectra(pilot, matrices)
    total, weight = torch.zeros_like(noisy), torch.zeros(len(noisy), device=image.device)
    n = noisy.shape[1]
    for size, part in _by_size(members, count):
        along = _like(image, haar(size))
        for chunk in part.split(max(1, _CHUNK // (size * n)), dim=1):
            index = chunk.reshape(-1)
            spectrum = (along @ noisy.index_select(0, index).view(size, -1)).view(size, -1, n)
            other = (
                spectrum if guide is noisy else (along @ guide.index_select(0, index).view(size, -1)).view(size, -1, n)
            )
            kept, w = shrink(spectrum, other)
            kept *= w[:, None]
            total.index_add_(0, index, (along.T @ kept.view(size, -1)).view(-1, n))
            weight.index_add_(0, index, w.repeat(size))
    return total, weight


def _by_size(members: Tensor, count: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Groups cut to a power of two of members (for Haar), together with those of the same size: (size, G)."""
    size = 1
    while size <= len(members):
        these = (count >= size) if 2 * size > len(members) else (count >= size) & (count < 2 * size)
        if these.any():
            yield size, members[:size, these]
        size *= 2


def _spectra(image: Tensor, matrices: _Matrices) -> Tensor:
    """The transformed block at every position of the image: (positions, n)."""
    return F.unfold(image[None, None], matrices.window.shape)[0].T @ matrices.forward.T


def _like(image: Tensor, matrix: Matrix) -> Tensor:
    return torch.as_tensor(matrix, dtype=image.dtype, device=image.device)


def _short(length: int, step: Step) -> int:
    """How many pixels a side lacks for the last reference block to end exactly at the border."""
    return step.N1 - length if length < step.N1 else -(length - step.N1) % step.N_step


def _pad(image: Tensor, bottom: int, right: int) -> Tensor:
    return F.pad(image[None, None], (0, right, 0, bottom), mode="replicate")[0, 0]


def _strips(mask: Tensor, step: Step) -> Iterator[tuple[slice, Tensor]]:
    """Rows of the frame to work on at a time, and which of their reference blocks count there.

    A strip has a margin of one search radius on either side, whose references belong to its neighbours, so the
    cut changes nothing but memory.
    """
    wanted = F.max_pool2d(mask[None, None], step.N1, step.N_step)[0, 0] > 0
    lines, columns = wanted.shape
    margin = -(-(step.N_S // 2) // step.N_step)
    most = max(1, _DISTANCES // (step.N_S**2 * columns) - 2 * margin)
    for first in range(0, lines, most):
        last = min(lines, first + most)
        if not wanted[first:last].any():
            continue
        start, stop = max(0, first - margin), min(lines, last + margin)
        keep = torch.zeros_like(wanted[start:stop])
        keep[first - start : last - start] = wanted[first:last]
        yield slice(start * step.N_step, (stop - 1) * step.N_step + step.N1), keep.flatten().nonzero()[:, 0]
