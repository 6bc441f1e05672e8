"""One batch of phantom frames with all that is known about them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from training.phantom import display
from training.phantom.anatomy import Anatomy, draw_anatomy, draw_heart, uniform_anatomy
from training.phantom.config import DisplayConfig, PhantomConfig
from training.phantom.draw import Draw, Grid, db_to_power, draw_grid, power_to_db
from training.phantom.oracle import oracle_gain
from training.phantom.physics import (
    PointSpread,
    artefacts,
    blur,
    draw_haze,
    draw_path_db,
    draw_point_spread,
    draw_thermal_noise,
    mean_power,
    reference_power,
    speckle,
)

Smoothing = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class PhantomBatch:
    """B frames of `side` x `side` pixels.

    noisy, clean, target: float32 (B, 1, side, side) in [0, 1], multiples of 1/255; 0 outside the sector.
    clean is the twin without haze, reverberation and side lobes; target is noisy times the oracle gain.
    change: the gain seen through the display, gain / dynamic range, in units of full grey scale (<= 0, not clipped).
    confidence: the oracle's, 0-1.  sector, lv, myocardium: bool; the last two for measuring (shrunk, without the
    mitral side), lv_whole: the whole ventricle, closed by the annulus line.  All (B, 1, side, side).
    haze_db: (B,) total haze level, -120 for none.  textbook: (B,) bool, an A4C with all chambers.
    """

    noisy: Tensor
    clean: Tensor
    target: Tensor
    change: Tensor
    confidence: Tensor
    sector: Tensor
    lv: Tensor
    lv_whole: Tensor
    myocardium: Tensor
    haze_db: Tensor
    textbook: Tensor

    def __getitem__(self, part: slice | Tensor) -> PhantomBatch:
        return PhantomBatch(**{f.name: getattr(self, f.name)[part] for f in fields(self)})


@dataclass(frozen=True)
class Echoes:
    """Envelope levels in dB on the polar grid, (B, R, T), before the display."""

    noisy_db: Tensor
    clean_db: Tensor
    gain_db: Tensor
    confidence: Tensor
    haze_db: Tensor
    tissue_level_db: Tensor  # (B, 1, 1), mean power of the myocardium


def draw_echoes(
    draw: Draw, grid: Grid, anatomy: Anatomy, psf: PointSpread, config: PhantomConfig, level_db: Tensor
) -> Echoes:
    """Scatterers, point spread, propagation, haze and noise: sections 2 to 5 of the specification."""
    residual, blockage = draw_path_db(draw, grid, config.echo)
    scatter_power = db_to_power(anatomy.tissue_db + blockage)
    tissue = speckle(draw.complex_normal(*grid.x.shape[1:]) * torch.sqrt(scatter_power), psf, grid)
    clean_power = mean_power(scatter_power, psf, grid)
    haze = draw_haze(draw, grid, config.haze, psf, clean_power, anatomy, level_db)
    # A rib or bad contact dims the haze that comes from behind it too, but not all of it
    behind = db_to_power(blockage * draw.uniform((0.0, 0.9)))
    haze_power = haze.power * behind
    fog = speckle(draw.complex_normal(*grid.x.shape[1:]) * torch.sqrt(haze_power), haze.psf, grid)
    extra, extra_power = artefacts(draw, tissue, clean_power, grid, config.haze)
    noise = draw_thermal_noise(draw, grid, config.echo, psf)
    haze_power = mean_power(haze_power, haze.psf, grid) + extra_power
    could_be = db_to_power(anatomy.could_be_db + blockage)
    gain, confidence = oracle_gain(clean_power, haze_power, could_be, grid, config.oracle)

    def level(field: Tensor) -> Tensor:
        return power_to_db(field.abs() ** 2) + residual

    return Echoes(
        noisy_db=level(tissue + fog + extra + noise),
        clean_db=level(tissue + noise),
        gain_db=gain,
        confidence=confidence,
        haze_db=haze.level_db,
        tissue_level_db=power_to_db(reference_power(clean_power, anatomy)),
    )


def draw_smoothing(draw: Draw, grid: Grid, psf: PointSpread, config: DisplayConfig) -> tuple[PointSpread, Smoothing]:
    """Speckle reduction: a finer point spread, and a smoothing after the log that makes the grain as coarse again.

    As compounding does, this lowers the speckle's contrast at a given grain. Returns the finer point spread and the
    smoothing's sigmas (B, 1, 1) in samples and beams, near 0 in the frames without any.
    """
    ratio = draw.uniform(config.smoothing_width) * draw.chance(config.smoothing)
    finer = 1 / torch.sqrt(1 + ratio**2)
    psf = PointSpread(psf.axial_mm * finer, psf.angular_rad * finer)
    axial, lateral = psf.sigmas(grid)
    return psf, (axial * ratio, lateral * ratio)


def show(
    draw: Draw,
    grid: Grid,
    anatomy: Anatomy,
    echoes: Echoes,
    smoothing: Smoothing,
    config: PhantomConfig,
    side: int,
    native: int | None,
) -> PhantomBatch:
    """The display chain (section 6) and the masks, at `side` pixels. native: side of the scanner's own square."""
    c = config.display
    dynamic_range, gamma = draw.uniform(c.dynamic_range_db), draw.uniform(c.gamma)
    gain = (draw.uniform(c.tissue_grey) - 1) * dynamic_range - echoes.tissue_level_db - display.rayleigh_mean_db()
    noisy_db, clean_db = (blur(x, *smoothing) for x in (echoes.noisy_db, echoes.clean_db))
    pictures = torch.stack(
        [display.compress(x, dynamic_range, gain, gamma) for x in (noisy_db, clean_db, noisy_db + echoes.gain_db)],
        dim=1,
    )
    if native is None:
        native = c.native_px[int(draw.scalar((0.0, len(c.native_px) - 1e-6)))]
    view = display.draw_view(draw, grid, c)
    where, inside = display.scan_grid(grid, view, native)
    pictures = display.to_side(display.scan_convert(pictures, where, inside), side)
    noisy, clean, target = pictures.split(1, dim=1)
    if draw.scalar((0.0, 1.0)) < c.jpeg:
        noisy = display.jpeg(noisy, round(draw.scalar(c.jpeg_quality)))
    where, inside = display.scan_grid(grid, view, side)
    truth = torch.stack(
        [echoes.gain_db / dynamic_range, echoes.confidence, anatomy.lv, anatomy.myocardium, anatomy.along], dim=1
    )
    change, confidence, lv, muscle, along = display.scan_convert(truth, where, torch.ones_like(inside)).split(1, dim=1)
    middle = (along > 0.12) & (along < 0.7)  # the apex and the mitral side are left out, as the paper's recipe does
    return PhantomBatch(
        noisy=display.quantise(noisy) * inside,
        clean=display.quantise(clean) * inside,
        target=display.quantise(target) * inside,
        change=change * inside,
        confidence=confidence * inside,
        sector=inside,
        lv=(lv > 3.0) & middle & inside,
        lv_whole=(lv > 0) & inside,
        myocardium=(muscle > 1.0) & middle & inside,
        haze_db=echoes.haze_db,
        textbook=anatomy.textbook,
    )


