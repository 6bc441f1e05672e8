"""Phantom frames for the generator: hearts under three haze components of known level, each frame to be drawn again
under other levels.

A component has one fixed envelope and a level of its own, independent of the others, of the anatomy and of the display;
gain and contrast vary little, since gain imitates haze. There are no other artefacts: a frame without haze is clean.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from training.phantom.anatomy import Anatomy
from training.phantom.config import AnatomyConfig, DisplayConfig, GridConfig, HazeConfig, PhantomConfig, Range
from training.phantom.draw import Draw, Grid, db_to_power
from training.phantom.physics import Haze, PointSpread, mean_power, reference_power
from training.phantom.simulate import PhantomBatch, Scene, draw_scene, echoes, render, seeded, still

COMPONENTS = ("global", "center_field", "near_field")
OFF_DB = -120.0
BATCH = 16  # frames are drawn by so many; a frame is known by the batch's seed and its place in the batch


@dataclass(frozen=True)
class ComponentConfig:
    """Haze of the generator's frames. Levels: power where the component is strongest, dB re mean clean myocardium.

    off: share of frames without a component.  clean: share without any, besides.  Envelopes: the global component
    falls by `fall_db` over the depth; the near field decays over `near_mm`; the centre field is a spot at
    `centre_depth` of the depth, `centre_width` of it high and `centre_angle` of the sector's half angle wide (standard
    deviations).  widen: the haze's point spread re the tissue's, axial and lateral.
    """

    global_db: Range = (-26.0, -4.0)
    center_field_db: Range = (-20.0, 0.0)
    near_field_db: Range = (-12.0, 8.0)
    off: float = 0.3
    clean: float = 0.15
    fall_db: float = 6.0
    near_mm: float = 18.0
    centre_depth: float = 0.5
    centre_width: float = 0.13
    centre_angle: float = 0.3
    widen: tuple[float, float] = (1.3, 2.5)


_SILENT = HazeConfig(
    level_db=(OFF_DB, OFF_DB), clean=1.0, drowned=0.0, reverberation_db=(-90.0, -90.0), side_lobe_db=(-90.0, -90.0)
)
_DISPLAY = DisplayConfig(dynamic_range_db=(55.0, 65.0), gamma=(0.9, 1.1), tissue_grey=(0.47, 0.53), jpeg=0.0)
# "a4c": apical four-chamber views, apex up, septum to the left, the whole sector in the picture.  "all": as varied as
# the denoisers' frames.
HEARTS: dict[str, PhantomConfig] = {
    "all": PhantomConfig(haze=_SILENT, display=_DISPLAY),
    "a4c": PhantomConfig(
        haze=_SILENT,
        grid=GridConfig(depth_mm=(120.0, 170.0), half_angle_deg=(33.0, 43.0)),
        anatomy=AnatomyConfig(
            tilt_deg=(-12.0, 12.0),
            apex_depth_mm=(12.0, 24.0),
            apex_offset_mm=(-8.0, 8.0),
            contour_mm=(1.0, 3.0),
            mirrored=0.0,
            empty=0.0,
            level_sets=0.0,
            single_chamber=0.0,
            two_chamber=0.05,
            missing_wall=0.1,
        ),
        display=dataclasses.replace(
            _DISPLAY, zoom=(0.98, 1.04), cropped=0.0, stretch=(0.97, 1.03), top=(-0.02, 0.02), dead_zone_mm=(0.0, 4.0)
        ),
    ),
}
# (largest side, samples, beams, margin): a coarser polar grid shows the same in small pictures and is drawn sooner
_GRIDS = ((64, 128, 80, 10), (128, 240, 128, 14))


@dataclass(frozen=True)
class ComponentBatch:
    """frames: what was drawn, see `PhantomBatch`.  levels_db: float32 (B, 3) in the order of COMPONENTS, OFF_DB for
    none."""

    frames: PhantomBatch
    levels_db: Tensor


def draw_levels(seed: int, config: ComponentConfig, device: torch.device) -> Tensor:
    """Levels (BATCH, 3) in dB of the batch with this seed, OFF_DB for none."""
    generator = torch.Generator().manual_seed(seed)
    low, high = torch.tensor([config.global_db, config.center_field_db, config.near_field_db]).T
    levels = low + (high - low) * torch.rand(BATCH, 3, generator=generator)
    off = torch.rand(BATCH, 3, generator=generator) < config.off
    off |= torch.rand(BATCH, 1, generator=generator) < config.clean
    return torch.where(off, OFF_DB, levels).to(device)


def draw_batch(
    seed: int,
    side: int,
    hearts: str = "a4c",
    levels_db: Tensor | None = None,
    *,
    config: ComponentConfig | None = None,
    device: torch.device | str = "cpu",
) -> ComponentBatch:
    """The BATCH frames of `side` pixels that follow from `seed`.

    levels_db: (BATCH, 3) other levels for the same hearts, speckle, haze speckle and display; drawn from the seed when
    None. Raises KeyError for hearts that are not in HEARTS.
    """
    config = config or ComponentConfig()
    phantom = HEARTS[hearts]
    for largest, samples, beams, margin in reversed(_GRIDS):
        if side <= largest:
            grid = dataclasses.replace(phantom.grid, samples=samples, beams=beams, margin=margin)
            phantom = dataclasses.replace(phantom, grid=grid)
    if levels_db is None:
        levels_db = draw_levels(seed, config, torch.device(device))
    draw = Draw(BATCH, seeded(seed, device))
    scene, anatomy = draw_scene(draw, draw.uniform((0.0, 1.0)), phantom, None, 2 * side)
    scene = dataclasses.replace(scene, haze=_haze(scene, anatomy, levels_db, config))
    return ComponentBatch(render(scene, echoes(draw, scene, still(draw, anatomy)), anatomy, side), levels_db)


def _envelopes(grid: Grid, config: ComponentConfig) -> tuple[Tensor, ...]:
    """Power of each component over the sector, about 1 where it is strongest, (B, R, T) or broadcastable to it."""
    depth = grid.r / grid.depth_mm
    spot = ((depth - config.centre_depth) / config.centre_width) ** 2
    spot = spot + (grid.theta / grid.half_angle / config.centre_angle) ** 2
    return db_to_power(-config.fall_db * depth), torch.exp(-0.5 * spot), torch.exp(-grid.r / config.near_mm)


def _haze(scene: Scene, anatomy: Anatomy, levels_db: Tensor, config: ComponentConfig) -> Haze:
    clean = mean_power(db_to_power(anatomy.tissue_db + scene.blockage_db), scene.psf, scene.grid)
    parts = zip(_envelopes(scene.grid, config), db_to_power(levels_db).T, strict=True)
    power = sum((envelope * level[:, None, None] for envelope, level in parts), torch.zeros_like(clean))
    axial, lateral = config.widen
    wide = PointSpread(scene.psf.axial_mm * axial, scene.psf.angular_rad * lateral)
    return Haze(power * reference_power(clean, anatomy), wide)
