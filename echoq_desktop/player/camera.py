"""Where source pixels land in a pane: one zoom and one centre for all panes."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QTransform

from echoq_desktop.player.view import ZOOM, View


@dataclass(frozen=True)
class Camera:
    """Maps source pixels (pixel centres at integers) to widget pixels inside `area`.

    size: H, W of the loop.  fitted: what fills the area at zoom 1, in source pixels (the sector or the frame).
    aspect: height of a source pixel over its width.
    """

    area: QRectF
    size: tuple[int, int]
    view: View
    fitted: QRectF
    aspect: float = 1.0

    @property
    def scale(self) -> float:
        """Widget pixels per source pixel, horizontally."""
        fit = min(self.area.width() / self.fitted.width(), self.area.height() / (self.fitted.height() * self.aspect))
        return max(fit, 1e-6) * self.view.zoom

    @property
    def centre(self) -> tuple[float, float]:
        """The source pixel (x, y) in the middle of the area."""
        return self.view.centre or (self.fitted.center().x(), self.fitted.center().y())

    @property
    def transform(self) -> QTransform:
        """Source pixels to widget pixels."""
        x, y = self.centre
        middle = self.area.center()
        made = QTransform.fromTranslate(middle.x(), middle.y())
        made.scale(self.scale, self.scale * self.aspect)
        return made.translate(-x, -y)

    @property
    def picture(self) -> QRectF:
        """The rectangle of the whole frame in widget pixels."""
        height, width = self.size
        return self.transform.mapRect(QRectF(-0.5, -0.5, width, height))

    def to_source(self, point: QPointF) -> tuple[float, float]:
        """The source coordinates under a widget point."""
        inverse, _ = self.transform.inverted()
        at = inverse.map(point)
        return at.x(), at.y()

    def zoomed(self, factor: float, at: QPointF) -> tuple[float, tuple[float, float] | None]:
        """Zoom and centre after zooming by `factor` with the source pixel under `at` staying there."""
        zoom = min(max(self.view.zoom * factor, ZOOM[0]), ZOOM[1])
        if zoom <= ZOOM[0]:
            return ZOOM[0], None
        x, y = self.to_source(at)
        share = self.view.zoom / zoom
        cx, cy = self.centre
        return zoom, self._kept((x + (cx - x) * share, y + (cy - y) * share))

    def moved(self, by: QPointF) -> tuple[float, float] | None:
        """The centre after the picture was pushed by `by` widget pixels; where it was while it fits whole."""
        if self.area.contains(self.picture):
            return self.view.centre
        x, y = self.centre
        return self._kept((x - by.x() / self.scale, y - by.y() / self.scale / self.aspect))

    def _kept(self, centre: tuple[float, float]) -> tuple[float, float]:
        height, width = self.size
        return min(max(centre[0], 0.0), width - 1.0), min(max(centre[1], 0.0), height - 1.0)
