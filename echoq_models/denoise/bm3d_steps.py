"""The two steps of BM3D on frames: hard threshold, then the empirical Wiener filter.

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

# Values of a group chunk (blocks x pixels of a block): 1 MiB as float32 stays in a core's cache; a GPU wants much work
# at a time.
_CHUNK = {"cpu": 2**18, "cuda": 2**25}
# Distances held at once, which bounds memory on large frames: 256 MiB on a CPU, 2 GiB on a GPU.
_DISTANCES = {"cpu": 2**26, "cuda": 2**29}
_LEAST = 1e-2  # of the sum of a group's squared gains, nearly 0 where all is black, whose inverse is its weight


def denoise(frames: Tensor, sigma: float, profile: Profile, mask: Tensor | None = None) -> Tensor:
    """Both steps on float32 (B, H, W), sides at least 2, each frame on its own; the same shape back.

    sigma: noise standard deviation > 0 in the frames' unit, of which the full scale is 1.
    mask: bool (H, W), only blocks that touch it are filtered; what no block covers is left as it is.
    A frame of one value holds no noise and comes back as it is.
    """
    basic = hard_threshold(frames, sigma, profile, mask)
    estimate = wiener(frames, basic, sigma, profile, mask)
    constant = (frames == frames[:, :1, :1]).flatten(1).all(dim=1)
    return torch.where(constant[:, None, None], frames, estimate)


def hard_threshold(frames: Tensor, sigma: float, profile: Profile, mask: Tensor | None = None) -> Tensor:
    """The basic estimate: coefficients of a group below lambda_3D * sigma are dropped. Arguments of `denoise`."""
    step = profile.hard
    block = separable(bior15(step.N1))
    inverse: Matrix = np.linalg.inv(block).astype(np.float64)
    threshold = profile.lambda_3D * sigma

    def shrink(noisy: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        kept = noisy.abs() > threshold
        return noisy * kept, 1 / kept.sum(dim=(0, 2)).clamp_min(1)

    return _filter(frames, frames, step, step.tau(sigma), block, inverse, shrink, mask)


def wiener(frames: Tensor, basic: Tensor, sigma: float, profile: Profile, mask: Tensor | None = None) -> Tensor:
    """The final estimate: the basic one says how much of each coefficient is signal. Arguments of `denoise`."""
    step = profile.wiener
    block = separable(dct(step.N1))

    def shrink(noisy: Tensor, pilot: Tensor) -> tuple[Tensor, Tensor]:
        power = pilot.square()
        gain = power / (power + sigma * sigma)
        return noisy * gain, 1 / gain.square().sum(dim=(0, 2)).clamp_min(_LEAST)

    return _filter(frames, basic, step, step.tau(sigma), block, block.T, shrink, mask)


Shrink = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # spectra (K, G, n) of noisy, pilot -> (K, G, n), (G,)


def _filter(
    images: Tensor,
    pilots: Tensor,
    step: Step,
    tau: float,
    forward: Matrix,
    inverse: Matrix,
    shrink: Shrink,
    mask: Tensor | None,
) -> Tensor:
    """Match on the pilots, shrink each group, add the weighted estimates up and divide by the weights."""
    size = images.shape
    bottom, right = (_short(side, step) for side in size[1:])
    alone = pilots is images
    images = _pad(images, bottom, right)
    pilots = images if alone else _pad(pilots, bottom, right)
    mask = torch.ones_like(images[0]) if mask is None else _pad(mask.to(images)[None], bottom, right)[0]
    over, under = torch.zeros_like(images), torch.zeros_like(images)
    window = kaiser(step.N1, step.beta)
    matrices = _Matrices(*(_like(images, m) for m in (forward, window.reshape(-1, 1) * inverse, window)))
    for part, rows, columns, keep in _parts(mask, step, len(images)):
        some, guides = images[part, rows, columns], pilots[part, rows, columns]
        total, weight = _groups(some, some if alone else guides, match(guides, step, tau, keep), matrices, shrink)
        count, height, width = some.shape
        spread = (total @ matrices.inverse.T).view(count, -1, len(matrices.inverse)).transpose(1, 2)
        over[part, rows, columns] += F.fold(spread, (height, width), step.N1)[:, 0]
        weights = weight.view(count, 1, height - step.N1 + 1, -1)
        under[part, rows, columns] += F.conv_transpose2d(weights, matrices.window[None, None])[:, 0]
    estimate = torch.where(under > 0, over / under, images)
    return estimate[:, : size[1], : size[2]]


@dataclass(frozen=True)
class _Matrices:
    """forward (n, n): block to spectrum.  inverse (n, n): back, times the window.  window (N1, N1)."""

    forward: Tensor
    inverse: Tensor
    window: Tensor


def _groups(
    images: Tensor, pilots: Tensor, groups: tuple[Tensor, Tensor], matrices: _Matrices, shrink: Shrink
) -> tuple[Tensor, Tensor]:
    """The sum of weighted filtered spectra (positions, n) and of the weights (positions,), by block position.

    groups: what `match` found. Positions are counted through all images.
    """
    members, count = groups
    noisy = _spectra(images, matrices)
    guide = noisy if pilots is images else _spectra(pilots, matrices)
    total, weight = torch.zeros_like(noisy), torch.zeros(len(noisy), device=images.device)
    n = noisy.shape[1]
    for size, part in _by_size(members, count):
        along = _like(images, haar(size))
        for chunk in part.split(max(1, _CHUNK[images.device.type] // (size * n)), dim=1):
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


def _spectra(images: Tensor, matrices: _Matrices) -> Tensor:
    """The transformed block at every position of every image: (positions, n)."""
    blocks = F.unfold(images[:, None], matrices.window.shape).transpose(1, 2)
    return blocks.reshape(-1, len(matrices.forward)) @ matrices.forward.T


def _like(image: Tensor, matrix: Matrix) -> Tensor:
    return torch.as_tensor(matrix, dtype=image.dtype, device=image.device)


def _short(length: int, step: Step) -> int:
    """How many pixels a side lacks for the last reference block to end exactly at the border."""
    return step.N1 - length if length < step.N1 else -(length - step.N1) % step.N_step


def _pad(images: Tensor, bottom: int, right: int) -> Tensor:
    return F.pad(images[:, None], (0, right, 0, bottom), mode="replicate")[:, 0]


def _parts(mask: Tensor, step: Step, frames: int) -> Iterator[tuple[slice, slice, slice, Tensor]]:
    """Frames, rows and columns to work on at a time, and which of the reference blocks there count.

    Columns without a wanted reference are left out. Every part has a margin of one search radius, whose references
    belong to its neighbours, so that the cut changes nothing but memory and time.
    """
    wanted = F.max_pool2d(mask[None, None], step.N1, step.N_step)[0, 0] > 0
    if not wanted.any():
        return
    margin = -(-(step.N_S // 2) // step.N_step)
    lines, columns = (_span(wanted.any(dim=axis)) for axis in (1, 0))
    left, right = max(0, columns[0] - margin), min(wanted.shape[1], columns[1] + margin)
    room = _DISTANCES[mask.device.type] // (step.N_S**2 * (right - left))  # lines of references
    most = max(1, room - 2 * margin)
    together = max(1, room // min(wanted.shape[0], most + 2 * margin))
    for first in range(lines[0], lines[1], most):
        last = min(lines[1], first + most)
        start, stop = max(0, first - margin), min(wanted.shape[0], last + margin)
        keep = torch.zeros_like(wanted[start:stop, left:right])
        keep[first - start : last - start] = wanted[first:last, left:right]
        chosen = keep.flatten().nonzero()[:, 0]
        rows, across = _pixels(start, stop, step), _pixels(left, right, step)
        if len(chosen):
            for frame in range(0, frames, together):
                yield slice(frame, frame + together), rows, across, chosen


def _span(flags: Tensor) -> tuple[int, int]:
    """The first set flag and the one after the last."""
    places = flags.nonzero()[:, 0]
    return int(places[0]), int(places[-1]) + 1


def _pixels(first: int, last: int, step: Step) -> slice:
    """What reference blocks `first` to `last` (not included) of a row or column cover."""
    return slice(first * step.N_step, (last - 1) * step.N_step + step.N1)
