"""Every control of the docks and dialogs can be named by a screen reader, explains itself and is reached by Tab."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QAbstractButton,
    QComboBox,
    QDialogButtonBox,
    QLineEdit,
    QListWidget,
    QMainWindow,
    QSlider,
    QTableWidget,
    QWidget,
)

from echoq_desktop.engine import Engine, EngineOptions
from echoq_desktop.export.dialogs import BatchDialog, ExportDialog
from echoq_desktop.export.progress import JobProgress
from echoq_desktop.help import AboutDialog, CrashDialog, ShortcutsDialog
from echoq_desktop.panels.gcnr_curve import GcnrCurve
from echoq_desktop.panels.loop_info import LoopPanel
from echoq_desktop.panels.noise import NoisePanel
from echoq_desktop.panels.quality import QualityPanel
from echoq_desktop.panels.regions import RegionsPanel
from echoq_desktop.session import Session

CONTROLS = (QAbstractButton, QComboBox, QSlider, QLineEdit, QListWidget, QTableWidget, GcnrCurve)
MAKERS: dict[str, Callable[[Session, QMainWindow], QWidget]] = {
    "quality": lambda session, _: QualityPanel(session),
    "regions": lambda session, _: RegionsPanel(session),
    "noise": lambda session, _: NoisePanel(session),
    "loop": lambda session, _: LoopPanel(session),
    "export": ExportDialog,
    "batch": BatchDialog,
    "progress": lambda session, _: JobProgress(session.engine, 99, "Exporting a.mp4"),
    "about": lambda _, window: AboutDialog(window),
    "shortcuts": lambda _, window: ShortcutsDialog(window),
    "crash": lambda _, window: CrashDialog("report", window),
}


@pytest.mark.parametrize("name", MAKERS)
def test_controls_have_names_tips_and_keyboard_focus(name: str, qtbot: Any, tmp_path: Path) -> None:
    engine = Engine(options=EngineOptions(temporary=tmp_path))  # not started: nothing is computed here
    session = Session(engine)
    window = QMainWindow()
    qtbot.addWidget(window)
    widget = MAKERS[name](session, window)
    if widget.parent() is None:
        qtbot.addWidget(widget)
    checked = 0
    for control in widget.findChildren(QWidget):
        if not isinstance(control, CONTROLS) or _is_qts_own(control):
            continue
        text = control.text().replace("&", "") if isinstance(control, QAbstractButton) else ""
        assert control.accessibleName() or text, f"{name}: {control} has no name"
        standard = isinstance(control.parent(), QDialogButtonBox) and text in ("Close", "Cancel")
        assert control.toolTip() or standard, f"{name}: {control.accessibleName() or text} has no tooltip"
        assert control.focusPolicy() & Qt.FocusPolicy.TabFocus, f"{name}: Tab does not reach {text}"
        checked += 1
    assert checked


def _is_qts_own(control: QWidget) -> bool:
    """Parts that Qt puts inside its own widgets."""
    parent = control.parent()
    return isinstance(parent, QTableWidget | QLineEdit) or control.objectName().startswith("qt_")
