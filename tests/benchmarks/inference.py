"""Inference: frames per second and milliseconds of every method, alone and through the whole door.

A method alone: the network (or BM3D's filter) on 256 x 256 patches that are already on the device. Through the door:
the registry's denoiser on a loop of 256 x 256, with crop, network, and paste.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from echoq_models.cine.loop import CineLoop
from echoq_models.denoise import architectures, bm3d_steps, carry, registry
from echoq_models.denoise.base import Denoiser, Prepared, Settings
from echoq_models.denoise.bm3d import Bm3dState, bm3d
from echoq_models.denoise.bm3d_profile import NORMAL
from echoq_models.denoise.network import NetworkState
from echoq_models.runtime import batching
from echoq_models.weights import store
from tests.benchmarks.timing import Budget, Times, gmac, precision_of, sample
from tests.shared import fan_frames

# The shape of a network that may have no weights, as its recipe has it.
UNTRAINED = {"unet": {"family": "unet", "channels_out": 2, "head": "gain"}}


@dataclass(frozen=True)
class Plan:
    """What is measured. methods: names, () for every registered one.  batches: frames a call.
    precisions: of networks alone; the door chooses its own.  compiled: also networks under torch.compile, in the
    short types, on CUDA where it helps."""

    methods: tuple[str, ...] = ()
    batches: tuple[int, ...] = (1, 8, 32)
    precisions: tuple[str, ...] = ("float32", "bfloat16")
    compiled: bool = False
    frames: int = 64
    budget: Budget = field(default_factory=Budget)


@dataclass(frozen=True)
class Row:
    """One measurement. device: "cpu" or "cuda".  path: "alone" or "door".  batch: frames a call; own_batch: it is the
    one that the method chooses for this device.  ms_median, ms_p99: of one call.  gmac_per_frame: 10^9
    multiply-accumulates of convolutions and matrix products.  gflops: 2 gmac_per_frame frames_per_second.
    share_of_peak: of the device's measured matrix rate in that precision.  skipped: why there are no figures."""

    method: str
    weights: str
    path: str
    device: str
    precision: str
    compiled: bool
    batch: int
    own_batch: bool = False
    runs: int = 0
    frames_per_second: float | None = None
    ms_median: float | None = None
    ms_p99: float | None = None
    gmac_per_frame: float | None = None
    gflops: float | None = None
    share_of_peak: float | None = None
    skipped: str | None = None


def measured(row: Row, times: Times, work: float | None) -> Row:
    """The row with its figures. work: 10^9 multiply-accumulates a frame, None where they cannot be counted."""
    rate = times.rate * row.batch
    return replace(
        row,
        runs=len(times.seconds),
        frames_per_second=rate,
        ms_median=times.ms(50),
        ms_p99=times.ms(99),
        gmac_per_frame=work,
        gflops=None if work is None else 2 * work * rate,
    )


def rows(plan: Plan, place: torch.device) -> Iterator[Row]:
    """Every row of one device, as it is measured."""
    loop = CineLoop(fan_frames(plan.frames, 256, 256), np.arange(plan.frames) * 20.0, "npz")
    for name, denoiser in registry.denoisers().items():
        if plan.methods and name not in plan.methods:
            continue
        with some_weights(denoiser) as weights:
            blank = Row(name, weights, "alone", place.type, "float32", False, 1)
            if missing := denoiser.available():
                yield replace(blank, skipped=missing)
                continue
            prepared = denoiser.prepare(loop, Settings(device=place.type))
            work = None
            if isinstance(prepared.state, NetworkState):
                work = network_work(prepared.state.network, place)
                yield from network_rows(plan, blank, prepared.state.network, loop, work, place)
            elif isinstance(prepared.state, Bm3dState):
                work = bm3d_work(prepared.state, loop)
                yield from bm3d_rows(plan, blank, prepared.state, loop, work, place)
            yield from door_rows(plan, replace(blank, path="door"), denoiser, loop, work, place)


@contextmanager
def some_weights(denoiser: Denoiser) -> Iterator[str]:
    """Says which weights a method has; one that has none gets random ones of its own shape for as long."""
    if denoiser.available() is None:
        found = {entry.name: "imported" if entry.user else "shipped" for entry in store.list_weights()}
        yield found.get(denoiser.name, "none needed")
        return
    if denoiser.name not in UNTRAINED:
        yield "missing"
        return
    before = os.environ.get("ECHOQ_WEIGHTS")
    with tempfile.TemporaryDirectory() as folder:
        architecture = UNTRAINED[denoiser.name]
        card = store.Card(denoiser.name, "Random weights", architecture, "gain")
        tensors = architectures.build(dict(architecture)).state_dict()
        store.save(Path(folder) / f"{denoiser.name}.safetensors", tensors, card)
        os.environ["ECHOQ_WEIGHTS"] = folder
        try:
            yield "random weights"
        finally:
            if before is None:
                del os.environ["ECHOQ_WEIGHTS"]
            else:
                os.environ["ECHOQ_WEIGHTS"] = before


