"""Draws resources/icons/echoq.svg at the sizes that desktops want: PNG, and .ico for Windows.

Run it after a change to the drawing and commit what it writes: `.venv/bin/python installer/make_icons.py`
"""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image
from PySide6.QtCore import QBuffer, QByteArray
from PySide6.QtGui import QImage, QPainter
from PySide6.QtSvg import QSvgRenderer

FOLDER = Path(__file__).resolve().parent.parent / "resources" / "icons"
PNG_SIZES = (16, 32, 48, 64, 128, 256)  # what the hicolor theme has folders for
ICO_SIZES = (16, 24, 32, 48, 64, 256)


def draw(drawing: QSvgRenderer, size: int) -> Image.Image:
    """The drawing at `size` x `size` pixels, RGBA."""
    image = QImage(size, size, QImage.Format.Format_ARGB32_Premultiplied)
    image.fill(0)
    painter = QPainter(image)
    drawing.render(painter)
    painter.end()
    buffer = QBuffer()
    buffer.open(QBuffer.OpenModeFlag.WriteOnly)
    image.save(buffer, "PNG")
    return Image.open(io.BytesIO(buffer.data().data())).convert("RGBA")


def main() -> None:
    """Write every file beside the drawing."""
    drawing = QSvgRenderer(QByteArray((FOLDER / "echoq.svg").read_bytes()))
    if not drawing.isValid():
        raise SystemExit(f"{FOLDER / 'echoq.svg'} is not a drawing that Qt reads")
    for size in PNG_SIZES:
        draw(drawing, size).save(FOLDER / f"echoq-{size}.png", optimize=True)
    small = [draw(drawing, size) for size in ICO_SIZES]
    small[-1].save(FOLDER / "echoq.ico", sizes=[(n, n) for n in ICO_SIZES], append_images=small[:-1])


if __name__ == "__main__":
    main()
