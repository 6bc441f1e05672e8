"""What a scanner draws around its sector: depth ticks, orientation mark, ECG strip, a few words. Never a name.

Grey 8 bit, in shares of the picture's height, so that any size looks alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

APEX = 0.05  # of the height: where the probe's centre lies,
DEPTH = 0.82  # how long the axis is at most,
ECG = (0.895, 0.975)  # and between which rows the ECG runs
SIDES = 0.06  # of the width, kept free on both sides
WIDEST = 0.84  # of the width that the sector may take
WORDS, TICKS, TRACE, CURSOR = 205, 165, 140, 235  # grey levels
# P, Q, R, S, T: (ms from the R wave, ms wide as a standard deviation, amplitude re R), after McSharry et al. 2003
WAVES = ((-165.0, 22.0, 0.13), (-32.0, 8.0, -0.09), (0.0, 10.0, 1.0), (30.0, 9.0, -0.22))
T_WAVE = (0.92, 42.0, 0.27)  # its peak in shares of systole


@dataclass(frozen=True)
class Beat:
    """Times in ms: of the whole loop, of one beat, and of systole; R waves stand at 0, beat_ms, 2 beat_ms ..."""

    loop_ms: float
    beat_ms: float
    systole_ms: float

    @property
    def shown_ms(self) -> tuple[float, float]:
        """What the ECG strip spans: some of the beats before and after too, so that the R waves stand whole."""
        return -0.4 * self.beat_ms, self.loop_ms + 0.4 * self.beat_ms

    @property
    def r_waves_ms(self) -> list[float]:
        """R waves within the loop."""
        return [float(r) for r in np.arange(0.0, self.loop_ms - 1e-6, self.beat_ms)]


@dataclass(frozen=True)
class EcgBox:
    """Rows and columns of the ECG strip, inclusive; time runs from x0 to x1 over `Beat.shown_ms`."""

    x0: int
    y0: int
    x1: int
    y1: int

    def column(self, time_ms: float, beat: Beat) -> float:
        """Where a time stands."""
        start, end = beat.shown_ms
        return self.x0 + (self.x1 - self.x0) * (time_ms - start) / (end - start)


def ecg_box(size: tuple[int, int]) -> EcgBox:
    """Where the ECG strip lies in a picture of `size` (H, W)."""
    height, width = size
    return EcgBox(round(SIDES * width), round(ECG[0] * height), round((1 - SIDES) * width), round(ECG[1] * height))


def ecg(time_ms: Floats, beat: Beat) -> Floats:
    """A schematic lead II, R wave 1, at `time_ms` (N,), in step with the beat: sums of Gaussians."""
    out = np.zeros_like(time_ms)
    centre, width, height = T_WAVE
    waves = [*WAVES, (centre * beat.systole_ms, width, height)]
    for r in np.arange(-2 * beat.beat_ms, beat.loop_ms + 2.5 * beat.beat_ms, beat.beat_ms):
        for at, wide, amplitude in waves:
            out += amplitude * np.exp(-0.5 * ((time_ms - r - at) / wide) ** 2)
    return out


@dataclass(frozen=True)
class Overlay:
    """still: uint8 (H, W), what does not move.  box: of the ECG.  sector: bool (H, W), where nothing is drawn."""

    still: U8
    box: EcgBox
    sector: Mask
    beat: Beat

    def around(self, sector: U8, time_ms: float) -> U8:
        """A whole picture uint8 (H, W): the sector's pixels, and around them all that is drawn at that time."""
        out = self.still.copy()
        x = round(self.box.column(time_ms, self.beat))
        cv2.line(out, (x, self.box.y0), (x, self.box.y1), CURSOR, 1)
        return np.where(self.sector, sector, out)


def draw(sector: Mask, mm_per_pixel: float, beat: Beat, words: Sequence[str]) -> Overlay:
    """All that stands around a sector.

    sector: bool (H, W), its probe centre in row APEX * H.  words: lines of text for the corner at the upper left.
    """
    height, width = sector.shape
    still = np.zeros(sector.shape, dtype=np.uint8)
    columns = np.flatnonzero(sector.any(axis=0))
    centre = (int(columns[0]) + int(columns[-1])) // 2
    _depth_ticks(still, sector, mm_per_pixel, int(columns[-1]))
    _mark(still, centre + round(0.075 * height), round(APEX * height), height)
    box = ecg_box((height, width))
    _trace(still, box, beat)
    margin = round(0.02 * height)
    for n, line in enumerate(words):
        _write(still, line, margin, _row(n, height), height)
    rate = f"{60_000 / beat.beat_ms:.0f} bpm"
    _write(still, rate, box.x1 - _wide(rate, height), box.y0 - round(6 * _scale(height)), height)
    return Overlay(still, box, sector, beat)


def _scale(height: int) -> float:
    """Font size; below 0.35 the strokes run together."""
    return max(0.35, height / 600 * 0.45)


def _row(n: int, height: int) -> int:
    """Base line of the n-th line of text."""
    return round((n + 1) * 38 * _scale(height) + 4)


def _wide(text: str, height: int) -> int:
    return int(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, _scale(height), 1)[0][0])


def _write(picture: U8, text: str, x: int, y: int, height: int) -> None:
    cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, _scale(height), WORDS, 1, cv2.LINE_AA)


def _depth_ticks(picture: U8, sector: Mask, mm_per_pixel: float, right: int) -> None:
    """A tick each cm from the probe on, a long one with its number each 5 cm."""
    height, width = picture.shape
    top = APEX * height
    bottom = int(np.flatnonzero(sector.any(axis=1))[-1]) + 1
    reach = _wide("15", height) + round(0.035 * height)  # of the longest tick with its number
    x = min(right + round(0.02 * height), width - reach)
    for cm in range(int((bottom - top) * mm_per_pixel / 10 + 1e-3) + 1):
        y = round(top + 10 * cm / mm_per_pixel)
        long = cm % 5 == 0
        cv2.line(picture, (x, y), (x + round((0.018 if long else 0.009) * height), y), TICKS, 1)
        if long and cm:
            _write(picture, str(cm), x + round(0.026 * height), y + round(9 * _scale(height)), height)


def _mark(picture: U8, x: int, y: int, height: int) -> None:
    """The orientation mark: a V, on the side to which the probe's notch points."""
    half = max(3, round(0.010 * height))
    points = np.array([[x - half, y - half], [x, y + half], [x + half, y - half]], dtype=np.int32)
    cv2.polylines(picture, [points], False, CURSOR, max(1, round(height / 300)), cv2.LINE_AA)


def _trace(picture: U8, box: EcgBox, beat: Beat) -> None:
    """The ECG of the whole loop."""
    x = np.arange(box.x0, box.x1 + 1, 0.25)
    start, end = beat.shown_ms
    value = ecg(start + (x - box.x0) / (box.x1 - box.x0) * (end - start), beat)
    low, high = -0.35, 1.1
    y = box.y1 - (value - low) / (high - low) * (box.y1 - box.y0)
    points = np.stack([x, y], axis=1) * 16  # sixteenths of a pixel
    cv2.polylines(picture, [points.round().astype(np.int32)], False, TRACE, 1, cv2.LINE_AA, shift=4)
