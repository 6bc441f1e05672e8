"""How a batch works: steps overlap, few loops are in memory, time left is honest, figures are those of `measure`."""

from __future__ import annotations

import csv
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echoq_models import cine, regions
from echoq_models.cine import reader
from echoq_models.cine.loop import CineLoop
from echoq_models.denoise import registry
from echoq_models.denoise.base import Cancel, Prepared, Settings, never
from echoq_models.errors import Cancelled
from echoq_models.runtime.batch_channel import ROOM, Channel
from echoq_models.runtime.batch_clock import Clock
from echoq_models.runtime.jobs import BatchEvent, BatchOptions, batch, measure
from tests.runtime.halving import Halving
from tests.shared import fan_frames

HALVE = BatchOptions(method="halving", suffix=".npz", existing="overwrite")


class Slow(Halving):
    """Takes its time, and notes who was asked for and where it ran."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.seconds = seconds
        self.devices: dict[str, str] = {}
        self.threads: set[str] = set()
        self.give = 10**6  # frames before it gives up

    def prepare(self, loop: CineLoop, settings: Settings) -> Prepared:
        assert loop.source is not None
        self.devices[loop.source.name] = settings.device
        return super().prepare(loop, settings)

    def run(
        self, loop: CineLoop, prepared: Prepared, indices: Iterable[int], cancel: Cancel = never
    ) -> Iterator[tuple[int, Any]]:
        for found in super().run(loop, prepared, indices, cancel):
            self.threads.add(threading.current_thread().name)
            time.sleep(self.seconds)
            if found[0] < self.give:
                yield found


@pytest.fixture(autouse=True)
def halving(monkeypatch: pytest.MonkeyPatch) -> Slow:
    denoiser = Slow()
    monkeypatch.setattr(registry, "denoisers", lambda: {"halving": denoiser})
    return denoiser


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make(tmp_path / "in", 5)


def make(top: Path, count: int, frames: int = 6) -> Path:
    top.mkdir()
    for number in range(count):
        content = fan_frames(frames, seed=number)
        np.savez(top / f"{number}.npz", frames=content, times_ms=np.arange(frames) * 40.0)
    return top


def test_the_next_loop_is_read_while_one_is_denoised(folder: Path, tmp_path: Path, halving: Slow) -> None:
    halving.seconds = 0.02
    events: list[BatchEvent] = []
    batch(folder, tmp_path / "out", HALVE, events.append)
    seen = [(event.file, event.stage or event.state) for event in events]
    for this, following in (("0.npz", "1.npz"), ("1.npz", "2.npz")):
        denoising = [place for place, what in enumerate(seen) if what == (this, "denoising")]
        assert denoising[0] < max(seen.index((following, "read")), denoising[0] + 1) < denoising[-1] + 1
    assert halving.threads == {"MainThread"}  # where the worker lets other work in


def test_few_loops_are_in_memory_however_many_there_are(
    tmp_path: Path, halving: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most, real = 0, reader._read

    def watched(path: Path, progress: Any) -> CineLoop:
        nonlocal most
        loop = real(path, progress)
        alive.add(_Token(loop))
        most = max(most, len(alive))
        return loop

    class _Token:
        """Lives as long as the loop's frames do."""

        def __init__(self, loop: CineLoop) -> None:
            weakref.finalize(loop.frames, lambda kept=self: kept)

    monkeypatch.setattr(reader, "_read", watched)
    report = batch(make(tmp_path / "in", 12, 40), tmp_path / "out", HALVE)
    assert len(report.of("done")) == 12
    assert 2 <= most <= 3


def test_a_loop_that_brought_a_worker_down_has_all_for_itself(folder: Path, tmp_path: Path, halving: Slow) -> None:
    halving.seconds = 0.01
    busy: set[str] = set()
    beside: list[set[str]] = []

    def note(event: BatchEvent) -> None:
        (busy.add if event.state == "running" else busy.discard)(event.file)
        if "2.npz" in busy:
            beside.append(busy - {"2.npz"})

    report = batch(folder, tmp_path / "out", replace(HALVE, alone=("2.npz",)), note)
    assert len(report.of("done")) == 5 and beside and not any(beside)
    assert halving.devices == {f"{n}.npz": "cpu" if n == 2 else "auto" for n in range(5)}


def test_a_cancel_takes_effect_within_one_batch(folder: Path, tmp_path: Path, halving: Slow) -> None:
    halving.seconds = 0.02
    asked: list[int] = []

    def cancel() -> bool:
        if halving.asked >= 8:
            asked.append(halving.asked)
        return bool(asked)

    report = batch(folder, tmp_path / "out", HALVE, cancel=cancel)
    assert report.cancelled and halving.asked == asked[0]
    assert [event.file for event in report.of("done")] == ["0.npz"]
    assert not list((tmp_path / "out").glob(".*"))
    again = batch(folder, tmp_path / "out", HALVE)
    assert again.exit_code == 0 and len(again.of("skipped")) == 1


