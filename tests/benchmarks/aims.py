"""What the project aims at in speed, and whether this machine gets there."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch

from tests.benchmarks import inference
from tests.benchmarks.inference import Plan, Row
from tests.benchmarks.throughput import Phantom
from tests.benchmarks.timing import threads

FAST_FPS, UNET_FPS, UNET_MS, PHANTOM_FPS = 30.0, 2000.0, 2.0, 1000.0
IDLE_SHARE = 0.7  # of its cores' time is what a benchmark gets where nothing else runs, at least
GPU = "on one H200-class GPU"


@dataclass(frozen=True)
class Aim:
    """What was aimed at and what was measured. holds: None where this machine cannot tell."""

    aim: str
    measured: str
    holds: bool | None


def aims(plan: Plan, rows: Iterable[Row], phantoms: Iterable[Phantom]) -> list[Aim]:
    """Every aim; that of `fast` is measured here, on two cores whatever the machine has."""
    cuda = [row for row in rows if row.device == "cuda" and row.method == "unet" and row.skipped is None]
    return [fast_on_two_cores(plan), *unet_on_cuda(cuda), phantom_on_cuda(p for p in phantoms if p.device == "cuda")]


def fast_on_two_cores(plan: Plan) -> Aim:
    """`fast` through the whole door on a loop, at the batch it chooses, on at most two cores."""
    what = f"fast: at least {FAST_FPS:.0f} fps at 256 x 256 on 2 CPU cores, with crop and paste"
    with threads(2) as count:
        one = replace(plan, methods=("fast",), batches=(), precisions=(), compiled=False)
        started, before = time.perf_counter(), time.process_time()
        row = next(row for row in inference.rows(one, torch.device("cpu")) if row.path == "door" or row.skipped)
        got = (time.process_time() - before) / (time.perf_counter() - started) / count
    if row.frames_per_second is None:
        return Aim(what, row.skipped or "", None)
    cores = f"{count} core{'s' if count > 1 else ''}"
    busy = f" (a busy machine: {100 * got:.0f} % of their time)" if got < IDLE_SHARE else ""
    return Aim(what, f"{row.frames_per_second:.1f} fps on {cores}{busy}", row.frames_per_second >= FAST_FPS)


def unet_on_cuda(rows: list[Row]) -> Iterator[Aim]:
    """Batches and single frames of `unet`, each in the precision that is quickest."""
    many = f"unet: at least {UNET_FPS:,.0f} fps in batches {GPU}"
    single = f"unet: a single frame in under {UNET_MS:g} ms {GPU}"
    rates = [(row.frames_per_second or 0.0, row) for row in rows]
    waits = [(row.ms_median or 0.0, row) for row in rows if row.batch == 1]
    if not rates or not waits:
        yield from (not_here(many), not_here(single))
        return
    rate, row = max(rates, key=lambda pair: pair[0])
    yield Aim(many, f"{rate:.0f} fps ({described(row)})", rate >= UNET_FPS)
    wait, row = min(waits, key=lambda pair: pair[0])
    yield Aim(single, f"{wait:.2f} ms ({described(row)})", wait < UNET_MS)


def phantom_on_cuda(phantoms: Iterable[Phantom]) -> Aim:
    """Frames that the phantom draws."""
    what = f"phantom: at least {PHANTOM_FPS:,.0f} fps at 256 x 256 {GPU}"
    rate = max((phantom.frames_per_second for phantom in phantoms), default=None)
    return not_here(what) if rate is None else Aim(what, f"{rate:.0f} fps", rate >= PHANTOM_FPS)


def not_here(aim: str) -> Aim:
    """An aim that needs a GPU where none was measured."""
    return Aim(aim, "not measured: no CUDA", None)


def described(row: Row) -> str:
    """Which row a figure is from."""
    compiled = ", compiled" if row.compiled else ""
    return f"{row.path}, {row.precision}{compiled}, batch {row.batch}, {row.weights}"
