"""Tiny research archives in the layouts of EchoNet-Dynamic and CAMUS, and loops as scanners store them.

Films are written with OpenCV and NIfTI byte by byte, so that a reader and a writer with the same mistake cannot agree.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.make_files import sector_frames
from training.data import not_echo
from training.data.frames import split_of

U8 = NDArray[np.uint8]
Row = tuple[float, float, float, float]

PATCH = 16  # pixels of the square in the upper left corner that says which frame this is
STEP = 18  # grey levels from one frame's square to the next one's
_CODES = {"|u1": (2, 8), "<i2": (4, 16), "<f4": (16, 32), "<f8": (64, 64)}


@dataclass(frozen=True)
class Ellipse:
    """A ventricle: centre (x, y), half axes along and across (pixels), its long axis turned from the vertical."""

    x: float = 58.0
    y: float = 50.0
    along: float = 34.0
    across: float = 15.0
    turn_deg: float = 0.0

    def mask(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        y, x = np.mgrid[: size[0], : size[1]]
        turn = np.deg2rad(self.turn_deg)
        down = (x - self.x) * -np.sin(turn) + (y - self.y) * np.cos(turn)
        right = (x - self.x) * np.cos(turn) + (y - self.y) * np.sin(turn)
        return np.hypot(down / self.along, right / self.across) <= 1

    def rows(self, chords: int = 20) -> list[Row]:
        """The long axis from base to apex, then the chords from base to apex, each from left to right."""
        turn = np.deg2rad(self.turn_deg)
        down, right = np.array([-np.sin(turn), np.cos(turn)]), np.array([np.cos(turn), np.sin(turn)])
        centre = np.array([self.x, self.y])
        found = [(*(centre + self.along * down), *(centre - self.along * down))]
        for part in np.linspace(0.99, -0.99, chords):
            middle, half = centre + part * self.along * down, self.across * np.sqrt(1 - part**2)
            found.append((*(middle - half * right), *(middle + half * right)))
        return [(float(a), float(b), float(c), float(d)) for a, b, c, d in found]


def frames_of(shapes: Sequence[Ellipse], size: tuple[int, int] = (112, 112), atrium: Ellipse | None = None) -> U8:
    """uint8 (T, H, W): dark chambers in grey tissue; the square in the corner of frame t is of grey STEP * (t % 14)."""
    frames = np.full((len(shapes), *size), 120, dtype=np.uint8)
    for t, shape in enumerate(shapes):
        frames[t][shape.mask(size)] = 30
        if atrium is not None:
            frames[t][atrium.mask(size)] = 40
        frames[t, :PATCH, :PATCH] = numbered(t)
    return frames


def numbered(t: int) -> int:
    return STEP * (t % 14)


def labels_of(shapes: Sequence[Ellipse], size: tuple[int, int], atrium: Ellipse | None) -> U8:
    """uint8 (T, H, W) as CAMUS has it: 1 cavity, 2 a wall around it, 3 atrium."""
    labels = np.zeros((len(shapes), *size), dtype=np.uint8)
    for t, shape in enumerate(shapes):
        labels[t][replace(shape, along=shape.along + 5, across=shape.across + 5).mask(size)] = 2
        labels[t][shape.mask(size)] = 1
        if atrium is not None:
            labels[t][atrium.mask(size)] = 3
    return labels


def write_avi(path: Path, frames: U8, fps: float = 50.0) -> None:
    """MJPEG in AVI, in colour, as the archive's own conversion script writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, frames.shape[:0:-1])
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    writer.release()


