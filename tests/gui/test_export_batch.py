"""The batch through its dialog and the real worker: what is written is read again."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QDesktopServices, QGuiApplication

from echoq_desktop.engine import Engine
from echoq_desktop.export import progress
from echoq_desktop.export.dialogs import BatchDialog
from echoq_desktop.export.formats import FORMATS
from echoq_desktop.session import Session
from echoq_models.cine import read
from echoq_models.runtime.batch import PAGE, SUMMARY
from echoq_models.runtime.manifest import NAME, Manifest
from tests.make_files import sector_frames

BESIDE = {SUMMARY, PAGE, NAME}


def loop_file(path: Path, frames: int = 6, seed: int = 0) -> Path:
    """A small sector loop as npz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, frames=sector_frames(frames, seed=seed), times_ms=np.arange(frames) * 40.0)
    return path


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    """Nothing is open; the worker's methods are known."""
    made = Session(engine)
    made._on_methods(engine.property("known"))  # the worker said it once, before this session was there
    yield made
    made.deleteLater()


def choose(dialog: BatchDialog, suffix: str) -> None:
    """Choose a format by its suffix."""
    dialog.format.setCurrentIndex([each.suffix for each in FORMATS].index(suffix))


@pytest.fixture
def batch(session: Session, qtbot: Any, tmp_path: Path) -> BatchDialog:
    """The batch dialog on an empty folder, writing npz by the quick denoiser."""
    made = BatchDialog(session)
    qtbot.addWidget(made)
    made.show()
    (tmp_path / "in").mkdir()
    made.folder.setText(str(tmp_path / "in"))
    made.target.setText(str(tmp_path / "out"))
    made.method.setCurrentIndex(made.method.findData("darken"))
    choose(made, ".npz")
    return made


def run(batch: BatchDialog, qtbot: Any, timeout_s: float = 60) -> None:
    """Press Start and wait for the end."""
    qtbot.mouseClick(batch.start_button, Qt.MouseButton.LeftButton)
    assert batch.running
    qtbot.waitUntil(lambda: not batch.running, timeout=int(1000 * timeout_s))


