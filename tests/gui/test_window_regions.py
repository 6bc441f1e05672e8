"""Regions drawn and edited with real mouse and key events, on any pane, with undo, saved and restored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hands import LEFT, LV, MYOCARDIUM, RIGHT, at, drag, draw, key, open_path
from PySide6.QtCore import Qt

from echoq_desktop.main_window import MainWindow
from echoq_models import regions as region_files
from echoq_models.metrics.gcnr import gcnr
from echoq_models.regions import FrameRegions, Regions


def test_both_regions_drawn_by_mouse_give_gcnr_and_come_back(window: MainWindow, heart: Path, qtbot: Any) -> None:
    session = window.session
    draw(window, qtbot, "draw_lv", LV)
    assert session.tool == "edit"  # ready to be corrected
    draw(window, qtbot, "draw_myocardium", MYOCARDIUM, pane=1)  # on the other pane
    assert len(session.shown.lv) == len(session.shown.myocardium) == 1
    assert session.shown.lv[0].points == pytest.approx(np.array(LV, float), abs=1.0)
    assert session.shown.myocardium[0].points == pytest.approx(np.array(MYOCARDIUM, float), abs=1.0)
    assert session.shown.lv[0].smooth and session.regions.at(29) == session.shown  # a spline, on every frame
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
    qtbot.mousePress(pane, LEFT, pos=at(pane, *drawn.at(0).lv[0].points[0]))
    qtbot.mouseMove(pane, at(pane, 150, 70))
    assert session.shown.lv[0].points[0] == pytest.approx((150, 70), abs=1.0)
    assert session.undo_stack.count() == 1  # only the drawing so far
    qtbot.mouseMove(pane, at(pane, 155, 65))
    qtbot.mouseRelease(pane, LEFT, pos=at(pane, 155, 65))
    assert session.undo_stack.count() == 2
    moved = session.regions
    assert moved.at(0).lv[0].points[0] == pytest.approx((155, 65), abs=1.0)
    assert moved.at(0).lv[0].points[1:] == pytest.approx(drawn.at(0).lv[0].points[1:])
    key(window, qtbot, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert session.regions == drawn
    key(window, qtbot, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert not session.regions
    key(window, qtbot, Qt.Key.Key_Y, Qt.KeyboardModifier.ControlModifier)
    key(window, qtbot, Qt.Key.Key_Y, Qt.KeyboardModifier.ControlModifier)
    assert session.regions == moved


def test_points_are_added_and_deleted_and_contours_moved(window: MainWindow, heart: Path, qtbot: Any) -> None:
    session = window.session
    square = [(150, 80), (190, 80), (190, 120), (150, 120)]
    session.set_regions(Regions(lv=(square,)), "a polygon")  # straight ones stay straight
    session.tool = "edit"
    pane = window.panes.shown[0]
    qtbot.mouseDClick(pane, LEFT, pos=at(pane, 170, 80))
    assert len(session.shown.lv[0]) == 5 and not session.shown.lv[0].smooth
    assert session.shown.lv[0].points[1] == pytest.approx((170, 80), abs=1.0)
    key(window, qtbot, Qt.Key.Key_Delete)
    assert len(session.shown.lv[0]) == 4
    before = session.shown.lv[0].points
    drag(qtbot, pane, (170, 100), (172, 103), (180, 110))
    assert session.shown.lv[0].points - before == pytest.approx(np.full((4, 2), 10.0), abs=1.0)
    drag(qtbot, pane, (180, 110), (900, 110))  # never out of the picture
    assert session.shown.lv[0].points[:, 0].max() == pytest.approx(319)
    qtbot.mouseClick(pane, LEFT, pos=at(pane, *session.shown.lv[0].points.mean(axis=0)))
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
        assert len(session.shown.lv) == 1 and len(session.shown.lv[0]) == 4, closing
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
    start, keyed = FrameRegions(lv=(square,)), FrameRegions(lv=(square + 10,))
    session.set_regions(Regions(frames={0: start, 10: keyed}, edited=frozenset({0, 10})), "two shapes")
    window.actions_by_name["edit"].trigger()
    session.set_frame(15)
    drag(qtbot, window.panes.shown[0], (160, 90), (155, 85))
    assert session.shown.lv[0].points[0] == pytest.approx((155, 85), abs=1.0)
    assert session.regions.frames[10] == keyed and session.regions.frames[0] == start
    assert session.regions.edited == {0, 10, 15}
