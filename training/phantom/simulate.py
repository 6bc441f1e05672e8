"""Phantom frames with all that is known about them: single ones, each of another heart. Loops are in `loops`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

from training.phantom import display
from training.phantom.anatomy import Anatomy, draw_anatomy, uniform_anatomy
from training.phantom.config import PhantomConfig
from training.phantom.display import Size, View
from training.phantom.draw import Draw, Grid, db_to_power, draw_grid, power_to_db
from training.phantom.motion import Heart, draw_heart, material, opening, squeeze
from training.phantom.oracle import oracle_gain
from training.phantom.physics import (
    Artefacts,
    Haze,
    PointSpread,
    artefacts,
    blur,
    draw_artefacts,
    draw_haze,
    draw_path_db,
    draw_point_spread,
    draw_thermal_level,
    draw_thermal_noise,
    haze_level,
    mean_power,
    reference_power,
    speckle,
)


@dataclass(frozen=True)
class PhantomBatch:
    """B frames of H x W pixels, usually 256 x 256.

    noisy, clean, target: float32 (B, 1, H, W) in [0, 1], multiples of 1/255; 0 outside the sector.
    clean is the twin without haze, reverberation and side lobes; target is noisy times the oracle gain.
    change: the gain seen through the display, gain / dynamic range, in units of full grey scale (<= 0, not clipped).
    confidence: the oracle's, 0-1.  sector, lv, myocardium, septum: bool; lv and myocardium for measuring (shrunk,
    without the mitral side), septum the half of that myocardium between the ventricles.  lv_whole: the whole
    ventricle, closed by the annulus line; rv, la, ra: the other chambers.  All (B, 1, H, W).
    haze_db: (B,) total haze level, -120 for none.  textbook: (B,) bool, an A4C with all chambers.
    dynamic_range_db, gamma: (B,) of the display.
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
    septum: Tensor
    rv: Tensor
    la: Tensor
    ra: Tensor
    haze_db: Tensor
    textbook: Tensor
    dynamic_range_db: Tensor
    gamma: Tensor

    def __getitem__(self, part: slice | Tensor) -> PhantomBatch:
        return PhantomBatch(**{f.name: getattr(self, f.name)[part] for f in fields(self)})


@dataclass(frozen=True)
class Screen:
    """The scanner's display, the same for all frames of a loop. (B, 1, 1) each; smoothing: sigmas in samples and
    beams, near 0 where there is none; native: size that is rendered; jpeg_quality: None for none."""

    dynamic_range_db: Tensor
    gamma: Tensor
    gain_db: Tensor
    smoothing: tuple[Tensor, Tensor]
    view: View
    native: Size
    jpeg_quality: int | None


Painter = Callable[[Tensor], tuple[Anatomy, Grid]]


@dataclass(frozen=True)
class Scene:
    """What stays the same over a loop: where the probe looks, what lies in the way, the haze, the display.

    paint: from the phase of the beat (B, 1, 1) to the anatomy at that moment and the grid of its places at rest.
    """

    grid: Grid
    heart: Heart
    paint: Painter
    psf: PointSpread
    residual_db: Tensor
    blockage_db: Tensor
    haze: Haze
    artefacts: Artefacts
    thermal_db: Tensor
    screen: Screen
    config: PhantomConfig


@dataclass(frozen=True)
class Moment:
    """What is there at one moment: the anatomy, scatterers of unit power, and those of the haze, complex (B, R, T).

    smooth: what the scatterers went through already, see `physics.speckle`.
    """

    anatomy: Anatomy
    scatterers: Tensor
    haze_scatterers: Tensor
    smooth: float


@dataclass(frozen=True)
class Echoes:
    """Envelope levels in dB on the polar grid, (B, R, T), before the display."""

    noisy_db: Tensor
    clean_db: Tensor
    gain_db: Tensor
    confidence: Tensor
    haze_db: Tensor  # (B,)


