"""What goes wrong around a batch: a clear sentence, whole files only, and a run that can be taken up again."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echoq_models.cine import picture_writer
from echoq_models.denoise import registry
from echoq_models.errors import OutputError
from echoq_models.runtime.batch import PARTS
from echoq_models.runtime.jobs import BatchEvent, BatchOptions, BatchReport, batch
from echoq_models.runtime.manifest import Manifest
from tests.runtime.halving import Halving
from tests.shared import fan_frames

HALVE = BatchOptions(method="halving", suffix=".npz", existing="overwrite")
FILES = ("a.npz", "b.npz", "c.npz", "d.npz")


@pytest.fixture(autouse=True)
def halving(monkeypatch: pytest.MonkeyPatch) -> Halving:
    denoiser = Halving()
    monkeypatch.setattr(registry, "denoisers", lambda: {"halving": denoiser})
    return denoiser


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    top = tmp_path / "in"
    top.mkdir()
    for number, name in enumerate(FILES):
        np.savez(top / name, frames=fan_frames(6, seed=number), times_ms=np.arange(6) * 40.0)
    return top


def left(out: Path) -> list[str]:
    """Everything in the folder but the batch's own files."""
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if not path.name.startswith("echoq-"))


def stopped(report: BatchReport, out: Path, *words: str) -> None:
    """It stopped with one sentence, and every file that is there is whole."""
    assert report.stopped is not None and len(report.stopped.splitlines()) == 1
    assert all(word in report.stopped for word in words), report.stopped
    assert not report.cancelled and not report.of("failed")
    for name in left(out) if out.is_dir() else ():
        assert len(np.load(out / name)["frames"]) == 6


def goes_on(folder: Path, out: Path, options: BatchOptions, before: BatchReport) -> None:
    """The rest is done, and only the rest."""
    report = batch(folder, out, options)
    assert report.exit_code == 0 and len(report.of("done")) + len(report.of("skipped")) == len(FILES)
    assert len(report.of("skipped")) >= len(before.of("done"))


