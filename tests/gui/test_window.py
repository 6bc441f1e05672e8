"""The window through the person's door: a real loop, a real worker, real mouse and key events."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shiboken6
from pydicom import examples
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent, QKeySequence
from PySide6.QtWidgets import QMessageBox

from echoq_desktop.engine import Engine, EngineOptions
from echoq_desktop.main_window import NOTICE, MainWindow
from echoq_desktop.player.pane import Pane
from echoq_desktop.preferences import Preferences
from echoq_desktop.session import Session
from echoq_models import regions as region_files
from echoq_models.metrics.gcnr import gcnr
from echoq_models.regions import Regions

HEART = Path(examples.get_path("ybr_color"))
PLUGINS = Path(__file__).parent.parent / "runtime" / "plugins"
METHOD = "darken"
LV = [(163, 78), (178, 74), (192, 86), (199, 102), (188, 122), (172, 123), (161, 100)]
MYOCARDIUM = [(147, 60), (153, 49), (187, 48), (199, 60), (172, 60)]
LEFT, RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton


@pytest.fixture(scope="module")
def engine(qapp: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One worker for all tests here, with a simple denoiser of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PLUGINS))
        options = EngineOptions(
            extra_denoisers=(f"quick_denoisers:{METHOD}",), temporary=tmp_path_factory.mktemp("frames")
        )
        made = Engine(options=options)
        heard: list[object] = []
        made.methods.connect(heard.append)
        made.start()
        while not heard:
            qapp.processEvents()
        made.setProperty("known", heard[0])
        yield made
        made.close()


@pytest.fixture
def window(engine: Engine, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[MainWindow]:
    """An empty window; the middle pane is the simple denoiser, BM3D is hidden since it takes its time."""
    session = Session(engine)
    session.set_middle(METHOD)
    session.set_shown("bm3d", False)
    made = MainWindow(session, Preferences())
    session._on_methods(engine.property("known"))  # the worker said it before this window was there
    made.show()
    qtbot.waitExposed(made)
    yield made
    destroy(made)


@pytest.fixture
def heart(window: MainWindow, qtbot: Any, tmp_path: Path) -> Path:
    """A copy of pydicom's cardiac loop, open and paused, without regions."""
    path = tmp_path / "heart.dcm"
    shutil.copyfile(HEART, path)
    open_path(window, qtbot, path)
    window.player.clock.pause()
    window.player.clock.seek(0)
    return path


def destroy(window: MainWindow) -> None:
    """Take a window down with its session, as the end of the program does; the worker lives on."""
    window.player.clock.pause()
    for opened in window.session.loops:
        window.session.close_loop(opened.loop_id)
    session = window.session
    shiboken6.delete(session)
    shiboken6.delete(window)


def open_path(window: MainWindow, qtbot: Any, path: Path) -> None:
    with qtbot.waitSignal(window.session.current_changed, timeout=30_000):
        window.documents.open([path])


def key(window: MainWindow, qtbot: Any, what: Qt.Key, modifier: Any = Qt.KeyboardModifier.NoModifier) -> None:
    """A key, sent to where the keyboard is."""
    qtbot.keyClick(window.panes.shown[0], what, modifier)


def at(pane: Pane, x: float, y: float) -> QPoint:
    return pane.source_point(x, y).toPoint()


def apart(a: QPointF, b: QPointF) -> float:
    """Distance in widget pixels; panes may differ by a pixel in width."""
    return float(np.hypot(a.x() - b.x(), a.y() - b.y()))


def draw(window: MainWindow, qtbot: Any, action: str, points: list[tuple[float, float]], pane: int = 0) -> None:
    """Choose a tool, click the points, double-click the last."""
    window.actions_by_name[action].trigger()
    target = window.panes.shown[pane]
    for x, y in points:
        qtbot.mouseClick(target, LEFT, pos=at(target, x, y))
    qtbot.mouseDClick(target, LEFT, pos=at(target, *points[-1]))


