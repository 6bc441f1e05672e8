"""From a loop of an archive to square grey frames of its sector, or to a sentence why there are none.

What lies outside the sector is black in the store: text, ECG, scales. Loops with colour Doppler, stills, and loops
without a sector or without a left ventricle are left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from echoq_models import cine, segment
from echoq_models.cine import dicom_header
from echoq_models.cine import sector as sectors
from echoq_models.cine.loop import CineLoop
from echoq_models.cine.sector import Sector
from echoq_models.errors import InputError
from training.data.archive_loops import folder_patient, pseudonym
from training.data.volumes import METAIMAGE, NIFTI, read_volume, square_pixels

COLOURED = 0.01  # share of the sector that is coloured: an overlay stays below 0.003, colour Doppler is above 0.1
WITNESSES = 3  # frames of which one must show the left ventricle; the loop is judged by more (see `postprocess.Rules`)
VOLUME_MS = 20.0  # CAMUS states no frame times; half a beat has about 20 frames


@dataclass(frozen=True)
class Sampling:
    """What is taken of a loop. side: of the frames, pixels.  per_loop: most frames, spread evenly over its first
    span_ms.  scanner: whether it is as a scanner stored it: then it needs a sector, since around it stands text.
    needs_lv: whether the left-ventricle network must accept it."""

    side: int
    per_loop: int
    span_ms: float
    scanner: bool
    needs_lv: bool


@dataclass(frozen=True)
class Taken:
    """Frames of a loop. frames: uint8 (N, side, side).  numbers: int64 (N,), which of the loop's they are.  times_ms:
    float64 (N,).  spacing_mm: of the frames' pixels, NaN where unknown.  patient: as the file says, else ""."""

    frames: NDArray[np.uint8]
    numbers: NDArray[np.int64]
    times_ms: NDArray[np.float64]
    spacing_mm: float
    patient: str


def take(root: Path, file: str, sampling: Sampling) -> Taken | str:
    """The frames of one loop of the archive in `root`, or why it is left out."""
    path = root / file
    try:
        loop, spacing = _read(path)
    except InputError as error:
        return str(error).replace(f"{path}: ", "").replace(str(root), "").rstrip(".")
    if len(loop) < 2:
        return "it is a still"
    sector = sectors.fit(loop)
    if sampling.scanner and not sector.found:
        return "no ultrasound sector was found in it"
    numbers = spread(loop.times_ms, sampling.per_loop, sampling.span_ms)
    if _coloured(loop, sector, numbers) > COLOURED:
        return "it shows colour Doppler"
    if sampling.needs_lv and (reason := _without_lv(loop, numbers)):
        return reason
    if (known := sectors.usable_spacing(loop, sector)) is not None:
        spacing = known.mm_per_pixel_y
    return Taken(
        frames=squares(loop.frames[numbers], sector, sampling.side),
        numbers=numbers,
        times_ms=loop.times_ms[numbers],
        spacing_mm=spacing * sector.side / sampling.side,
        patient=_patient(loop, file),
    )


def spread(times_ms: NDArray[np.float64], count: int, span_ms: float) -> NDArray[np.int64]:
    """Numbers, rising, of at most `count` frames spread evenly over the first span_ms of a loop."""
    last = np.searchsorted(times_ms, span_ms, side="right") - 1
    return np.unique(np.linspace(0, last, count).round().astype(np.int64))


def squares(frames: NDArray[np.uint8], sector: Sector, side: int) -> NDArray[np.uint8]:
    """The sector of frames (N, H, W), black around it, uint8 (N, side, side)."""
    patches = sectors.patches(frames, sector)[:, 0]
    if side != sectors.PATCH:
        patches = np.stack([cv2.resize(patch, (side, side), interpolation=cv2.INTER_AREA) for patch in patches])
    return (patches * 255).round().astype(np.uint8)


def _read(path: Path) -> tuple[CineLoop, float]:
    """The loop, its pixels square, and their size in mm where it is not in the loop's header, else NaN."""
    if not path.name.endswith((*NIFTI, METAIMAGE)):
        return cine.read(path), math.nan
    volume = read_volume(path)
    frames = square_pixels(volume.grey, volume.spacing_mm)
    spacing = math.nan if volume.spacing_mm is None else min(volume.spacing_mm)
    return CineLoop(frames, np.arange(len(frames), dtype=np.float64) * VOLUME_MS, "CAMUS"), spacing


def _coloured(loop: CineLoop, sector: Sector, numbers: NDArray[np.int64]) -> float:
    """The largest share of the sector that is coloured in one of these frames."""
    masks = (loop.coloured(int(t)) for t in numbers)
    inside = [np.count_nonzero(mask & sector.mask) for mask in masks if mask is not None]
    return max(inside, default=0) / np.count_nonzero(sector.mask)


def _without_lv(loop: CineLoop, numbers: NDArray[np.int64]) -> str:
    """Why the left-ventricle network does not accept a loop, "" when it does."""
    asked = np.unique(numbers[np.linspace(0, len(numbers) - 1, WITNESSES).round().astype(int)])
    return (segment.segment(loop, asked.tolist(), device="cpu").main_reason() or "").rstrip(".")


def _patient(loop: CineLoop, file: str) -> str:
    known = "" if loop.header is None else dicom_header.value(loop.header, "PatientID", str, "").strip(" \0")
    return pseudonym(known) if known else folder_patient(file)
