"""Training on several devices or cores at once: what `torchrun` starts, one process each.

    torchrun --nproc-per-node 8 -m training denoiser --config RECIPE            one process a GPU
    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 -m training ... --device cpu  one process a core

Each process works on its share of a batch; gradients are averaged, so that all keep the same weights. On an idle CPU
that is no faster than one process with a thread a core; beside other work it is, since no thread waits for another
within an operation.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import torch
from torch import Tensor, distributed


def world() -> int:
    """How many processes train together; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """This process's number, 0 the one that writes files."""
    return int(os.environ.get("RANK", "0"))


def join(device: torch.device) -> torch.device:
    """Meet the other processes; returns the device of this one."""
    if world() == 1:
        return device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return device


def leave() -> None:
    """Part again, once all are done."""
    if distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


def wait() -> None:
    """Until all have come here."""
    if distributed.is_initialized():
        distributed.barrier()


def average(parameters: Iterable[torch.nn.Parameter], number: float) -> float:
    """Replace each gradient by its mean over the processes; returns the mean of `number` over them."""
    if not distributed.is_initialized():
        return number
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients] + [torch.tensor([number], device=gradients[0].device)])
    distributed.all_reduce(flat)
    flat /= world()
    start = 0
    for g in gradients:
        g.copy_(flat[start : start + g.numel()].view_as(g))
        start += g.numel()
    return float(flat[-1])


def average_buffers(buffers: Iterable[Tensor]) -> None:
    """Replace each floating-point buffer (running statistics) by its mean over the processes."""
    if not distributed.is_initialized():
        return
    for buffer in buffers:
        if buffer.is_floating_point():
            distributed.all_reduce(buffer)
            buffer /= world()


def mean(number: float, device: torch.device) -> float:
    """The mean of `number` over the processes."""
    if not distributed.is_initialized():
        return number
    total = torch.tensor([number], device=device, dtype=torch.float64)
    distributed.all_reduce(total)
    return float(total) / world()
