"""A caption such as "denoised, research use", drawn where it hides no image pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]

_GREY = 200
_MARGIN = 4


@dataclass(frozen=True)
class Caption:
    """A rendered line of text and where it goes.

    text: uint8 (h, w) of grey on black.  x, y: its top left corner.  band: rows added below the picture for it,
    0 when it fits into a black margin of the picture.
    """

    text: U8
    x: int
    y: int
    band: int

    def stamp(self, frame: U8) -> U8:
        """A copy of the frame (H, W) or (H, W, 3) with the band added and the caption drawn."""
        pad = ((0, self.band), (0, 0)) + ((0, 0),) * (frame.ndim - 2)
        out = np.pad(frame, pad)
        height, width = self.text.shape
        room = out[self.y : self.y + height, self.x : self.x + width]
        room[...] = self.text if frame.ndim == 2 else self.text[..., None]
        return out


def place(text: str, size: tuple[int, int], free: NDArray[np.bool_] | None = None) -> Caption:
    """Render `text` for pictures of `size` (H, W).

    free: bool (H, W), pixels that are black in every frame; where they leave room at the left or right edge
    the caption goes there, as low as possible, else into a band of its own below the picture.
    """
    height, width = size
    points = max(9, min(28, round(min(height, width) / 22)))
    rendered = _render(text, points, width)
    tall, wide = rendered.shape
    if free is not None:
        for y in range(height - tall - _MARGIN, _MARGIN - 1, -1):
            for x in (_MARGIN, width - wide - _MARGIN):
                if x >= 0 and free[y : y + tall, x : x + wide].all():
                    return Caption(rendered, x, y, 0)
    return Caption(rendered, max(0, (width - wide) // 2), height, tall)


def _render(text: str, points: int, width: int) -> U8:
    """Grey text on black, uint8 (h, w) with w <= width: smaller, then cut, where it does not fit."""
    from PIL import Image, ImageDraw, ImageFont

    while True:
        font = ImageFont.load_default(size=points)
        left, top, right, bottom = font.getbbox(text)
        if right - left + 4 <= width or points <= 7:
            break
        points -= 1
    image = Image.new("L", (int(right - left) + 4, int(bottom - top) + 6), 0)
    ImageDraw.Draw(image).text((2 - left, 3 - top), text, fill=_GREY, font=font)
    return np.array(image)[:, :width]
