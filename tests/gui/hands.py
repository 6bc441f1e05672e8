"""Hands of the window's tests: real mouse and key events on real widgets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import shiboken6
from pydicom import examples
from PySide6.QtCore import QPoint, QPointF, Qt

from echoq_desktop.main_window import MainWindow
from echoq_desktop.player.pane import Pane

HEART = Path(examples.get_path("ybr_color"))
METHOD = "darken"  # a quick denoiser of the tests
LV = [(163, 78), (178, 74), (192, 86), (199, 102), (188, 122), (172, 123), (161, 100)]
MYOCARDIUM = [(147, 60), (153, 49), (187, 48), (199, 60), (172, 60)]
LEFT, RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton


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
