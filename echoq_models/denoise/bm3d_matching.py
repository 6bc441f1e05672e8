"""Block matching of BM3D: for each reference block the most similar blocks in a window around it.

For one displacement, the distances of all blocks are one box sum over the squared difference of the image and
its shifted self. A distance is symmetric, so half of the displacements give all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from echoq_models.denoise.bm3d_profile import Step


def match(images: Tensor, step: Step, tau: float, keep: Tensor) -> tuple[Tensor, Tensor]:
    """The blocks most similar to each reference block, within its own image.

    images: float32 (B, H, W). Reference blocks have their upper left corners at multiples of N_step.
    tau: largest mean squared difference, in the image's unit squared.
    keep: int64 (R,), which of them are wanted, counted along the rows of references; the same in every image.
    Returns the corners int64 (K, B * R) as (b * (H - N1 + 1) + y) * (W - N1 + 1) + x, nearest first, K at most N2;
    and how many of them are within tau, int64 (B * R,), at least 1, since the first is the reference block itself.
    """
    count, height, width = len(images), *(side - step.N1 + 1 for side in images.shape[1:])  # of the table of corners
    radius = step.N_S // 2
    pairs = _displacements(min(radius, height - 1), min(radius, width - 1))
    rows, columns = -(-height // step.N_step), -(-width // step.N_step)
    distances = torch.full((1 + 2 * len(pairs), count, rows, columns), torch.inf, device=images.device)
    distances[0] = -1  # the reference itself comes first, also where others are equal to it
    slots: Any = distances.numpy() if images.device.type == "cpu" else distances
    for i, ((dy, dx), box) in enumerate(zip(pairs, _boxes(images, pairs, step.N1), strict=True)):
        _sample(box, slots[1 + 2 * i], 0, max(0, -dx), step.N_step)  # reference and what lies at +(dy, dx)
        _sample(box, slots[2 + 2 * i], dy, max(0, dx), step.N_step)  # and what lies at -(dy, dx)
    shifts = [0] + [sign * (dy * width + dx) for dy, dx in pairs for sign in (1, -1)]
    most = min(step.N2, len(shifts))
    flat = distances.flatten(2)
    wanted = flat if len(keep) == flat.shape[2] else flat.index_select(2, keep)
    near, which = wanted.flatten(1).topk(most, 0, largest=False)
    first = torch.arange(count, device=images.device)[:, None, None] * height
    y = torch.arange(0, height, step.N_step, device=images.device)[None, :, None]
    x = torch.arange(0, width, step.N_step, device=images.device)
    corners = ((first + y) * width + x).flatten(1)[:, keep].flatten()
    found = corners + torch.tensor(shifts, device=images.device)[which]
    return found, (near <= tau).sum(dim=0)


def _displacements(down: int, across: int) -> list[tuple[int, int]]:
    """Half of the displacements (dy, dx) within the window: one of each pair {d, -d}, without (0, 0)."""
    return [(dy, dx) for dy in range(down + 1) for dx in range(-across, across + 1) if (dy, dx) > (0, 0)]


def _boxes(images: Tensor, pairs: list[tuple[int, int]], n: int) -> Iterator[Any]:
    """For each (dy, dx): the mean squared difference of the n x n blocks at (y, x) and (y + dy, x + dx).

    Arrays (B, rows, columns), whose first row and column belong to the first y and x for which both blocks lie within
    the image.
    """
    # OpenCV's running sums on the CPU are an order of magnitude faster than torch's pooling.
    on_cpu = images.device.type == "cpu"
    pixels: Any = images.numpy() if on_cpu else images
    height, width = images.shape[1:]
    for dy, dx in pairs:
        left, right = max(0, -dx), max(0, dx)
        a, b = pixels[:, : height - dy, left : width - right], pixels[:, dy:, right : width - left]
        yield _distance_opencv(a, b, n) if on_cpu else _distance_torch(a, b, n)


def _distance_opencv(a: NDArray[np.float32], b: NDArray[np.float32], n: int) -> Sequence[NDArray[np.float32]]:
    return [
        cv2.sqrBoxFilter(cv2.subtract(x, y), cv2.CV_32F, (n, n), None, (0, 0), True, cv2.BORDER_CONSTANT)[
            : x.shape[0] - n + 1, : x.shape[1] - n + 1
        ]
        for x, y in zip(a, b, strict=True)
    ]


def _distance_torch(a: Tensor, b: Tensor, n: int) -> Tensor:
    """One axis after the other: 2 n instead of n^2 values a sum."""
    return F.avg_pool2d(F.avg_pool2d((a - b).square(), (1, n), 1), (n, 1), 1)


def _sample(boxes: Any, slot: Any, top: int, left: int, step: int) -> None:
    """Put the distances of the reference blocks into `slot`; row 0, column 0 of a box is the corner (top, left)."""
    row, column = -(-top // step), -(-left // step)
    for box, into in zip(boxes, slot, strict=True) if isinstance(boxes, list) else [(boxes, slot)]:
        part = box[..., step * row - top :: step, step * column - left :: step]
        into[..., row : row + part.shape[-2], column : column + part.shape[-1]] = part
