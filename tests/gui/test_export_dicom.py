"""DICOM through the export dialog and the real worker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMainWindow

from echoq_desktop.engine import Engine
from echoq_desktop.export import files
from echoq_desktop.export.dialogs import ExportDialog
from echoq_desktop.export.formats import FORMATS
from echoq_desktop.session import Session
from echoq_models.cine import read
from echoq_models.regions import Regions, load
from tests import make_files as make

LV = [[[28, 20], [36, 20], [36, 32], [28, 32]]]
MYOCARDIUM = [[[28, 8], [36, 8], [37, 14], [27, 14]]]


@pytest.fixture
def session(engine: Engine, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """An ultrasound object is open; the middle pane is the simple denoiser."""
    monkeypatch.setattr(files, "_last", {})
    made = Session(engine)
    made.set_middle("darken")
    made.hidden = {"bm3d"}
    made._on_methods(engine.property("known"))
    path = make.write_dicom(tmp_path / "apical.dcm", make.sector_frames(), SeriesDescription="Apical")
    with qtbot.waitSignal(made.current_changed, timeout=20_000):
        made.open_path(path)
    yield made
    for loop in made.loops:
        made.close_loop(loop.loop_id)
    made.deleteLater()


@pytest.fixture
def dialog(session: Session, qtbot: Any) -> ExportDialog:
    window = QMainWindow()
    qtbot.addWidget(window)
    window.show()
    made = ExportDialog(session, window)
    qtbot.addWidget(made)
    made.show()
    made.window_kept = window  # type: ignore[attr-defined]  # Python lets go of it otherwise
    return made


def choose(dialog: ExportDialog, suffix: str) -> None:
    dialog.format.setCurrentIndex([each.suffix for each in FORMATS].index(suffix))


def export(dialog: ExportDialog, qtbot: Any) -> tuple[str, object]:
    ended: list[tuple[str, object]] = []
    qtbot.mouseClick(dialog.export_button, Qt.MouseButton.LeftButton)
    assert dialog.progress is not None
    dialog.progress.ended.connect(lambda state, result: ended.append((state, result)))
    qtbot.waitUntil(lambda: bool(ended), timeout=60_000)
    return ended[0]


def test_the_encoding_is_asked_for_dicom_only(dialog: ExportDialog) -> None:
    assert not dialog.encoding.isVisible()
    choose(dialog, ".dcm")
    assert dialog.encoding.isVisible()
    assert not dialog.lossless.isVisible()
    assert not dialog.beside.isEnabled()
    assert dialog.output().name == "apical_denoised.dcm"
    assert dialog.options().dicom_encoding == "rle"


def test_the_worker_writes_header_pixels_and_sidecar(
    dialog: ExportDialog, session: Session, qtbot: Any, tmp_path: Path
) -> None:
    session.set_regions(Regions(LV, MYOCARDIUM), "Draw")
    choose(dialog, ".dcm")
    dialog.encoding.setCurrentIndex(dialog.encoding.findData("jpeg-ls"))
    state, result = export(dialog, qtbot)
    assert state == "finished", result
    back = read(tmp_path / "apical_denoised.dcm")
    assert np.array_equal(back.frames, make.sector_frames() // 2)
    assert back.header is not None
    assert back.header.PatientName == "Nobody^Synthetic"
    assert back.header.file_meta.TransferSyntaxUID == make.JPEG_LS
    assert "denoised by darken" in back.warnings[0]
    beside = tmp_path / "apical_denoised.echoq.json"
    assert load(beside) == Regions(LV, MYOCARDIUM)
    assert list(json.loads(beside.read_text())["echoq"]["gcnr"]["methods"]) == ["original", "darken"]
    assert not (tmp_path / "apical.roi.json").exists()  # unsaved regions are exported, not saved


def test_without_regions_there_is_no_sidecar(dialog: ExportDialog, qtbot: Any, tmp_path: Path) -> None:
    choose(dialog, ".dcm")
    assert export(dialog, qtbot)[0] == "finished"
    assert sorted(p.name for p in tmp_path.glob("apical*")) == ["apical.dcm", "apical_denoised.dcm"]