def drag(qtbot: Any, pane: Pane, start: tuple[float, float], *way: tuple[float, float]) -> None:
    qtbot.mousePress(pane, LEFT, pos=at(pane, *start))
    for point in way:
        qtbot.mouseMove(pane, at(pane, *point))
    qtbot.mouseRelease(pane, LEFT, pos=at(pane, *way[-1]))


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


# regions


def test_both_regions_drawn_by_mouse_give_gcnr_and_come_back(window: MainWindow, heart: Path, qtbot: Any) -> None:
    session = window.session
    draw(window, qtbot, "draw_lv", LV)
    assert session.tool == "edit"  # ready to be corrected
    draw(window, qtbot, "draw_myocardium", MYOCARDIUM, pane=1)  # on the other pane
    assert len(session.regions.lv) == len(session.regions.myocardium) == 1
    assert session.regions.lv[0] == pytest.approx(np.array(LV, float), abs=1.0)
    assert session.regions.myocardium[0] == pytest.approx(np.array(MYOCARDIUM, float), abs=1.0)
    assert session.current is not None
    lv, myocardium = session.regions.masks(session.current.loop.size)
    expected = f"{gcnr(session.current.loop.frames[0], lv, myocardium):.3f}"
    qtbot.waitUntil(lambda: window.quality.table.columns()[0][0] == expected, timeout=5000)
    assert session.unsaved()
    window.actions_by_name["save_regions"].trigger()
    assert not session.unsaved()
    saved = heart.with_name("heart.roi.json")
    assert region_files.load(saved) == session.regions
    kept = session.regions
    session.close_loop(session.current.loop_id)
    open_path(window, qtbot, heart)
    assert session.regions == kept and not session.unsaved()


