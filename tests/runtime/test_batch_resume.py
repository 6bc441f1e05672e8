"""A batch taken up again: what is done is left, what changed is made anew, and nothing else is touched."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from echoq_models.cine import reader
from echoq_models.denoise import registry
from echoq_models.denoise.base import Settings
from echoq_models.errors import OutputError
from echoq_models.runtime import batch as batches
from echoq_models.runtime.batch import PAGE, PARTS, SUMMARY
from echoq_models.runtime.batch_types import DONE_ALREADY, EXISTS
from echoq_models.runtime.jobs import BatchOptions, BatchReport, batch
from echoq_models.runtime.manifest import NAME, Manifest
from echoq_models.weights import store
from tests.runtime.halving import Halving
from tests.shared import fan_frames

HALVE = BatchOptions(method="halving", suffix=".npz", existing="overwrite")


@pytest.fixture(autouse=True)
def halving(monkeypatch: pytest.MonkeyPatch) -> Halving:
    denoiser = Halving()
    monkeypatch.setattr(registry, "denoisers", lambda: {"halving": denoiser})
    return denoiser


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three loops of three frames, a minute old; "twin" has the content of "a"."""
    top = tmp_path / "in"
    top.mkdir()
    for number, name in enumerate(("a", "b")):
        frames = fan_frames(3, seed=number)
        np.savez(top / f"{name}.npz", frames=frames, times_ms=np.arange(3) * 40.0)
    shutil.copy(top / "a.npz", top / "twin.npz")
    return top


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file counts as so new that its times might not tell a change."""
    monkeypatch.setattr("echoq_models.runtime.manifest.RACY_NS", -1)


def states(report: BatchReport) -> dict[str, str]:
    return {event.file: event.state for event in report.files}


def table(out: Path, columns: str = "file, made") -> dict[Any, Any]:
    with closing(sqlite3.connect(out / NAME)) as data:
        return dict(data.execute(f"SELECT {columns} FROM loops WHERE number IS NOT NULL"))


def visible(out: Path) -> list[str]:
    """Every file and folder but the batch's own three."""
    return sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.name not in (NAME, SUMMARY, PAGE))


