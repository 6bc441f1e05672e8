"""The phantom's acceptance table: what physics says it must show, measured."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from echoq_models.metrics.gcnr import gcnr
from training.phantom.config import NOISY_LEVEL_DB, AnatomyConfig, DisplayConfig, GridConfig, PhantomConfig
from training.phantom.draw import Draw, Grid, db_to_power, draw_grid, power_to_db
from training.phantom.physics import PointSpread, speckle
from training.phantom.simulate import PhantomBatch, seeded, simulate
from training.phantom.tracking import displacement_error

SMALLEST_REGION = 300  # pixels; frames with less of either region tell nothing


@dataclass(frozen=True)
class Row:
    """One line of the table. passed: None where there is only a figure to print."""

    quantity: str
    wanted: str
    measured: str
    passed: bool | None


def uniform_grid(draw: Draw) -> Grid:
    """A grid of 150 mm depth and 40 degrees half angle, whatever the draw."""
    config = GridConfig(half_angle_deg=(40.0, 40.0))
    return draw_grid(draw, config, draw.uniform((150.0, 150.0)))


def fixed_psf(draw: Draw, axial_mm: float, angular_deg: float) -> PointSpread:
    """The same point spread for every frame of the draw."""
    return PointSpread(draw.uniform((axial_mm, axial_mm)), torch.deg2rad(draw.uniform((angular_deg, angular_deg))))


def speckle_snr(seed: int = 1) -> float:
    """Mean over standard deviation of the envelope of uniform speckle; theory sqrt(pi / (4 - pi)) = 1.913."""
    draw = Draw(8, seeded(seed))
    grid = uniform_grid(draw)
    field = speckle(draw.complex_normal(*grid.x.shape[1:]), fixed_psf(draw, 1.0, 1.5), grid).abs()
    return float(field.mean() / field.std())


def point_widths(axial_mm: float, angular_deg: float) -> tuple[float, float]:
    """Measured full widths at half maximum (mm, degrees) of the image of one point."""
    draw = Draw(1, seeded(0))
    grid = uniform_grid(draw)
    points = torch.zeros_like(grid.x)
    row, column = points.shape[1] // 2, points.shape[2] // 2
    points[0, row, column] = 1.0
    image = speckle(torch.complex(points, torch.zeros_like(points)), fixed_psf(draw, axial_mm, angular_deg), grid).abs()
    axial = _width(image[0, :, column]) * float(grid.mm_per_sample)
    lateral = _width(image[0, row, :]) * math.degrees(float(grid.rad_per_beam))
    return axial, lateral


def _width(profile: Tensor) -> float:
    """Full width at half maximum in samples, by linear interpolation on both flanks."""
    p = (profile / profile.max()).numpy()
    peak = int(p.argmax())
    right = next(i for i in range(peak, len(p)) if p[i] < 0.5)
    left = next(i for i in range(peak, -1, -1) if p[i] < 0.5)
    r = right - (0.5 - p[right]) / (p[right - 1] - p[right])
    lo = left + (0.5 - p[left]) / (p[left + 1] - p[left])
    return float(r - lo)


def theory_gcnr(ratio_db: float) -> float:
    """gCNR of two fully developed speckle regions whose mean powers differ by `ratio_db`.

    Exponential intensities of means k and 1 cross at t = k ln k / (k - 1), so that
    gCNR = k^(-1/(k-1)) - k^(-k/(k-1))  (from the definition in Rodriguez-Molares et al. 2020).
    """
    k = 10 ** (abs(ratio_db) / 10)
    return 0.0 if math.isclose(k, 1.0) else k ** (-1 / (k - 1)) - k ** (-k / (k - 1))


def uniform_gcnr(haze_db: float, seed: int = 2) -> tuple[float, float]:
    """(measured, theory) gCNR between a uniform wall under uniform haze and an empty chamber under the same haze."""
    draw = Draw(8, seeded(seed))
    grid = uniform_grid(draw)
    psf = fixed_psf(draw, 1.0, 1.2)
    haze = float(db_to_power(torch.tensor(haze_db)))

    def field(power: float) -> Tensor:
        return speckle(draw.complex_normal(*grid.x.shape[1:]), psf, grid) * math.sqrt(power)

    wall, chamber = field(1.0) + field(haze), field(haze)
    pair = power_to_db(torch.stack([wall.abs() ** 2, chamber.abs() ** 2]))
    frame = ((pair + 50) / 65).clamp(0, 1).mul(255).round().to(torch.uint8).numpy().reshape(2, -1)
    upper = np.zeros(frame.shape, dtype=bool)
    upper[0] = True
    return gcnr(frame, upper, ~upper), theory_gcnr(10 * math.log10((1 + haze) / haze))


def pixels(image: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """(N, 1, H, W) in [0, 1] as uint8 (N, H, W)."""
    return (image[:, 0] * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()


def textbook_config(compounding: bool = True) -> PhantomConfig:
    """A4C frames with whole walls under some haze: what the paper's test sets hold."""
    base = PhantomConfig()
    anatomy = AnatomyConfig(empty=0.0, level_sets=0.0, single_chamber=0.0, two_chamber=0.0, missing_wall=0.0)
    haze = dataclasses.replace(base.haze, clean=0.0, drowned=0.0)
    display = base.display if compounding else DisplayConfig(smoothing=0.0, jpeg=0.0)
    return dataclasses.replace(base, anatomy=anatomy, haze=haze, display=display)


