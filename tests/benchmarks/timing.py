"""How the benchmarks measure: time-boxed samples, work counted by torch, and the machine's own matrix peak."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Budget:
    """How long one row may take. seconds: of measuring, after one call to warm up.  most_s: a row whose single call
    takes longer than this is skipped where that can be foreseen, and ends after that call where it cannot."""

    seconds: float = 2.0
    most_s: float = 5.0


@dataclass(frozen=True)
class Times:
    """Durations of single calls in seconds, in the order they were made. At least one."""

    seconds: tuple[float, ...]

    @property
    def rate(self) -> float:
        """Calls per second over the whole measurement."""
        return len(self.seconds) / sum(self.seconds)

    def ms(self, percentile: float) -> float:
        """The percentile (0-100) of a call's duration, milliseconds."""
        return float(np.percentile(self.seconds, percentile)) * 1e3


@dataclass(frozen=True)
class Peak:
    """The best rates of large products on a device, 10^9 FLOP/s. matmul: of n x n matrices, 2 n^3 FLOPs.

    convolution: of 3 x 3 with 128 channels, a matrix product too. Some processors' libraries multiply matrices much
    slower than they convolve, so that the peak, `gflops`, is the better of both.
    """

    device: str
    precision: str
    n: int
    matmul: float
    convolution: float
    gflops: float


def synchronize(place: torch.device) -> None:
    """Wait until the device has done what it was told; nothing to wait for on the CPU."""
    if place.type == "cuda":
        torch.cuda.synchronize(place)


def alone(call: Callable[[], object], place: torch.device) -> float:
    """Seconds from the call to its result on the device: what a person waits for."""
    synchronize(place)
    started = time.perf_counter()
    call()
    synchronize(place)
    return time.perf_counter() - started


def in_a_row(call: Callable[[], object], place: torch.device, count: int) -> list[float]:
    """Seconds of each of `count` calls made without waiting in between: what throughput is made of."""
    if place.type != "cuda":
        marks = [time.perf_counter()]
        for _ in range(count):
            call()
            marks.append(time.perf_counter())
        return [b - a for a, b in pairwise(marks)]
    events = [torch.cuda.Event(enable_timing=True) for _ in range(count + 1)]
    with torch.cuda.device(place):
        events[0].record()
        for event in events[1:]:
            call()
            event.record()
    synchronize(place)
    return [a.elapsed_time(b) / 1e3 for a, b in pairwise(events)]


def sample(call: Callable[[], object], place: torch.device, budget: Budget, latency: bool = False) -> Times:
    """Durations of `call` within the budget, after calls to warm up.

    latency: wait for each result before the next call; otherwise calls follow one another.
    A first call above `budget.most_s` is the only one, and counts.
    """
    first = alone(call, place)
    if first > budget.most_s:
        return Times((first,))
    once = alone(call, place) if first < budget.seconds else first  # the first one may have chosen or compiled
    count = int(min(max(budget.seconds / max(once, 1e-7), 3), 20_000))
    if first + count * once > budget.most_s + budget.seconds:
        count = 1
    if not latency:
        return Times(tuple(in_a_row(call, place, count)))
    return Times(tuple(alone(call, place) for _ in range(count)))


def gmac(call: Callable[[], object]) -> float:
    """10^9 multiply-accumulates of the convolutions and matrix products in one call (torch counts two FLOPs each).

    Only what runs in the calling thread is seen. Additions, activations and resampling are not counted.
    """
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() / 2e9


def matrix_peak(place: torch.device, precision: str, seconds: float) -> Peak:
    """The device's peak in a precision, each product made larger until one takes 50 ms.

    float32 is true float32, without TF32, as the denoisers run it.
    """

    def matmul(n: int) -> tuple[Callable[[], object], float]:
        a, b = (torch.randn(n, n, device=place).to(DTYPES[precision]) for _ in range(2))
        return lambda: torch.mm(a, b), 2.0 * n**3

    def convolution(batch: int) -> tuple[Callable[[], object], float]:
        x, weight = torch.randn(batch, 128, 64, 64, device=place), torch.randn(128, 128, 3, 3, device=place)
        x, weight = (t.to(DTYPES[precision], memory_format=torch.channels_last) for t in (x, weight))
        return lambda: torch.conv2d(x, weight, padding=1), 2.0 * batch * 64 * 64 * 9 * 128 * 128

    large = place.type == "cuda"
    with precision_of(place, "float32"), torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False):
        n, product = _best_rate(matmul, 512, 16384 if large else 4096, place, seconds)
        _, convolved = _best_rate(convolution, 2, 512 if large else 32, place, seconds)
    return Peak(place.type, precision, n, product, convolved, max(product, convolved))


def _best_rate(
    make: Callable[[int], tuple[Callable[[], object], float]], size: int, most: int, place: torch.device, seconds: float
) -> tuple[int, float]:
    """(size, 10^9 FLOP/s): `make(size)` gives a call and its FLOPs; the size is doubled up to `most`."""
    while True:
        call, flops = make(size)
        alone(call, place)
        took = min(alone(call, place) for _ in range(2))
        if took > 0.05 or size >= most:
            break
        size *= 2
    durations = in_a_row(call, place, max(3, int(seconds / took)))
    return size, flops / min(took, *durations) / 1e9


@contextmanager
def precision_of(place: torch.device, precision: str) -> Iterator[None]:
    """The block runs for inference in float32 (true: no TF32) or under autocast to a shorter type."""
    short = precision != "float32"
    flags = torch.backends.cudnn.flags(enabled=True, benchmark=short, deterministic=not short, allow_tf32=False)
    with torch.inference_mode(), flags, torch.autocast(place.type, DTYPES[precision], enabled=short):
        yield


@contextmanager
def threads(count: int) -> Iterator[int]:
    """torch on at most `count` threads as long as the block runs; gives the number."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(count, before))
    try:
        yield min(count, before)
    finally:
        torch.set_num_threads(before)