def test_what_is_done_is_not_read_again(
    folder: Path, out: Path, halving: Halving, old: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = batch(folder, out, HALVE)
    assert states(first) == dict.fromkeys(("a.npz", "b.npz", "twin.npz"), "done")
    before = {name: (out / name).stat().st_mtime_ns for name in visible(out)}
    assert len({(out / name).read_bytes() for name in ("a.npz", "twin.npz")}) == 1  # both were made
    opened: list[Path] = []
    real = Path.open

    def spy(self: Path, *args: Any, **kwargs: Any) -> Any:
        opened.append(self)
        return real(self, *args, **kwargs)

    asked = halving.asked
    monkeypatch.setattr(Path, "open", spy)
    second = batch(folder, out, HALVE)
    monkeypatch.undo()
    assert {event.reason for event in second.of("skipped")} == {DONE_ALREADY} and len(second.of("skipped")) == 3
    assert halving.asked == asked and not [each for each in opened if each.suffix == ".npz"]
    assert {name: (out / name).stat().st_mtime_ns for name in visible(out)} == before
    assert second.exit_code == 0 and second.files[0].seconds_left == 0 and second.files[-1].share == 1
    assert set(table(out).values()) == {1}


def test_times_alone_do_not_make_it_anew_but_content_does(folder: Path, out: Path, halving: Halving, old: None) -> None:
    batch(folder, out, HALVE)
    os.utime(folder / "a.npz")  # touched only: it is read for its checksum, not denoised
    os.utime(out / "b.npz")
    shutil.copy(folder / "b.npz", folder / "twin.npz")
    asked = halving.asked
    report = batch(folder, out, HALVE)
    assert states(report) == {"a.npz": "skipped", "b.npz": "skipped", "twin.npz": "done"}
    assert halving.asked == asked + 3
    assert table(out) == {"a.npz": 1, "b.npz": 1, "twin.npz": 2}
    assert (out / "twin.npz").read_bytes() == (out / "b.npz").read_bytes()


def test_a_change_within_the_step_of_the_clock_is_seen(folder: Path, out: Path, halving: Halving) -> None:
    batch(folder, out, HALVE)
    times = (folder / "a.npz").stat()
    content = bytearray((folder / "b.npz").read_bytes())
    assert len(content) != times.st_size or content != (folder / "a.npz").read_bytes()
    shutil.copy(folder / "b.npz", folder / "a.npz")
    os.utime(folder / "a.npz", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert states(batch(folder, out, HALVE))["a.npz"] == "done"


@pytest.mark.parametrize("harm", ["altered", "cut", "gone", "same size and time"])
def test_a_result_that_is_not_what_was_written_is_made_anew(
    folder: Path, out: Path, halving: Halving, old: None, harm: str
) -> None:
    batch(folder, out, replace(HALVE, existing="skip"))
    path = out / "b.npz"
    whole, times = path.read_bytes(), path.stat()
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(whole[: len(whole) // 2] if harm == "cut" else whole[:-1] + b"?")
    if harm == "same size and time":
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    report = batch(folder, out, replace(HALVE, existing="skip"))
    assert states(report) == {"a.npz": "skipped", "b.npz": "done", "twin.npz": "skipped"}
    assert path.read_bytes() == whole


@pytest.mark.parametrize("existing", ["skip", "overwrite"])
@pytest.mark.parametrize("what", ["settings", "weights", "version", "regions", "method"])
def test_another_way_to_make_it_makes_it_anew(
    folder: Path, out: Path, halving: Halving, old: None, existing: Any, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = SimpleNamespace(sha256="1" * 64)
    monkeypatch.setattr(store, "find", lambda name, task=None: SimpleNamespace(card=card))
    options = replace(HALVE, existing=existing)
    batch(folder, out, options)
    assert set(states(batch(folder, out, options)).values()) == {"skipped"}
    if what == "settings":
        options = replace(options, settings=Settings(strength=0.5))
    elif what == "weights":
        card.sha256 = "2" * 64
    elif what == "version":
        monkeypatch.setattr(batches, "__version__", "99.0")
    elif what == "method":
        monkeypatch.setattr(registry, "denoisers", lambda: {"halving": halving, "other": halving})
        options = replace(options, method="other")
    else:
        shape = [[[58, 42], [72, 42], [72, 62], [58, 62]]]
        for name in ("a", "b", "twin"):
            drawn = {"lv": shape, "myocardium": [[[58, 14], [72, 14], [74, 24], [56, 24]]]}
            (folder / f"{name}.roi.json").write_text(json.dumps(drawn), encoding="utf-8")
    assert set(states(batch(folder, out, options)).values()) == {"done"}
    assert set(table(out).values()) == {2}
    assert set(states(batch(folder, out, options)).values()) == {"skipped"}


def test_device_and_batch_size_change_nothing(folder: Path, out: Path, old: None) -> None:
    batch(folder, out, HALVE)
    again = replace(HALVE, settings=Settings(device="cpu", batch=3))
    assert set(states(batch(folder, out, again)).values()) == {"skipped"}


def test_another_format_into_the_same_folder_leaves_the_first(folder: Path, out: Path, old: None) -> None:
    batch(folder, out, HALVE)
    assert set(states(batch(folder, out, replace(HALVE, suffix=".gif"))).values()) == {"done"}
    assert set(states(batch(folder, out, HALVE)).values()) == {"skipped"}


def test_files_of_others_are_left_or_replaced_as_asked(folder: Path, out: Path, old: None) -> None:
    out.mkdir()
    (out / "b.npz").write_bytes(b"precious")
    report = batch(folder, out, replace(HALVE, existing="skip"))
    assert states(report) == {"a.npz": "done", "b.npz": "skipped", "twin.npz": "done"}
    assert report.of("skipped")[0].reason == EXISTS and (out / "b.npz").read_bytes() == b"precious"
    assert states(batch(folder, out, HALVE)) == {"a.npz": "skipped", "b.npz": "done", "twin.npz": "skipped"}
    assert (out / "b.npz").read_bytes() != b"precious"


def test_a_folder_of_other_pictures_is_never_replaced(folder: Path, out: Path) -> None:
    (out / "b").mkdir(parents=True)
    (out / "b" / "holiday.png").write_bytes(b"precious")
    report = batch(folder, out, replace(HALVE, suffix=""))
    assert states(report) == {"a.npz": "done", "b.npz": "failed", "twin.npz": "done"}
    assert "holds other things" in (report.of("failed")[0].reason or "")
    assert (out / "b" / "holiday.png").read_bytes() == b"precious"
    again = batch(folder, out, replace(HALVE, suffix="", settings=Settings(strength=0.5)))  # ours is replaced whole
    assert states(again)["a.npz"] == "done" and len(list((out / "a").iterdir())) == 3


def test_the_row_alone_tells_what_a_dead_run_left(folder: Path, out: Path, halving: Halving, old: None) -> None:
    """Between the name and the note of it, and before the name: the checksum decides."""
    batch(folder, out, HALVE)
    with closing(sqlite3.connect(out / NAME)) as data, data:
        data.execute("UPDATE loops SET state = 'finishing', made = 0")  # died before it could note "done"
        data.execute("UPDATE loops SET state = 'running' WHERE file = 'twin.npz'")
    (out / "b.npz").unlink()  # died before it had its name
    (out / PARTS).mkdir()
    (out / PARTS / "000001.npz").write_bytes(b"half of it")
    asked = halving.asked
    report = batch(folder, out, HALVE)
    assert states(report) == {"a.npz": "skipped", "b.npz": "done", "twin.npz": "done"}
    assert halving.asked == asked + 6 and set(table(out).values()) == {1}
    assert visible(out) == ["a.npz", "b.npz", "twin.npz"]


def test_a_run_takes_no_folder_from_another(folder: Path, out: Path, halving: Halving) -> None:
    refused: list[str] = []

    def second(event: Any) -> None:
        if event.stage == "denoising" and not refused:
            with pytest.raises(OutputError, match="another batch is writing into this folder") as caught:
                other_process(out)
            refused.append(str(caught.value))
            batches.clear_up(out)  # nor is anything swept away under it
            assert (out / PARTS).is_dir()

    report = batch(folder, out, HALVE, second)
    assert refused and set(states(report).values()) == {"done"}


def other_process(out: Path) -> None:
    """Open the manifest as another process would; SQLite's locks are between connections too."""
    Manifest(out)


def test_a_damaged_manifest_is_set_aside(folder: Path, out: Path, halving: Halving, old: None) -> None:
    batch(folder, out, HALVE)
    (out / NAME).write_bytes(b"no database at all" * 500)
    report = batch(folder, out, replace(HALVE, existing="skip"))
    assert set(states(report).values()) == {"skipped"}  # nothing is known of them, so they are left
    assert len(report.notes) == 1
    assert "was damaged, and was set aside as echoq-batch-damaged-1.sqlite" in report.notes[0]
    assert (out / "echoq-batch-damaged-1.sqlite").is_file()
    assert set(states(batch(folder, out, HALVE)).values()) == {"done"}  # asked to overwrite, all are made anew
    assert not batch(folder, out, HALVE).notes


def test_a_manifest_of_a_later_version_is_left_alone(folder: Path, out: Path) -> None:
    batch(folder, out, HALVE)
    with closing(sqlite3.connect(out / NAME)) as data:
        data.execute("PRAGMA user_version = 99")
    before = (out / NAME).read_bytes()
    with pytest.raises(OutputError, match="newer EchoQ"):
        batch(folder, out, HALVE)
    assert (out / NAME).read_bytes() == before


def test_weights_changed_during_the_run_fail_the_rest(
    folder: Path, out: Path, halving: Halving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "find", lambda name, task=None: SimpleNamespace(card=SimpleNamespace(sha256="1" * 64)))
    prepare = halving.prepare

    def other(loop: Any, settings: Settings) -> Any:
        return replace(prepare(loop, settings), facts={"sha256": "2" * 64})

    monkeypatch.setattr(halving, "prepare", other)
    report = batch(folder, out, HALVE)
    assert all("weights of halving were changed" in (event.reason or "") for event in report.of("failed"))
    assert len(report.of("failed")) == 3 and visible(out) == []


def test_an_input_that_changes_while_it_is_read_is_no_result(
    folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = reader._read

    def slow(path: Path, progress: Any) -> Any:
        loop = real(path, progress)
        if path.name == "b.npz":
            path.write_bytes(path.read_bytes() + b"\0")
        return loop

    monkeypatch.setattr(reader, "_read", slow)
    report = batch(folder, out, HALVE)
    assert [event.file for event in report.of("failed")] == ["b.npz"]
    assert "changed while it was read" in (report.of("failed")[0].reason or "")
