"""What is painted over the picture: regions with handles, the wipe's edge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPen, QPolygonF

from echoq_desktop import theme

if TYPE_CHECKING:
    from echoq_desktop.player.camera import Camera
    from echoq_desktop.player.drawing import Handle, RegionTool
    from echoq_desktop.session import Session

BLACK = QColor(theme.IMAGE)
VEIL = 0.28  # opacity of the original where a pane's own frame is not there yet
COLOURS = {"lv": QColor(theme.LV), "myocardium": QColor(theme.MYOCARDIUM)}
GRIP_ROOM = 46.0  # the part of the wipe's edge, from the bottom, that can be grabbed with any tool
HANDLE = 3.5  # radius of a vertex handle in widget pixels


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
    """All polygons of the frame shown, the handles while editing, and the polygon being drawn."""
    shown = session.regions.at(session.frame)
    for kind, polygons in (("lv", shown.lv), ("myocardium", shown.myocardium)):
        for number, points in enumerate(polygons):
            outline = camera.transform.map(QPolygonF([QPointF(x, y) for x, y in points]))
            _polygon(painter, outline, COLOURS[kind], filled=tool.editing or tool.drawing)
            if tool.editing:
                selected = _of(tool.selected, kind, number)
                _handles(painter, outline, COLOURS[kind], selected, _of(tool.hover, kind, number))
    if tool.draft:
        _draft(painter, camera, tool, mouse_here)


def _of(handle: Handle | None, kind: str, number: int) -> Handle | None:
    return handle if handle is not None and (handle.kind, handle.polygon) == (kind, number) else None


def _polygon(painter: QPainter, outline: QPolygonF, colour: QColor, filled: bool) -> None:
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(QColor(0, 0, 0, 170), 1.0))  # pens wider than one pixel cost ten times as much
    painter.drawPolygon(outline.translated(1.0, 1.0))
    painter.setPen(QPen(colour, 1.0))
    if filled:
        fill = QColor(colour)
        fill.setAlpha(26)
        painter.setBrush(fill)
    painter.drawPolygon(outline)


def _handles(
    painter: QPainter, outline: QPolygonF, colour: QColor, selected: Handle | None, hover: Handle | None
) -> None:
    painter.setPen(QPen(QColor(0, 0, 0, 190), 1.0))
    for number in range(outline.count()):
        chosen = selected is not None and selected.vertex in (None, number)
        under = hover is not None and hover.vertex == number
        painter.setBrush(QColor("white") if chosen or under else colour)
        radius = HANDLE + (1.5 if under or (chosen and selected and selected.vertex == number) else 0.0)
        painter.drawEllipse(outline.at(number), radius, radius)


def _draft(painter: QPainter, camera: Camera, tool: RegionTool, mouse_here: bool) -> None:
    colour = COLOURS[tool.draft_kind]
    line = camera.transform.map(QPolygonF([QPointF(x, y) for x, y in tool.draft]))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(colour, 1.6))
    painter.drawPolyline(line)
    if tool.cursor is not None and mouse_here:
        painter.setPen(QPen(colour, 1.2, Qt.PenStyle.DashLine))
        cursor = camera.transform.map(QPointF(*tool.cursor))
        painter.drawLine(line.at(line.count() - 1), cursor)
        if line.count() > 1:
            painter.drawLine(cursor, line.at(0))
    painter.setPen(QPen(QColor(0, 0, 0, 190), 1.0))
    for number in range(line.count()):
        painter.setBrush(QColor("white") if number == 0 else colour)
        painter.drawEllipse(line.at(number), HANDLE, HANDLE)


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
