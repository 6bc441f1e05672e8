"""The export dialog's "Remove what names the patient", through the real worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydicom import dcmread
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMainWindow, QMessageBox

from echoq_desktop.engine import Engine
from echoq_desktop.export import files
from echoq_desktop.export.dialogs import ExportDialog
from echoq_desktop.export.formats import FORMATS
from echoq_desktop.session import Session
from echoq_models import resources
from echoq_models.cine import read, sector
from echoq_models.deidentify import kept
from echoq_models.regions import Regions, Review
from tests import make_files as make
from tests.deidentify import planted

LV = [[[150, 110], [170, 110], [170, 150], [150, 150]]]
MYOCARDIUM = [[[150, 50], [170, 50], [172, 80], [148, 80]]]


@pytest.fixture
def session(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """Nothing is open; the middle pane is the simple denoiser."""
    monkeypatch.setattr(files, "_last", {})
    made = Session(engine)
    made.set_middle("darken")
    made.hidden = {"bm3d"}
    made._on_methods(engine.property("known"))
    yield made
    for loop in made.loops:
        made.close_loop(loop.loop_id)
    made.deleteLater()


@pytest.fixture
def window(qtbot: Any) -> QMainWindow:
    made = QMainWindow()
    qtbot.addWidget(made)
    made.show()
    return made


def dialog_for(path: Path, session: Session, window: QMainWindow, qtbot: Any) -> ExportDialog:
    """The dialog over a loop that is open, for DICOM."""
    with qtbot.waitSignal(session.current_changed, timeout=20_000):
        session.open_path(path)
    made = ExportDialog(session, window)
    qtbot.addWidget(made)
    made.show()
    made.format.setCurrentIndex([each.suffix for each in FORMATS].index(".dcm"))
    return made


def press(dialog: ExportDialog, qtbot: Any) -> tuple[str, object]:
    """Press Export and wait for the end: state and result."""
    ended: list[tuple[str, object]] = []
    qtbot.mouseClick(dialog.export_button, Qt.MouseButton.LeftButton)
    assert dialog.progress is not None
    dialog.progress.ended.connect(lambda *what: ended.append(what))
    qtbot.waitUntil(lambda: bool(ended), timeout=30_000)
    return ended[0]


def lettered_inside(path: Path) -> Path:
    frames = np.array(read(resources.phantom_sample()[0]).frames)
    for frame in frames:
        cv2.putText(frame, "DOE JOHN", (250, 200), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 1)
    return make.write_dicom(path, frames)


def test_a_neutral_name_is_offered_and_a_typed_one_stays(
    session: Session, window: QMainWindow, qtbot: Any, tmp_path: Path
) -> None:
    path = make.write_dicom(tmp_path / "Doe John.dcm", make.sector_frames())
    dialog = dialog_for(path, session, window, qtbot)
    assert not dialog.options().deidentify
    (tmp_path / "loop_denoised.dcm").touch()
    qtbot.keyClick(dialog.without_names, Qt.Key.Key_Space)
    assert dialog.options().deidentify
    assert dialog.output() == tmp_path / "loop-2_denoised.dcm"
    assert "stand-ins" in dialog.format_note.text()
    dialog.without_names.click()
    assert dialog.output() == tmp_path / "Doe John_denoised.dcm"
    dialog.path.setText(str(tmp_path / "mine.dcm"))
    dialog.without_names.click()
    assert dialog.output() == tmp_path / "mine.dcm"
    assert not any("named after" in sentence for sentence in dialog.notes.sentences())
    dialog.path.setText(str(tmp_path / "doe_john.dcm"))
    assert any("named after" in sentence for sentence in dialog.notes.sentences())


def test_nothing_planted_is_in_what_the_worker_writes(
    session: Session, window: QMainWindow, qtbot: Any, tmp_path: Path
) -> None:
    source, _ = planted.write_planted(tmp_path / "in", kept.NUMBERS, depth=1)
    out = tmp_path / "out"
    out.mkdir()
    dialog = dialog_for(source, session, window, qtbot)
    name = f"{planted.WORD} JOHN"
    session.set_regions(
        Regions(LV, MYOCARDIUM, review=Review("accepted", name, "1937-03-04T11:22+00:00", name)), "Draw"
    )
    dialog.without_names.click()
    dialog.path.setText(str(out / dialog.output().name))
    state, result = press(dialog, qtbot)
    assert state == "finished", result
    names = ["loop_denoised.dcm", "loop_denoised.deidentified.json", "loop_denoised.echoq.json"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert planted.found_in(out) == {mark: [] for mark in planted.MARKS}
    assert dcmread(out / names[0]).BurnedInAnnotation == "NO"
    mask = sector.fit(read(source)).mask
    assert not np.array(read(out / names[0]).frames)[:, ~mask].any()


def test_what_may_show_a_name_is_asked_about(session: Session, window: QMainWindow, qtbot: Any, tmp_path: Path) -> None:
    dialog = dialog_for(lettered_inside(tmp_path / "in.dcm"), session, window, qtbot)
    dialog.without_names.click()
    out = dialog.output()
    state, sentence = press(dialog, qtbot)
    assert state == "left out"
    assert "possible text inside the sector" in str(sentence)
    assert not out.exists()
    box = window.findChild(QMessageBox)
    assert box is not None and not box.isModal()
    assert box.text() == sentence
    assert box.defaultButton().text() == "&Leave it out"
    (write,) = [button for button in box.buttons() if button.text() == "&Write it anyway"]
    said: list[str] = []
    session.message.connect(said.append)
    qtbot.mouseClick(write, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: any("Exported" in each for each in said), timeout=30_000)
    assert any("may still show a name" in each for each in said)
    assert dcmread(out).BurnedInAnnotation == "YES"