def painter(grid: Grid, heart: Heart, seed: int, config: PhantomConfig) -> Painter:
    """Paints the same heart at any phase: every call draws the same numbers again, from `seed`."""

    def paint(phase: Tensor) -> tuple[Anatomy, Grid]:
        x, y = material(heart, grid.x, grid.y, squeeze(heart, phase))
        rest = dataclasses.replace(grid, x=x, y=y)
        draw = Draw(len(phase), seeded(seed, grid.x.device))
        open_now = opening(heart, phase)
        return draw_anatomy(draw, grid, rest, heart, open_now, config.anatomy, config.echo), rest

    return paint


def draw_scene(
    draw: Draw, phase: Tensor, config: PhantomConfig, level_db: tuple[float, float] | None, native: Size | None
) -> tuple[Scene, Anatomy]:
    """A scene, and its anatomy at `phase`, where haze and display gain are set."""
    heart = draw_heart(draw, config.anatomy, config.motion)
    needed = heart.apex_y + heart.length * torch.cos(heart.tilt) + draw.uniform((2.0, 45.0))
    depth = torch.maximum(draw.uniform(config.grid.depth_mm), needed).clamp_max(config.grid.depth_mm[1])
    grid = draw_grid(draw, config.grid, depth)
    paint = painter(grid, heart, draw.seed(), config)
    anatomy, _ = paint(phase)
    return _scene(draw, grid, heart, paint, anatomy, config, level_db, native), anatomy


def _scene(
    draw: Draw,
    grid: Grid,
    heart: Heart,
    paint: Painter,
    anatomy: Anatomy,
    config: PhantomConfig,
    level_db: tuple[float, float] | None,
    native: Size | None,
) -> Scene:
    psf, smoothing = draw_smoothing(draw, grid, draw_point_spread(draw, config.echo), config)
    residual, blockage = draw_path_db(draw, grid, config.echo)
    clean = mean_power(db_to_power(anatomy.tissue_db + blockage), psf, grid)
    level = draw.uniform(level_db or config.haze.level_db)
    haze = draw_haze(draw, grid, config.haze, psf, clean, anatomy, level)
    # A rib or bad contact dims the haze that comes from behind it too, but not all of it
    haze = Haze(haze.power * db_to_power(blockage * draw.uniform((0.0, 0.9))), haze.psf)
    return Scene(
        grid=grid,
        heart=heart,
        paint=paint,
        psf=psf,
        residual_db=residual,
        blockage_db=blockage,
        haze=haze,
        artefacts=draw_artefacts(draw, grid, config.haze),
        thermal_db=draw_thermal_level(draw, grid, config.echo),
        screen=draw_screen(draw, grid, smoothing, power_to_db(reference_power(clean, anatomy)), config, native),
        config=config,
    )


def draw_smoothing(
    draw: Draw, grid: Grid, psf: PointSpread, config: PhantomConfig
) -> tuple[PointSpread, tuple[Tensor, Tensor]]:
    """Speckle reduction: a finer point spread, and a smoothing after the log that makes the grain as coarse again.

    As compounding does, this lowers the speckle's contrast at a given grain. Returns the finer point spread and the
    smoothing's sigmas (B, 1, 1) in samples and beams, near 0 in the frames without any.
    """
    ratio = draw.uniform(config.display.smoothing_width) * draw.chance(config.display.smoothing)
    finer = 1 / torch.sqrt(1 + ratio**2)
    psf = PointSpread(psf.axial_mm * finer, psf.angular_rad * finer)
    axial, lateral = psf.sigmas(grid)
    return psf, (axial * ratio, lateral * ratio)


def draw_screen(
    draw: Draw,
    grid: Grid,
    smoothing: tuple[Tensor, Tensor],
    tissue_level_db: Tensor,
    config: PhantomConfig,
    native: Size | None,
) -> Screen:
    """The display chain's settings; its gain puts the myocardium's mean level (B, 1, 1) where it should land."""
    c = config.display
    dynamic_range = draw.uniform(c.dynamic_range_db)
    if native is None:
        native = c.native_px[int(draw.scalar((0.0, len(c.native_px) - 1e-6)))]
    return Screen(
        dynamic_range_db=dynamic_range,
        gamma=draw.uniform(c.gamma),
        gain_db=(draw.uniform(c.tissue_grey) - 1) * dynamic_range - tissue_level_db - display.rayleigh_mean_db(),
        smoothing=smoothing,
        view=display.draw_view(draw, grid, c),
        native=native,
        jpeg_quality=round(draw.scalar(c.jpeg_quality)) if draw.scalar((0.0, 1.0)) < c.jpeg else None,
    )