def test_a_denoiser_that_gives_too_few_frames_is_told(folder: Path, tmp_path: Path, halving: Slow) -> None:
    halving.give = 4
    report = batch(folder, tmp_path / "out", HALVE)
    assert {event.reason for event in report.of("failed")} == {
        "The method halving gave back fewer frames than it was given."
    }
    assert len(report.of("failed")) == 5 and not list((tmp_path / "out").glob("*.npz"))


def test_a_lost_gpu_ends_the_process_and_blames_no_loop(
    folder: Path, tmp_path: Path, halving: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(halving, "run", lost)
    with pytest.raises(RuntimeError, match="CUDA error"):
        batch(folder, tmp_path / "out", HALVE)
    monkeypatch.undo()
    monkeypatch.setattr(registry, "denoisers", lambda: {"halving": Slow()})
    assert len(batch(folder, tmp_path / "out", HALVE).of("done")) == 5


def test_gcnr_is_that_of_measure_and_goes_into_table_and_page(
    folder: Path, tmp_path: Path, fan_roi: Path, halving: Slow
) -> None:
    drawn = replace(regions.load(fan_roi), left_out=frozenset({1}))
    regions.save(drawn, folder / "0.roi.json")
    (folder / "1.roi.json").write_text("{", encoding="utf-8")
    (folder / "4.npz").write_bytes(b"PK\x03\x04<b>no loop")
    report = batch(folder, tmp_path / "out", HALVE)
    with report.summary.open(encoding="utf-8", newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    expected = measure(cine.read(folder / "0.npz"), drawn, ["halving"], Settings())["methods"]
    for name in ("original", "halving"):
        assert float(rows["0.npz"][f"gcnr_{name}"]) == pytest.approx(expected[name]["median"], abs=1e-4)
    assert rows["1.npz"]["state"] == "done" and rows["1.npz"]["reason"].startswith("gCNR was not measured: ")
    assert rows["2.npz"]["gcnr_original"] == "" and rows["2.npz"]["frames"] == "6"
    page = report.page.read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 2 * 4
    assert "4 done, 1 failed" in page and "Research use only" in page and "<script" not in page
    assert f"{float(rows['0.npz']['gcnr_halving']):.3f}" in page


def test_side_by_side_keeps_step(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, halving: Slow) -> None:
    other = Slow(0.003)
    monkeypatch.setattr(registry, "denoisers", lambda: {"halving": halving, "other": other})
    options = replace(HALVE, suffix=".gif", side_by_side=("original", "halving", "other"))
    report = batch(folder, tmp_path / "out", options)
    assert len(report.of("done")) == 5 and (halving.asked, other.asked) == (30, 30)
    assert cine.read(tmp_path / "out" / "0.gif").size[1] > 3 * 128


def test_frames_wait_when_the_writer_is_behind() -> None:
    channel = Channel(["m"], 100, {})
    frame = np.zeros((4, 4), np.uint8)
    for _ in range(ROOM):
        assert channel.put("m", frame, lambda: None)

    def look() -> None:
        raise Cancelled("Cancelled.")

    with pytest.raises(Cancelled):
        channel.put("m", frame, look)
    channel.fail(ValueError("the denoiser broke"))
    with pytest.raises(ValueError, match="broke"):
        list(channel.stream("m"))
    channel.close()
    assert not channel.put("m", frame, lambda: None)


class Time:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def clock_of(*sizes: int) -> tuple[Clock, Time]:
    now = Time()
    clock = Clock(now=now)
    for number, size in enumerate(sizes):
        clock.add(number, ".dcm", size)
    return clock, now


def test_time_left_is_counted_in_frames_not_files() -> None:
    clock, now = clock_of(1000, 9000)  # the second is nine times as long
    assert clock.left() is None and clock.share() == 0.0
    clock.read(0, 10)
    clock.start()
    for _ in range(10):
        now.now += 0.5
        clock.step(0)
    assert clock.left() == pytest.approx(45.0, abs=0.1) and clock.share() == pytest.approx(0.1)
    clock.end(0)
    clock.read(1, 30)  # it turns out to be shorter than its bytes said
    assert clock.left() == pytest.approx(15.0, abs=0.1)
    assert clock.share() == pytest.approx(0.25)
    clock.end(1)
    assert clock.left() == 0.0 and clock.share() == 1.0


def test_a_pause_does_not_count_and_speed_is_that_of_late() -> None:
    clock, now = clock_of(1000)
    clock.read(0, 1000)
    clock.start()
    for _ in range(100):
        now.now += 1.0
        clock.step(0)
    now.now += 3600.0
    clock.waited(3600.0)
    now.now += 1.0
    clock.step(0)
    assert clock.left() == pytest.approx(899.0, rel=0.01)
    for _ in range(400):  # ten times as fast from now on
        now.now += 0.1
        clock.step(0)
    assert 49.0 < (clock.left() or 0.0) < 150.0


def test_bytes_a_frame_are_those_of_the_kind() -> None:
    clock = Clock(now=Time())
    for number, (kind, size) in enumerate(((".dcm", 10_000), (".mp4", 100), (".mp4", 200), (".dcm", 20_000))):
        clock.add(number, kind, size)
    clock.read(0, 10)
    clock.read(1, 50)
    for number in (0, 1):
        clock.end(number)
    assert clock._frames_left() == 100 + 20
