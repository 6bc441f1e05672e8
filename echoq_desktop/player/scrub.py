"""The scrub bar: playhead, which frames of each method are computed, trim, R waves, ED and ES, edited frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QSlider, QWidget

from echoq_desktop import theme
from echoq_desktop.noise_work import NOISE
from echoq_desktop.session import ORIGINAL

if TYPE_CHECKING:
    from echoq_desktop.player.clock import Clock
    from echoq_desktop.session import Session

EDGE = 10.0  # room for half the playhead
MIDDLE = 19.0  # of the track, from the top
HEIGHT = 41
TRACK = 5.0  # height of the track
LANE = 3.0  # height of one method's computed bar
GAP = 2.0
DIAMOND = 4.5  # half a diagonal
CROSS = 3.5  # half a side
GRAB = 9.0  # widget pixels beside a mark's name within which it is caught
MARKS = {"ed": "ED", "es": "ES"}
TIP = (
    "Drag to any frame. The thin bars below fill as frames are computed.\n"
    "ED, ES: end diastole and end systole; drag their names to move them.\n"
    "Diamonds: frames edited by hand. Crosses: frames left out. Red line: no LV found."
)


class ScrubBar(QSlider):
    """A slider over the frames; below the track one thin bar per method fills as its frames are computed."""

    def __init__(self, session: Session, clock: Clock, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self._session, self._clock = session, clock
        self._held: tuple[str, int] | None = None  # the mark under the mouse's button
        self._held_at = 0  # where it was dragged to
        self.setAccessibleName("Frame")
        self.setToolTip(TIP)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setTracking(True)
        self.setMouseTracking(True)
        self.valueChanged.connect(self._on_value)
        session.current_changed.connect(self._on_current)
        session.frame_changed.connect(self._on_frame)
        session.results_changed.connect(self.update)
        session.panes_changed.connect(self.update)
        session.regions_changed.connect(self.update)
        session.generation.changed.connect(self.update)
        clock.settings_changed.connect(self.update)
        self._on_current()

    def sizeHint(self) -> QSize:
        return QSize(300, HEIGHT)

    def minimumSizeHint(self) -> QSize:
        return QSize(120, HEIGHT)

    def x_of(self, frame: float) -> float:
        """Widget x of a frame's playhead."""
        span = max(self.maximum(), 1)
        return EDGE + frame / span * (self.width() - 2 * EDGE)

    def _part(self, start: int, end: int, top: float, height: float) -> QRectF:
        """What frames `start` up to `end` cover of the width; all of it where there is one frame only."""
        last = self.width() - EDGE
        if self.maximum() == 0:
            return QRectF(EDGE, top, last - EDGE, height)
        left, right = max(self.x_of(start - 0.5), EDGE), min(self.x_of(end - 0.5), last)
        return QRectF(left, top, right - left, height)

    def frame_at(self, x: float) -> int:
        """The frame nearest to a widget x."""
        share = (x - EDGE) / max(self.width() - 2 * EDGE, 1.0)
        return round(min(max(share, 0.0), 1.0) * self.maximum())

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._held = self._mark_at(event.position())
            if self._held is None:
                self.setSliderDown(True)
                self.setValue(self.frame_at(event.position().x()))
            else:
                self._clock.pause()
                self._held_at = self._held[1]
                self.setValue(self._held_at)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._held is not None:
            self._held_at = self.frame_at(event.position().x())
            self.setValue(self._held_at)  # the picture shows the moment that is being marked
            self.update()
        elif self.isSliderDown():
            self.setValue(self.frame_at(event.position().x()))
        else:
            over = self._mark_at(event.position()) is not None
            self.setCursor(Qt.CursorShape.SplitHCursor if over else Qt.CursorShape.ArrowCursor)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self.setSliderDown(False)
        held, self._held = self._held, None
        if held is not None and self._held_at != held[1]:
            self._session.work.move_mark(*held, self._held_at)
        self.update()

    def _mark_at(self, at: QPointF) -> tuple[str, int] | None:
        """The mark whose name is nearest to the mouse, if it is near."""
        if at.y() >= MIDDLE - TRACK / 2 - 2:  # on the track the playhead moves
            return None
        near = {mark: abs(self.x_of(mark[1]) - at.x()) for mark in self._marks()}
        mark = min(near, key=lambda each: near[each], default=None)
        return mark if mark is not None and near[mark] <= GRAB else None

    def _marks(self) -> list[tuple[str, int]]:
        """The kind and frame of each mark."""
        marks = self._session.regions.marks
        return [(kind, t) for kind in MARKS for t in getattr(marks, kind) if t <= self.maximum()]

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        track = QRectF(EDGE, MIDDLE - TRACK / 2, self.width() - 2 * EDGE, TRACK)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(theme.RAISED_HOVER))
        painter.drawRoundedRect(track, TRACK / 2, TRACK / 2)
        if self._session.current is None:
            return
        self._paint_span(painter, track)
        self._paint_lanes(painter, MIDDLE + TRACK / 2 + 4.0)
        self._paint_r_waves(painter, track)
        self._paint_lost(painter, track)
        self._paint_marks(painter, track)
        self._paint_edited(painter)
        painter.setPen(QPen(QColor(theme.ACCENT), 2.0) if self.hasFocus() else Qt.PenStyle.NoPen)
        painter.setBrush(QColor("white"))
        painter.drawEllipse(QPointF(self.x_of(self.value()), MIDDLE), 6.0, 6.0)

    def _paint_span(self, painter: QPainter, track: QRectF) -> None:
        """What is played, and how much of it is behind the playhead."""
        first, last = self._clock.trim
        left, right = self.x_of(first), self.x_of(last)
        if self._clock.trimmed:
            painter.setBrush(QColor(theme.FAINT))
            painter.drawRoundedRect(QRectF(left, track.top(), right - left, TRACK), 2, 2)
        painter.setBrush(QColor(theme.ACCENT))
        here = min(max(self.x_of(self.value()), left), right)
        painter.drawRoundedRect(QRectF(left, track.top(), here - left, TRACK), 2, 2)
        if self._clock.trimmed:
            painter.setPen(QPen(QColor(theme.TEXT), 1.6))
            for x, inward in ((left, 4.0), (right, -4.0)):
                top, bottom = track.top() - 5, track.bottom() + 5
                painter.drawPolyline([QPointF(x + inward, top), QPointF(x, top), QPointF(x, bottom)])
                painter.drawLine(QPointF(x, bottom), QPointF(x + inward, bottom))
            painter.setPen(Qt.PenStyle.NoPen)

    def _paint_lanes(self, painter: QPainter, top: float) -> None:
        for pane in self._session.shown_panes:
            if pane in (ORIGINAL, NOISE):
                continue
            result = self._session.result(pane)
            painter.setBrush(QColor(theme.RAISED))
            painter.drawRect(QRectF(EDGE, top, self.width() - 2 * EDGE, LANE))
            if result is not None and self._session.missing(pane) is None:
                painter.setBrush(theme.pane_colour(pane))
                for start, end in _runs(np.asarray(result.done)):
                    painter.drawRect(self._part(start, end, top, LANE))
            top += LANE + GAP

    def _paint_r_waves(self, painter: QPainter, track: QRectF) -> None:
        opened = self._session.current
        assert opened is not None
        painter.setPen(QPen(QColor(theme.ERROR), 1.6))
        for wave in opened.loop.r_waves_ms:
            frame = float(np.interp(wave, opened.loop.times_ms, np.arange(len(opened.loop))))
            x = self.x_of(frame)
            painter.drawLine(QPointF(x, track.top() - 5), QPointF(x, track.top() - 1))
        painter.setPen(Qt.PenStyle.NoPen)

    def _paint_lost(self, painter: QPainter, track: QRectF) -> None:
        """The frames in which the network found no ventricle, under the track."""
        lost = np.zeros(self.maximum() + 1, dtype=bool)
        lost[[t for t in self._session.regions.findings.reasons if t < len(lost)]] = True
        painter.setBrush(QColor(theme.ERROR))
        for start, end in _runs(lost):
            painter.drawRect(self._part(start, end, track.bottom() + 1.0, 1.5))

    def _paint_marks(self, painter: QPainter, track: QRectF) -> None:
        """ED and ES above the track."""
        font = QFont(self.font())
        font.setPointSizeF(max(font.pointSizeF() - 2.0, 6.5))
        painter.setFont(font)
        painter.setPen(QPen(QColor(theme.LV), 1.4))
        for mark in self._marks():
            x = self.x_of(self._held_at if mark == self._held else mark[1])
            painter.drawLine(QPointF(x, track.top() - 5), QPointF(x, track.bottom() + 1))
            painter.drawText(QRectF(x - 14, 0, 28, track.top() - 5), Qt.AlignmentFlag.AlignCenter, MARKS[mark[0]])
        painter.setPen(Qt.PenStyle.NoPen)

    def _paint_edited(self, painter: QPainter) -> None:
        """A diamond on each frame that a person set, a cross on each that is left out."""
        painter.setPen(QPen(QColor(theme.PANEL), 1.0))
        painter.setBrush(QColor(theme.MYOCARDIUM))
        for frame in self._session.regions.edited:
            x = self.x_of(frame)
            tips = ((x, MIDDLE - DIAMOND), (x + DIAMOND, MIDDLE), (x, MIDDLE + DIAMOND), (x - DIAMOND, MIDDLE))
            painter.drawPolygon(QPolygonF([QPointF(*tip) for tip in tips]))
        painter.setPen(QPen(QColor(theme.WARNING), 1.8))
        for frame in self._session.regions.left_out:
            x = self.x_of(frame)
            for rise in (CROSS, -CROSS):
                painter.drawLine(QPointF(x - CROSS, MIDDLE - rise), QPointF(x + CROSS, MIDDLE + rise))
        painter.setPen(Qt.PenStyle.NoPen)

    def _on_current(self) -> None:
        opened = self._session.current
        self.blockSignals(True)
        self.setRange(0, len(opened.loop) - 1 if opened is not None else 0)
        self.setValue(self._session.frame)
        self.blockSignals(False)
        self.setEnabled(opened is not None)
        self.update()

    def _on_frame(self, index: int) -> None:
        self.blockSignals(True)
        self.setValue(index)
        self.blockSignals(False)
        self.update()

    def _on_value(self, value: int) -> None:
        """The person moved the handle, by mouse, key or screen reader."""
        self._clock.seek(value)


def _runs(done: np.ndarray) -> list[tuple[int, int]]:
    """Half-open runs of True in bool (T,)."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], done.astype(np.int8), [0]))))
    return [(int(start), int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True)]
