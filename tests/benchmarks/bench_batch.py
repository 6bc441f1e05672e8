"""`python -m tests.benchmarks.bench_batch`: the batch killed 25 times over 200 loops, its memory, its throughput.

Throughput: decoding, denoising and encoding alone, one after the other, and overlapped as a batch does it. On few
cores the steps share what the slowest has for itself, so the CPU time over the cores bounds it too; both are printed.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import numpy as np
import psutil

from echoq_models import cine, resources
from echoq_models.denoise import registry
from echoq_models.denoise.base import Cancel, Denoiser, Prepared, Settings, never
from echoq_models.runtime import device
from echoq_models.runtime.jobs import BatchOptions, ExportOptions, batch, export_loop
from tests.benchmarks import kill_batch
from tests.benchmarks.tables import table


@dataclass(frozen=True)
class Step:
    """Wall and CPU seconds of a step over all loops, its child processes included.

    denoising: of a batch, the seconds in which the denoiser was at work.
    """

    name: str
    wall: float
    cpu: float
    denoising: float = 0.0


class Watched:
    """A denoiser with a stopwatch."""

    def __init__(self, denoiser: Denoiser) -> None:
        self.name, self.title, self.available = denoiser.name, denoiser.title, denoiser.available
        self._denoiser, self.seconds = denoiser, 0.0

    def prepare(self, loop: cine.CineLoop, settings: Settings) -> Prepared:
        started = time.perf_counter()
        prepared = self._denoiser.prepare(loop, settings)
        self.seconds += time.perf_counter() - started
        return prepared

    def run(
        self, loop: cine.CineLoop, prepared: Prepared, indices: Iterable[int], cancel: Cancel = never
    ) -> Iterator[tuple[int, np.ndarray]]:
        running = self._denoiser.run(loop, prepared, indices, cancel)
        while True:
            started = time.perf_counter()
            found = next(running, None)
            self.seconds += time.perf_counter() - started
            if found is None:
                return
            yield found


def timed(name: str, action: Callable[[], object]) -> Step:
    """Measure one step."""
    before, started = _cpu(), time.perf_counter()
    action()
    return Step(name, time.perf_counter() - started, _cpu() - before)


def _cpu() -> float:
    times = psutil.Process().cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def throughput(method: str, suffix: str, count: int, folder: Path) -> list[Step]:
    """The three steps alone, then all as a batch, over copies of the sample loop."""
    loops = folder / "in"
    loops.mkdir(parents=True)
    for number in range(count):
        shutil.copy(resources.sample()[0], loops / f"{number}.dcm")
    registry.preload()
    denoiser = registry.get(method)
    read: list[cine.CineLoop] = []
    frames: list[np.ndarray] = []

    def denoise() -> None:
        for loop in read:
            prepared = denoiser.prepare(loop, Settings())
            frames.append(np.stack([frame for _, frame in denoiser.run(loop, prepared, range(len(loop)))]))

    def encode() -> None:
        for number, (loop, done) in enumerate(zip(read, frames, strict=True)):
            export_loop(loop, folder / f"{number}{suffix}", ExportOptions(method), lambda _, done=done: done)

    def all_at_once() -> None:
        batch(loops, folder / "out", BatchOptions(method, suffix=suffix))

    steps = [
        timed("decode alone", lambda: read.extend(cine.read(path) for path in sorted(loops.iterdir()))),
        timed("denoise alone", denoise),
        timed("encode alone", encode),
    ]
    watched = Watched(denoiser)
    with mock.patch.object(registry, "denoisers", lambda: {method: watched}):
        whole = timed("batch", all_at_once)
    return [*steps, replace(whole, denoising=watched.seconds)]


def print_throughput(method: str, suffix: str, count: int, rounds: int) -> None:
    """Measure and print one format: of each step the best of some rounds, since other programs work too."""
    steps: list[Step] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            round_ = throughput(method, suffix, count, Path(folder))
        steps = [min(pair, key=lambda step: step.wall) for pair in zip(steps or round_, round_, strict=True)]
    *alone, whole = steps
    cores = device.cpu_count()
    slowest = max(step.wall for step in alone)
    bound = max(slowest, sum(step.cpu for step in alone) / cores)
    title = f"{method} to {suffix or 'PNG'}, {count} loops of 30 frames, {cores} cores"
    cells = [(step.name, f"{step.wall:.2f}", f"{step.cpu:.2f}") for step in steps]
    print(table(title, ("step", "wall s", "CPU s"), cells))
    print(
        f"sum of the steps {sum(step.wall for step in alone):.2f} s; slowest step over batch {slowest / whole.wall:.2f}"
    )
    print(f"what slowest step and cores allow, over batch {bound / whole.wall:.2f}")
    print(f"CPU time of the steps over that of the batch {sum(step.cpu for step in alone) / whole.cpu:.2f}")
    print(f"the denoiser was at work for {whole.denoising / whole.wall:.2f} of the batch's time\n", flush=True)


def print_kills(plan: kill_batch.Plan) -> None:
    """Run and print the kill trial."""
    with tempfile.TemporaryDirectory() as folder:
        report = kill_batch.run(plan, Path(folder))
    cells = [
        (f"{n}", f"{k.seconds:.2f}", f"{k.before}", f"{k.after}", f"{k.left}", "yes" if k.encoder_too else "no")
        for n, k in enumerate(report.kills, start=1)
    ]
    head = ("kill", "after s", "results before", "results after", "half-made left", "encoder too")
    print(table(f"{plan.loops} loops, SIGKILL at random moments, {plan.method} to .{plan.format}", head, cells))
    print(f"in the end: {report.outputs} outputs, {len(report.different)} unlike the undisturbed run's,")
    print(f"{len(report.made_twice)} not made exactly once, {len(report.leftovers)} leftovers")
    first, middle, last = report.thirds()
    print(f"resident memory of the undisturbed run by thirds: {first:.0f}, {middle:.0f}, {last:.0f} MiB")
    print(f"({report.seconds:.0f} s from the first result to the end)\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--loops", type=int, default=200, help="loops of the kill trial")
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--method", default="fast")
    parser.add_argument("--copies", type=int, default=20, help="loops of the throughput trial")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of it, of which the best counts")
    chosen = parser.parse_args()
    for suffix in (".mp4", ".npz"):
        print_throughput(chosen.method, suffix, chosen.copies, chosen.rounds)
    print_kills(kill_batch.Plan(chosen.loops, chosen.kills, method=chosen.method))


if __name__ == "__main__":
    main()
