"""gCNR of every pane over the loop, with the playhead; a click or the arrow keys move it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPalette
from PySide6.QtWidgets import QWidget

from echoq_desktop.theme import pane_colour

STALE_ALPHA = 70


class GcnrCurve(pg.PlotWidget):
    """gCNR (0 to 1) against the frame (1 to T), one line a pane. Values of moved regions stay faint until renewed."""

    frame_chosen = Signal(int)  # index from 0
    stepped = Signal(int)  # frames forward or back

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, background=None)
        self._lines: dict[str, tuple[pg.PlotCurveItem, pg.PlotCurveItem, pg.ScatterPlotItem]] = {}
        self._count = 0
        plot = self.getPlotItem()
        plot.setMenuEnabled(False)
        plot.hideButtons()
        plot.setMouseEnabled(x=False, y=False)
        plot.setYRange(0.0, 1.0, padding=0.07)
        plot.setLabel("left", "gCNR")
        plot.setLabel("bottom", "Frame")
        plot.showGrid(x=False, y=True, alpha=0.15)
        plot.getAxis("left").setTicks([[(0.0, "0"), (0.5, "0.5"), (1.0, "1")], [(0.25, ""), (0.75, "")]])
        plot.getAxis("left").setWidth(44)
        self._playhead = pg.InfiniteLine(angle=90, movable=False)
        self._playhead.setZValue(10)
        plot.addItem(self._playhead)
        self.setMinimumHeight(120)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("gCNR of each frame")
        self.setToolTip("gCNR of every frame in each pane.\nClick, drag or use the arrow keys to go to a frame.")
        self._dress()

    def sizeHint(self) -> QSize:
        return QSize(300, 150)  # a PlotWidget asks for 640 x 480

    def _dress(self) -> None:
        text = self.palette().color(QPalette.ColorRole.WindowText)
        self._playhead.setPen(pg.mkPen(text, width=1))
        for side in ("left", "bottom"):
            axis = self.getPlotItem().getAxis(side)
            axis.setTextPen(text)
            axis.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
            axis.setStyle(tickFont=self.font(), autoExpandTextSpace=False, hideOverlappingLabels=False)
            axis.label.setDefaultTextColor(text)

    def set_panes(self, panes: Sequence[str], titles: Mapping[str, str], count: int) -> None:
        """Which panes there are, and how many frames the loop has (0: none is open)."""
        plot = self.getPlotItem()
        for items in self._lines.values():
            for item in items:
                plot.removeItem(item)
        self._lines.clear()
        self._count = count
        for pane in reversed(panes):  # the original on top
            colour = pane_colour(pane)
            faint = QColor(colour)
            faint.setAlpha(STALE_ALPHA)
            items = (
                pg.PlotCurveItem(pen=pg.mkPen(faint, width=1), connect="finite"),
                pg.PlotCurveItem(pen=pg.mkPen(colour, width=1.6), connect="finite", name=titles.get(pane, pane)),
                pg.ScatterPlotItem(size=4, brush=pg.mkBrush(colour), pen=None),
            )
            for item in items:
                plot.addItem(item)
            self._lines[pane] = items
        plot.setXRange(1, max(count, 2), padding=0.02)
        plot.getAxis("bottom").setTicks([[(1, "1")]] if count == 1 else None)  # a still has no frame 1.2
        self._playhead.setVisible(count > 0)

    def set_values(self, pane: str, values: NDArray[np.float64], fresh: NDArray[np.bool_]) -> None:
        """gCNR of a pane, float64 (T,) with NaN where unknown; `fresh` (T,) says which still hold."""
        if pane not in self._lines:
            return
        stale, line, dots = self._lines[pane]
        x = np.arange(1, len(values) + 1, dtype=np.float64)
        line.setData(x, np.where(fresh, values, np.nan))
        beside = np.concatenate([[False], fresh, [False]])
        alone = fresh & ~beside[:-2] & ~beside[2:]  # a line needs two points
        dots.setData(x[alone], values[alone])
        stale.setData(x, np.full(len(values), np.nan) if fresh.all() else values)

    def values(self, pane: str) -> NDArray[np.float64]:
        """What the full line of a pane shows, float64 (T,), NaN where nothing is drawn."""
        data = self._lines[pane][1].getData()[1]
        return np.empty(0) if data is None else data

    def set_frame(self, index: int) -> None:
        """Move the playhead to frame `index`, from 0."""
        self._playhead.setValue(index + 1)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._choose(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._choose(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        steps = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}
        if event.key() in steps and self._count:
            self.stepped.emit(steps[Qt.Key(event.key())])
        else:
            super().keyPressEvent(event)

    def _choose(self, event: QMouseEvent) -> None:
        if self._count:
            x = self.getPlotItem().vb.mapSceneToView(self.mapToScene(event.position().toPoint())).x()
            self.frame_chosen.emit(int(np.clip(round(x) - 1, 0, self._count - 1)))
        event.accept()
