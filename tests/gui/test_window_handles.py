"""Handles and whole regions: moved by keys, scaled by the wheel and by the corners of the box, given up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hands import ALT, CTRL, LEFT, LV, NO, SHIFT, at, drag, draw, key, shift_of
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QApplication

from echoq_desktop.main_window import MainWindow

_PHASE = Qt.ScrollPhase.NoScrollPhase


def test_handles_are_moved_by_keys_alone(window: MainWindow, heart: Path, qtbot: Any) -> None:
    session, tool = window.session, window.panes.tool
    draw(window, qtbot, "draw_lv", LV)
    start = session.shown.lv[0]
    key(window, qtbot, Qt.Key.Key_J)
    key(window, qtbot, Qt.Key.Key_K)
    key(window, qtbot, Qt.Key.Key_K)
    assert tool.selected is not None and tool.selected.vertex == 1
    for _ in range(3):
        key(window, qtbot, Qt.Key.Key_Right, ALT)
    key(window, qtbot, Qt.Key.Key_Up, ALT)
    assert session.shown.lv[0].points[1] - start.points[1] == pytest.approx((3, -1))
    assert session.frame == 0 and session.undo_stack.count() == 2  # four presses, one step
    key(window, qtbot, Qt.Key.Key_Insert)
    assert len(session.shown.lv[0]) == len(start) + 1 and tool.selected.vertex == 2
    key(window, qtbot, Qt.Key.Key_Delete)
    assert len(session.shown.lv[0]) == len(start)
    key(window, qtbot, Qt.Key.Key_J)
    before = session.shown.lv[0]
    key(window, qtbot, Qt.Key.Key_Up, CTRL)
    assert abs(session.shown.lv[0].area / before.area) == pytest.approx(1.02**2, abs=0.01)
    key(window, qtbot, Qt.Key.Key_Down, ALT)
    assert shift_of(session.shown.lv[0], before) == pytest.approx((0, 1), abs=0.05)
    for _ in range(5):
        key(window, qtbot, Qt.Key.Key_Z, CTRL)
    assert session.shown.lv[0] == start


def test_a_region_is_scaled_by_the_wheel_and_by_a_corner_of_its_box(
    window: MainWindow, heart: Path, qtbot: Any
) -> None:
    session, pane = window.session, window.panes.shown[0]
    draw(window, qtbot, "draw_lv", LV)
    before = session.shown.lv[0]
    middle = pane.source_point(*before.centroid)
    wheel = QWheelEvent(
        middle, pane.mapToGlobal(middle), QPoint(), QPoint(0, 120), Qt.MouseButton.NoButton, SHIFT, _PHASE, False
    )
    QApplication.sendEvent(pane, wheel)
    assert abs(session.shown.lv[0].area / before.area) == pytest.approx(1.03**2, abs=0.01)
    assert window.state.view.zoom == 1
    larger = session.shown.lv[0]
    qtbot.mouseClick(pane, LEFT, pos=middle.toPoint())  # selects it whole
    corner = larger.outline.max(axis=0)
    out = corner + (corner - larger.centroid) * 0.25
    drag(qtbot, pane, (corner[0], corner[1]), (out[0], out[1]))
    assert abs(session.shown.lv[0].area / larger.area) == pytest.approx(1.25**2, abs=0.05)
    assert session.shown.lv[0].centroid == pytest.approx(larger.centroid, abs=0.5)


def test_old_polygons_stay_straight_when_edited(window: MainWindow, heart: Path, qtbot: Any) -> None:
    square = np.array([[150.0, 80], [190, 80], [190, 120], [150, 120]])
    path = heart.with_name("old.json")
    path.write_text(json.dumps({"lv": [square.tolist()], "myocardium": []}), encoding="utf-8")
    window.session.load_regions(path)
    window.session.tool = "edit"
    drag(qtbot, window.panes.shown[0], (150, 80), (145, 75))
    lv = window.session.regions.at(20).lv[0]
    assert not lv.smooth and lv.points[0] == pytest.approx((145, 75), abs=1)
    assert np.array_equal(lv.points[1:], square[1:])


def test_a_drag_given_up_is_no_step(window: MainWindow, heart: Path, qtbot: Any) -> None:
    session, pane = window.session, window.panes.shown[0]
    draw(window, qtbot, "draw_lv", LV)
    drawn, steps = session.regions, session.undo_stack.count()
    here = drawn.at(0).lv[0].points[2]
    qtbot.mousePress(pane, LEFT, pos=at(pane, *here))
    qtbot.mouseMove(pane, at(pane, 100, 100))
    assert session.regions != drawn
    key(window, qtbot, Qt.Key.Key_Escape)
    qtbot.mouseRelease(pane, LEFT, pos=at(pane, 100, 100))
    assert session.regions == drawn and session.undo_stack.count() == steps


def test_the_wheel_still_enlarges_without_shift(window: MainWindow, heart: Path, qtbot: Any) -> None:
    pane = window.panes.shown[0]
    window.session.tool = "edit"
    here = QPointF(at(pane, 160, 100))
    wheel = QWheelEvent(
        here, pane.mapToGlobal(here), QPoint(), QPoint(0, 120), Qt.MouseButton.NoButton, NO, _PHASE, False
    )
    QApplication.sendEvent(pane, wheel)
    assert window.state.view.zoom > 1
