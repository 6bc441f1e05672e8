"""gCNR of every pane over the loop with the LV's area, the playhead, and the marks of ED and ES."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPalette
from PySide6.QtWidgets import QWidget

from echoq_desktop.theme import LV, PANEL, pane_colour

STALE_ALPHA = 70
GRAB = 6  # widget pixels within which a mark is caught
MARKS = {"ed": "ED", "es": "ES"}
TIP = (
    "gCNR of every frame in each pane; dashed: area of the left ventricle.\n"
    "Click, drag or use the arrow keys to go to a frame. Drag ED or ES to move the mark."
)


class GcnrCurve(pg.PlotWidget):
    """gCNR (0 to 1) against the frame (1 to T), one line a pane. Values of moved regions stay faint until renewed.

    The LV's area is drawn dashed against the axis on the right; ED and ES can be dragged.
    """

    frame_chosen = Signal(int)  # index from 0
    stepped = Signal(int)  # frames forward or back
    mark_moved = Signal(str, int, int)  # "ed" or "es", from which frame to which; once, when it is let go

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, background=None)
        self._lines: dict[str, tuple[pg.PlotCurveItem, pg.PlotCurveItem, pg.ScatterPlotItem]] = {}
        self._count = 0
        self._marks: dict[tuple[str, int], pg.InfiniteLine] = {}  # (kind, frame) -> its line
        self._held: tuple[str, int] | None = None  # the mark under the mouse's button
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
        self._area = pg.PlotCurveItem(connect="finite")
        self._area.setZValue(-5)
        plot.addItem(self._area)
        self._playhead = pg.InfiniteLine(angle=90, movable=False)
        self._playhead.setZValue(4)  # below the names of the marks
        plot.addItem(self._playhead)
        self.setMinimumHeight(150)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("gCNR of each frame, area of the left ventricle, ED and ES")
        self.setToolTip(TIP)
        self.setMouseTracking(True)
        self._dress()
        self.set_area(None, "")

    def sizeHint(self) -> QSize:
        return QSize(300, 190)  # a PlotWidget asks for 640 x 480

    def _dress(self) -> None:
        text = self.palette().color(QPalette.ColorRole.WindowText)
        self._playhead.setPen(pg.mkPen(text, width=1))
        self._area.setPen(pg.mkPen(LV, width=1.2, style=Qt.PenStyle.DashLine))
        for side in ("left", "bottom", "right"):
            axis = self.getPlotItem().getAxis(side)
            axis.setTextPen(LV if side == "right" else text)
            axis.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
            axis.setStyle(tickFont=self.font(), autoExpandTextSpace=False, hideOverlappingLabels=False)
            axis.label.setDefaultTextColor(text)

    # what is shown

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
        plot.setXRange(1, max(count, 2), padding=0.05)
        plot.getAxis("bottom").setTicks([[(t, str(t)) for t in frame_ticks(count)]])
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

    def set_area(self, areas: NDArray[np.float64] | None, unit: str) -> None:
        """Area of the LV in each frame, float64 (T,) with NaN where unknown, and its unit; None: no such curve."""
        axis = self.getPlotItem().getAxis("right")
        known = areas is not None and bool(np.isfinite(areas).any())
        self.getPlotItem().showAxis("right", known)
        self._area.setVisible(known)
        if areas is None or not known:
            return
        top = round_up(float(np.nanmax(areas)))
        self._area.setData(np.arange(1, len(areas) + 1, dtype=np.float64), areas / top)
        ticks = [(share, f"{top * share:g}") for share in (0.0, 0.5, 1.0)]
        axis.setTicks([ticks, [(0.25, ""), (0.75, "")]])
        axis.setLabel(f"LV area, {unit}", color=LV)
        longest = max(self.fontMetrics().horizontalAdvance(text) for _, text in ticks)
        axis.setWidth(max(44, longest + self.fontMetrics().height() + 10))  # numbers, then the name on its side

    def set_marks(self, ed: Sequence[int], es: Sequence[int]) -> None:
        """Where end diastole and end systole are, frames from 0."""
        wanted = [("ed", t) for t in ed] + [("es", t) for t in es]
        for key in set(self._marks) - set(wanted):
            self.getPlotItem().removeItem(self._marks.pop(key))
        for kind, t in wanted:
            if (kind, t) not in self._marks:
                self._marks[kind, t] = _mark(MARKS[kind])
                self.getPlotItem().addItem(self._marks[kind, t])
            self._marks[kind, t].setValue(t + 1)
        told = [f"{MARKS[kind]} frame {t + 1}" for kind, t in wanted]
        self.setAccessibleDescription(", ".join(told))

    def set_frame(self, index: int) -> None:
        """Move the playhead to frame `index`, from 0."""
        self._playhead.setValue(index + 1)

    def x_of(self, index: int) -> float:
        """Widget x of a frame, from 0."""
        box = self.getPlotItem().vb
        return float(self.mapFromScene(box.mapViewToScene(pg.Point(index + 1, 0.5))).x())

    # mouse and keys

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._held = self._mark_at(event)
            if self._held is None:
                self._choose(event)
        event.accept()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._held is not None:
            self._marks[self._held].setValue(self._frame_at(event) + 1)
        elif event.buttons() & Qt.MouseButton.LeftButton:
            self._choose(event)
        else:
            over = self._mark_at(event) is not None
            self.viewport().setCursor(Qt.CursorShape.SplitHCursor if over else Qt.CursorShape.ArrowCursor)
        event.accept()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        held, self._held = self._held, None
        if held is not None and self._frame_at(event) != held[1]:
            self.mark_moved.emit(*held, self._frame_at(event))
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        steps = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}
        plain = event.modifiers() == Qt.KeyboardModifier.NoModifier
        if event.key() in steps and plain and self._count:
            self.stepped.emit(steps[Qt.Key(event.key())])
        else:
            super().keyPressEvent(event)

    def _mark_at(self, event: QMouseEvent) -> tuple[str, int] | None:
        """The mark nearest to the mouse, if it is near."""
        near = {mark: abs(self.x_of(mark[1]) - event.position().x()) for mark in self._marks}
        mark = min(near, key=lambda each: near[each], default=None)
        return mark if mark is not None and near[mark] <= GRAB else None

    def _frame_at(self, event: QMouseEvent) -> int:
        x = self.getPlotItem().vb.mapSceneToView(self.mapToScene(event.position().toPoint())).x()
        return int(np.clip(round(x) - 1, 0, self._count - 1))

    def _choose(self, event: QMouseEvent) -> None:
        if self._count:
            self.frame_chosen.emit(self._frame_at(event))


def _mark(text: str) -> pg.InfiniteLine:
    """A dotted line with its name near the foot, where no curve runs."""
    beside = {"position": 0.09, "color": LV, "anchors": [(0.5, 0.5), (0.5, 0.5)], "fill": PANEL}
    pen = pg.mkPen(LV, width=1, style=Qt.PenStyle.DotLine)
    mark = pg.InfiniteLine(angle=90, movable=False, pen=pen, label=text, labelOpts=beside)
    mark.setZValue(5)
    return mark


def frame_ticks(count: int) -> list[int]:
    """The first frame and some round numbers, at most eight: there is no frame 0, and none between two frames."""
    step = max(int(round_up(count / 6)), 1)
    return [1, *(t for t in range(step, count + 1, step) if t > 1 + step // 2)]


def round_up(value: float) -> float:
    """The next 1, 2, 2.5, 4, 5, 6 or 8 times a power of ten that is not below `value`; 1 for nothing."""
    if not value > 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(step * power for step in (1, 2, 2.5, 4, 5, 6, 8, 10) if step * power >= value * (1 - 1e-9)))