def test_a_dragged_vertex_previews_and_is_one_undo_step(window: MainWindow, heart: Path, qtbot: Any) -> None:
    session = window.session
    draw(window, qtbot, "draw_lv", LV)
    drawn = session.regions
    pane = window.panes.shown[0]
    qtbot.mousePress(pane, LEFT, pos=at(pane, *drawn.lv[0][0]))
    qtbot.mouseMove(pane, at(pane, 150, 70))
    assert session.regions.lv[0][0] == pytest.approx((150, 70), abs=1.0)
    assert session.undo_stack.count() == 1  # only the drawing so far
    qtbot.mouseMove(pane, at(pane, 155, 65))
    qtbot.mouseRelease(pane, LEFT, pos=at(pane, 155, 65))
    assert session.undo_stack.count() == 2
    moved = session.regions
    assert moved.lv[0][0] == pytest.approx((155, 65), abs=1.0)
    assert moved.lv[0][1:] == pytest.approx(drawn.lv[0][1:])
    key(window, qtbot, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert session.regions == drawn
    key(window, qtbot, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert not session.regions
    key(window, qtbot, Qt.Key.Key_Y, Qt.KeyboardModifier.ControlModifier)
    key(window, qtbot, Qt.Key.Key_Y, Qt.KeyboardModifier.ControlModifier)
    assert session.regions == moved


def test_points_are_added_and_deleted_and_polygons_moved(window: MainWindow, heart: Path, qtbot: Any) -> None:
    session = window.session
    square = [(150, 80), (190, 80), (190, 120), (150, 120)]
    draw(window, qtbot, "draw_lv", square)
    pane = window.panes.shown[0]
    qtbot.mouseDClick(pane, LEFT, pos=at(pane, 170, 80))
    assert len(session.regions.lv[0]) == 5
    assert session.regions.lv[0][1] == pytest.approx((170, 80), abs=1.0)
    key(window, qtbot, Qt.Key.Key_Delete)
    assert len(session.regions.lv[0]) == 4
    before = session.regions.lv[0]
    drag(qtbot, pane, (170, 100), (172, 103), (180, 110))
    assert session.regions.lv[0] - before == pytest.approx(np.full((4, 2), 10.0), abs=1.0)
    drag(qtbot, pane, (180, 110), (900, 110))  # never out of the picture
    assert session.regions.lv[0][:, 0].max() == pytest.approx(319)
    qtbot.mouseClick(pane, LEFT, pos=at(pane, *session.regions.lv[0].mean(axis=0)))
    key(window, qtbot, Qt.Key.Key_Delete)
    assert not session.regions


def test_drawing_closes_with_enter_right_click_or_the_first_point(window: MainWindow, heart: Path, qtbot: Any) -> None:
    session, pane = window.session, window.panes.shown[0]
    for closing in ("enter", "right", "first"):
        window.actions_by_name["draw_lv"].trigger()
        for x, y in LV[:4]:
            qtbot.mouseClick(pane, LEFT, pos=at(pane, x, y))
        if closing == "enter":
            key(window, qtbot, Qt.Key.Key_Return)
        elif closing == "right":
            qtbot.mouseClick(pane, RIGHT, pos=at(pane, 10, 10))
        else:
            qtbot.mouseClick(pane, LEFT, pos=at(pane, *LV[0]))
        assert len(session.regions.lv) == 1 and len(session.regions.lv[0]) == 4, closing
        session.undo_stack.undo()


def test_a_draft_can_be_taken_back_and_dropped(window: MainWindow, heart: Path, qtbot: Any) -> None:
    tool, pane = window.panes.tool, window.panes.shown[0]
    window.actions_by_name["draw_lv"].trigger()
    for x, y in LV[:3]:
        qtbot.mouseClick(pane, LEFT, pos=at(pane, x, y))
    key(window, qtbot, Qt.Key.Key_Backspace)
    assert len(tool.draft) == 2
    key(window, qtbot, Qt.Key.Key_Return)  # two points are no region
    assert not tool.draft and not window.session.regions
    qtbot.mouseClick(pane, LEFT, pos=at(pane, *LV[0]))
    key(window, qtbot, Qt.Key.Key_Escape)
    assert not tool.draft and window.session.tool == "draw_lv"
    key(window, qtbot, Qt.Key.Key_Escape)
    assert window.session.tool == "look"


def test_look_changes_no_region(window: MainWindow, heart: Path, qtbot: Any) -> None:
    draw(window, qtbot, "draw_lv", LV)
    window.actions_by_name["look"].trigger()
    drawn = window.session.regions
    drag(qtbot, window.panes.shown[0], LV[0], (100, 60))
    assert window.session.regions == drawn


def test_key_frames_are_edited_where_they_belong(window: MainWindow, heart: Path, qtbot: Any) -> None:
    session = window.session
    square = np.array([[150.0, 80], [190, 80], [190, 120], [150, 120]])
    keyed = region_files.FrameRegions(lv=(square + 10,))
    session.set_regions(Regions(lv=(square,), frames={10: keyed}), "two shapes")
    window.actions_by_name["edit"].trigger()
    session.set_frame(15)
    drag(qtbot, window.panes.shown[0], (160, 90), (155, 85))
    assert session.regions.frames[10].lv[0][0] == pytest.approx((155, 85), abs=1.0)
    assert np.array_equal(session.regions.lv[0], square)


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


def test_keys_can_be_rebound_in_the_settings_file(engine: Engine, qtbot: Any, own_settings: Path) -> None:
    preferences = Preferences()
    preferences.set_keys("play", "P")
    preferences.sync()
    assert "play" in own_settings.read_text(encoding="utf-8")
    window = MainWindow(Session(engine), Preferences())
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
    qtbot.waitUntil(lambda: window.session.current is not None and not window.session.opening, timeout=30_000)
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


def test_layout_is_remembered(engine: Engine, qtbot: Any) -> None:
    first = MainWindow(Session(engine), Preferences())
    first.resize(1300, 760)
    first.show()
    first.docks["loops"].hide()
    first.close()
    destroy(first)
    second = MainWindow(Session(engine), Preferences())
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


def test_a_restarted_worker_is_told(window: MainWindow) -> None:
    window.session.engine.restarted.emit("The worker was started again.")
    assert window.banner.isVisible() and "started again" in window.banner.label.text()


def test_the_sample_opens_with_its_regions(window: MainWindow, qtbot: Any) -> None:
    with qtbot.waitSignal(window.session.current_changed, timeout=30_000):
        window.documents.open_sample()
    assert window.player.clock.playing
    assert window.session.regions.lv and window.session.regions.myocardium
    assert not window.session.unsaved()
