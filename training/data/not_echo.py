"""Pictures in which there is no left ventricle because they are no echo at all: what a network must learn to refuse."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]  # (side, side) in [0, 1]
Maker = Callable[[np.random.Generator, int], Picture]


def not_echo(rng: np.random.Generator, side: int) -> Picture:
    """One picture of a random kind: float32 (side, side) in [0, 1]."""
    make = MAKERS[int(rng.integers(len(MAKERS)))]
    return np.clip(make(rng, side), 0, 1).astype(np.float32)


def _smooth(rng: np.random.Generator, side: int, x: float, y: float | None = None) -> Picture:
    """Gaussian noise, blurred, of standard deviation 1."""
    field = cv2.GaussianBlur(rng.normal(size=(side, side)).astype(np.float32), (0, 0), x, sigmaY=y or x)
    return (field - field.mean()) / (field.std() + 1e-6)


def noise(rng: np.random.Generator, side: int) -> Picture:
    """White or blurred noise at any level."""
    grain = _smooth(rng, side, rng.uniform(0.3, 4.0), rng.uniform(0.3, 4.0))
    return rng.uniform(0.0, 0.8) + rng.uniform(0.02, 0.35) * grain


def flat(rng: np.random.Generator, side: int) -> Picture:
    """Black, one grey, or a slope."""
    slope = np.linspace(0, rng.choice([0.0, 1.0]), side, dtype=np.float32)[:, None].repeat(side, 1)
    return rng.choice([0.0, rng.uniform()]) + (slope if rng.random() < 0.5 else slope.T)


def bars(rng: np.random.Generator, side: int) -> Picture:
    """Test bars, stripes, or a chequerboard."""
    count = int(rng.integers(2, 12))
    grey = rng.random((count, count if rng.random() < 0.4 else 1)).astype(np.float32)
    return np.rot90(cv2.resize(grey, (side, side), interpolation=cv2.INTER_NEAREST), int(rng.integers(4)))


def _ellipse(rng: np.random.Generator, side: int, low: float, high: float) -> Picture:
    mask = np.zeros((side, side), np.uint8)
    centre = tuple(int(v) for v in rng.uniform(0.2, 0.8, 2) * side)
    axes = tuple(int(v) for v in rng.uniform(low, high, 2) * side)
    cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, 255, -1)
    return cv2.GaussianBlur(mask, (0, 0), rng.uniform(0.4, 2.0)).astype(np.float32) / 255


def shapes(rng: np.random.Generator, side: int) -> Picture:
    """Bright and dark ellipses and lines on a background, as in a body slice of another modality."""
    picture = np.full((side, side), rng.uniform(0, 0.4), np.float32)
    if rng.random() < 0.6:  # a body with a bright rim
        body = np.zeros((side, side), np.uint8)
        axes = int(rng.uniform(0.3, 0.5) * side), int(rng.uniform(0.3, 0.5) * side)
        cv2.ellipse(body, (side // 2, side // 2), axes, 0, 0, 360, 255, -1)
        picture = np.where(body > 0, rng.uniform(0.2, 0.6), 0).astype(np.float32)
        cv2.ellipse(picture, (side // 2, side // 2), axes, 0, 0, 360, 1.0, int(rng.integers(1, 5)))
    for _ in range(int(rng.integers(2, 12))):
        mask = _ellipse(rng, side, 0.02, 0.25)
        picture = picture * (1 - mask) + rng.random() * mask
    return picture + rng.uniform(0, 0.08) * _smooth(rng, side, rng.uniform(0.3, 1.5))


def layers(rng: np.random.Generator, side: int) -> Picture:
    """A linear probe's picture: bright layers across, speckle, perhaps a vessel, a gland or a shadow."""
    depth = np.linspace(0, 1, side, dtype=np.float32)
    level = np.interp(depth, np.linspace(0, 1, 12), rng.uniform(0.1, 0.7, 12)).astype(np.float32)[:, None]
    bend = (_smooth(rng, side, side / 5) * rng.uniform(0, 5)).astype(np.float32)
    rows, columns = np.indices((side, side), dtype=np.float32)
    picture = cv2.remap(level.repeat(side, 1), columns, rows + bend, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    for _ in range(int(rng.integers(0, 4))):
        mask = _ellipse(rng, side, 0.04, 0.3)
        picture = picture * (1 - mask * rng.uniform(0.5, 1.0))
    for _ in range(int(rng.integers(0, 5))):
        y = float(rng.uniform(0, side))
        cv2.line(picture, (0, int(y)), (side, int(y + rng.uniform(-15, 15))), 1.0, int(rng.integers(1, 3)))
    grain = np.exp(0.35 * _smooth(rng, side, rng.uniform(0.6, 2.5), rng.uniform(0.4, 1.2)))
    picture = (picture * grain).astype(np.float32)
    if rng.random() < 0.5:  # the panel of a scanner around it
        left, right = (int(v) for v in (rng.uniform(0, 0.25) * side, rng.uniform(0.75, 1.0) * side))
        picture[:, :left] = picture[:, right:] = rng.choice([0.0, 0.2])
    return picture


def writing(rng: np.random.Generator, side: int) -> Picture:
    """Text on black or grey."""
    picture = np.full((side, side), int(rng.choice([0, 50, 255])), np.uint8)
    for _ in range(int(rng.integers(2, 14))):
        text = "".join(chr(int(c)) for c in rng.integers(48, 91, int(rng.integers(2, 14))))
        where = int(rng.uniform(-10, side)), int(rng.uniform(0, side))
        cv2.putText(picture, text, where, cv2.FONT_HERSHEY_SIMPLEX, rng.uniform(0.2, 0.9), int(rng.integers(256)), 1)
    return (picture / np.float32(255)).astype(np.float32)


def clouds(rng: np.random.Generator, side: int) -> Picture:
    """Grey values whose spectrum falls as in photographs."""
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij"))
    spectrum = np.fft.rfft2(rng.normal(size=(side, side))) / np.maximum(frequency, 1 / side) ** rng.uniform(0.8, 2.0)
    field = np.fft.irfft2(spectrum, (side, side))
    field = (field - field.mean()) / (field.std() + 1e-9)
    return (rng.uniform(0.2, 0.6) + rng.uniform(0.1, 0.3) * field).astype(np.float32)


MAKERS: tuple[Maker, ...] = (noise, flat, bars, shapes, shapes, layers, layers, layers, writing, clouds)
