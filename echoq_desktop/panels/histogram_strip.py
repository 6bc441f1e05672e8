"""Grey-level histograms of both regions of one pane, small, with what they share shaded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pyqtgraph.functions import arrayToQPolygonF
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from echoq_desktop.theme import LV, MYOCARDIUM, TEXT

MARGIN = 4


class HistogramStrip(QWidget):
    """Shares of the grey levels in LV and myocardium of one pane's frame, with what they share shaded.

    The shaded area is 1 - gCNR: the two curves are drawn to one linear scale. Tall peaks (a clean cavity is
    all black) are cut off at the top, marked by a small arrow, so that the rest stays readable.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.lv: NDArray[np.float64] | None = None
        self.myocardium: NDArray[np.float64] | None = None
        self.title, self.figure, self.colour = "", "", QColor()
        self.setMinimumHeight(60)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setToolTip(
            "Grey levels 0 to 255 inside the left ventricle and inside the myocardium.\nThe shaded overlap is 1 - gCNR."
        )

    def sizeHint(self) -> QSize:
        return QSize(300, 84)

    def show_pane(self, title: str, colour: QColor) -> None:
        """Name the strip after a pane."""
        self.title, self.colour = title, colour
        self.setAccessibleName(f"Histograms, {title}")
        self.update()

    def set_shares(self, lv: NDArray[np.float64] | None, myocardium: NDArray[np.float64] | None, figure: str) -> None:
        """Shares float64 (256,) of both regions, None while there are none; `figure` is written beside the title."""
        self.lv, self.myocardium, self.figure = lv, myocardium, figure
        self.setAccessibleDescription(figure)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = self.fontMetrics().height()
        area = QRectF(self.rect()).adjusted(MARGIN, text + 2, -MARGIN, -MARGIN)
        self._titles(painter, text)
        dim = self.palette().color(QPalette.ColorRole.PlaceholderText)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)  # upright bars need none, and it costs 5 ms
        if self.lv is not None and self.myocardium is not None:
            self._bars(painter, area, self.lv, self.myocardium)
        painter.setPen(QPen(dim, 1))
        painter.drawLine(area.bottomLeft(), area.bottomRight())

    def _bars(self, painter: QPainter, area: QRectF, lv: NDArray[np.float64], myocardium: NDArray[np.float64]) -> None:
        top = self.top_of(lv, myocardium)
        shared = np.minimum(lv, myocardium)
        for shares, colour, line in (
            (lv, LV, True),
            (myocardium, MYOCARDIUM, True),
            (shared, TEXT, False),
        ):
            fill = QColor(colour)
            fill.setAlpha(70 if line else 210)
            painter.setBrush(fill)
            painter.setPen(QPen(QColor(colour), 1) if line else Qt.PenStyle.NoPen)
            painter.drawPolygon(_steps(shares, top, area))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._cut_marks(painter, area, top)

    @staticmethod
    def top_of(lv: NDArray[np.float64], myocardium: NDArray[np.float64]) -> float:
        """The share at the top of the strip: the highest bin, or a good deal above what all but 3 bins reach."""
        bins = np.sort(np.concatenate([lv, myocardium]))
        return float(min(bins[-1], 2.5 * bins[-4])) or float(bins[-1]) or 1.0

    def _titles(self, painter: QPainter, text: int) -> None:
        painter.setBrush(self.colour)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.drawEllipse(QRectF(MARGIN, text / 2 - 3, 7, 7))
        painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
        line = QRectF(MARGIN + 12, 0, self.width() - 2 * MARGIN - 12, text)
        painter.drawText(line, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, self.title)
        painter.drawText(line, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, self.figure)

    def _cut_marks(self, painter: QPainter, area: QRectF, top: float) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        for shares, colour in ((self.lv, LV), (self.myocardium, MYOCARDIUM)):
            for level in np.flatnonzero(shares > top) if shares is not None else ():
                x = area.left() + (level + 0.5) / 256 * area.width()
                painter.setBrush(QColor(colour))
                y = area.top()
                painter.drawPolygon(QPolygonF([QPointF(x - 3, y + 4), QPointF(x + 3, y + 4), QPointF(x, y - 1)]))


def _steps(shares: NDArray[np.float64], top: float, area: QRectF) -> QPolygonF:
    """The outline of 256 bars inside `area`, closed along its floor; cut off at `top`."""
    edges = area.left() + np.repeat(np.arange(257), 2) / 256 * area.width()
    heights = area.bottom() - np.concatenate([[0.0], np.repeat(np.minimum(shares / top, 1.0), 2), [0.0]]) * (
        area.height() - 1
    )
    return arrayToQPolygonF(edges, heights)