def test_a_batch_goes_on_past_a_bad_file_and_names_it(batch: BatchDialog, qtbot: Any, tmp_path: Path) -> None:
    for name in ("a", "c/b"):
        loop_file(tmp_path / "in" / f"{name}.npz")
    (tmp_path / "in" / "broken.dcm").write_bytes(b"\0" * 500)
    run(batch, qtbot)
    assert batch.table.counts()["done"] == 2 and batch.table.counts()["failed"] == 1
    reason = batch.table.reasons()["broken.dcm"]
    assert "broken.dcm" in reason and len(reason.splitlines()) == 1
    for name in ("a", "c/b"):
        source, written = read(tmp_path / "in" / f"{name}.npz"), read(tmp_path / "out" / f"{name}.npz")
        np.testing.assert_array_equal(written.frames, source.frames // 2)
    with (tmp_path / "out" / SUMMARY).open(newline="", encoding="utf-8") as file:
        states = {row["file"]: (row["state"], row["reason"]) for row in csv.DictReader(file)}
    assert states["broken.dcm"] == ("failed", reason) and states["a.npz"][0] == "done"
    assert SUMMARY in batch.summary.text() and "2 done, 1 failed" in batch.summary.text()
    batch.copy_button.click()
    assert f"broken.dcm\tfailed\t{reason}" in QGuiApplication.clipboard().text()


def test_skip_leaves_results_and_overwrite_renews_them(batch: BatchDialog, qtbot: Any, tmp_path: Path) -> None:
    loop_file(tmp_path / "in" / "a.npz")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.npz").write_bytes(b"mine")
    run(batch, qtbot)
    assert batch.table.counts()["skipped"] == 1 and (tmp_path / "out" / "a.npz").read_bytes() == b"mine"
    batch.overwrite.click()
    run(batch, qtbot)
    assert batch.table.counts()["done"] == 1 and len(read(tmp_path / "out" / "a.npz")) == 6


def test_a_batch_cancelled_half_way_leaves_only_whole_files(batch: BatchDialog, qtbot: Any, tmp_path: Path) -> None:
    for number in range(6):
        loop_file(tmp_path / "in" / f"loop{number}.npz", frames=12, seed=number)
    batch.method.setCurrentIndex(batch.method.findData("slow"))
    qtbot.mouseClick(batch.start_button, Qt.MouseButton.LeftButton)
    assert batch.progress is not None and progress.running() == ["Batch export of in"]
    assert not batch.choices.isEnabled() and batch.isVisible()

    def inside_the_third() -> bool:
        counts = batch.table.counts()
        item = batch.table.item(2, 1)
        return counts["done"] == 2 and item is not None and item.text().startswith("frame")

    qtbot.waitUntil(inside_the_third, timeout=30_000)
    assert 0 < batch.progress.bar.value() < batch.progress.bar.maximum() and batch.progress.time.text()
    qtbot.mouseClick(batch.progress.cancel_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not batch.running, timeout=15_000)
    assert "Cancelled" in batch.summary.text()
    written = sorted(path.name for path in (tmp_path / "out").iterdir() if path.name not in BESIDE)
    assert written == [f"loop{number}.npz" for number in range(batch.table.counts()["done"])]
    assert 2 <= len(written) < 6
    for name in written:
        np.testing.assert_array_equal(read(tmp_path / "out" / name).frames, read(tmp_path / "in" / name).frames // 2)
    assert batch.table.counts()["running"] == 0


def test_a_running_batch_is_not_lost_by_closing_the_dialog(
    batch: BatchDialog, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop_file(tmp_path / "in" / "long.npz", frames=60)
    batch.method.setCurrentIndex(batch.method.findData("slow"))
    qtbot.mouseClick(batch.start_button, Qt.MouseButton.LeftButton)
    monkeypatch.setattr(batch, "_agrees_to_cancel", lambda: False)
    assert not batch.close() and batch.running
    monkeypatch.setattr(batch, "_agrees_to_cancel", lambda: True)
    assert batch.close()
    qtbot.waitUntil(lambda: not batch.running, timeout=15_000)
    assert not (tmp_path / "out" / "long.npz").exists()


def test_batch_says_what_is_missing(batch: BatchDialog, tmp_path: Path) -> None:
    batch.target.setText(str(tmp_path / "in"))
    assert not batch.start_button.isEnabled() and "another folder" in batch.notes.sentences()[0]
    batch.folder.setText(str(tmp_path / "nowhere"))
    assert "does not exist" in batch.notes.sentences()[0]


def test_an_empty_folder_is_told_in_one_sentence(batch: BatchDialog, qtbot: Any) -> None:
    run(batch, qtbot)
    assert "there is no loop in this folder" in batch.summary.text()


def made(tmp_path: Path) -> dict[str, int]:
    """How often each loop's result was made, as the manifest says."""
    with closing(sqlite3.connect(tmp_path / "out" / NAME)) as data:
        return dict(data.execute("SELECT file, made FROM loops WHERE number IS NOT NULL"))


def test_a_batch_rests_and_goes_on(batch: BatchDialog, qtbot: Any, tmp_path: Path) -> None:
    for number in range(3):
        loop_file(tmp_path / "in" / f"loop{number}.npz", frames=12, seed=number)
    batch.method.setCurrentIndex(batch.method.findData("slow"))
    qtbot.mouseClick(batch.start_button, Qt.MouseButton.LeftButton)
    bar = batch.progress
    assert bar is not None
    qtbot.waitUntil(lambda: batch.table.counts()["done"] == 1, timeout=30_000)
    qtbot.mouseClick(bar.pause_button, Qt.MouseButton.LeftButton)
    qtbot.wait(300)  # the frame in work ends
    assert bar.time.text() == "paused" and bar.pause_button.text() == "&Resume"
    before = batch.table.text(), bar.bar.value(), bar.label.text()
    qtbot.wait(500)  # ten frames' time
    assert (batch.table.text(), bar.bar.value(), bar.label.text()) == before and batch.running
    qtbot.mouseClick(bar.pause_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not batch.running, timeout=30_000)
    assert batch.table.counts()["done"] == 3 and set(made(tmp_path).values()) == {1}


def test_a_resting_batch_can_be_cancelled_and_continued(batch: BatchDialog, qtbot: Any, tmp_path: Path) -> None:
    for number in range(3):
        loop_file(tmp_path / "in" / f"loop{number}.npz", frames=12, seed=number)
    batch.method.setCurrentIndex(batch.method.findData("slow"))
    qtbot.mouseClick(batch.start_button, Qt.MouseButton.LeftButton)
    assert batch.progress is not None
    qtbot.waitUntil(lambda: batch.table.counts()["done"] == 1, timeout=30_000)
    qtbot.mouseClick(batch.progress.pause_button, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(batch.progress.cancel_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not batch.running, timeout=15_000)
    assert batch.start_button.text() == "Con&tinue" and "Continue goes on" in batch.summary.text()
    done = batch.table.counts()["done"]
    run(batch, qtbot)
    assert batch.start_button.text() == "&Start"
    assert batch.table.counts()["skipped"] == done and batch.table.counts()["done"] == 3 - done
    assert set(made(tmp_path).values()) == {1}


def test_the_page_shows_each_loop(
    batch: BatchDialog, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop_file(tmp_path / "in" / "a & b.npz")
    assert not batch.page_button.isEnabled()
    run(batch, qtbot)
    shown: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: shown.append(url.toLocalFile()))
    qtbot.mouseClick(batch.page_button, Qt.MouseButton.LeftButton)
    assert shown == [str(tmp_path / "out" / PAGE)]
    page = Path(shown[0]).read_text(encoding="utf-8")
    assert "a &amp; b.npz" in page and page.count("data:image/jpeg;base64,") == 2 and "Research use only" in page


def test_a_second_run_into_the_same_folder_is_refused(batch: BatchDialog, qtbot: Any, tmp_path: Path) -> None:
    loop_file(tmp_path / "in" / "a.npz")
    (tmp_path / "out").mkdir()
    other = Manifest(tmp_path / "out")  # as another process holds it
    other._data.execute("BEGIN EXCLUSIVE")
    run(batch, qtbot)
    other.close()
    assert "another batch is writing into this folder" in batch.summary.text()
    run(batch, qtbot)
    assert batch.table.counts()["done"] == 1


def test_dicom_can_be_written(batch: BatchDialog, qtbot: Any, tmp_path: Path) -> None:
    loop_file(tmp_path / "in" / "a.npz")
    choose(batch, ".dcm")
    assert batch.encoding.isVisible() and not batch.lossless.isVisible()
    run(batch, qtbot)
    source, written = read(tmp_path / "in" / "a.npz"), read(tmp_path / "out" / "a.dcm")
    np.testing.assert_array_equal(written.frames, source.frames // 2)
