"""Clear real frames, hazed by a formula that is not the phantom's: does a method find back what was there?

Grey g becomes the amplitude a = 10^((g / 255 - 1) 60 / 20) (0 dB at white, 60 dB of display) and gets a band-limited
random phase; complex haze is added to it: speckle with a grain of its own under a smooth envelope. The magnitude is
graded back to 8 bit the same way. The reference is the frame before haze.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from echoq_models.cine import read
from echoq_models.cine import sector as sectors
from training.evaluation.fidelity import nearness
from training.evaluation.records import Record

Frames = NDArray[np.uint8]
Masks = NDArray[np.bool_]
Complex = NDArray[np.complex128]

DISPLAY_DB = 60.0
LEVELS_DB = (-15.0, -10.0, -5.0)  # of the haze re the frame's tissue level
# Sizes at 256 pixels a side, scaled with the frame: standard deviations (across, along the beam)
PHASE_GRAIN = (1.5, 1.0)
HAZE_GRAIN = (2.6, 1.4)
ENVELOPE = 40.0
ORACLE_SCALE = 1.5  # about that of the phantom's oracle
ENVELOPE_DB = 6.0  # standard deviation of the envelope's smooth ups and downs
ORACLE_FLOOR_DB = -25.0  # as the phantom's


def amplitude(frame: Frames) -> NDArray[np.float64]:
    """Grey levels (H, W) as amplitudes: 1 for white, 10^(-3) for black."""
    return np.asarray(10.0 ** ((frame / 255.0 - 1.0) * DISPLAY_DB / 20.0))


def grade(magnitude: NDArray[np.float64]) -> Frames:
    """Amplitudes (H, W) as grey levels, the inverse of `amplitude`."""
    db = 20.0 * np.log10(np.maximum(magnitude, 1e-9))
    return np.clip((1.0 + db / DISPLAY_DB) * 255.0, 0, 255).round().astype(np.uint8)


def tissue_level_db(frame: Frames, sector: Masks) -> float:
    """Level of a frame's tissue: median of the brighter of the sector's two classes (Otsu 1979), dB re white."""
    grey = frame[sector & (frame > 0)]
    if grey.size == 0:
        return -DISPLAY_DB
    threshold, _ = cv2.threshold(grey[:, None], 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    bright = grey[grey > threshold]
    return float((np.median(bright if bright.size else grey) / 255.0 - 1.0) * DISPLAY_DB)


def grain(rng: np.random.Generator, size: tuple[int, int], sigma: tuple[float, float]) -> Complex:
    """Complex Gaussian noise (H, W) of mean power 1, smoothed by `sigma` pixels (x, y)."""
    parts = [cv2.GaussianBlur(rng.normal(size=size), (0, 0), sigmaX=sigma[0], sigmaY=sigma[1]) for _ in "ri"]
    field = parts[0] + 1j * parts[1]
    return np.asarray(field / np.sqrt(np.mean(np.abs(field) ** 2)))


@dataclass(frozen=True)
class Hazed:
    """One frame under haze, and what an oracle would make of it: hazed times the gain Pc / (Pc + Ph), at least -25 dB,
    with the local clean power and the expected haze power. Both uint8 (H, W)."""

    frame: Frames
    target: Frames


def haze(frame: Frames, sector: Masks, level_db: float, rng: np.random.Generator) -> Hazed:
    """A clear frame uint8 (H, W) under haze whose mean power in the sector is `level_db` re its tissue level.

    sector: bool (H, W); what lies outside stays as it is. The same generator state gives the same haze.
    """
    scale = max(frame.shape) / 256.0
    size = frame.shape[0], frame.shape[1]
    phase = np.angle(grain(rng, size, (PHASE_GRAIN[0] * scale, PHASE_GRAIN[1] * scale)))
    fog = grain(rng, size, (HAZE_GRAIN[0] * scale, HAZE_GRAIN[1] * scale))
    smooth = cv2.GaussianBlur(rng.normal(size=size), (0, 0), ENVELOPE * scale)
    power = 10.0 ** (smooth / smooth.std() * ENVELOPE_DB / 10.0)
    wanted = 10.0 ** ((tissue_level_db(frame, sector) + level_db) / 10.0)
    power *= wanted / np.mean((np.abs(fog) ** 2 * power)[sector])
    clear = amplitude(frame)
    field = np.abs(clear * np.exp(1j * phase) + np.sqrt(power) * fog)
    local = cv2.GaussianBlur(clear**2, (0, 0), ORACLE_SCALE * scale)
    gain = np.sqrt(np.maximum(local / (local + power), 10.0 ** (ORACLE_FLOOR_DB / 10.0)))
    return Hazed(*(np.where(sector, grade(x), frame).astype(np.uint8) for x in (field, field * gain)))


@dataclass(frozen=True)
class HazedLoop:
    """Frames of one clear loop. clear, hazed, target (see `Hazed`): uint8 (N, H, W).  sector: bool (H, W).
    level_db: of the haze of each, (N,)."""

    name: str
    clear: Frames
    hazed: Frames
    target: Frames
    sector: Masks
    level_db: tuple[float, ...]


def hazed_loops(paths: Sequence[Path], count: int, seed: int = 0) -> Iterator[HazedLoop]:
    """`count` frames of each clear loop, evenly spread, the levels of `LEVELS_DB` in turn.

    Raises InputError for a path that is no loop.
    """
    for number, path in enumerate(paths):
        loop, rng = read(path), np.random.default_rng(seed + number)
        index = np.unique(np.linspace(0, len(loop) - 1, min(count, len(loop))).round().astype(int))
        clear, mask = np.stack([loop.frames[t] for t in index]), sectors.fit(loop).mask
        levels = tuple(LEVELS_DB[i % len(LEVELS_DB)] for i in range(len(clear)))
        made = [haze(f, mask, level, rng) for f, level in zip(clear, levels, strict=True)]
        hazy, target = np.stack([m.frame for m in made]), np.stack([m.target for m in made])
        yield HazedLoop(path.stem, clear, hazy, target, mask, levels)


def cropped(image: Frames, sector: Masks) -> Frames:
    """The part of an image (H, W) around the sector."""
    rows, columns = np.flatnonzero(sector.any(axis=1)), np.flatnonzero(sector.any(axis=0))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def quality(loop: HazedLoop, number: int, method: str, images: Frames) -> Iterator[Record]:
    """PSNR and SSIM of the images uint8 (N, H, W) to the frames before haze, inside the sector."""
    for i, (before, after) in enumerate(zip(loop.clear, images, strict=True)):
        values = nearness(before, after, loop.sector) | {"haze_db": loop.level_db[i]}
        yield Record("hazed", str(number), i, method, values)
