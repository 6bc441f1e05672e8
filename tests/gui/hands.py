"""Hands of the window's tests: real mouse and key events on real widgets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shiboken6
from numpy.typing import NDArray
from pydicom import examples
from PySide6.QtCore import QPoint, QPointF, Qt, QTimer

from echoq_desktop.main_window import MainWindow
from echoq_desktop.player.pane import Pane
from echoq_models.regions import Contour
from echoq_models.segment.base import Segmentation

HEART = Path(examples.get_path("ybr_color"))
METHOD = "darken"  # a quick denoiser of the tests
LV = [(163, 78), (178, 74), (192, 86), (199, 102), (188, 122), (172, 123), (161, 100)]
MYOCARDIUM = [(147, 60), (153, 49), (187, 48), (199, 60), (172, 60)]
LEFT, RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton
NO, SHIFT, CTRL, ALT = (
    Qt.KeyboardModifier.NoModifier,
    Qt.KeyboardModifier.ShiftModifier,
    Qt.KeyboardModifier.ControlModifier,
    Qt.KeyboardModifier.AltModifier,
)


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


def ventricle(frames: int, size: tuple[int, int]) -> NDArray[np.bool_]:
    """A left ventricle that beats twice, bool (T, H, W): in the heart loop about where its own is."""
    y, x = np.indices(size)
    masks = []
    for t in range(frames):
        scale = 1.0 - 0.25 * np.sin(2 * np.pi * t / frames) ** 2
        masks.append(((x - 176) / (24 * scale)) ** 2 + ((y - 100) / (32 * scale)) ** 2 <= 1)
    return np.array(masks)


class Network:
    """Stands in for the network in the worker: answers `Engine.segment` with `ventricle`, but not in `lost`."""

    WHY = "The left ventricle would be too small."

    def __init__(self, window: MainWindow, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lost: set[int] = set()
        self.shift = 0  # pixels to the right, by which it is another network
        self.asked: list[Any] = []
        self._window = window
        monkeypatch.setattr(window.session.engine, "segment", self.segment)
        window.session.engine.segmenters.emit({"lv": {"title": "Left ventricle", "missing": None}})

    def segment(self, loop_id: int, frames: Any = None, network: str = "lv", device: str = "auto") -> int:
        self.asked.append(frames)
        opened = self._window.session.opened(loop_id)
        assert opened is not None
        total = len(opened.loop)
        asked = tuple(range(total) if frames is None else frames)
        found = np.array([t in asked and t not in self.lost for t in range(total)])
        answer = Segmentation(
            np.roll(ventricle(total, opened.loop.size), self.shift, axis=2) & found[:, None, None],
            np.where(found, 0.9, 0.2).astype(np.float32),
            found,
            tuple(self.WHY if t in asked and not found[t] else "" for t in range(total)),
            asked,
            {"network": network, "sha256": "0" * 64},
        )
        engine = self._window.session.engine
        QTimer.singleShot(10, engine, lambda: engine.segmented.emit(loop_id, answer))
        return 10_000 + len(self.asked)


def drag(qtbot: Any, pane: Pane, start: tuple[float, float], *way: tuple[float, float]) -> None:
    qtbot.mousePress(pane, LEFT, pos=at(pane, *start))
    for point in way:
        qtbot.mouseMove(pane, at(pane, *point))
    qtbot.mouseRelease(pane, LEFT, pos=at(pane, *way[-1]))


def generate(window: MainWindow, qtbot: Any, modifier: Any = SHIFT) -> None:
    """Press the key, wait for the regions."""
    key(window, qtbot, Qt.Key.Key_A, modifier)
    assert window.session.generation.busy
    qtbot.waitUntil(lambda: not window.session.generation.busy, timeout=10_000)


def shift_of(after: Contour, before: Contour) -> Any:
    """How far the middle of a contour moved, x and y in pixels."""
    return np.subtract(after.centroid, before.centroid)
