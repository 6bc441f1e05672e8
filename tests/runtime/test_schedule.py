"""The order of the worker's work: near the playhead first, light before heavy, nobody starves."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from echoq_models.cine.loop import CineLoop
from echoq_models.denoise.base import Cancel, Prepared, Settings, never
from echoq_models.runtime.batching import in_batches
from echoq_models.runtime.jobs import BatchOptions, ExportOptions
from echoq_models.runtime.schedule import Level, Schedule, Turns
from echoq_models.runtime.tasks import BatchJob, DenoiseTask, ExportJob, OpenJob, Outward, SegmentJob

LOOP = CineLoop(np.zeros((4, 8, 8), np.uint8), np.arange(4.0), "npz")


def task(owner: int, method: str, loop_id: int = 1, *, shown: bool = True) -> DenoiseTask:
    new = DenoiseTask.new(owner, loop_id, LOOP, method, Settings(), Path("unused"))
    new.shown = shown
    return new


def test_outward_goes_ahead_before_behind_and_round_the_end() -> None:
    assert list(Outward(7, 2)) == [2, 3, 1, 4, 0, 5, 6]
    assert list(Outward(6, 5)) == [5, 0, 4, 1, 3, 2]
    assert list(Outward(5, 0, done=(0, 1))) == [4, 2, 3]


@given(st.integers(1, 40), st.integers(0, 39), st.sets(st.integers(0, 39)), st.lists(st.integers(0, 39), max_size=8))
def test_every_frame_comes_once_wherever_the_playhead_goes(
    total: int, around: int, done: set[int], jumps: list[int]
) -> None:
    order = Outward(total, around % total, done)
    seen: list[int] = []
    for index in order:
        nearest = min(distance(order.around, other, total) for other in set(range(total)) - done - set(seen))
        assert distance(order.around, index, total) == nearest
        seen.append(index)
        if jumps:
            order.around = jumps.pop() % total
    assert sorted(seen) == sorted(set(range(total)) - done)


def distance(a: int, b: int, total: int) -> int:
    return min((a - b) % total, (b - a) % total)


def test_opens_come_first_and_need_no_torch() -> None:
    schedule = Schedule()
    schedule.tasks.append(task(1, "fast"))
    opening = OpenJob(2, Path("x"))
    schedule.opens.append(opening)
    assert schedule.next(warm=False) is opening
    assert schedule.next(warm=False) is None
    assert schedule.next(warm=True) is schedule.tasks[0]


def test_each_pane_gets_its_first_frame_then_the_light_method_goes_ahead() -> None:
    schedule = Schedule()
    schedule.current = 1
    bm3d, other, unet, fast = (task(n, name) for n, name in enumerate(("bm3d", "mine", "unet", "fast")))
    schedule.tasks = [bm3d, other, unet, fast]
    order = []
    while (work := schedule.next()) is not None:
        assert isinstance(work, DenoiseTask)
        order.append(work.method)
        work.done[np.flatnonzero(~work.done)[0]] = True
    assert order[:4] == ["fast", "unet", "mine", "bm3d"]
    assert order[4:] == ["fast"] * 3 + ["unet"] * 3 + ["mine"] * 3 + ["bm3d"] * 3


def test_the_loop_looked_at_comes_before_others() -> None:
    schedule = Schedule()
    schedule.tasks = [task(1, "fast", loop_id=1), task(2, "bm3d", loop_id=2)]
    schedule.current = 2
    assert schedule.next() is schedule.tasks[1]
    schedule.current = 1
    assert schedule.next() is schedule.tasks[0]


def test_cancelled_and_complete_tasks_are_passed_over() -> None:
    schedule = Schedule()
    schedule.tasks = [task(1, "fast"), task(2, "unet")]
    schedule.tasks[0].cancelled = True
    schedule.tasks[1].done[:] = True
    assert schedule.next() is None


def test_an_export_waits_for_its_frames_and_shares_the_time_with_the_panes() -> None:
    schedule = Schedule()
    pane, own = task(1, "bm3d"), task(2, "unet", shown=False)
    schedule.tasks = [pane, own]
    export = ExportJob(2, 1, Path("x.mp4"), ExportOptions(method="unet"), needs={"unet": own})
    schedule.exports.append(export)
    spent = {id(pane): 0.0, id(own): 0.0}
    for _ in range(40):
        work = schedule.next()
        assert isinstance(work, DenoiseTask)
        cost = 3.0 if work is pane else 1.0
        spent[id(work)] += cost
        schedule.spent(work, cost, Level.IDLE)
    assert spent[id(pane)] == pytest.approx(spent[id(own)], abs=3)
    own.done[:] = True
    assert schedule.next() is export
    assert schedule.next() is pane


def test_a_batch_lets_in_opens_exports_and_half_of_the_time_panes() -> None:
    schedule = Schedule()
    schedule.batches.append(BatchJob(1, Path("in"), Path("out"), BatchOptions()))
    pane = task(2, "fast")
    schedule.tasks.append(pane)
    assert isinstance(schedule.next(), BatchJob)  # from here on it asks between two of its own batches
    pane_s = batch_s = 0.0
    for _ in range(50):
        batch_s += 1.0
        schedule.tasks_or_long.spend(False, 1.0)
        while (work := schedule.next(Level.BATCH)) is not None:
            assert work is pane
            pane_s += 0.3
            schedule.spent(work, 0.3, Level.BATCH)
    assert pane_s == pytest.approx(batch_s, rel=0.05)
    export = ExportJob(3, 1, Path("x.mp4"), ExportOptions(), needs={})
    schedule.exports.append(export)
    schedule.opens.append(OpenJob(4, Path("x")))
    assert isinstance(schedule.next(Level.EXPORT), OpenJob)
    assert schedule.next(Level.EXPORT) is not export  # never one export inside another
    assert schedule.next(Level.BATCH) is export
    schedule.batches.append(BatchJob(5, Path("in"), Path("out"), BatchOptions()))
    pane.cancelled = True
    assert schedule.next(Level.BATCH) is None  # nor a batch inside a batch


def test_a_ventricle_is_looked_for_before_long_jobs_and_within_them_but_leaves_panes_their_half() -> None:
    schedule = Schedule()
    export = ExportJob(1, 1, Path("x.npz"), ExportOptions("original"), needs={})
    batch, wanted, opening = BatchJob(2, Path("in"), Path("out"), BatchOptions()), segmenting(3), OpenJob(4, Path("x"))
    schedule.exports.append(export)
    schedule.batches.append(batch)
    schedule.segments.append(wanted)
    schedule.opens.append(opening)
    assert schedule.next(warm=False) is opening and schedule.next(warm=False) is None
    for level in (Level.IDLE, Level.BATCH, Level.EXPORT):
        assert schedule.next(level) is wanted
        schedule.segments.append(wanted)
    schedule.tasks.append(task(5, "fast"))
    pane = schedule.tasks[0]
    assert schedule.next(Level.SEGMENT) is pane  # nothing long, and no other ventricle
    schedule.spent(pane, 0.1, Level.SEGMENT)
    assert schedule.next(Level.SEGMENT) is None
    schedule.tasks_or_long.spend(False, 0.2)
    assert schedule.next(Level.SEGMENT) is pane


def segmenting(job: int) -> SegmentJob:
    return SegmentJob(job, 1, "lv", None, "auto")


def test_turns_do_not_save_up() -> None:
    turns = Turns()
    turns.spend(True, 100.0)
    assert not turns.first
    turns.even()
    assert turns.first


def test_frames_serve_whatever_device_or_batch_made_them() -> None:
    made = task(1, "bm3d")
    assert made.serves(1, "bm3d", Settings(device="cpu", batch=3))
    assert not made.serves(1, "bm3d", Settings(sigma=12.0))
    assert not made.serves(1, "fast", Settings()) and not made.serves(2, "bm3d", Settings())


class Batches:
    """A denoiser that computes `size` frames at once, which takes `seconds`, and then hands them out."""

    name = title = "batches"

    def __init__(self, size: int, seconds: float) -> None:
        self.size, self.seconds = size, seconds

    def available(self) -> str | None:
        return None

    def prepare(self, loop: CineLoop, settings: Settings) -> Prepared:
        return Prepared(self.name, settings)

    def run(
        self, loop: CineLoop, prepared: Prepared, indices: Iterable[int], cancel: Cancel = never
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        def work(part: list[int]) -> list[NDArray[np.uint8]]:
            time.sleep(self.seconds)
            return [loop.frames[index] + 1 for index in part]

        return in_batches(work, indices, self.size, cancel)


@pytest.mark.parametrize(
    ("size", "seconds", "parts"),
    [
        (2, 0.06, [[0], [1], [3], [2]]),  # nothing that is finished waits for a slow batch
        (1, 0.06, [[0], [1], [3], [2]]),
        (3, 0.0, [[0, 1, 3, 2]]),
    ],
)
def test_a_step_ends_before_a_slow_batch(tmp_path: Path, size: int, seconds: float, parts: list[list[int]]) -> None:
    work = DenoiseTask.new(1, 1, LOOP, "batches", Settings(), tmp_path / "x.frames")
    work.prepare(Batches(size, seconds), LOOP)
    seen = []
    while not work.complete:
        seen.append(work.step(0.05))
    assert seen == parts
    assert (work.frames == 1).all()
