"""Panes side by side in one picture: titles above, a caption below, drawn once; only the panes change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

CAPTION = "denoised, research use"
SIMULATED = "simulated noise, research use"
BOTH = "simulated noise, denoised, research use"
SMALLEST_TEXT = 7  # pixels of height; below it a text is cut instead

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Look:
    """How a side-by-side picture looks. Lengths in pixels of the source; text grows with the pane's width."""

    gap: int = 6
    background: tuple[int, int, int] = (18, 18, 20)
    title: tuple[int, int, int] = (235, 235, 235)
    caption: tuple[int, int, int] = (160, 160, 165)
    text_share: float = 0.045  # text height as a share of the pane's width
    smallest_text: int = 10  # of a narrow pane, in pixels of height


class Canvas:
    """A picture of panes of one size (H, W), side by side under their titles."""

    def __init__(
        self, titles: Sequence[str], pane: tuple[int, int], caption: str = CAPTION, look: Look | None = None
    ) -> None:
        """titles: one for each pane. pane: its height and width in pixels. Raises ValueError without panes."""
        if not titles:
            raise ValueError("a side-by-side picture needs at least one pane")
        look = look or Look()
        height, width = pane
        text = max(look.smallest_text, round(look.text_share * width))
        bar = text + 2 * look.gap
        self._pane = pane
        self._top = bar
        self._lefts = [look.gap + i * (width + look.gap) for i in range(len(titles))]
        total = (len(titles) * (width + look.gap) + look.gap, height + 2 * bar)
        picture = Image.new("RGB", total, look.background)
        draw = ImageDraw.Draw(picture)
        for left, title in zip(self._lefts, titles, strict=True):
            shown, font = _fitted(title, text, width)
            draw.text((left + width / 2, bar / 2), shown, look.title, font, anchor="mm")
        shown, font = _fitted(caption, text, total[0] - 2 * look.gap)
        draw.text((total[0] - look.gap, bar + height + bar / 2), shown, look.caption, font, anchor="rm")
        self._background = np.array(picture)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the whole picture in pixels."""
        return self._background.shape[0], self._background.shape[1]

    def draw(self, panes: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """The picture, RGB uint8, of panes RGB uint8 (H, W, 3) given in the order of the titles."""
        height, width = self._pane
        out = self._background.copy()
        for left, pane in zip(self._lefts, panes, strict=True):
            out[self._top : self._top + height, left : left + width] = pane
        return out


def _fitted(text: str, height: int, width: int) -> tuple[str, Font]:
    """`text` in Pillow's own font of at most `height` pixels: smaller, then shorter, until it is `width` wide."""
    font = ImageFont.load_default(height)
    while height > SMALLEST_TEXT and font.getlength(text) > width:
        height -= 1
        font = ImageFont.load_default(height)
    shown = text
    while len(text) > 1 and font.getlength(shown) > width:
        text = text[:-1]
        shown = f"{text.rstrip()}..."
    return shown, font