def measurable(batch: PhantomBatch) -> Iterator[int]:
    """Indices of the frames that have haze, and two regions large enough to measure."""
    for i in range(len(batch.noisy)):
        large = min(int(batch.lv[i].sum()), int(batch.myocardium[i].sum())) >= SMALLEST_REGION
        if large and float(batch.haze_db[i]) > -60:
            yield i


def gcnr_of(images: Tensor, batch: PhantomBatch) -> list[float]:
    """gCNR of each measurable frame between the measured LV and the myocardium."""
    frames, lv, muscle = pixels(images), batch.lv[:, 0].cpu().numpy(), batch.myocardium[:, 0].cpu().numpy()
    return [gcnr(frames[i], lv[i], muscle[i]) for i in measurable(batch)]


def phantom_gcnr(levels: tuple[float, float], frames: int, compounding: bool, seed: int = 3) -> tuple[float, float]:
    """Median gCNR (noisy, clean) of textbook frames whose haze level lies within `levels`, dB."""
    config, generator = textbook_config(compounding), seeded(seed)
    noisy: list[float] = []
    clean: list[float] = []
    for _ in range(0, frames, 8):
        batch = simulate(8, generator, config, level_db=levels)
        noisy += gcnr_of(batch.noisy, batch)
        clean += gcnr_of(batch.clean, batch)
    return float(np.median(noisy)), float(np.median(clean))


def speed(device: str, batch: int) -> float:
    """Frames a second at 256 x 256."""
    generator = seeded(0, device)
    simulate(batch, generator)
    start = time.perf_counter()
    made = 0
    while time.perf_counter() - start < 3.0:
        simulate(batch, generator)
        made += batch
        if device == "cuda":
            torch.cuda.synchronize()
    return made / (time.perf_counter() - start)


def report(quick: bool = False) -> list[Row]:
    """The acceptance table. quick: fewer frames, for tests; its medians are rougher."""
    rows = []
    snr = speckle_snr()
    rows.append(Row("speckle SNR of the envelope", "1.91 +- 0.05", f"{snr:.3f}", abs(snr - 1.91) <= 0.05))
    for axial, angular in ((0.8, 1.1), (1.6, 2.5), (3.0, 4.0)):
        got = point_widths(axial, angular)
        close = abs(got[0] / axial - 1) < 0.05 and abs(got[1] / angular - 1) < 0.05
        rows.append(Row("PSF FWHM", f"{axial} mm, {angular} deg +- 5 %", f"{got[0]:.3f} mm, {got[1]:.3f} deg", close))
    error = displacement_error(textbook_config(), loops=2 if quick else 6, seed=2)
    rows.append(Row("displacement of advected speckle vs the field", "< 0.2 px", f"{error:.3f} px", error < 0.2))
    for level in (-20.0, -10.0, -5.0):
        measured, theory = uniform_gcnr(level)
        close = abs(measured - theory) <= 0.03
        rows.append(Row(f"gCNR, uniform, haze {level:.0f} dB", f"{theory:.3f} +- 0.03", f"{measured:.3f}", close))
    frames = 24 if quick else 96
    medians = [phantom_gcnr((level, level), frames, False) for level in (-20.0, -15.0, -10.0, -5.0, 0.0)]
    falling = all(a[0] > b[0] for a, b in pairwise(medians))
    noisy_medians = " / ".join(f"{m[0]:.3f}" for m in medians)
    rows.append(Row("gCNR, phantom, haze -20/-15/-10/-5/0 dB", "falling", noisy_medians, falling))
    rows.append(Row("gCNR, phantom, clean", ">= 0.95", f"{medians[0][1]:.3f}", medians[0][1] >= 0.95))
    noisy, _ = phantom_gcnr(NOISY_LEVEL_DB, frames, True)
    rows.append(Row("gCNR, default noisy set", "0.50-0.62", f"{noisy:.3f}", 0.50 <= noisy <= 0.62))
    rows.append(Row("frames a second, CPU", "", f"{speed('cpu', 8):.1f}", None))
    if torch.cuda.is_available():
        fps = speed("cuda", 64)
        rows.append(Row("frames a second, CUDA", ">= 1000 (H200 class)", f"{fps:.0f}", fps >= 1000))
    return rows


def as_table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    verdict = {True: "yes", False: "NO", None: ""}
    lines = ["| quantity | wanted | measured | holds |", "| --- | --- | --- | --- |"]
    lines += [f"| {r.quantity} | {r.wanted} | {r.measured} | {verdict[r.passed]} |" for r in rows]
    return "\n".join(lines)


def contact_sheet(path: Path, seed: int) -> None:
    """Write a PNG of 16 frames: noisy, then their clean twins, in two bands of eight."""
    batch = simulate(16, seeded(seed))
    bands = [pixels(x)[part] for part in (slice(0, 8), slice(8, 16)) for x in (batch.noisy, batch.clean)]
    sheet = np.concatenate([np.concatenate(list(band), axis=1) for band in bands], axis=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), sheet)