def write_csv(path: Path, head: str, rows: Iterable[Iterable[object]], ending: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [head, *(",".join(map(str, row)) for row in rows)]
    path.write_text(ending.join(lines) + ending, encoding="utf-8", newline="")


def write_nifti(
    path: Path,
    frames: NDArray[Any],
    spacing: tuple[float, float] = (0.308, 0.308),
    axes: int = 0,
    scaling: tuple[float, float] = (0.0, 0.0),
    keep: float = 1.0,
) -> None:
    """One NIfTI-1 file of frames (T, H, W), x running fastest.

    axes: trailing axes of length one.  scaling: slope and intercept of the header.  keep: share of the (packed) file.
    """
    count, height, width = frames.shape
    sizes = [width, height, *([count] if count > 1 else []), *([1] * axes)]
    code, bits = _CODES[frames.dtype.str]
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, len(sizes), *sizes, *([1] * (7 - len(sizes))))
    struct.pack_into("<2h", header, 70, code, bits)
    struct.pack_into("<8f", header, 76, 1.0, *spacing, *([1.0] * 5))
    struct.pack_into("<3f", header, 108, 352.0, *scaling)
    header[123] = 10  # millimetres, seconds
    header[344:348] = b"n+1\0"
    data = bytes(header) + np.ascontiguousarray(frames).tobytes()
    packed = gzip.compress(data, 1) if path.suffix == ".gz" else data
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed[: int(keep * len(packed))])


def write_mhd(path: Path, frames: NDArray[Any], spacing: tuple[float, float] = (0.308, 0.154), **more: str) -> None:
    """A MetaImage header and its pixels, as in the first release of CAMUS. more: header lines to add or replace."""
    count, height, width = frames.shape
    head = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "0 0 0",
        "ElementSpacing": f"{spacing[0]} {spacing[1]} 1.54",
        "DimSize": f"{width} {height} {count}",
        "ElementType": {"|u1": "MET_UCHAR", "<i2": "MET_SHORT"}[frames.dtype.str],
        "ElementDataFile": path.with_suffix(".raw").name,
    } | more
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{key} = {value}\n" for key, value in head.items()), encoding="utf-8")
    path.with_suffix(".raw").write_bytes(np.ascontiguousarray(frames).tobytes())


def write_info(place: Path, ed: int, es: int, frames: int) -> None:
    """The patient's file, its frames counted from 1."""
    text = f"ED: {ed}\nES: {es}\nNbFrame: {frames}\nSex: F\nAge: 56\nImageQuality: Good\nEF: 54\nFrameRate: 47.6\n"
    (place / "Info_4CH.cfg").write_text(text, encoding="utf-8")


def heart(frames: int = 6, seed: int = 0, size: tuple[int, int] = (120, 160)) -> U8:
    """uint8 (T, H, W): a sector on black in which the left-ventricle network sees a ventricle."""
    return sector_frames(frames, *size, seed)


def no_heart(frames: int = 6, seed: int = 0, size: tuple[int, int] = (120, 160)) -> U8:
    """The same sector with nothing but speckle in it."""
    inside = heart(frames, seed, size).max(axis=0) > 0
    grain = np.random.default_rng(seed).gamma(3.0, 40.0, (frames, *size))
    return np.where(inside, np.clip(grain, 1, 255), 0).astype(np.uint8)


def with_writing(frames: U8) -> U8:
    """Frames with words beside the sector's apex and an ECG trace that runs below it."""
    out = np.pad(frames, ((0, 0), (0, 24), (0, 0)))
    _, height, width = out.shape
    for t, frame in enumerate(out):
        cv2.putText(frame, "EF 55", (2, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.3, 255, 1)
        cv2.putText(frame, f"{t} cm", (width - 32, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.3, 255, 1)
        x = np.arange(width)
        y = height - 10 - np.where((x + 3 * t) % 40 < 4, 8, 0)
        cv2.polylines(frame, [np.column_stack([x, y]).astype(np.int32)], False, 200, 1)
    return out


def linear_probe(frames: int = 6, size: tuple[int, int] = (120, 160)) -> U8:
    """A linear probe's picture: a rectangle of layers on black."""
    rng = np.random.default_rng(0)
    picture = not_echo.layers(rng, 100)
    box = np.clip(picture, 0.01, 1)[None] * rng.uniform(0.95, 1.0, (frames, 1, 1)) * 255
    return np.pad(box.astype(np.uint8), ((0, 0), (8, size[0] - 108), (30, size[1] - 130)))


def names_in(split: str, count: int, pattern: str = "patient {}") -> list[str]:
    """The first patients' names that fall to a split."""
    found = (name for name in map(pattern.format, range(100_000)) if split_of(name) == split)
    return list(islice(found, count))
