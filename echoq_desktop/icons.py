"""The window's own icons: line drawings on a 24 x 24 grid, in the theme's colours, sharp at any scale."""

from __future__ import annotations

from PySide6.QtCore import QByteArray, QPoint, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QIcon, QIconEngine, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

from echoq_desktop import theme
from echoq_models import resources

SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><g fill="none" stroke="{colour}" '
    'stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round">{paths}</g></svg>'
)

# SVG path data: (lines, filled areas)
DRAWINGS: dict[str, tuple[str, str]] = {
    "open": ("M3.5 19V5h6l2 3h8v3 M3.5 19l3.2-8H22l-3.2 8z", ""),
    "export": ("M12 15V3.5 M7.5 8L12 3.5 16.5 8 M4 14v6h16v-6", ""),
    "play": ("", "M7 4.5L19 12 7 19.5z"),
    "pause": ("", "M7 5h3v14H7z M14 5h3v14h-3z"),
    "forward": ("M18 6v12", "M6.5 6.5L14 12l-7.5 5.5z"),
    "back": ("M6 6v12", "M17.5 6.5L10 12l7.5 5.5z"),
    "start": ("M5 6v12 M13 6.5L7.5 12l5.5 5.5 M19 6.5L13.5 12l5.5 5.5", ""),
    "end": ("M19 6v12 M11 6.5l5.5 5.5-5.5 5.5 M5 6.5l5.5 5.5L5 17.5", ""),
    "loop": ("M4 12V9.5A3 3 0 0 1 7 6.5h12 M16 3.5l3 3-3 3 M20 12v2.5a3 3 0 0 1-3 3H5 M8 20.5l-3-3 3-3", ""),
    "every": ("M4 6h4v12H4z M10 6h4v12h-4z M16 6h4v12h-4z", ""),
    "trim_in": ("M15 4H9v16h6", ""),
    "trim_out": ("M9 4h6v16H9", ""),
    "trim_clear": ("M6 6l12 12 M18 6L6 18", ""),
    "beat": ("M2 13h5l2-3 2 9 2.5-15.5 2 9.5H22", ""),
    "look": ("M7 3.5V18l3.5-3.5L13 20.5l2.5-1.1-2.5-5.8h5z", ""),
    "lv": ("M7 20C5 1 19 1 17 20z", ""),
    "myocardium": ("M4.5 20C2.5 1 21.5 1 19.5 20h-4c1-13-8-13-7 0z", ""),
    "edit": (
        "M5 18L8 7l10-2 1 11z",
        "M4 17h2v2H4z M7 6h2v2H7z M17 4h2v2h-2z M18 15h2v2h-2z",
    ),
    "generate": ("M6 20.5C4.5 6 15.5 6 14 20.5z M18.5 3v6 M15.5 6h6 M19.5 13v4 M17.5 15h4", ""),
    "undo": ("M8.5 4.5l-4 4 4 4 M4.5 8.5H14a5.5 5.5 0 0 1 0 11H8", ""),
    "redo": ("M15.5 4.5l4 4-4 4 M19.5 8.5H10a5.5 5.5 0 0 0 0 11h6", ""),
    "side": ("M3 5h8v14H3z M13 5h8v14h-8z", ""),
    "wipe": ("M3 5h18v14H3z M12 2.5v19 M8 10l-2 2 2 2 M16 10l2 2-2 2", ""),
    "blink": ("M3 4h12v11H3z M9 18v2.5h12V9h-3", ""),
    "difference": ("M9 6a6 6 0 1 0 0 12 6 6 0 0 0 0-12z M15 6a6 6 0 1 0 0 12 6 6 0 0 0 0-12z", ""),
    "swap": ("M4 8.5h15 M15.5 5L19 8.5 15.5 12 M20 15.5H5 M8.5 12L5 15.5 8.5 19", ""),
    "magnify": ("M10.5 4.5a6 6 0 1 0 0 12 6 6 0 0 0 0-12z M15 15l5.5 5.5 M10.5 8v5 M8 10.5h5", ""),
    "fit": ("M3 9V4h5 M16 4h5v5 M21 15v5h-5 M8 20H3v-5", ""),
    "display": ("M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16z", "M12 4a8 8 0 0 0 0 16z"),
    "denoise": ("M11 4l1.4 5.6L18 11l-5.6 1.4L11 18l-1.4-5.6L4 11l5.6-1.4z M18.5 16v5 M16 18.5h5", ""),
    "true_speed": ("M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16z M12 7.5V12l3 2", ""),
    "warning": ("M12 4L2.5 20h19z M12 10v4.5 M12 17.4v.2", ""),
}


def icon(name: str) -> QIcon:
    """The icon called `name`; raises KeyError for an unknown one."""
    return QIcon(_Engine(*DRAWINGS[name]))


def app_icon() -> QIcon:
    """The program's icon, an echo sector with a ventricle in it: the drawing that installers use too."""
    drawing = QSvgRenderer(str(resources.path("icons", "echoq.svg")))
    made = QIcon()
    for size in (16, 32, 48, 64, 128, 256):
        pixmap = QPixmap(size, size)
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        drawing.render(painter)
        painter.end()
        made.addPixmap(pixmap)
    return made


class _Engine(QIconEngine):
    """Paints a drawing at whatever size is asked for, pale when disabled."""

    def __init__(self, lines: str, areas: str) -> None:
        super().__init__()
        self._lines, self._areas = lines, areas

    def clone(self) -> QIconEngine:
        return _Engine(self._lines, self._areas)

    def paint(self, painter: QPainter, rect: QRect, mode: QIcon.Mode, state: QIcon.State) -> None:
        colour = theme.FAINT if mode == QIcon.Mode.Disabled else theme.TEXT
        paths = f'<path d="{self._lines}"/>' if self._lines else ""
        paths += f'<path fill="{colour}" d="{self._areas}"/>' if self._areas else ""
        text = SVG.format(colour=colour, paths=paths)
        QSvgRenderer(QByteArray(text.encode())).render(painter, QRectF(rect))

    def pixmap(self, size: QSize, mode: QIcon.Mode, state: QIcon.State) -> QPixmap:
        made = QPixmap(size)
        made.fill(Qt.GlobalColor.transparent)
        painter = QPainter(made)
        self.paint(painter, QRect(QPoint(0, 0), size), mode, state)
        painter.end()
        return made
