"""The window through the person's door: a real loop, a real worker, real mouse and key events."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hands import HEART, LEFT, LV, METHOD, MYOCARDIUM, apart, at, destroy, drag, draw, key, open_path
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent, QKeySequence
from PySide6.QtWidgets import QMessageBox, QToolButton

from echoq_desktop import theme
from echoq_desktop.engine import Engine
from echoq_desktop.loop_state import region_path, sample_path
from echoq_desktop.main_window import NOTICE, MainWindow
from echoq_desktop.preferences import Preferences
from echoq_desktop.session import Session
from echoq_models import resources
from tests import make_files
from tests.shared import fan_frames

# opening and playing


def test_opening_plays_at_once_and_all_panes_show_the_same_frame(
    window: MainWindow, qtbot: Any, tmp_path: Path
) -> None:
    path = tmp_path / "heart.dcm"
    shutil.copyfile(HEART, path)
    open_path(window, qtbot, path)
    clock = window.player.clock
    assert clock.playing
    seen: list[int] = []
    window.session.frame_changed.connect(seen.append)
    qtbot.waitUntil(lambda: len(seen) > 15, timeout=10_000)
    pairs: list[tuple[int, int]] = []
    for _ in range(10):
        qtbot.wait(20)
        original, denoised = (pane.painted for pane in window.panes.shown)
        pairs.append((original["original"][0], denoised[METHOD][0]))
    assert all(a == b for a, b in pairs)
    assert len({a for a, _ in pairs}) > 1
    key(window, qtbot, Qt.Key.Key_Space)
    assert not clock.playing
    assert window.windowTitle().startswith("heart.dcm")
    assert window.strip.count() == 1


def test_a_still_that_is_done_fills_its_lane_in_the_scrub_bar(window: MainWindow, qtbot: Any, tmp_path: Path) -> None:
    path = tmp_path / "still.png"
    cv2.imwrite(str(path), fan_frames(1, 120, 160)[0])
    open_path(window, qtbot, path)
    qtbot.waitUntil(lambda: (result := window.session.result(METHOD)) is not None and bool(result.done.all()))
    scrub = window.transport.scrub
    picture, colour = scrub.grab().toImage(), theme.pane_colour(METHOD).rgb()
    lane = [x for x in range(picture.width()) if any(picture.pixel(x, y) == colour for y in range(picture.height()))]
    assert lane[0] < 20 and lane[-1] > scrub.width() - 20 and len(lane) == lane[-1] - lane[0] + 1


def test_steps_home_end_and_scrub(window: MainWindow, heart: Path, qtbot: Any) -> None:
    session = window.session
    for what, frame in (
        (Qt.Key.Key_Right, 1),
        (Qt.Key.Key_Right, 2),
        (Qt.Key.Key_Left, 1),
        (Qt.Key.Key_End, 29),
        (Qt.Key.Key_Right, 0),
        (Qt.Key.Key_Left, 29),
        (Qt.Key.Key_Home, 0),
    ):
        key(window, qtbot, what)
        assert session.frame == frame
    scrub = window.transport.scrub
    qtbot.mousePress(scrub, LEFT, pos=QPoint(round(scrub.x_of(10)), 11))
    assert session.frame == 10
    qtbot.mouseMove(scrub, QPoint(round(scrub.x_of(22)), 11))
    qtbot.mouseRelease(scrub, LEFT, pos=QPoint(round(scrub.x_of(22)), 11))
    assert session.frame == 22 and window.player.clock.index == 22
    session.set_frame(5)  # as the quality curve does
    assert window.player.clock.index == 5 and scrub.value() == 5


def test_trim_keys(window: MainWindow, heart: Path, qtbot: Any) -> None:
    clock = window.player.clock
    clock.seek(4)
    key(window, qtbot, Qt.Key.Key_BracketLeft)
    clock.seek(9)
    key(window, qtbot, Qt.Key.Key_BracketRight)
    assert clock.trim == (4, 9)
    key(window, qtbot, Qt.Key.Key_Backslash)
    assert clock.trim == (0, 29)
    assert not window.actions_by_name["one_beat"].isEnabled()  # this file knows no beat


def test_one_beat(window: MainWindow, qtbot: Any, tmp_path: Path) -> None:
    frames = make_files.sector_frames(50)
    open_path(window, qtbot, make_files.write_dicom(tmp_path / "beat.dcm", frames, HeartRate=75))  # 800 ms, 40 a frame
    clock = window.player.clock
    clock.pause()
    clock.seek(10)
    key(window, qtbot, Qt.Key.Key_B)
    assert clock.trim == (10, 29)
    clock.clear_trim()
    waves = {"HeartRate": 75, "RWaveTimeVector": [120.0, 960.0, 1760.0]}
    open_path(window, qtbot, make_files.write_dicom(tmp_path / "waves.dcm", frames, **waves))
    clock.pause()
    clock.seek(30)
    key(window, qtbot, Qt.Key.Key_B)
    assert clock.trim == (24, 43)  # between the R waves at 960 and 1760 ms


def test_speed(window: MainWindow, heart: Path, qtbot: Any) -> None:
    key(window, qtbot, Qt.Key.Key_Minus)
    assert window.player.clock.speed == 0.75 and window.transport.speed.currentText() == "0.75×"
    key(window, qtbot, Qt.Key.Key_N)
    assert window.player.clock.speed == 1.0


def test_denoised_frames_fill_in_and_are_shown(window: MainWindow, heart: Path, qtbot: Any) -> None:
    session = window.session
    qtbot.waitUntil(lambda: session.frame_of(METHOD, 0) is not None, timeout=30_000)
    qtbot.waitUntil(lambda: window.panes.shown[1].painted.get(METHOD) == (0, True), timeout=2000)
    assert session.current is not None
    assert np.array_equal(session.frame_of(METHOD, 0), session.current.loop.frames[0] // 2)
    qtbot.waitUntil(lambda: bool(session.result(METHOD).done.all()), timeout=30_000)


# looking


def test_zoom_and_pan_are_shared(window: MainWindow, heart: Path, qtbot: Any) -> None:
    first, second = window.panes.shown
    mouse = QPointF(at(first, 160, 100))
    qtbot.mouseMove(first, mouse.toPoint())
    key(window, qtbot, Qt.Key.Key_Z)
    assert window.state.view.zoom > 1
    assert apart(first.source_point(100, 90), second.source_point(100, 90)) < 1
    before = first.source_point(160, 100)
    drag(qtbot, first, (160, 100), first.camera.to_source(before + QPointF(-30, -20)))
    assert apart(second.source_point(160, 100), before + QPointF(-30, -20)) < 2
    assert apart(first.source_point(160, 100), second.source_point(160, 100)) < 1
    key(window, qtbot, Qt.Key.Key_F)
    assert window.state.view.zoom == 1 and window.state.view.centre is None


def test_wipe_has_a_draggable_edge_and_swap_changes_sides(window: MainWindow, heart: Path, qtbot: Any) -> None:
    window.actions_by_name["wipe"].trigger()
    (pane,) = window.panes.shown
    assert pane.names == ("original", METHOD)
    camera = pane.camera
    x, y = round(pane.edge_x(camera)), round(camera.area.center().y())
    qtbot.mousePress(pane, LEFT, pos=QPoint(x, y))
    qtbot.mouseMove(pane, QPoint(x - 80, y))
    qtbot.mouseRelease(pane, LEFT, pos=QPoint(x - 80, y))
    assert pane.edge_x(pane.camera) == pytest.approx(x - 80, abs=1.5)
    key(window, qtbot, Qt.Key.Key_S)
    assert window.panes.shown[0].names == (METHOD, "original")
    window.session.hidden.clear()
    key(window, qtbot, Qt.Key.Key_C)
    assert window.panes.shown[0].names == ("bm3d", "original")
    key(window, qtbot, Qt.Key.Key_C)
    window.session.hidden.add("bm3d")
    window.actions_by_name["blink"].trigger()
    shown = window.panes.shown[0].names
    window.panes.swap_blink()
    assert {*shown, *window.panes.shown[0].names} == {"original", METHOD}
    window.actions_by_name["side"].trigger()
    assert [pane.names for pane in window.panes.shown] == [(METHOD,), ("original",)]


def test_difference_shows_what_was_removed(window: MainWindow, heart: Path, qtbot: Any) -> None:
    denoised = window.panes.shown[1]
    qtbot.waitUntil(lambda: denoised.painted.get(METHOD) == (0, True), timeout=30_000)
    before, original = denoised.grab().toImage(), window.panes.shown[0].grab().toImage()
    key(window, qtbot, Qt.Key.Key_0)
    assert window.state.view.difference and window.actions_by_name["difference"].isChecked()
    assert denoised.grab().toImage() != before and window.panes.shown[0].grab().toImage() == original
    key(window, qtbot, Qt.Key.Key_0)
    assert denoised.grab().toImage() == before


def test_the_keyboard_stays_with_the_pictures(window: MainWindow, heart: Path, qtbot: Any) -> None:
    window.activateWindow()
    pane, play = window.panes.shown[0], window.actions_by_name["play"]
    pane.setFocus()
    qtbot.waitUntil(pane.hasFocus, timeout=5000)
    button = next(each for each in window.transport.findChildren(QToolButton) if each.defaultAction() is play)
    qtbot.mouseClick(button, LEFT)
    assert window.player.clock.playing and pane.hasFocus()
    button.setFocus(Qt.FocusReason.TabFocusReason)
    assert button.hasFocus() and not play.shortcuts()  # Space presses the button, once
    qtbot.keyClick(button, Qt.Key.Key_Space)
    assert not window.player.clock.playing
    pane.setFocus()
    assert [each.toString() for each in play.shortcuts()] == ["Space"]


def test_panes_are_hidden_but_never_all(window: MainWindow, heart: Path, qtbot: Any) -> None:
    key(window, qtbot, Qt.Key.Key_1)
    assert [pane.names for pane in window.panes.shown] == [(METHOD,)]
    window.actions_by_name["pane_2"].trigger()
    assert [pane.names for pane in window.panes.shown] == [(METHOD,)]
    assert window.actions_by_name["pane_2"].isChecked()
    window.actions_by_name["pane_1"].trigger()
    assert len(window.panes.shown) == 2


def test_looks_touch_no_figure_and_no_frame(window: MainWindow, heart: Path, qtbot: Any) -> None:
    session = window.session
    draw(window, qtbot, "draw_lv", LV)
    draw(window, qtbot, "draw_myocardium", MYOCARDIUM)
    qtbot.waitUntil(lambda: window.quality.table.columns()[0][0] not in ("–", "…"), timeout=5000)
    figure, frame = window.quality.table.columns()[0][0], session.frame_of("original", 0).copy()
    picture = window.panes.shown[0].grab().toImage()
    for name in ("invert", "next_grey_map"):
        window.actions_by_name[name].trigger()
    window.view_bar.looks.gamma.setValue(40)
    window.view_bar.strength.setValue(30)
    assert window.state.view.gamma == 2.0 and window.state.view.strength == 0.3
    assert window.panes.shown[0].grab().toImage() != picture
    qtbot.wait(300)
    assert window.quality.table.columns()[0][0] == figure
    assert np.array_equal(session.frame_of("original", 0), frame)


def test_a_network_without_weights_is_disabled_and_says_so(window: MainWindow) -> None:
    window.session.methods["unet"] = {"title": "U-Net", "missing": "There are no weights."}
    window.session.methods_changed.emit()
    entry = next(action for action in window.denoise_menu.actions() if action.text().startswith("U-Net"))
    assert not entry.isEnabled() and "import or train" in entry.text()


# the window itself


def test_every_action_has_words_and_a_key_of_its_own(window: MainWindow) -> None:
    taken: dict[str, str] = {}
    for name, action in window.actions_by_name.items():
        assert action.text() and action.toolTip() and action.shortcuts(), name
        for shortcut in action.shortcuts():
            text = shortcut.toString(QKeySequence.SequenceFormat.PortableText)
            assert taken.setdefault(text, name) == name, f"{text}: {name} and {taken[text]}"
    for pane in window.panes.panes:
        assert pane.accessibleName() or not pane.names
    assert any(NOTICE in label.text() for label in window.statusBar().findChildren(type(window.lossy)))


def test_keys_can_be_rebound_in_the_settings_file(window_engine: Engine, qtbot: Any, own_settings: Path) -> None:
    preferences = Preferences()
    preferences.set_keys("play", "P")
    preferences.sync()
    assert "play" in own_settings.read_text(encoding="utf-8")
    window = MainWindow(Session(window_engine), Preferences())
    assert [key.toString() for key in window.actions_by_name["play"].shortcuts()] == ["P"]
    destroy(window)


def test_lossy_badge_and_recent(window: MainWindow, heart: Path, qtbot: Any) -> None:
    assert window.lossy.isVisible()
    assert window.preferences.recent() == [heart]
    window.recent_menu.aboutToShow.emit()
    assert window.recent_menu.actions()[0].text() == "heart.dcm"
    window.actions_by_name["clear_recent"].trigger()
    assert window.preferences.recent() == []


def test_files_are_dropped_and_bad_ones_told(window: MainWindow, qtbot: Any, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.dcm", tmp_path / "bad.dcm"
    shutil.copyfile(HEART, good)
    bad.write_bytes(b"nothing of use")
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in (bad, good)])
    action, no = Qt.DropAction.CopyAction, Qt.KeyboardModifier.NoModifier
    window.dropEvent(QDropEvent(QPointF(5, 5), action, data, LEFT, no))
    qtbot.waitUntil(lambda: window.session.current is not None and not window.session.opening.files, timeout=30_000)
    assert [opened.path for opened in window.session.loops] == [good]
    boxes = window.findChildren(QMessageBox)
    assert len(boxes) == 1 and "bad.dcm" in boxes[0].text()
    boxes[0].close()


def test_a_folder_opens_each_of_its_loops_and_pages_turn(window: MainWindow, qtbot: Any, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    for name in ("a.dcm", "b.dcm"):
        shutil.copyfile(HEART, folder / name)
    (folder / "notes.txt").write_text("no loop", encoding="utf-8")
    window.documents.open([folder])
    qtbot.waitUntil(lambda: len(window.session.loops) == 2, timeout=30_000)
    assert window.strip.count() == 2
    shown = window.session.current
    key(window, qtbot, Qt.Key.Key_PageDown)
    assert window.session.current is not shown
    qtbot.keyClick(window.strip, Qt.Key.Key_Delete)
    assert len(window.session.loops) == 1


def test_layout_is_remembered(window_engine: Engine, qtbot: Any) -> None:
    first = MainWindow(Session(window_engine), Preferences())
    first.resize(1300, 760)
    first.show()
    first.docks["loops"].hide()
    first.close()
    destroy(first)
    second = MainWindow(Session(window_engine), Preferences())
    second.show()
    assert second.docks["loops"].isHidden() and not second.docks["quality"].isHidden()
    destroy(second)


@pytest.mark.parametrize(
    ("answer", "left", "written"),
    [
        (QMessageBox.StandardButton.Cancel, False, False),
        (QMessageBox.StandardButton.Discard, True, False),
        (QMessageBox.StandardButton.Save, True, True),
    ],
)
def test_closing_asks_about_unsaved_regions(
    window: MainWindow, heart: Path, qtbot: Any, monkeypatch: pytest.MonkeyPatch, answer: Any, left: bool, written: bool
) -> None:
    draw(window, qtbot, "draw_lv", LV)
    monkeypatch.setattr(QMessageBox, "exec", lambda _box: answer)
    assert window.close() is left
    assert heart.with_name("heart.roi.json").exists() is written


def test_closing_asks_about_running_exports(window: MainWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("echoq_desktop.export.progress.running", lambda: ["Exporting heart.mp4"])
    asked: list[str] = []

    def question(_parent: Any, _title: str, text: str) -> Any:
        asked.append(text)
        return QMessageBox.StandardButton.No

    monkeypatch.setattr(QMessageBox, "question", question)
    assert not window.close()
    assert "heart.mp4" in asked[0]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_worker_is_told_and_nothing_drawn_is_lost(window: MainWindow, heart: Path, qtbot: Any) -> None:
    draw(window, qtbot, "draw_lv", LV)
    session, drawn = window.session, window.session.regions
    with qtbot.waitSignal(session.engine.restarted, timeout=20_000):
        os.kill(session.engine.worker_pid, signal.SIGKILL)
    assert window.banner.isVisible() and "started again" in window.banner.label.text()
    assert session.regions == drawn and session.current is not None
    qtbot.waitUntil(lambda: bool(session.result(METHOD).done.all()), timeout=30_000)
    window.actions_by_name["open_sample"].trigger()  # the new worker reads too
    qtbot.waitUntil(lambda: len(session.loops) == 2, timeout=30_000)


def test_the_sample_opens_with_its_regions(window: MainWindow, qtbot: Any) -> None:
    with qtbot.waitSignal(window.session.current_changed, timeout=30_000):
        window.documents.open_sample()
    assert window.player.clock.playing
    assert window.session.shown.lv and window.session.shown.myocardium
    assert not window.session.unsaved()


def test_the_phantom_opens_from_the_file_menu_with_its_regions(
    window: MainWindow, qtbot: Any, own_settings: Path
) -> None:
    (file,) = (menu.menu() for menu in window.menuBar().actions() if menu.text() == "&File")
    entry = next(each for each in file.actions() if each.text() == "Open the &phantom loop")
    assert "simulated" in entry.toolTip() and "simulated" in entry.statusTip()
    with qtbot.waitSignal(window.session.current_changed, timeout=30_000):
        entry.trigger()
    opened = window.session.current
    assert opened is not None and opened.path == resources.phantom_sample()[0]
    assert window.player.clock.playing
    assert window.session.shown.lv and window.session.shown.myocardium
    assert not window.session.unsaved()
    assert window.strip.item(0).text().startswith("Phantom loop")
    kept = region_path(opened.path)  # what a person draws stays out of the installation
    assert resources.root() not in kept.parents and kept != region_path(sample_path())
    window.documents.save_regions()
    assert kept.is_file()


def test_reading_shows_how_far_it_is_and_can_be_stopped(
    window: MainWindow, heart: Path, qtbot: Any, tmp_path: Path
) -> None:
    frames = make_files.sector_frames(2, 480, 640)
    paths = [tmp_path / "long.dcm", tmp_path / "longer.dcm"]
    for path in paths:
        make_files.write_dicom(path, frames, syntax=make_files.JPEG_2000_LOSSLESS, repeat=150)
    window.documents.open([*paths, paths[0]])
    assert list(window.session.opening.files.values()) == paths  # the same file twice is one
    line = window.reading
    qtbot.waitUntil(lambda: line.isVisible() and 0 < line.bar.value() < line.bar.maximum(), timeout=20_000)
    assert "long.dcm and 1 more" in line.label.accessibleName()
    qtbot.mouseClick(line.cancel_button, LEFT)
    qtbot.waitUntil(lambda: not window.session.opening.files, timeout=5000)
    assert not line.isVisible()
    assert [opened.path for opened in window.session.loops] == [heart]
