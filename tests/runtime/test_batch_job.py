"""A folder of loops: what counts as a loop, where it goes, and how one bad file is taken."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from echoq_models import resources
from echoq_models.denoise import registry
from echoq_models.errors import InputError, OutputError, WeightsError
from echoq_models.runtime.batch import PAGE, SUMMARY, find_loops, holds_only_stills, plan
from echoq_models.runtime.jobs import BatchEvent, BatchOptions, batch
from tests.make_files import write_dicomdir
from tests.runtime.halving import Halving

BESIDE = ["echoq-batch.sqlite", SUMMARY, PAGE]
HALVE = BatchOptions(method="halving", suffix=".npz", existing="overwrite")


@pytest.fixture(autouse=True)
def halving(monkeypatch: pytest.MonkeyPatch) -> Halving:
    denoiser = Halving()
    monkeypatch.setattr(registry, "denoisers", lambda: {"halving": denoiser})
    return denoiser


@pytest.fixture
def folder(tmp_path: Path, fan_file: Path) -> Path:
    """Two good loops, one folder of stills, one broken file, notes, a hidden file, sidecars."""
    top = tmp_path / "in"
    (top / "deep" / "er").mkdir(parents=True)
    (top / "stills").mkdir()
    shutil.copy(fan_file, top / "good.npz")
    shutil.copy(fan_file, top / "deep" / "er" / "1.2.840.113")
    with np.load(fan_file) as fan:
        for t, frame in enumerate(fan["frames"]):
            Image.fromarray(frame).save(top / "stills" / f"{t}.png")
    (top / "broken.dcm").write_bytes(b"\0" * 400)
    (top / "good.roi.json").write_text("{}", encoding="utf-8")
    shutil.copy(fan_file, top / "good.truth.npz")
    (top / "README").write_text("These are loops.\n", encoding="utf-8")
    (top / ".hidden.npz").write_bytes(b"x")
    return top


def names(paths: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_loops_are_found_and_notes_are_not(folder: Path) -> None:
    assert names(find_loops(folder), folder) == ["broken.dcm", "deep/er/1.2.840.113", "good.npz", "stills"]
    assert holds_only_stills(folder / "stills")
    assert not holds_only_stills(folder)


def test_structure_is_kept_and_two_loops_never_share_a_target(folder: Path, fan_file: Path) -> None:
    shutil.copy(fan_file, folder / "GOOD.avi")
    targets = [target.as_posix() for _, target in plan(folder, Path("out"), ".mp4")]
    assert targets == [
        "out/GOOD.avi.mp4",
        "out/broken.mp4",
        "out/deep/er/1.2.840.113.mp4",
        "out/good.npz.mp4",
        "out/stills.mp4",
    ]


def test_one_bad_file_does_not_stop_the_rest(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    events: list[BatchEvent] = []
    report = batch(folder, out, HALVE, events.append)
    assert [(event.file, event.state) for event in report.files] == [
        ("broken.dcm", "failed"),
        ("deep/er/1.2.840.113", "done"),
        ("good.npz", "done"),
        ("stills", "done"),
    ]
    assert report.exit_code == 4
    assert not report.cancelled
    reason = report.of("failed")[0].reason
    assert reason and "broken.dcm" in reason
    written = sorted(names([path for path in out.rglob("*") if path.is_file()], out))
    assert written == ["deep/er/1.2.840.113.npz", *BESIDE, "good.npz", "stills.npz"]
    with np.load(out / "good.npz") as result, np.load(folder / "good.npz") as source:
        assert np.array_equal(result["frames"], source["frames"] // 2)
    with report.summary.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["state"]) for row in rows] == [(e.file, e.state) for e in report.files]
    assert rows[0]["reason"] == reason
    running = [event for event in events if event.state == "running"]
    assert {event.total for event in events} == {4}
    assert running[0].seconds_left is None
    assert running[-1].seconds_left is not None
    assert report.files[-1].seconds_left == 0


def test_existing_outputs_are_skipped_or_replaced(folder: Path, tmp_path: Path, halving: Halving) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "good.npz").write_bytes(b"precious")
    skip = BatchOptions(method="halving", suffix=".npz", existing="skip")
    report = batch(folder, out, skip)
    assert [event.file for event in report.of("skipped")] == ["good.npz"]
    assert (out / "good.npz").read_bytes() == b"precious"
    batch(folder, out, HALVE)
    assert (out / "good.npz").read_bytes() != b"precious"


def test_cancel_half_way_leaves_only_whole_files(folder: Path, tmp_path: Path, halving: Halving) -> None:
    out = tmp_path / "out"
    report = batch(folder, out, HALVE, cancel=lambda: halving.asked >= 5)  # in the middle of the second good loop
    assert report.cancelled
    assert report.exit_code == 130
    assert [event.state for event in report.files] == ["failed", "done"]
    files = sorted(names([path for path in out.rglob("*") if path.is_file()], out))
    assert files == ["deep/er/1.2.840.113.npz", *BESIDE]
    with np.load(out / "deep/er/1.2.840.113.npz") as whole:
        assert len(whole["frames"]) == 3


def test_output_inside_the_input_is_not_read_again(folder: Path) -> None:
    first = batch(folder, folder / "out", HALVE)
    second = batch(folder, folder / "out", HALVE)
    assert [event.file for event in first.files] == [event.file for event in second.files]


def test_a_loop_is_never_replaced_by_its_own_result(folder: Path) -> None:
    before = (folder / "good.npz").read_bytes()
    report = batch(folder, folder, HALVE)
    assert (folder / "good.npz").read_bytes() == before
    good = next(event for event in report.files if event.file == "good.npz")
    assert good.state == "failed"
    assert good.reason and "input itself" in good.reason


def test_when_everything_is_bad_the_input_is_to_blame(tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "a.dcm").write_bytes(b"\0" * 300)
    assert batch(bad, tmp_path / "out", HALVE).exit_code == 3


def test_a_surprise_in_one_file_is_reported(
    folder: Path, tmp_path: Path, halving: Halving, monkeypatch: pytest.MonkeyPatch
) -> None:
    def surprise(*args: object) -> None:
        raise ZeroDivisionError("no sector")

    monkeypatch.setattr(halving, "prepare", surprise)
    report = batch(folder, tmp_path / "out", HALVE)
    assert len(report.of("failed")) == 4
    assert any("ZeroDivisionError" in (event.reason or "") for event in report.files)


def test_nothing_to_do_is_said_at_once(
    tmp_path: Path, folder: Path, halving: Halving, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no loop"):
        batch(tmp_path / "empty", tmp_path / "out", HALVE)
    with pytest.raises(InputError, match="not a folder"):
        batch(tmp_path / "nothing", tmp_path / "out", HALVE)
    with pytest.raises(OutputError, match="side by side"):
        batch(folder, tmp_path / "out", replace(HALVE, side_by_side=("original", "halving")))
    monkeypatch.setattr(halving, "available", lambda: "Import or train weights.")
    with pytest.raises(WeightsError):
        batch(folder, tmp_path / "out", HALVE)
    assert not (tmp_path / "out").exists()


def test_what_a_dicomdir_lists_is_a_batch(tmp_path: Path) -> None:
    disc = tmp_path / "disc"
    (disc / "IMAGES").mkdir(parents=True)
    for name in ("IM1", "IM2", "REPORT"):
        shutil.copy(resources.sample()[0], disc / "IMAGES" / name)
    listed = [("IMAGE", ("IMAGES", name)) for name in ("IM2", "IM1", "IM3")]
    dicomdir = write_dicomdir(disc / "DICOMDIR", listed)
    report = batch(dicomdir, tmp_path / "out", HALVE)
    assert [(event.file, event.state) for event in report.files] == [("IMAGES/IM2", "done"), ("IMAGES/IM1", "done")]
    assert len(report.notes) == 1 and "IM3" in report.notes[0]
    assert sorted(names([*(tmp_path / "out" / "IMAGES").iterdir()], tmp_path / "out")) == [
        "IMAGES/IM1.npz",
        "IMAGES/IM2.npz",
    ]
