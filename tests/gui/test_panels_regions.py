"""The regions and loop docks, and the help: what they show, and what their controls do to the session."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import examples
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMainWindow, QPushButton

from echoq_desktop.engine import Engine
from echoq_desktop.help import AboutDialog, ShortcutsDialog, crash_report, install_crash_dialog
from echoq_desktop.panels.loop_info import LoopPanel, facts_text
from echoq_desktop.panels.regions import RegionsPanel
from echoq_desktop.session import TOOLS, Session
from echoq_models import __version__
from echoq_models import regions as region_files
from echoq_models.regions import FrameRegions, Regions

HEART = Path(examples.get_path("ybr_color"))
SQUARE = np.array([[150.0, 80], [169, 80], [169, 99], [150, 99]])  # 20 x 20 pixels: the outline counts
BAND = np.array([[100.0, 110], [139, 110], [139, 119], [100, 119]])  # 40 x 10 pixels


@pytest.fixture
def session(engine: Engine, qtbot: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Session]:
    """A copy of pydicom's cardiac loop is open, without regions."""
    loop = tmp_path / "heart.dcm"
    loop.write_bytes(HEART.read_bytes())
    made = Session(engine)
    made.hidden = {"fast", "bm3d"}
    with qtbot.waitSignal(made.current_changed, timeout=20_000):
        made.open_path(loop)
    yield made
    for opened in made.loops:
        made.close_loop(opened.loop_id)
    made.deleteLater()


@pytest.fixture
def panel(session: Session, qtbot: Any) -> RegionsPanel:
    """The regions dock."""
    made = RegionsPanel(session)
    qtbot.addWidget(made)
    made.show()
    return made


def lines(panel: RegionsPanel) -> list[str]:
    """What the list of polygons shows."""
    return [panel.list.item(row).text() for row in range(panel.list.count())]


def draw(session: Session, qtbot: Any, panel: RegionsPanel) -> None:
    """Both regions, as the panes would set them."""
    session.set_regions(Regions((SQUARE,), (BAND,)), "Draw")
    qtbot.waitUntil(lambda: len(lines(panel)) == 2, timeout=5000)


def test_tool_buttons_and_session_agree(panel: RegionsPanel, session: Session, qtbot: Any) -> None:
    assert set(panel.tools) == set(TOOLS)
    for tool, button in panel.tools.items():
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
        assert session.tool == tool
    session.tool = "edit"
    assert [name for name, button in panel.tools.items() if button.isChecked()] == ["edit"]


def test_areas_are_told_in_pixels_and_square_centimetres(panel: RegionsPanel, session: Session, qtbot: Any) -> None:
    draw(session, qtbot, panel)
    assert session.current is not None and session.current.spacing is not None
    spacing = session.current.spacing
    area = spacing.mm_per_pixel_x * spacing.mm_per_pixel_y / 100
    assert lines(panel) == [
        f"LV 1 · 400 px · {400 * area:.2f} cm²",
        f"Myocardium 1 · 400 px · {400 * area:.2f} cm²",
    ]
    wider = SQUARE.copy()
    wider[1:3, 0] += 5
    session.preview_regions(Regions((wider,), (BAND,)))  # a vertex is being dragged
    qtbot.waitUntil(lambda: "500 px" in lines(panel)[0], timeout=5000)
    session.cancel_preview()


def test_a_polygon_is_deleted_by_key_and_comes_back_by_undo(panel: RegionsPanel, session: Session, qtbot: Any) -> None:
    draw(session, qtbot, panel)
    panel.list.setFocus()
    panel.list.setCurrentRow(1)
    panel.delete_button.click()
    assert session.shown == FrameRegions((SQUARE,))
    qtbot.waitUntil(lambda: len(lines(panel)) == 1, timeout=5000)
    undo = next(button for button in panel.findChildren(QPushButton) if button.text() == "Undo")
    assert undo.toolTip() == "Undo Delete myocardium"
    undo.click()
    assert session.regions == Regions((SQUARE,), (BAND,))


def test_saved_state_save_and_load(panel: RegionsPanel, session: Session, qtbot: Any, tmp_path: Path) -> None:
    assert not panel.save_button.isEnabled()
    draw(session, qtbot, panel)
    assert "Not saved" in panel.state.text() and session.unsaved()
    panel.save_button.click()
    assert "Not saved" not in panel.state.text() and "Saved" in panel.state.text()
    assert region_files.load(tmp_path / "heart.roi.json") == session.regions
    panel.clear_button.click()
    assert not session.regions and "Not saved" in panel.state.text()
    session.load_regions(tmp_path / "heart.roi.json")
    qtbot.waitUntil(lambda: len(lines(panel)) == 2, timeout=5000)


