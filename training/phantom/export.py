"""Phantom loops as files, drawn as a scanner shows them: DICOM or AVI, with the truth and the regions beside them.

NAME.dcm or NAME.avi    the loop
NAME.truth.npz          all that the phantom knows of it: see `truth`
NAME.roi.json           left ventricle and myocardium of the first frame (end diastole), to measure in at once
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echoq_models import regions
from echoq_models.cine.writer import WriteOptions, open_writer
from echoq_models.errors import OutputError
from echoq_models.files import replacing
from training.phantom import overlay
from training.phantom.config import NOISY_LEVEL_DB, PhantomConfig, Range
from training.phantom.dicom_file import DicomFacts, write_dicom
from training.phantom.loops import PhantomLoops, simulate_loops
from training.phantom.report import pixels, textbook_config
from training.phantom.simulate import PhantomBatch, seeded

U8 = NDArray[np.uint8]

SMALLEST_POLYGON = 60.0  # pixels
FORMATS = ("dcm", "avi")


@dataclass(frozen=True)
class LoopOptions:
    """What is written. size: (H, W) pixels.  fps: about how many frames a second; whole beats decide exactly.
    level_db: range of the total haze level, the training range when None.  heart_rate: beats a minute, drawn when None.
    """

    format: str = "dcm"
    beats: int = 1
    fps: float = 40.0
    level_db: Range | None = None
    size: tuple[int, int] = (600, 800)
    heart_rate: int | None = None
    truth: bool = True
    compress: bool = False  # DICOM as JPEG-LS lossless, half as large, in place of RLE

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ValueError(f"format must be one of {', '.join(FORMATS)}, not {self.format!r}")
        if self.beats < 1 or not 5 <= self.fps <= 400 or min(self.size) < 128 or max(self.size) > 4096:
            raise ValueError("at least 1 beat, 5 to 400 frames a second, sides of 128 to 4096 pixels")


NOISY = NOISY_LEVEL_DB
# What resources/sample holds: the seed was chosen by looking at many
SAMPLE_SEED = 111
SAMPLE = LoopOptions(fps=30.0, level_db=NOISY, size=(448, 596), heart_rate=66, truth=False, compress=True)
SAMPLE_NAME = "phantom_a4c"


def scanner_config(size: tuple[int, int], half_angle_deg: float, heart_rate: int) -> PhantomConfig:
    """Textbook A4C on a well-set scanner: the whole sector within a picture of `size` (H, W), apex at
    `overlay.APEX`, no JPEG, display settings that a sonographer would choose."""
    height, width = size
    base = textbook_config()
    spread = 2 * math.sin(math.radians(half_angle_deg))
    share = min(overlay.DEPTH, overlay.WIDEST * width / (height * spread))
    zoom = 1 / (share * max(spread, 1.0))
    display = replace(
        base.display,
        zoom=(zoom, zoom),
        top=(overlay.APEX / share, overlay.APEX / share),
        cropped=0.0,
        stretch=(1.0, 1.0),
        dead_zone_mm=(1.5, 4.0),
        jpeg=0.0,
        tissue_grey=(0.40, 0.62),
        dynamic_range_db=(50.0, 66.0),
        gamma=(0.9, 1.15),
    )
    echo = replace(
        base.echo,
        axial_fwhm_mm=(0.8, 1.7),
        angular_fwhm_deg=(1.1, 2.6),
        residual_tgc_db=(0.0, 3.0),
        dropout_db=(0.0, 9.0),
        shadow=0.1,
    )
    return replace(
        base,
        grid=replace(base.grid, depth_mm=(140.0, 175.0), half_angle_deg=(half_angle_deg, half_angle_deg)),
        anatomy=replace(base.anatomy, mirrored=0.0, tilt_deg=(-12.0, 12.0), apex_depth_mm=(12.0, 24.0)),
        motion=replace(base.motion, heart_rate=(float(heart_rate), float(heart_rate))),
        echo=echo,
        display=display,
    )


def draw_loop(seed: int, options: LoopOptions) -> tuple[PhantomLoops, int]:
    """One loop of whole beats at `options.size`, and its heart rate. The same seed gives the same loop."""
    dice = random.Random(seed)
    rate, half_angle = dice.randint(50, 110), dice.uniform(36.0, 44.0)
    rate = options.heart_rate or rate
    seconds = options.beats * 60 / rate
    count = max(2, round(seconds * options.fps))
    times = [seconds * i / count for i in range(count)]
    config = scanner_config(options.size, half_angle, rate)
    size = options.size
    return simulate_loops(1, seeded(seed), times, config, side=size, native=size, level_db=options.level_db), rate


def facts_of(loops: PhantomLoops, rate: int) -> overlay.Beat:
    """The beat of a loop. Systole ends where the contraction is largest."""
    step = loops.times_ms[1]
    beat_ms = 60_000 / rate
    first = loops.contraction[0][: max(2, round(beat_ms / step))]
    return overlay.Beat(step * len(loops.times_ms), beat_ms, loops.times_ms[int(first.argmax())])


def scanner_frames(frames: PhantomBatch, loops: PhantomLoops, beat: overlay.Beat) -> U8:
    """The loop's hazy frames with all that stands around the sector: uint8 (T, H, W)."""
    step, pitch = loops.times_ms[1], float(loops.mm_per_pixel[0, 1])
    sector = frames.sector[0, 0].numpy()
    depth_cm = (np.flatnonzero(sector.any(axis=1))[-1] + 1 - overlay.APEX * sector.shape[0]) * pitch / 10
    words = ["PHANTOM", "SIMULATED", "", f"FR {1000 / step:.0f} Hz", f"{depth_cm:.0f} cm", "MI --", "TIS --"]
    around = overlay.draw(sector, pitch, beat, words)
    shown = zip(pixels(frames.noisy), loops.times_ms, strict=True)
    return np.stack([around.around(frame, time) for frame, time in shown])


