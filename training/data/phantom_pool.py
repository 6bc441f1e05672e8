"""Phantom frames to train denoisers on: drawn live on a GPU, or kept in a pool of shards where drawing is slower
than training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from training.data.pool import Pool, ShardConfig, per_frame
from training.phantom.config import AnatomyConfig, PhantomConfig
from training.phantom.simulate import PhantomBatch, seeded, simulate, simulate_structureless

CHANGE_SCALE = 400.0  # change is stored as round(-400 change): -0.64..0 in steps of about 0.6 grey levels
FIELDS = ("noisy", "target", "change", "confidence", "sector")


CHAMBERLESS = PhantomConfig(anatomy=AnatomyConfig(empty=1.0))
STRONG_DB = (0.0, 9.0)


@dataclass(frozen=True)
class PoolConfig(ShardConfig):
    """Shares of frames in which there is little to find, besides what the phantom draws anyway:
    structureless: uniform tissue without haze; without them about one such frame in seven came out with a chamber
    painted into it.  chamberless: haze over tissue without a heart; without them uniform tissue under strong uneven
    haze came out with a dim blob in it.  strong: haze above the tissue's own level, which little can be known of.

    Variety from the same frames: dimmed: share shown darker, by up to three.  varied: share turned by up to turn_deg,
    zoomed by up to zoom either way, shifted by up to shift half widths, and as many shown through a gamma of up to
    `gamma` either way; without this 10,000 frames are learned by heart in an hour.
    """

    dimmed: float = 0.3
    varied: float = 0.7
    turn_deg: float = 10.0
    zoom: float = 1.15
    shift: float = 0.06
    gamma: float = 1.25
    structureless: float = 0.14
    chamberless: float = 0.12
    strong: float = 0.12


@dataclass(frozen=True)
class TrainingBatch:
    """float32 (B, 1, 256, 256) each: noisy, target, confidence, sector in [0, 1]; change <= 0 in full grey scales."""

    noisy: Tensor
    target: Tensor
    change: Tensor
    confidence: Tensor
    sector: Tensor


def _draw(size: int, generator: torch.Generator, rng: np.random.Generator, config: PoolConfig) -> PhantomBatch:
    """Phantom frames; now and then a whole batch in which there is nothing to find, with haze or without."""
    which = rng.random()
    if which < config.structureless:
        return simulate_structureless(size, generator)
    if which < config.structureless + config.chamberless:
        return simulate(size, generator, CHAMBERLESS)
    if which < config.structureless + config.chamberless + config.strong:
        return simulate(size, generator, level_db=STRONG_DB)
    return simulate(size, generator)


def draw_shard(config: PoolConfig, number: int) -> dict[str, NDArray[np.uint8]]:
    """The frames of shard `number`: uint8 (N, 1, 256, 256) by field, `change` as round(-400 change)."""
    generator = seeded(config.seed + number)
    rng = np.random.default_rng(config.seed + number)
    parts: dict[str, list[NDArray[np.uint8]]] = {name: [] for name in FIELDS}
    for _ in range(0, config.shard, 16):
        batch = _draw(min(16, config.shard), generator, rng, config)
        values = {
            "noisy": batch.noisy * 255,
            "target": batch.target * 255,
            "change": (-CHANGE_SCALE * batch.change).clamp(0, 255),
            "confidence": batch.confidence * 255,
            "sector": batch.sector.float(),
        }
        for name, value in values.items():
            parts[name].append(value.round().to(torch.uint8).numpy())
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def open_pool(folder: Path, config: PoolConfig, draws: bool = True) -> Pool:
    """The pool of `draw_shard`s in `folder`. draws: false where another process fills it."""
    return Pool(folder, config, partial(draw_shard, config) if draws else None)


def batches(pool: Pool, size: int, seed: int, device: torch.device, config: PoolConfig) -> Iterator[TrainingBatch]:
    """Random batches of a pool without end, varied so that no frame comes twice in the same form."""
    rng = np.random.default_rng(seed)
    for arrays in pool.picks(size, rng):
        drawn = TrainingBatch(
            noisy=arrays["noisy"].float() / 255,
            target=arrays["target"].float() / 255,
            change=arrays["change"].float() / -CHANGE_SCALE,
            confidence=arrays["confidence"].float() / 255,
            sector=arrays["sector"].float(),
        )
        yield _varied(drawn, rng, config, device)


def live_batches(size: int, seed: int, device: torch.device, config: PoolConfig) -> Iterator[TrainingBatch]:
    """Fresh frames for every step, drawn on `device` and varied as those of a pool are."""
    generator, rng = seeded(seed, device), np.random.default_rng(seed)
    while True:
        b = _draw(size, generator, rng, config)
        drawn = TrainingBatch(b.noisy, b.target, b.change, b.confidence, b.sector.float())
        yield _varied(drawn, rng, config, device)


def _varied(batch: TrainingBatch, rng: np.random.Generator, config: PoolConfig, device: torch.device) -> TrainingBatch:
    """Half of the frames mirrored, most of them turned, zoomed and shifted a little and shown through another display
    curve, and some dimmed, so that no frame of a pool comes twice in the same form."""
    names = [f.name for f in fields(TrainingBatch)]
    maps = torch.cat([getattr(batch, name) for name in names], dim=1).to(device, non_blocking=True)
    maps = _moved(maps, rng, config)
    noisy, target, change, confidence, sector = maps.split(1, dim=1)
    sector = (sector > 0.999).float()
    noisy, target, change = _shown(noisy, target, change, rng, config)
    return TrainingBatch(noisy * sector, target * sector, change * sector, confidence * sector, sector)


def _moved(maps: Tensor, rng: np.random.Generator, config: PoolConfig) -> Tensor:
    """(B, C, H, W) mirrored at random; a share `config.varied` turned, zoomed (both ways differently) and shifted."""
    size = len(maps)
    on = rng.random(size) < config.varied
    angle = np.deg2rad(rng.uniform(-config.turn_deg, config.turn_deg, size)) * on
    zoom = np.exp(rng.uniform(-1, 1, (2, size)) * np.log(config.zoom) * on)
    mirror = np.where(rng.random(size) < 0.5, -1.0, 1.0)
    shift = rng.uniform(-config.shift, config.shift, (2, size)) * on
    rows = [
        np.stack([mirror * np.cos(angle) / zoom[0], -mirror * np.sin(angle) / zoom[1], shift[0]], axis=1),
        np.stack([np.sin(angle) / zoom[0], np.cos(angle) / zoom[1], shift[1]], axis=1),
    ]
    affine = torch.from_numpy(np.stack(rows, axis=1).astype(np.float32)).to(maps.device)
    where = F.affine_grid(affine, list(maps.shape), align_corners=False)
    return F.grid_sample(maps, where, mode="bilinear", padding_mode="zeros", align_corners=False)


def _shown(
    noisy: Tensor, target: Tensor, change: Tensor, rng: np.random.Generator, config: PoolConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures and change through another gamma, and a share of them darker, as on a scanner whose gain is low."""
    size = len(noisy)
    gamma = per_frame(
        np.exp(rng.uniform(-1, 1, size) * np.log(config.gamma) * (rng.random(size) < config.varied)), noisy
    )
    level = per_frame(np.where(rng.random(size) < config.dimmed, rng.uniform(0.35, 1.0, size), 1.0), noisy)

    def curve(grey: Tensor) -> Tensor:
        """Below black, where no display shows anything, the change goes on in a straight line."""
        return torch.where(grey > 0, grey.clamp_min(1e-6) ** gamma, grey)

    return (
        noisy.clamp_min(0) ** gamma * level,
        target.clamp_min(0) ** gamma * level,
        (curve(noisy + change) - curve(noisy)) * level,
    )