def test_a_full_disk_stops_the_run_at_a_real_write(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    real, calls = picture_writer.NpzSink.add, []

    def full(self: Any, frame: Any) -> None:
        calls.append(frame)
        if len(calls) > 8:  # in the second loop
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(self, frame)

    monkeypatch.setattr(picture_writer.NpzSink, "add", full)
    report = batch(folder, out, HALVE)
    stopped(report, out, str(out), "the disk is full", "goes on where it stopped")
    assert report.exit_code == 5 and [event.file for event in report.of("done")] == ["a.npz"]
    monkeypatch.undo()
    monkeypatch.setattr(registry, "denoisers", lambda: {"halving": Halving()})
    goes_on(folder, out, HALVE, report)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 128 KiB, where this user may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(place)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("suffix", [".mp4", ".npz", ""])
def test_a_disk_that_is_really_full(folder: Path, small_disk: Path, suffix: str) -> None:
    """ffmpeg meets it as another process does, the manifest as a database does."""
    for number in range(5, 30):
        shutil.copy(folder / "a.npz", folder / f"e{number}.npz")
    out = small_disk / "out"
    options = replace(HALVE, suffix=suffix)
    report = batch(folder, out, options)
    assert report.stopped is not None and "the disk is full" in report.stopped, report
    assert not report.of("failed") and len(report.files) < 29
    assert not list(out.glob(".*")), "leftovers on the full disk"
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    again = batch(folder, out, options)
    assert again.exit_code == 0 and len(again.of("done")) + len(again.of("skipped")) == 29
    assert len(again.of("skipped")) >= len(report.of("done"))


def test_a_read_only_target_is_said_before_any_work(folder: Path, small_disk: Path, halving: Halving) -> None:
    (small_disk / "out").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(OutputError, match=r"out: the folder cannot be made or written \(Read-only file system\)"):
        batch(folder, small_disk / "out", HALVE)
    assert halving.asked == 0


def test_a_target_that_turns_read_only(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    real = picture_writer.NpzSink.add

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def add(self: Any, frame: Any) -> None:
        if (out / "a.npz").exists():
            monkeypatch.setattr(Path, "touch", refuse)
            refuse()
        real(self, frame)

    monkeypatch.setattr(picture_writer.NpzSink, "add", add)
    report = batch(folder, out, HALVE)
    stopped(report, out, "nothing can be written there any more (Read-only file system)")
    monkeypatch.undo()
    monkeypatch.setattr(registry, "denoisers", lambda: {"halving": Halving()})
    goes_on(folder, out, HALVE, report)


def test_a_target_that_vanishes(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def vanish(event: BatchEvent) -> None:
        if event.file == "b.npz" and event.done_frames == 2 and out.exists():
            out.rename(tmp_path / "elsewhere")

    report = batch(folder, out, HALVE, vanish)
    stopped(report, out, str(out), "gone", "goes on where it stopped")
    assert report.exit_code == 5 and not out.exists()
    (tmp_path / "elsewhere").rename(out)
    goes_on(folder, out, HALVE, report)
    assert left(out) == list(FILES)


@pytest.mark.parametrize("unmounted", [False, True])
def test_an_input_that_vanishes(folder: Path, tmp_path: Path, unmounted: bool) -> None:
    """Its folder is gone, or empty as a drive's place is without the drive."""
    out = tmp_path / "out"

    def vanish(event: BatchEvent) -> None:
        if event.file == "a.npz" and event.state == "done" and folder.exists():
            folder.rename(tmp_path / "elsewhere")
            if unmounted:
                folder.mkdir()

    for number in range(10):
        shutil.copy(folder / "a.npz", folder / f"e{number}.npz")
    report = batch(folder, out, HALVE, vanish)
    stopped(report, out, str(folder), "the folder of loops is gone")
    assert report.exit_code == 3
    if unmounted:
        folder.rmdir()
    (tmp_path / "elsewhere").rename(folder)
    again = batch(folder, out, HALVE)
    assert again.exit_code == 0 and len(again.of("skipped")) >= len(report.of("done"))


def test_one_loop_that_vanishes_is_that_loops_matter(folder: Path, tmp_path: Path) -> None:
    def vanish(event: BatchEvent) -> None:
        if event.file == "a.npz" and event.stage == "reading":
            (folder / "d.npz").unlink()

    report = batch(folder, tmp_path / "out", HALVE, vanish)
    assert [event.file for event in report.of("failed")] == ["d.npz"] and report.exit_code == 4
    assert report.of("failed")[0].reason == "d.npz: cannot be read (No such file or directory)."


def test_a_manifest_that_cannot_be_written_stops_the_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, out = Manifest.begin, tmp_path / "out"

    def begin(self: Manifest, output: str) -> None:
        if output == "c.npz":
            self._data.close()  # as SQLite fails: an sqlite3.Error
        real(self, output)

    monkeypatch.setattr(Manifest, "begin", begin)
    report = batch(folder, out, HALVE)
    assert report.stopped is not None and "the list of what is done cannot be written" in report.stopped
    monkeypatch.setattr(Manifest, "begin", real)
    goes_on(folder, out, HALVE, report)
    assert not (out / PARTS).exists()


def test_memory_that_runs_out_is_one_loops_matter(
    folder: Path, tmp_path: Path, halving: Halving, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = halving.prepare

    def greedy(loop: Any, settings: Any) -> Any:
        if loop.source.name == "b.npz":
            raise MemoryError
        return prepare(loop, settings)

    monkeypatch.setattr(halving, "prepare", greedy)
    report = batch(folder, tmp_path / "out", HALVE)
    assert [event.reason for event in report.of("failed")] == ["b.npz: this loop needs more memory than there is"]
    assert len(report.of("done")) == 3
