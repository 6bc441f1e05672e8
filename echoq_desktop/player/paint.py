"""What is painted over the picture: regions with handles, the wipe's edge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pyqtgraph.functions import arrayToQPolygonF
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPen, QPolygonF

from echoq_desktop import theme
from echoq_desktop.player import handles
from echoq_models.regions import Contour

if TYPE_CHECKING:
    from echoq_desktop.player.camera import Camera
    from echoq_desktop.player.drawing import RegionTool
    from echoq_desktop.player.handles import Handle
    from echoq_desktop.session import Session

BLACK = QColor(theme.IMAGE)
VEIL = 0.28  # opacity of the original where a pane's own frame is not there yet
COLOURS = {"lv": QColor(theme.LV), "myocardium": QColor(theme.MYOCARDIUM)}
GRIP_ROOM = 46.0  # the part of the wipe's edge, from the bottom, that can be grabbed with any tool
HANDLE = 3.5  # radius of a handle in widget pixels
DOT = 4.0  # diameter of the handles of a contour that the mouse is not near


def wipe_edge(painter: QPainter, camera: Camera, x: float) -> None:
    """The wipe's line with its grip."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(QColor(0, 0, 0, 140), 3.0))
    painter.drawLine(QPointF(x, camera.area.top()), QPointF(x, camera.area.bottom()))
    painter.setPen(QPen(QColor("white"), 1.0))
    painter.drawLine(QPointF(x, camera.area.top()), QPointF(x, camera.area.bottom()))
    grip = QPointF(x, camera.area.bottom() - GRIP_ROOM / 2)
    painter.setBrush(QColor(theme.RAISED))
    painter.drawEllipse(grip, 11.0, 11.0)
    for side in (-1, 1):
        tip = grip + QPointF(side * 7.0, 0)
        painter.drawPolyline([tip + QPointF(-side * 3.5, -3.5), tip, tip + QPointF(-side * 3.5, 3.5)])


def regions(painter: QPainter, camera: Camera, session: Session, tool: RegionTool, mouse_here: bool) -> None:
    """All contours of the frame shown, the handles while editing, and the contour being drawn."""
    for handle, contour in handles.every(session.shown):
        colour = COLOURS[handle.kind]
        _outline(painter, camera, contour, colour, filled=tool.editing or tool.drawing)
        if tool.editing:
            selected, hover = _of(tool.selected, handle), _of(tool.hover, handle)
            if selected is not None and selected.vertex is None:
                _box(painter, camera, contour, hover)
            _handles(painter, camera, contour, colour, selected, hover)
    if tool.draft:
        _draft(painter, camera, tool, mouse_here)


def _of(handle: Handle | None, contour: Handle) -> Handle | None:
    return handle if handle is not None and (handle.kind, handle.polygon) == (contour.kind, contour.polygon) else None


def _mapped(camera: Camera, points: NDArray[np.float64]) -> QPolygonF:
    """Source points (n, 2) on the widget."""
    return camera.transform.map(arrayToQPolygonF(points[:, 0], points[:, 1]))


def _outline(painter: QPainter, camera: Camera, contour: Contour, colour: QColor, filled: bool) -> None:
    line = _mapped(camera, contour.outline)
    if filled:  # without antialiasing, which would make the filling four times as slow and nothing smoother
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        fill = QColor(colour)
        fill.setAlpha(26)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(fill)
        painter.drawPolygon(line)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(QColor(0, 0, 0, 170), 1.0))  # pens wider than one pixel cost ten times as much
    painter.drawPolygon(line.translated(1.0, 1.0))
    painter.setPen(QPen(colour, 1.0))
    painter.drawPolygon(line)


def _box(painter: QPainter, camera: Camera, contour: Contour, hover: Handle | None) -> None:
    """The box around a contour selected whole; its corners scale."""
    box = _mapped(camera, handles.corners(contour))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(QColor(255, 255, 255, 110), 1.0, Qt.PenStyle.DashLine))
    painter.drawPolygon(box)
    painter.setPen(QPen(QColor(0, 0, 0, 190), 1.0))
    for number in range(box.count()):
        size = HANDLE + (1.5 if hover is not None and hover.corner == number else 0.0)
        painter.setBrush(QColor("white"))
        painter.drawRect(QRectF(box.at(number) - QPointF(size, size), box.at(number) + QPointF(size, size)))


def _handles(
    painter: QPainter,
    camera: Camera,
    contour: Contour,
    colour: QColor,
    selected: Handle | None,
    hover: Handle | None,
) -> None:
    points = _mapped(camera, contour.points)
    if selected is None and hover is None:  # a thin wall would vanish under the handles of all contours
        painter.setPen(QPen(colour, DOT, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
        painter.drawPoints(points)
        return
    painter.setPen(QPen(QColor(0, 0, 0, 190), 1.0))
    for number in range(points.count()):
        chosen = selected is not None and selected.vertex in (None, number)
        under = hover is not None and hover.vertex == number
        painter.setBrush(QColor("white") if chosen or under else colour)
        radius = HANDLE + (1.5 if under or (chosen and selected and selected.vertex == number) else 0.0)
        painter.drawEllipse(points.at(number), radius, radius)


def _draft(painter: QPainter, camera: Camera, tool: RegionTool, mouse_here: bool) -> None:
    """The curve that closing now would give, dashed from the last point through the mouse to the first."""
    colour, points = COLOURS[tool.draft_kind], list(tool.draft)
    aiming = tool.cursor is not None and mouse_here
    if tool.cursor is not None and aiming and tool.cursor != points[-1]:
        points.append(tool.cursor)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    if len(points) > 2:
        curve = Contour(np.array(points), smooth=True)
        line, last = np.concatenate([curve.outline, curve.outline[:1]]), int(curve.starts[len(tool.draft) - 1])
    else:
        line, last = np.array(points), len(tool.draft) - 1
    painter.setPen(QPen(colour, 1.6))
    painter.drawPolyline(_mapped(camera, line[: last + 1]))
    painter.setPen(QPen(colour, 1.2, Qt.PenStyle.DashLine))
    painter.drawPolyline(_mapped(camera, line[last:]))
    painter.setPen(QPen(QColor(0, 0, 0, 190), 1.0))
    for number, (x, y) in enumerate(tool.draft):
        painter.setBrush(QColor("white") if number == 0 else colour)
        painter.drawEllipse(camera.transform.map(QPointF(x, y)), HANDLE, HANDLE)


def pill(painter: QPainter, middle: QPointF, text: str, colour: QColor) -> None:
    """A short text on a dark rounded plate."""
    metrics = painter.fontMetrics()
    plate = QRectF(0, 0, metrics.horizontalAdvance(text) + 24.0, metrics.height() + 10.0)
    plate.moveCenter(middle)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(16, 19, 23, 215))
    painter.drawRoundedRect(plate, plate.height() / 2, plate.height() / 2)
    painter.setPen(colour)
    painter.drawText(plate, Qt.AlignmentFlag.AlignCenter, text)