def echoes(draw: Draw, scene: Scene, now: Moment) -> Echoes:
    """Scatterers, point spread, propagation, haze and noise: sections 2 to 5 of the specification."""
    grid, psf = scene.grid, scene.psf
    scatter_power = db_to_power(now.anatomy.tissue_db + scene.blockage_db)
    amplitudes = now.scatterers * torch.sqrt(scatter_power)
    tissue = speckle(amplitudes, psf, grid, now.smooth)
    clean_power = mean_power(scatter_power, psf, grid)
    fog = speckle(now.haze_scatterers * torch.sqrt(scene.haze.power), scene.haze.psf, grid)
    extra, extra_power = artefacts(scene.artefacts, tissue, amplitudes, clean_power, grid, now.smooth)
    noise = draw_thermal_noise(draw, grid, scene.thermal_db, psf)
    haze_power = mean_power(scene.haze.power, scene.haze.psf, grid) + extra_power
    could_be = db_to_power(now.anatomy.could_be_db + scene.blockage_db)
    gain, confidence = oracle_gain(clean_power, haze_power, could_be, grid, scene.config.oracle)

    def level(field: Tensor) -> Tensor:
        return power_to_db(field.abs() ** 2) + scene.residual_db

    return Echoes(
        noisy_db=level(tissue + fog + extra + noise),
        clean_db=level(tissue + noise),
        gain_db=gain,
        confidence=confidence,
        haze_db=haze_level(scene.haze.power, clean_power, now.anatomy),
    )


def _pictures(scene: Scene, got: Echoes, side: Size) -> tuple[Tensor, Tensor, Tensor]:
    """noisy, clean and target as the scanner shows them, (B, 1, H, W) each, not yet cut to the sector."""
    screen = scene.screen
    noisy_db, clean_db = (blur(x, *screen.smoothing) for x in (got.noisy_db, got.clean_db))
    pictures = torch.stack(
        [
            display.compress(x, screen.dynamic_range_db, screen.gain_db, screen.gamma)
            for x in (noisy_db, clean_db, noisy_db + got.gain_db)
        ],
        dim=1,
    )
    where, inside = display.scan_grid(scene.grid, screen.view, screen.native)
    noisy, clean, target = display.to_side(display.scan_convert(pictures, where, inside), side).split(1, dim=1)
    if screen.jpeg_quality is not None:
        noisy = display.jpeg(noisy, screen.jpeg_quality)
    return noisy, clean, target


def render(scene: Scene, got: Echoes, anatomy: Anatomy, side: Size) -> PhantomBatch:
    """One frame of every scene at `side` pixels: the display chain (section 6) and the masks."""
    screen = scene.screen
    where, inside = display.scan_grid(scene.grid, screen.view, side)
    maps = [got.gain_db / screen.dynamic_range_db, got.confidence, anatomy.lv, anatomy.myocardium]
    maps += [anatomy.along, anatomy.across, anatomy.rv, anatomy.la, anatomy.ra]
    truth = display.scan_convert(torch.stack(maps, dim=1), where, torch.ones_like(inside)).split(1, dim=1)
    change, confidence, lv, muscle, along, across, rv, la, ra = truth
    middle = (along > 0.12) & (along < 0.7)  # the apex and the mitral side are left out, as the paper's recipe does
    noisy, clean, target = (display.quantise(p) * inside for p in _pictures(scene, got, side))
    measured = (muscle > 1.0) & middle & inside
    return PhantomBatch(
        noisy=noisy,
        clean=clean,
        target=target,
        change=change * inside,
        confidence=confidence * inside,
        sector=inside,
        lv=(lv > 3.0) & middle & inside,
        lv_whole=(lv > 0) & inside,
        myocardium=measured,
        septum=measured & (across < 0),
        rv=(rv > 0) & inside,
        la=(la > 0) & inside,
        ra=(ra > 0) & inside,
        haze_db=got.haze_db,
        textbook=anatomy.textbook,
        dynamic_range_db=screen.dynamic_range_db.flatten(),
        gamma=screen.gamma.flatten(),
    )