def patches(loop: CineLoop, batch: int, place: torch.device) -> torch.Tensor:
    """float32 (batch, 1, 256, 256) in [0, 1], channels last, on the device: frames of the loop over again."""
    index = list(islice(cycle(range(len(loop))), batch))
    x = torch.from_numpy(np.asarray(loop.frames)[index])[:, None].float() / 255
    return x.to(place, memory_format=torch.channels_last)


def network_work(network: nn.Module, place: torch.device) -> float:
    """10^9 multiply-accumulates of one frame of 256 x 256."""
    x = torch.zeros(1, 1, 256, 256, device=place)
    with torch.inference_mode():
        return gmac(lambda: network(x))


def bm3d_work(state: Bm3dState, loop: CineLoop) -> float:
    """10^9 multiply-accumulates of the matrix products in BM3D of one frame; its block matching is not counted."""
    frame = torch.from_numpy(carry.take(loop, [0], state.sector)[1]).to(state.device)
    mask = torch.from_numpy(state.patch_mask).to(state.device)
    with torch.inference_mode():
        return gmac(lambda: bm3d_steps.denoise(frame, state.sigma, NORMAL, mask))


def network_rows(
    plan: Plan, blank: Row, network: nn.Module, loop: CineLoop, work: float, place: torch.device
) -> Iterator[Row]:
    """The network alone, in every precision and batch; `network` is in evaluation mode, channels last, on `place`."""
    variants: list[tuple[bool, Any, str]] = [(False, network, precision) for precision in plan.precisions]
    if plan.compiled:
        quick = torch.compile(network, mode="reduce-overhead", dynamic=False)
        variants += [(True, quick, precision) for precision in plan.precisions if precision != "float32"]
    for compiled, module, precision in variants:
        shape = replace(blank, precision=precision, compiled=compiled)

        def call_for(batch: int, module: Any = module, shape: Row = shape) -> Callable[[], object]:
            x = patches(loop, batch, place)

            def call() -> None:
                with precision_of(place, shape.precision):
                    module(x)

            for _ in range(3 * shape.compiled):  # compiling, and recording of a CUDA graph, is no part of a row
                call()
            return call

        yield from by_batch(plan, shape, plan.batches, call_for, work, place)


def bm3d_rows(
    plan: Plan, blank: Row, state: Bm3dState, loop: CineLoop, work: float, place: torch.device
) -> Iterator[Row]:
    """BM3D's filter alone, on patches of the loop."""

    def call_for(batch: int) -> Callable[[], object]:
        images = carry.take(loop, list(islice(cycle(range(len(loop))), batch)), state.sector)[1]
        return lambda: bm3d(images, state.sigma, mask=state.patch_mask, device=place.type)

    yield from by_batch(plan, blank, plan.batches, call_for, work, place)


def door_rows(
    plan: Plan, blank: Row, denoiser: Denoiser, loop: CineLoop, work: float | None, place: torch.device
) -> Iterator[Row]:
    """The whole denoiser on a loop, at every batch and at the one it chooses itself."""
    chosen = denoiser.prepare(loop, Settings(device=place.type))
    own = getattr(chosen.state, "batch", 0)
    batches = tuple(sorted({*plan.batches, own} - {0}))
    made: dict[int, Prepared] = {}

    def call_for(batch: int) -> Callable[[], object]:
        made[batch] = denoiser.prepare(loop, Settings(device=place.type, batch=batch))
        return door_call(denoiser, loop, made[batch], batch)

    for row in by_batch(plan, blank, batches, call_for, work, place):
        yield replace(row, own_batch=row.batch == own)


def door_call(denoiser: Denoiser, loop: CineLoop, prepared: Prepared, batch: int) -> Callable[[], object]:
    """A call that denoises the next `batch` frames of the loop, round and round. The loop is longer than what a network
    keeps of it for its neighbours, so that no frame is had for nothing."""
    frames = cycle(range(len(loop)))
    return lambda: list(denoiser.run(loop, prepared, list(islice(frames, batch))))


def by_batch(
    plan: Plan,
    blank: Row,
    batches: tuple[int, ...],
    call_for: Callable[[int], Callable[[], object]],
    work: float | None,
    place: torch.device,
) -> Iterator[Row]:
    """A row for each batch; one that would take too long, judged by the batch before, or does not fit is skipped."""
    per_frame = 0.0
    for batch in batches:
        row = replace(blank, batch=batch)
        if per_frame * batch > plan.budget.most_s:
            yield replace(row, skipped=f"about {per_frame * batch:.0f} s a call")
            continue
        try:
            times = sample(call_for(batch), place, plan.budget, latency=batch == 1)
        except Exception as error:
            if not (batching.is_out_of_memory(error) or row.compiled):
                raise
            why = "does not fit into memory" if batching.is_out_of_memory(error) else "torch.compile cannot run here"
            yield replace(row, skipped=why)
            continue
        per_frame = times.ms(50) / 1e3 / batch
        yield measured(row, times, work)