def test_overlap_is_told_in_words(panel: RegionsPanel, session: Session, qtbot: Any) -> None:
    session.set_regions(Regions((SQUARE,), (SQUARE + 5,)), "overlap")
    qtbot.waitUntil(lambda: any("share 225 pixels" in text for text in panel.notes.sentences()), timeout=5000)


def test_loop_dock_shows_what_info_shows(session: Session, qtbot: Any) -> None:
    panel = LoopPanel(session)
    qtbot.addWidget(panel)
    assert session.current is not None
    summary = session.current.summary
    assert panel.facts.shown["File"] == "heart.dcm"
    for name, text in summary.items():
        if not name.startswith("Warning"):
            assert panel.facts.shown[name] == text
    told = " ".join(panel.notes.sentences())
    assert "Lossy history: " + session.current.loop.lossy[0] in told
    assert session.current.spacing is not None and session.current.spacing.note
    assert session.current.spacing.note in told


def test_noise_level_and_device_reach_the_session(session: Session, qtbot: Any) -> None:
    panel = LoopPanel(session)
    qtbot.addWidget(panel)
    panel.show()
    assert session.settings.sigma is None and panel.automatic.isChecked() and not panel.sigma.isEnabled()
    panel.automatic.click()
    assert session.settings.sigma is not None and panel.sigma.isEnabled()
    panel.sigma.setValue(25)
    qtbot.waitUntil(lambda: session.settings.sigma == 12.5, timeout=5000)
    assert panel.sigma_text.text() == "12.5 grey levels"
    panel.automatic.click()
    assert session.settings.sigma is None
    panel.device.setFocus()
    qtbot.keyClick(panel.device, Qt.Key.Key_Down)
    assert session.settings.device == "cpu"


def test_facts_are_shortened_for_people() -> None:
    told = facts_text({"weights": "Fast", "sha256": "0123456789abcdef" * 4, "sigma": 12.345, "recipe": None})
    assert told == {"Weights": "Fast", "Checksum": "sha256 0123456789ab…", "Noise level": "12.3 grey levels"}


def test_about_names_versions_licences_and_the_gpl(qtbot: Any) -> None:
    torch_before = "torch" in sys.modules
    about = AboutDialog()
    qtbot.addWidget(about)
    text = about.text.toPlainText()
    for part in (f"EchoQ {__version__}", "research use only", "General Public License", "LGPL", "PyTorch"):
        assert part in text
    assert ("torch" in sys.modules) == torch_before  # its version is read without loading it


def test_shortcuts_are_read_from_the_windows_actions(qtbot: Any) -> None:
    window = QMainWindow()
    qtbot.addWidget(window)
    for name, keys in (("&Play", "Space"), ("Save && go…", "Ctrl+G"), ("Without a key", "")):
        action = QAction(name, window)
        action.setShortcut(keys)
    dialog = ShortcutsDialog(window)
    shown = [[dialog.table.item(row, column).text() for column in (0, 1)] for row in range(dialog.table.rowCount())]
    assert shown == [["Play", "Space"], ["Save & go", "Ctrl+G"]]
    dialog.search.setText("play")
    assert [dialog.table.isRowHidden(row) for row in (0, 1)] == [False, True]


def test_the_crash_report_holds_no_patient_data(qtbot: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    import threading

    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    handler: Any = install_crash_dialog()
    try:
        try:
            raise KeyError("DOE^JANE")
        except KeyError as error:
            raise FileNotFoundError(2, "missing", "/patients/DOE_JANE.dcm") from error
    except FileNotFoundError as error:
        sys.excepthook(type(error), error, error.__traceback__)
        report = crash_report(error)
    qtbot.waitUntil(lambda: handler._open is not None, timeout=5000)
    shown = handler._open.report.toPlainText()
    assert shown == report == capsys.readouterr().err.rstrip("\n")
    for secret in ("DOE", "JANE", "patients", "/", "missing"):
        assert secret not in shown.split("EchoQ:")[0]
    for useful in (
        "FileNotFoundError",
        "KeyError",
        "test_the_crash_report_holds_no_patient_data",
        f"EchoQ: {__version__}",
    ):
        assert useful in shown
    handler._open.close()
    qtbot.waitUntil(lambda: handler._open is None, timeout=5000)
