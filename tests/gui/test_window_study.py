"""A DICOMDIR in the window: dropped, all its loops come into the strip, and what is missing is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hands import LEFT
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QMessageBox

from echoq_desktop.main_window import MainWindow
from tests import make_files as make


def drop(window: MainWindow, path: Path) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
    action, no = Qt.DropAction.CopyAction, Qt.KeyboardModifier.NoModifier
    window.dropEvent(QDropEvent(QPointF(5, 5), action, data, LEFT, no))


def test_a_dicomdir_opens_all_its_loops(window: MainWindow, qtbot: Any, tmp_path: Path) -> None:
    for name in ("B", "A", "C"):
        make.write_dicom(tmp_path / name, make.sector_frames())
    files = [("IMAGE", (name,)) for name in ("B", "A", "GONE")]
    drop(window, make.write_dicomdir(tmp_path / "DICOMDIR", files))
    qtbot.waitUntil(lambda: len(window.session.loops) == 2, timeout=30_000)
    assert [opened.path.name for opened in window.session.loops] == ["B", "A"]  # in its order; C is not on the list
    assert window.strip.count() == 2
    boxes = window.findChildren(QMessageBox)
    assert len(boxes) == 1 and "GONE" in boxes[0].text()
    boxes[0].close()


def test_a_damaged_dicomdir_is_one_sentence(window: MainWindow, qtbot: Any, tmp_path: Path) -> None:
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 200)
    drop(window, tmp_path / "DICOMDIR")
    qtbot.waitUntil(lambda: bool(window.findChildren(QMessageBox)), timeout=10_000)
    (box,) = window.findChildren(QMessageBox)
    assert "damaged" in box.text()
    assert window.session.loops == []
    box.close()