def simulate(
    batch: int,
    generator: torch.Generator,
    config: PhantomConfig | None = None,
    *,
    side: int = 256,
    native: int | None = None,
    level_db: tuple[float, float] | None = None,
) -> PhantomBatch:
    """Draw `batch` frames of `side` pixels on the generator's device; the same seed gives the same frames.

    native: side in pixels of the scanner's square, drawn from the config when None.
    level_db: range of the total haze level; the config's when None.
    """
    config = config or PhantomConfig()
    draw = Draw(batch, generator)
    heart = draw_heart(draw, config.anatomy)
    needed = heart.apex_y + heart.length * torch.cos(heart.tilt) + draw.uniform((2.0, 45.0))
    depth = torch.maximum(draw.uniform(config.grid.depth_mm), needed).clamp_max(config.grid.depth_mm[1])
    grid = draw_grid(draw, config.grid, depth)
    anatomy = draw_anatomy(draw, grid, heart, config.anatomy, config.echo)
    psf, smoothing = draw_smoothing(draw, grid, draw_point_spread(draw, config.echo), config.display)
    level = draw.uniform(level_db or config.haze.level_db)
    echoes = draw_echoes(draw, grid, anatomy, psf, config, level)
    return show(draw, grid, anatomy, echoes, smoothing, config, side, native)


def simulate_structureless(
    batch: int, generator: torch.Generator, config: PhantomConfig | None = None, *, side: int = 256
) -> PhantomBatch:
    """Sectors of one uniform tissue without chamber, haze, shadow or drop-out: there is nothing to find in them."""
    config = config or PhantomConfig()
    still = dataclasses.replace(config.echo, dropout_db=(0.0, 0.0), shadow=0.0)
    off = dataclasses.replace(config.haze, off=1.0, reverberation_db=(-90.0, -90.0), side_lobe_db=(-90.0, -90.0))
    config = dataclasses.replace(config, echo=still, haze=off)
    draw = Draw(batch, generator)
    grid = draw_grid(draw, config.grid, draw.uniform(config.grid.depth_mm))
    anatomy = uniform_anatomy(grid)
    psf, smoothing = draw_smoothing(draw, grid, draw_point_spread(draw, config.echo), config.display)
    echoes = draw_echoes(draw, grid, anatomy, psf, config, draw.uniform((-60.0, -60.0)))
    return show(draw, grid, anatomy, echoes, smoothing, config, side, None)


def seeded(seed: int, device: str | torch.device = "cpu") -> torch.Generator:
    """A generator for `simulate`."""
    return torch.Generator(device=device).manual_seed(seed)