def still(draw: Draw, anatomy: Anatomy) -> Moment:
    """A single moment: nothing has moved yet, so scatterers are drawn where they are seen."""
    fog, scatterers = (draw.complex_normal(*anatomy.blood.shape[1:]) for _ in range(2))
    return Moment(anatomy, scatterers, fog, smooth=0.0)


def simulate(
    batch: int,
    generator: torch.Generator,
    config: PhantomConfig | None = None,
    *,
    side: Size = 256,
    native: Size | None = None,
    level_db: tuple[float, float] | None = None,
) -> PhantomBatch:
    """Draw `batch` frames of `side` pixels, each of another heart at some moment of its beat, on the generator's
    device; the same seed gives the same frames.

    native: size of the scanner's own picture, drawn from the config when None.
    level_db: range of the total haze level; the config's when None.
    """
    config = config or PhantomConfig()
    draw = Draw(batch, generator)
    scene, anatomy = draw_scene(draw, draw.uniform((0.0, 1.0)), config, level_db, native)
    return render(scene, echoes(draw, scene, still(draw, anatomy)), anatomy, side)


def simulate_structureless(
    batch: int, generator: torch.Generator, config: PhantomConfig | None = None, *, side: Size = 256
) -> PhantomBatch:
    """Sectors of one uniform tissue without chamber, haze, shadow or drop-out: there is nothing to find in them.

    Some batches have speckle whose grain is as wide near the probe as far from it (`EchoConfig.constant_grain`).
    """
    config = config or PhantomConfig()
    plain = dataclasses.replace(config.echo, dropout_db=(0.0, 0.0), shadow=0.0)
    silent = (-90.0, -90.0)
    off = dataclasses.replace(config.haze, off=1.0, drowned=0.0, reverberation_db=silent, side_lobe_db=silent)
    config = dataclasses.replace(config, echo=plain, haze=off)
    draw = Draw(batch, generator)
    grid = draw_grid(draw, config.grid, draw.uniform(config.grid.depth_mm))
    heart, anatomy = draw_heart(draw, config.anatomy, config.motion), uniform_anatomy(grid)
    scene = _scene(draw, grid, heart, lambda phase: (anatomy, grid), anatomy, config, (-60.0, -60.0), None)
    if draw.scalar((0.0, 1.0)) < config.echo.constant_grain:
        level = power_to_db(constant_grain(draw, grid).abs() ** 2) + scene.residual_db
        nothing = torch.zeros_like(level)
        return render(scene, Echoes(level, level, nothing, nothing + 1, nothing[:, 0, 0] - 120.0), anatomy, side)
    return render(scene, echoes(draw, scene, still(draw, anatomy)), anatomy, side)


def constant_grain(draw: Draw, grid: Grid) -> Tensor:
    """Speckle of unit power with a grain of the same size in mm everywhere, complex (B, R, T), as an aperture gives
    that opens with depth (constant f-number). Drawn on a Cartesian lattice and read off at the places of `grid`."""
    n = 320  # lattice points a depth
    sigma, stretch = draw.uniform((1.1, 4.0)), draw.uniform((1.0, 2.5))
    field = blur(draw.complex_normal(n, 2 * n), sigma, sigma * stretch) * torch.sqrt(4 * torch.pi * sigma**2 * stretch)
    where = torch.stack([grid.x / grid.depth_mm, grid.y / grid.depth_mm * 2 - 1], dim=-1)
    parts = torch.stack([field.real, field.imag], dim=1)
    read = F.grid_sample(parts, where, mode="bilinear", padding_mode="reflection", align_corners=False)
    return torch.complex(read[:, 0], read[:, 1])


def seeded(seed: int, device: str | torch.device = "cpu") -> torch.Generator:
    """A generator for `simulate`."""
    return torch.Generator(device=device).manual_seed(seed)
