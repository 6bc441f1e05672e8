"""The words around the picture: title, frame, rates, heart rate, depth in cm. They never cover the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QPainter, QPen

from echoq_desktop import theme
from echoq_desktop.noise_work import NOISE
from echoq_desktop.player.paint import pill
from echoq_desktop.player.view import DIFFERENCE_GAIN
from echoq_desktop.session import ORIGINAL

if TYPE_CHECKING:
    from echoq_desktop.engine import OpenedLoop
    from echoq_desktop.player.camera import Camera
    from echoq_desktop.player.pane import Pane
    from echoq_desktop.player.view import View
    from echoq_desktop.session import Session

HEAD = 30.0  # height of the line above the picture
FOOT = 24.0  # and of the one below
SIDE = 10.0
TICK_ROOM = 32.0  # right of the picture, for the depth in cm
LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
CENTRE = Qt.AlignmentFlag.AlignCenter


def draw(painter: QPainter, pane: Pane, session: Session, view: View, camera: Camera) -> None:
    """All captions of a pane."""
    opened = session.current
    assert opened is not None
    width = float(pane.width())
    head = QRectF(SIDE, 0, width - 2 * SIDE, HEAD)
    foot = QRectF(SIDE, pane.height() - FOOT, width - 2 * SIDE, FOOT)
    title, small = QFont(pane.font()), QFont(pane.font())
    title.setWeight(QFont.Weight.DemiBold)
    small.setPointSizeF(max(small.pointSizeF() - 1.0, 7.0))
    painter.setFont(title)
    _titles(painter, pane, session, view, head)
    painter.setFont(small)
    _rates(painter, pane, session, view, foot)
    _depth(painter, pane, session, opened, camera)
    painter.setFont(pane.font())
    _absent(painter, pane, session, camera)


def _titles(painter: QPainter, pane: Pane, session: Session, view: View, head: QRectF) -> None:
    for name, side in zip(pane.names, (LEFT, RIGHT), strict=False):
        painter.setPen(theme.pane_colour(name))
        painter.drawText(head, side, _title(session, view, name))
    if len(pane.names) == 1:
        painter.setPen(QColor(theme.MUTED))
        painter.drawText(head, RIGHT, _frame(session))


def _frame(session: Session) -> str:
    """ "ED ◆ 3 / 27": the frame, what moment of the beat it is, a diamond where a person set its regions.

    Also whether it is left out of the measurement.
    """
    t, regions = session.frame, session.regions
    known = [name for name, frames in (("ED", regions.marks.ed), ("ES", regions.marks.es)) if t in frames]
    known += ["◆"] if t in regions.edited else []
    known += ["left out"] if t in regions.left_out else []
    return "  ".join([*known, f"{t + 1} / {len(_loop(session).loop)}"])


def _title(session: Session, view: View, name: str) -> str:
    title = session.title_of(name)
    if name == ORIGINAL:
        return title
    if view.difference:
        return f"{title}: what was removed"
    return title if view.strength >= 1.0 else f"{title}, {round(view.strength * 100)} %"


def _rates(painter: QPainter, pane: Pane, session: Session, view: View, foot: QRectF) -> None:
    """On the first pane rates and heart rate; on the others what the method was told."""
    painter.setPen(QColor(theme.MUTED))
    opened = _loop(session)
    loop = opened.loop
    if not pane.first:
        changed = view.difference and pane.names[0] != ORIGINAL
        legend = f"removed amber, added blue, {DIFFERENCE_GAIN}×"
        left = legend if changed else _method_facts(session, pane.names[0])
        _both_ends(painter, foot, left, _progress(session, pane.names[0]))
        return
    if len(loop) == 1:
        rate = "still image"
    else:
        rate = f"{loop.fps:.1f} fps acquired" + (" (assumed)" if loop.times_assumed else "")
        if pane.shown_fps > 0:
            rate += f"  ·  {pane.shown_fps:.1f} shown"
    known = [f"HR {loop.heart_rate:.0f}" if loop.heart_rate else "", opened.summary.get("View", "")]
    if len(pane.names) == 2:
        known.append(_frame(session))
    _both_ends(painter, foot, rate, "   ".join(text for text in known if text))


def _both_ends(painter: QPainter, line: QRectF, left: str, right: str) -> None:
    """Two texts on a line; the left one is shortened where both do not fit."""
    metrics = painter.fontMetrics()
    room = int(line.width() - (metrics.horizontalAdvance(right) + SIDE if right else 0))
    painter.drawText(line, LEFT, metrics.elidedText(left, Qt.TextElideMode.ElideRight, max(room, 0)))
    painter.drawText(line, RIGHT, right)


def _method_facts(session: Session, name: str) -> str:
    sigma = session.facts(name).get("sigma")
    if sigma is None:
        return ""
    chosen = "set" if session.settings.sigma is not None else "estimated"
    return f"noise {float(sigma):.1f} grey levels, {chosen}"


def _progress(session: Session, name: str) -> str:
    result = session.result(name) if name != ORIGINAL else None
    if result is None or session.missing(name) is not None:
        return ""
    done, total = int(np.count_nonzero(result.done)), len(result.done)
    return "" if done == total else f"{done} of {total} frames ready"


def _absent(painter: QPainter, pane: Pane, session: Session, camera: Camera) -> None:
    """Say so where a pane does not show its own frame: never pretend."""
    for name in pane.names:
        missing = session.missing(name)
        if missing is not None:
            box = camera.area.adjusted(24, 0, -24, 0)
            painter.setPen(QColor(theme.MUTED))
            flags = CENTRE | Qt.TextFlag.TextWordWrap
            head = "" if name == NOISE else f"{session.title_of(name)} cannot run.\n\n"
            painter.drawText(box, flags, head + missing)
        elif session.frame_of(name, session.frame) is None:
            area = camera.area
            x = area.center().x()
            if len(pane.names) == 2:
                edge = pane.edge_x(camera)
                x = (edge + area.right()) / 2 if name == pane.names[1] else (area.left() + edge) / 2
            pill(painter, QPointF(x, area.bottom() - 22), "Computing…", QColor(theme.TEXT))


def _depth(painter: QPainter, pane: Pane, session: Session, opened: OpenedLoop, camera: Camera) -> None:
    """A tick for every cm below the top of the sector, numbers where there is room."""
    if opened.spacing is None or all(session.missing(name) is not None for name in pane.names):
        return
    top = _sector_top(opened)
    per_cm = 10.0 / opened.spacing.mm_per_pixel_y
    step = per_cm * camera.scale * camera.aspect
    label = next((n for n in (1, 2, 5, 10) if n * step >= 34.0), 20)
    x = min(camera.picture.right(), camera.area.right()) + 2.0
    painter.setPen(QPen(QColor(theme.MUTED), 1.0))
    height = opened.loop.size[0]
    for cm in range(int((height - top) / per_cm) + 1):
        y = camera.transform.map(QPointF(0, top + cm * per_cm)).y()
        if not camera.area.top() <= y <= camera.area.bottom():
            continue
        numbered = cm % label == 0
        painter.drawLine(QPointF(x, y), QPointF(x + (7 if numbered else 4), y))
        if numbered:
            painter.drawText(QRectF(x + 9, y - 8, TICK_ROOM - 10, 16), LEFT, str(cm) if cm else "cm")


def _sector_top(opened: OpenedLoop) -> float:
    """The first row of the sector, where depth is zero."""
    if opened.sector_mask is not None:
        rows = np.flatnonzero(opened.sector_mask.any(axis=1))
        if len(rows):
            return float(rows[0])
    return float(max(opened.sector_box[1], 0))


def _loop(session: Session) -> OpenedLoop:
    assert session.current is not None
    return session.current
