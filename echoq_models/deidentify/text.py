"""Letters burned into the sector: bright, still, of one grey level, and in a line, while tissue flickers and moves.

Of words of 4 to 10 letters, written all along three real loops and the phantom, it finds about 95 of 100; of those that
stand for a part of the loop only, about 70. So it cannot prove that nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class TextSettings:
    """What counts as a letter. Grey levels are of 0-255; the first value is for lossless pixels, the second for lossy.

    block: frames taken together at once.  window: blocks that a passing text must outlast, twice in a row.
    still, still_briefly: most that a letter's pixels may change over the whole loop, and within a window.
    above, above_briefly: how much brighter than its surroundings it is.  level: spread of its own grey levels, and
    uniform: the share of its pixels within that, asked for in a window.
    smallest: pixels of height; tallest: share of the frame's height.
    """

    block: int = 4
    window: int = 3
    still: tuple[int, int] = (8, 24)
    still_briefly: tuple[int, int] = (6, 20)
    above: int = 50
    above_briefly: int = 80
    level: tuple[int, int] = (4, 14)
    uniform: float = 0.55
    smallest: int = 5
    tallest: float = 0.1


@dataclass(frozen=True)
class PossibleText:
    """Where letters may be: a box in pixels, and the first and last frame (from 0) where they were seen."""

    x: int
    y: int
    width: int
    height: int
    first_frame: int
    last_frame: int


@dataclass(frozen=True)
class _Box:
    x: int
    y: int
    width: int
    height: int
    pixels: int
    letters: int = 1

    def touches(self, other: _Box) -> bool:
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )


def find_text(
    frames: Iterable[U8], mask: Mask, lossy: bool, settings: TextSettings | None = None
) -> tuple[PossibleText, ...]:
    """Letters inside `mask`, bool (H, W), in a loop's frames, each uint8 (H, W) and given once, in order.

    lossy: whether the pixels went through lossy compression, which makes still letters flicker.
    """
    chosen = settings or TextSettings()
    darkest, brightest, count = _blocks(frames, chosen.block)
    whole = (np.min(darkest, axis=0), np.max(brightest, axis=0))
    found = [
        PossibleText(box.x, box.y, box.width, box.height, 0, count - 1)
        for box in _lines(_letters(*whole, mask, lossy, chosen, brief=False), chosen, mask.shape[0])
    ]
    return (*found, *_passing(darkest, brightest, count, mask, lossy, chosen, found))


def _blocks(frames: Iterable[U8], size: int) -> tuple[list[U8], list[U8], int]:
    """Minimum and maximum over every `size` frames, and the number of frames."""
    darkest: list[U8] = []
    brightest: list[U8] = []
    count = 0
    for frame in frames:
        if count % size == 0:
            darkest.append(frame.copy())
            brightest.append(frame.copy())
        else:
            np.minimum(darkest[-1], frame, out=darkest[-1])
            np.maximum(brightest[-1], frame, out=brightest[-1])
        count += 1
    return darkest, brightest, count


def _passing(
    darkest: list[U8],
    brightest: list[U8],
    count: int,
    mask: Mask,
    lossy: bool,
    settings: TextSettings,
    known: list[PossibleText],
) -> list[PossibleText]:
    """Letters that stand in a part of the loop: seen in two windows in a row, as speckle seldom is."""
    found: list[PossibleText] = []
    before: list[_Box] = []
    old = [_Box(text.x, text.y, text.width, text.height, 0) for text in known]
    for start in range(len(darkest) - settings.window + 1):
        part = slice(start, start + settings.window)
        letters = _letters(darkest[part], brightest[part], mask, lossy, settings, brief=True)
        now = [
            box
            for box in _lines(letters, settings, mask.shape[0])
            if (box.letters >= 3 or box.width >= 2.5 * box.height) and not any(box.touches(each) for each in old)
        ]
        first, last = (start - 1) * settings.block, min((start + settings.window) * settings.block, count) - 1
        for box in now:
            if any(box.touches(each) for each in before):
                _add(found, PossibleText(box.x, box.y, box.width, box.height, first, last))
        before = now
    return found


def _add(found: list[PossibleText], text: PossibleText) -> None:
    """Lengthen the one that is there already, else append."""
    for n, each in enumerate(found):
        if (
            abs(each.x - text.x) <= text.height
            and abs(each.y - text.y) <= text.height
            and each.last_frame >= text.first_frame
        ):
            found[n] = PossibleText(each.x, each.y, each.width, each.height, each.first_frame, text.last_frame)
            return
    found.append(text)


def _letters(
    darkest: U8 | list[U8], brightest: U8 | list[U8], mask: Mask, lossy: bool, settings: TextSettings, brief: bool
) -> list[_Box]:
    """Pieces that may be letters. The darkest over time shows what is still: what moves is dark at times."""
    low = np.min(darkest, axis=0) if isinstance(darkest, list) else darkest
    high = np.max(brightest, axis=0) if isinstance(brightest, list) else brightest
    side = max(9, min(low.shape) // 24 | 1)
    raised = cv2.morphologyEx(low, cv2.MORPH_TOPHAT, cv2.getStructuringElement(cv2.MORPH_RECT, (side, side)))
    still = (settings.still_briefly if brief else settings.still)[lossy]
    bright = raised > (settings.above_briefly if brief else settings.above)
    pieces = (bright & (high - low <= still) & mask).astype(np.uint8)
    if not brief:  # soft small letters fall apart; in a short window, so would speckle grow together
        pieces = cv2.morphologyEx(pieces, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(pieces, connectivity=8)
    tallest = max(24.0, settings.tallest * low.shape[0])
    found = []
    for number, (x, y, width, height, area) in enumerate(stats.tolist()):
        plausible = settings.smallest <= height <= tallest and width <= 12 * height
        if number == 0 or not plausible or not 6 <= area < 0.8 * width * height + 4:
            continue
        box = np.s_[y : y + height, x : x + width]
        if not brief or _uniform(low[box][labels[box] == number], settings.level[lossy]) >= settings.uniform:
            found.append(_Box(x, y, width, height, area))
    return found


def _uniform(levels: U8, spread: int) -> float:
    """Share of the grey levels close to the bright ones among them."""
    return float(np.mean(np.abs(levels - np.quantile(levels, 0.8)) <= spread))


def _lines(letters: list[_Box], settings: TextSettings, height: int) -> list[_Box]:
    """Letters that stand side by side on one base line, joined; a single piece counts when it is as long as a word."""
    lines: list[list[_Box]] = []
    for box in sorted(letters, key=lambda each: each.x):
        line = next((line for line in lines if _follows(line[-1], box)), None)
        if line is None:
            lines.append([box])
        else:
            line.append(box)
    found = []
    for line in lines:
        x, y = min(each.x for each in line), min(each.y for each in line)
        width = max(each.x + each.width for each in line) - x
        tall = max(each.y + each.height for each in line) - y
        if width >= (1.5 if len(line) > 1 else 2.0) * tall:
            found.append(_Box(x, y, width, tall, sum(each.pixels for each in line), len(line)))
    return found


def _follows(last: _Box, box: _Box) -> bool:
    tall, gap = max(last.height, box.height), box.x - last.x - last.width
    level = abs(box.y + box.height - last.y - last.height) <= 0.35 * tall
    return level and -1 <= gap <= tall and min(last.height, box.height) >= 0.5 * tall
