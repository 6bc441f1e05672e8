"""Frames through a network, so that a frame's result never depends on what goes through beside it.

A convolution may choose another algorithm, and so round otherwise, for another batch size or number of threads.
Therefore frames go one by one on the CPU (where batches are no faster), a small network's always on one thread, and
in batches filled up to one fixed size on CUDA.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from echoq_models.runtime import batching, device

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

# Frames through a network at once on CUDA, always exactly as many; fills a large GPU, fits a small one.
_CUDA_BATCH = 8

Outputs = list[NDArray[np.float32] | None]


def forward(network: nn.Module, inputs: NDArray[np.float32], place: torch.device, *, frame_a_core: bool) -> Outputs:
    """What an evaluated network on `place` gives for inputs float32 (N, C, H, W): its outputs as float32 (N, ...).

    network: returns a tuple of tensors, or None in place of one.  frame_a_core: its operations are too small to be
    shared between cores, so that on the CPU each frame gets one core.
    """
    import torch

    x = torch.from_numpy(inputs)
    if place.type != "cuda":
        return _side_by_side(network, x, place) if frame_a_core else _run(network, x, place, 1)
    # No TF32: its 10-bit mantissa would leave the one grey level that CUDA may differ from the CPU.
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        try:
            return _run(network, x, place, _CUDA_BATCH)
        except Exception as error:
            if not batching.is_out_of_memory(error):
                raise
        torch.cuda.empty_cache()
        return _run(network, x, place, 1)


def _side_by_side(network: nn.Module, x: Tensor, place: torch.device) -> Outputs:
    """`_run` frame by frame, each on a core of its own. x: (N, C, H, W)."""
    workers = min(device.thread_count(), len(x))

    def one(frame: Tensor) -> Outputs:
        return _run(network, frame, place, 1)

    with device.one_thread_each(), ThreadPoolExecutor(workers) as pool:
        return [_joined(parts) for parts in zip(*pool.map(one, x.split(1)), strict=True)]


def _run(network: nn.Module, x: Tensor, place: torch.device, size: int) -> Outputs:
    """`forward` in chunks of exactly `size` frames, the last one filled up with black."""
    import torch

    chunks: list[Outputs] = []
    with torch.inference_mode():
        for chunk in x.split(size):
            full = torch.zeros(size, *x.shape[1:])
            full[: len(chunk)] = chunk
            given = network(full.to(place, memory_format=torch.channels_last))
            chunks.append([None if each is None else each[: len(chunk)].float().cpu().numpy() for each in given])
    return [_joined(parts) for parts in zip(*chunks, strict=True)]


def _joined(parts: tuple[NDArray[np.float32] | None, ...]) -> NDArray[np.float32] | None:
    arrays = [part for part in parts if part is not None]
    return np.concatenate(arrays) if arrays else None


def batch_of(place: torch.device, gmac_per_frame: float, *, frame_a_core: bool, requested: int = 0) -> int:
    """Frames a batch: `batching.batch_size`, and no core idles at the end of one where each has a frame of its own."""
    size = batching.batch_size(place, requested, gmac_per_frame=gmac_per_frame)
    if requested == 0 and place.type == "cpu" and frame_a_core:
        cores = device.thread_count()
        size = -(-size // cores) * cores
    return size


def ready(network: nn.Module, place: torch.device) -> nn.Module:
    """The network on `place`, in evaluation mode and in the form in which it is fastest."""
    import torch

    network.requires_grad_(False).eval()
    fold_norms(network)
    if place.type == "cpu":
        _keep_freed_memory()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's types lack this form
    return network.to(place)


def fold_norms(network: nn.Module) -> None:
    """Work each batch norm `normN` of an evaluated network into the `convN` before it: a tenth of the time of `fast`.

    Changes the result by rounding alone, about 2e-4 grey levels.
    """
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for block in list(network.modules()):
        for name, norm in list(block.named_children()):
            if isinstance(norm, nn.BatchNorm2d) and name.startswith("norm"):
                before = name.replace("norm", "conv")
                setattr(block, before, fuse_conv_bn_eval(getattr(block, before), norm).requires_grad_(False))
                setattr(block, name, nn.Identity())


def _keep_freed_memory() -> None:
    """Let the C library keep the memory that one frame frees for the next one: an eighth of the time of `fast`.

    glibc gives freed memory back to the system above a limit, and the next frame pays for each of its pages anew.
    Freeing one block raises the limit to twice its size (mallopt(3), M_MMAP_THRESHOLD; 32 MiB is its largest). The
    block is never written to, so it takes no memory. Elsewhere this does nothing.
    """
    import torch

    torch.empty(31 * 2**20, dtype=torch.uint8)
