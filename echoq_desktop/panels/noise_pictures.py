"""Small pictures of the noise dock: the frame before and after, the reconstruction, what changed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from echoq_desktop import theme
from echoq_desktop.player import view as looks

SMALLEST = 120  # pixels: the side of a picture
CAPTION = 18  # pixels: the line above it


class Picture(QWidget):
    """A square picture under its title; a sentence where there is none."""

    def __init__(self, title: str, tip: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = title
        self._image: QImage | None = None
        self._instead = ""
        self.setToolTip(tip)
        self.setAccessibleName(title)
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)

    def sizeHint(self) -> QSize:
        return QSize(160, 160 + CAPTION)

    def minimumSizeHint(self) -> QSize:
        return QSize(SMALLEST, SMALLEST + CAPTION)

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        return width + CAPTION

    @property
    def image(self) -> QImage | None:
        """What is shown."""
        return self._image

    def show_image(self, image: QImage | None, title: str, instead: str = "") -> None:
        """Show a picture, or a few words in its place."""
        self._image, self.title, self._instead = image, title, instead
        self.setAccessibleName(title)
        self.setAccessibleDescription(instead if image is None else "")
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setPen(QColor(theme.MUTED))
        painter.drawText(QRectF(0, 0, self.width(), CAPTION), Qt.AlignmentFlag.AlignLeft, self.title)
        side = min(self.width(), self.height() - CAPTION)
        place = QRectF((self.width() - side) / 2, CAPTION, side, side)
        painter.fillRect(place, QColor(theme.IMAGE))
        if self._image is not None:
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
            painter.drawImage(place, self._image)
        else:
            words = place.adjusted(8, 0, -8, 0)
            painter.drawText(words, Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, self._instead)


def grey(frame: NDArray[np.uint8]) -> QImage:
    """A grey frame uint8 (H, W) as an image of its own."""
    whole = np.ascontiguousarray(frame)
    height, width = whole.shape
    return QImage(whole.data, width, height, width, QImage.Format.Format_Grayscale8).copy()


def changed(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> QImage:
    """What was added (blue) and removed (amber), both uint8 (H, W), as the panes show differences."""
    return coloured(looks.difference_lut()[looks.difference(before, after)])


def effect(change: NDArray[np.float32], strongest: float) -> QImage:
    """A channel's change, float32 (side, side), in the same colours; `strongest` is full colour."""
    level = np.clip(128 - 127 * change / max(strongest, 1e-6), 0, 255).astype(np.uint8)
    return coloured(looks.difference_lut()[level])


def coloured(pixels: NDArray[np.uint32]) -> QImage:
    """0xffRRGGBB (H, W) as an image of its own."""
    whole = np.ascontiguousarray(pixels)
    height, width = whole.shape
    return QImage(whole.data, width, height, width * 4, QImage.Format.Format_RGB32).copy()


def crop(frame: NDArray[np.uint8], box: tuple[int, int, int]) -> NDArray[np.uint8]:
    """The square x0, y0, side of a frame (H, W), black where it reaches beyond."""
    x0, y0, side = box
    out = np.zeros((side, side), dtype=np.uint8)
    top, left = max(y0, 0), max(x0, 0)
    part = frame[top : y0 + side, left : x0 + side]
    out[top - y0 : top - y0 + part.shape[0], left - x0 : left - x0 + part.shape[1]] = part
    return out
