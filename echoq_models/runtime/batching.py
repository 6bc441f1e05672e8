"""How many frames go through a network at once, and the retreat when memory does not suffice."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from echoq_models.denoise.base import Cancel, never
from echoq_models.errors import EchoQError

if TYPE_CHECKING:
    import torch

Result = TypeVar("Result")


@dataclass(frozen=True)
class BatchLimits:
    """Bounds of the automatic batch size.

    On the CPU a batch has about `cpu_gmac` of work (a fraction of a second on a laptop), since a cancel and a
    jump of the playhead take effect between batches. On CUDA a batch fills `cuda_share` of the free memory.
    """

    cpu_gmac: float = 6.0
    cpu_most: int = 8
    cuda_share: float = 0.4
    cuda_most: int = 64


def batch_size(
    device: torch.device,
    requested: int = 0,
    *,
    gmac_per_frame: float = 1.0,
    bytes_per_frame: int = 256 * 2**20,
    limits: BatchLimits = BatchLimits(),
) -> int:
    """Frames a batch on `device`, at least 1; `requested` is taken as it is when above 0.

    gmac_per_frame: work of one frame in 10^9 multiply-accumulates.  bytes_per_frame: peak memory of one frame.
    """
    if requested > 0:
        return requested
    if device.type != "cuda":
        return max(1, min(limits.cpu_most, int(limits.cpu_gmac / max(gmac_per_frame, 1e-9))))
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(limits.cuda_most, int(limits.cuda_share * free / max(bytes_per_frame, 1))))


def in_batches(
    work: Callable[[list[int]], Sequence[Result]],
    indices: Iterable[int],
    size: int,
    cancel: Cancel = never,
) -> Iterator[tuple[int, Result]]:
    """Yield (index, result) for each index in order, `size` at a time; `indices` is taken lazily.

    work: gives one result for each index of a list. When it runs out of memory the batch is halved, what was
    missing is done again, and the smaller batch stays. Stops before the next batch once `cancel()` is true.
    Raises EchoQError when one frame alone does not fit.
    """
    source = iter(indices)
    while not cancel():
        group = list(islice(source, size))
        if not group:
            return
        done = 0
        while done < len(group):
            part = group[done : done + size]
            results = _try(work, part)
            if results is None:
                if len(part) == 1:
                    raise EchoQError(
                        "There is not enough memory for a single frame; close other programs or choose the CPU."
                    )
                size = max(1, len(part) // 2)
                continue
            yield from zip(part, results, strict=True)
            done += len(part)


def _try(work: Callable[[list[int]], Sequence[Result]], part: list[int]) -> Sequence[Result] | None:
    """The results, None when memory ran out; by then the failed attempt's tensors are let go."""
    try:
        return work(part)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    # Outside the except block, since the traceback holds the tensors of the failed attempt.
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out, on the CPU or the GPU (torch has several ways to say so)."""
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(
        sign in text for sign in ("can't allocate memory", "not enough memory", "out of memory", "_STATUS_ALLOC_FAILED")
    )


def device_is_lost(error: BaseException) -> bool:
    """Whether this is a CUDA error other than full memory: after it every later call in this process fails."""
    return isinstance(error, RuntimeError) and "CUDA error" in str(error) and not is_out_of_memory(error)