def truth(frames: PhantomBatch, loops: PhantomLoops) -> dict[str, NDArray[Any]]:
    """All that the phantom knows of a loop of T frames of H x W pixels, by the names of `PhantomBatch`.

    clean, target: uint8 (T, H, W).  sector, lv, lv_whole, myocardium, septum, rv, la, ra: bool (T, H, W).
    confidence, change: float16 (T, H, W).  displacement: float16 (T - 1, 2, H, W), pixels to the next frame, x and y.
    haze_db: float32 (), contraction: float32 (T,), times_ms: float64 (T,), mm_per_pixel: float32 (2,), x and y.
    dynamic_range_db, gamma: float32 (), of the display.
    """
    masks = ("sector", "lv", "lv_whole", "myocardium", "septum", "rv", "la", "ra")
    return {
        "clean": pixels(frames.clean),
        "target": pixels(frames.target),
        **{name: getattr(frames, name)[:, 0].numpy() for name in masks},
        "confidence": frames.confidence[:, 0].numpy().astype(np.float16),
        "change": frames.change[:, 0].numpy().astype(np.float16),
        "displacement": loops.displacement[0].numpy().astype(np.float16),
        "haze_db": frames.haze_db[0].numpy(),
        "contraction": loops.contraction[0].numpy(),
        "times_ms": np.asarray(loops.times_ms),
        "mm_per_pixel": loops.mm_per_pixel[0].numpy(),
        "dynamic_range_db": frames.dynamic_range_db[0].numpy(),
        "gamma": frames.gamma[0].numpy(),
    }


def regions_of(frames: PhantomBatch) -> regions.Regions:
    """Polygons of the measured LV and myocardium of the first frame, for all frames."""

    def polygons(mask: NDArray[np.bool_]) -> tuple[regions.Contour, ...]:
        found = regions.mask_polygons(mask, tolerance=0.75)
        return tuple(c for c in map(regions.Contour, found) if abs(c.area) >= SMALLEST_POLYGON)

    return regions.Regions(polygons(frames.lv[0, 0].numpy()), polygons(frames.myocardium[0, 0].numpy()))


def write_loop(seed: int, folder: Path, name: str, options: LoopOptions) -> Path:
    """Draw one loop and write it with what belongs to it, itself last; returns its path. Raises OutputError."""
    loops, rate = draw_loop(seed, options)
    frames, beat = loops.loop(0), facts_of(loops, rate)
    path = folder / f"{name}.{options.format}"
    shown = scanner_frames(frames, loops, beat)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if options.truth:
            with replacing(folder / f"{name}.truth.npz") as new, new.open("wb") as file:
                np.savez_compressed(file, **truth(frames, loops))  # type: ignore[arg-type]  # numpy takes any name
        regions.save(regions_of(frames), regions.sidecar(path))
        if options.format == "dcm":
            sector, pitch = frames.sector[0, 0].numpy(), loops.mm_per_pixel[0].tolist()
            facts = DicomFacts(seed, loops.times_ms[1], rate, beat, sector, (pitch[0], pitch[1]), options.compress)
            with replacing(path) as new:
                write_dicom(new, shown, facts)
        else:
            comment = "Simulated phantom. Research use only."
            exact = WriteOptions(lossless=True, title="EchoQ phantom", comment=comment)
            with open_writer(path, options.size, loops.times_ms, options=exact) as writer:
                for frame in shown:
                    writer.add(frame)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}).") from error
    return path


def write_loops(count: int, folder: Path, seed: int, options: LoopOptions) -> Iterator[Path]:
    """Write loops of the seeds `seed`, `seed` + 1 ... one after the other; gives each path once it is there."""
    for number in range(seed, seed + count):
        yield write_loop(number, folder, f"phantom_{number:05d}", options)


def write_sample(folder: Path) -> Path:
    """Make the sample loop of `resources/sample` and its regions again."""
    return write_loop(SAMPLE_SEED, folder, SAMPLE_NAME, SAMPLE)
