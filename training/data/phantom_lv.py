"""Phantom frames with their left ventricle, and pictures without one, to train the segmenter on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from echoq_models.segment.architecture import SIDE
from training.data.not_echo import not_echo
from training.data.pool import Pool, ShardConfig, per_frame
from training.phantom.config import AnatomyConfig, DisplayConfig, EchoConfig, GridConfig, HazeConfig, PhantomConfig
from training.phantom.loops import simulate_loops
from training.phantom.simulate import PhantomBatch, seeded, simulate, simulate_structureless

# At 128 pixels a coarser polar grid shows the same and is drawn three times as fast
_GRID = GridConfig(samples=240, beams=128, margin=14)
_DISPLAY = dataclasses.replace(DisplayConfig(), native_px=(112, 112, 128, 192, 256, 384))
_HEARTS = AnatomyConfig(empty=0.0, level_sets=0.0, single_chamber=0.06, two_chamber=0.10, mirrored=0.15)
HEARTS = PhantomConfig(grid=_GRID, anatomy=_HEARTS, display=_DISPLAY)
SLIM = dataclasses.replace(
    HEARTS,
    anatomy=dataclasses.replace(
        _HEARTS, width_ed_mm=(32.0, 50.0), length_ed_mm=(78.0, 100.0), contour_mm=(0.5, 2.5), tilt_deg=(-12.0, 12.0)
    ),
)
# Wall and surroundings alike: what shows is only where the dark blood begins
PLAIN = EchoConfig(
    blood_db=(-48.0, -20.0),
    lateral_wall_db=(-6.0, 1.0),
    septum_db=(-2.0, 6.0),
    surroundings_db=(-7.0, 1.0),
    surroundings_texture_db=(0.5, 4.0),
    bright_db=(2.0, 10.0),
)
LITTLE_HAZE = HazeConfig(off=0.7, drowned=0.0)
THICK_MM = (7.0, 15.0)
NO_HEART = dataclasses.replace(HEARTS, anatomy=dataclasses.replace(_HEARTS, empty=1.0))
BLOBS = dataclasses.replace(HEARTS, anatomy=dataclasses.replace(_HEARTS, level_sets=1.0))
CLEAR_DB = (-25.0, -8.0)
BETWEEN_S = (0.03, 0.1)  # from a frame to its neighbour two frames on, at 20 to 66 frames a second
SMALLEST = 0.02  # share of the sector below which what is left of an LV is none to find


@dataclass(frozen=True)
class LvPoolConfig(ShardConfig):
    """Shares of batches: moving: three frames of a beat, where the others show one still three times.  slim: narrower
    and smoother hearts.  plain: thick walls that look like what lies around them, without which grey tissue at the apex
    is taken for haze over the ventricle.  clear: little haze.  chamberless, blobs, structureless, other: nothing to
    find (tissue with haze, holes of random shape, uniform speckle, pictures that are no echo).

    Variety, for each example anew: turn_deg, zoom, squash (one axis against the other), shift (half widths), gamma,
    blur (pixels), uneven (grey, smooth over the frame), hidden: share with a wedge of the sector in shadow.
    strands: share with bright pieces inside the ventricle near its wall, as papillary muscles, chords and trabeculae
    are; the outline must not stop there.  overturned: share turned by 60 to 300 degrees, which is no apical view any
    more.
    """

    frames: int = 40960
    moving: float = 0.2
    slim: float = 0.35
    plain: float = 0.4
    clear: float = 0.5
    chamberless: float = 0.07
    blobs: float = 0.04
    structureless: float = 0.05
    other: float = 0.10
    turn_deg: float = 12.0
    zoom: float = 1.22
    squash: float = 1.12
    shift: float = 0.1
    gamma: float = 1.5
    blur: float = 1.0
    uneven: float = 0.12
    hidden: float = 0.2
    strands: float = 0.3
    overturned: float = 0.04


@dataclass(frozen=True)
class LvBatch:
    """frames: float32 (B, 3, 128, 128) in [0, 1], times t - 2, t, t + 2.  lv: float32 (B, 1, 128, 128) of 0 or 1.
    present: float32 (B,), 1 where there is a left ventricle to find."""

    frames: Tensor
    lv: Tensor
    present: Tensor


def _triple(batch: PhantomBatch) -> tuple[Tensor, Tensor]:
    return batch.noisy.expand(-1, 3, -1, -1), batch.lv_whole


def _moving(
    size: int,
    generator: torch.Generator,
    rng: np.random.Generator,
    config: PhantomConfig,
    level_db: tuple[float, float] | None,
) -> tuple[Tensor, Tensor]:
    start, step = rng.uniform(0, 1.0), rng.uniform(*BETWEEN_S)
    loops = simulate_loops(
        size, generator, [start, start + step, start + 2 * step], config, side=SIDE, level_db=level_db
    )
    return torch.cat([frame.noisy for frame in loops.frames], dim=1), loops.frames[1].lv_whole


def _hearts(rng: np.random.Generator, config: LvPoolConfig) -> PhantomConfig:
    hearts = SLIM if rng.random() < config.slim else HEARTS
    if rng.random() < config.plain:
        thick = dataclasses.replace(hearts.anatomy, wall_mm=THICK_MM)
        hearts = dataclasses.replace(hearts, anatomy=thick, echo=PLAIN, haze=LITTLE_HAZE)
    return hearts


def _draw(size: int, generator: torch.Generator, rng: np.random.Generator, config: LvPoolConfig) -> LvBatch:
    """Examples of one kind, as they are drawn."""
    kinds = [config.chamberless, config.blobs, config.structureless, config.other]
    kind = int(np.searchsorted(np.cumsum(kinds), rng.random(), side="right"))
    if kind == 3:
        pictures = torch.from_numpy(np.stack([not_echo(rng, SIDE) for _ in range(size)]))[:, None]
        frames, lv = pictures.to(generator.device).expand(-1, 3, -1, -1), None
    elif kind < 3:
        level = CLEAR_DB if rng.random() < 0.5 else None
        batch = (
            simulate_structureless(size, generator, HEARTS, side=SIDE)
            if kind == 2
            else simulate(size, generator, (NO_HEART, BLOBS)[kind], side=SIDE, level_db=level)
        )
        frames, lv = _triple(batch)[0], None
    else:
        hearts = _hearts(rng, config)
        level = CLEAR_DB if rng.random() < config.clear else None
        if rng.random() < config.moving:
            frames, lv = _moving(size, generator, rng, hearts, level)
        else:
            frames, lv = _triple(simulate(size, generator, hearts, side=SIDE, level_db=level))
    if lv is None:
        lv = torch.zeros_like(frames[:, :1], dtype=torch.bool)
    inside = (frames[:, 1:2] > 0).float().mean((1, 2, 3))
    present = lv.float().mean((1, 2, 3)) > SMALLEST * inside
    return LvBatch(frames, lv.float() * present[:, None, None, None], present.float())


def draw_shard(config: LvPoolConfig, number: int) -> dict[str, NDArray[np.uint8]]:
    """The examples of shard `number`, uint8."""
    generator, rng = seeded(config.seed + number), np.random.default_rng(config.seed + number)
    parts = [_draw(min(16, config.shard), generator, rng, config) for _ in range(0, config.shard, 16)]
    return {
        "frames": torch.cat([p.frames for p in parts]).mul(255).round().to(torch.uint8).numpy(),
        "lv": torch.cat([p.lv for p in parts]).to(torch.uint8).numpy(),
        "present": torch.cat([p.present for p in parts]).to(torch.uint8).numpy(),
    }


def open_pool(folder: Path, config: LvPoolConfig, draws: bool = True) -> Pool:
    """The pool of `draw_shard`s in `folder`. draws: false where another process fills it."""
    return Pool(folder, config, partial(draw_shard, config) if draws else None)


def batches(pool: Pool, size: int, seed: int, device: torch.device, config: LvPoolConfig) -> Iterator[LvBatch]:
    """Random batches of a pool without end, varied."""
    rng = np.random.default_rng(seed)
    for arrays in pool.picks(size, rng):
        yield varied(
            LvBatch(arrays["frames"].float() / 255, arrays["lv"].float(), arrays["present"].float()),
            rng,
            device,
            config,
        )


def live_batches(size: int, seed: int, device: torch.device, config: LvPoolConfig) -> Iterator[LvBatch]:
    """Fresh examples for every step, drawn on `device` and varied."""
    generator, rng = seeded(seed, device), np.random.default_rng(seed)
    while True:
        yield varied(_draw(size, generator, rng, config), rng, device, config)


def varied(batch: LvBatch, rng: np.random.Generator, device: torch.device, config: LvPoolConfig) -> LvBatch:
    """The same examples in another form: turned, zoomed, squashed, shifted, shown through another curve, blurred,
    unevenly bright, partly hidden; some turned over, which leaves nothing to find."""
    size = len(batch.frames)
    over = rng.random(size) < config.overturned
    maps = torch.cat([batch.frames, batch.lv], dim=1).to(device, non_blocking=True)
    maps = _moved(maps, rng, config, over)
    frames, lv = maps[:, :3], (maps[:, 3:] > 0.5).float()
    present = batch.present.to(device) * torch.from_numpy(~over).float().to(device)
    present = present * (lv.mean((1, 2, 3)) > 0.012).float()
    frames = _shown(_stranded(frames, lv, rng, config), rng, config)
    return LvBatch(frames, lv * present[:, None, None, None], present)


def _moved(maps: Tensor, rng: np.random.Generator, config: LvPoolConfig, over: NDArray[np.bool_]) -> Tensor:
    size = len(maps)
    turn = rng.uniform(-config.turn_deg, config.turn_deg, size) * (rng.random(size) < 0.7)
    angle = np.deg2rad(np.where(over, rng.uniform(60, 300, size), turn))
    zoom = np.exp(rng.uniform(-1, 1, size) * np.log(config.zoom))
    squash = np.exp(rng.uniform(-1, 1, size) * np.log(config.squash))
    shift = rng.uniform(-config.shift, config.shift, (2, size))
    across, along = 1 / (zoom * squash), squash / zoom
    rows = [
        np.stack([across * np.cos(angle), -along * np.sin(angle), shift[0]], axis=1),
        np.stack([across * np.sin(angle), along * np.cos(angle), shift[1]], axis=1),
    ]
    affine = torch.from_numpy(np.stack(rows, axis=1).astype(np.float32)).to(maps.device)
    where = F.affine_grid(affine, list(maps.shape), align_corners=False)
    return F.grid_sample(maps, where, mode="bilinear", padding_mode="zeros", align_corners=False)


def _stranded(frames: Tensor, lv: Tensor, rng: np.random.Generator, config: LvPoolConfig) -> Tensor:
    """Some frames with pieces of muscle inside the ventricle, as bright as the brighter tissue of the frame."""
    size, side = len(frames), frames.shape[-1]
    chosen = rng.random(size) < config.strands
    if not chosen.any():
        return frames
    coarse = torch.from_numpy(rng.normal(size=(size, 1, side // 8, side // 5)).astype(np.float32)).to(frames.device)
    pieces = F.interpolate(coarse, (side, side), mode="bicubic", align_corners=True)
    near_wall = F.avg_pool2d(lv, 25, 1, 12) < 0.93
    pieces = (pieces - per_frame(rng.uniform(0.5, 1.5, size), frames)).clamp(0, 0.4) / 0.4
    grey = torch.quantile(frames[:, 1].flatten(1), 0.93, dim=1)[:, None, None, None]
    grain = torch.from_numpy(rng.uniform(0.5, 1.2, (size, 1, side, side)).astype(np.float32)).to(frames.device)
    level = grey * per_frame(rng.uniform(0.4, 1.1, size) * chosen, frames)
    return torch.maximum(frames, level * F.avg_pool2d(grain, 3, 1, 1) * pieces * lv * near_wall)


def _shown(frames: Tensor, rng: np.random.Generator, config: LvPoolConfig) -> Tensor:
    size, side = len(frames), frames.shape[-1]
    inside = (frames > 0).float()
    coarse = torch.from_numpy(rng.normal(size=(size, 1, 4, 4)).astype(np.float32)).to(frames.device)
    uneven = F.interpolate(coarse, (side, side), mode="bicubic", align_corners=True)
    frames = frames + inside * uneven * per_frame(rng.uniform(0, config.uneven, size), frames)
    frames = frames.clamp(0, 1) ** per_frame(np.exp(rng.uniform(-1, 1, size) * np.log(config.gamma)), frames)
    frames = frames * per_frame(rng.uniform(0.5, 1.3, size), frames) - inside * per_frame(
        rng.uniform(0, 0.12, size) * (rng.random(size) < 0.4), frames
    )
    blurred = F.avg_pool2d(F.pad(frames, (1, 1, 1, 1), mode="replicate"), 3, 1)
    share = per_frame(rng.uniform(0, config.blur, size) * (rng.random(size) < 0.5), frames).clamp(max=1)
    frames = frames + share * (blurred - frames)
    grain = torch.from_numpy(rng.normal(size=(size, 1, side, side)).astype(np.float32)).to(frames.device)
    frames = frames + inside * grain * per_frame(rng.uniform(0, 0.06, size) * (rng.random(size) < 0.5), frames)
    return (frames * _shadow(size, side, rng, config).to(frames.device)).clamp(0, 1)


def _shadow(size: int, side: int, rng: np.random.Generator, config: LvPoolConfig) -> Tensor:
    """Factors (B, 1, side, side): in some frames a wedge seen from the probe is darker or gone."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    angle = np.arctan2(x - side / 2, y + 0.02 * side)[None]
    middle, width = rng.uniform(-0.7, 0.7, (size, 1, 1)), rng.uniform(0.03, 0.3, (size, 1, 1))
    depth = np.where(rng.random((size, 1, 1)) < config.hidden, rng.uniform(0.3, 1.0, (size, 1, 1)), 0.0)
    wedge = 1 / (1 + np.exp((np.abs(angle - middle) - width) / 0.03))
    return torch.from_numpy((1 - depth * wedge).astype(np.float32))[:, None]
