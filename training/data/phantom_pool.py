"""Phantom frames to train on: drawn live on a GPU, or kept in a pool of shards on disk where drawing is slower than
training (a CPU). A shard is a folder of uint8 `.npy` files, made under a temporary name and renamed when whole; its
seed is its number, so that a pool can be continued or made again.
"""

from __future__ import annotations

import itertools
import multiprocessing
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from training.phantom.config import AnatomyConfig, PhantomConfig
from training.phantom.simulate import PhantomBatch, seeded, simulate, simulate_structureless

CHANGE_SCALE = 400.0  # change is stored as round(-400 change): -0.64..0 in steps of about 0.6 grey levels
FIELDS = ("noisy", "target", "change", "confidence", "sector")


CHAMBERLESS = PhantomConfig(anatomy=AnatomyConfig(empty=1.0))
STRONG_DB = (0.0, 9.0)


@dataclass(frozen=True)
class PoolConfig:
    """frames: size of the pool.  shard: frames a shard.  workers: processes that draw.  seed: of the first shard.
    live: draw anew for every step instead, on the training device ("auto": on CUDA only).

    Shares of frames in which there is little to find, besides what the phantom draws anyway:
    structureless: uniform tissue without haze; without them about one such frame in seven came out with a chamber
    painted into it.  chamberless: haze over tissue without a heart; without them uniform tissue under strong uneven
    haze came out with a dim blob in it.  strong: haze above the tissue's own level, which little can be known of.

    Variety from the same frames: dimmed: share shown darker, by up to three.  varied: share turned by up to turn_deg,
    zoomed by up to zoom either way, shifted by up to shift half widths, and as many shown through a gamma of up to
    `gamma` either way; without this 10,000 frames are learned by heart in an hour.
    """

    frames: int = 9216
    shard: int = 128
    workers: int = 2
    seed: int = 1000
    live: str = "auto"
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


def _write_shard(folder: Path, number: int, config: PoolConfig) -> None:
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
            parts[name].append(value[:, 0].round().to(torch.uint8).numpy())
    temporary = folder / f"part_{number:05d}"
    temporary.mkdir(parents=True, exist_ok=True)
    for name, arrays in parts.items():
        np.save(temporary / f"{name}.npy", np.concatenate(arrays))
    temporary.rename(folder / f"shard_{number:05d}")


def _worker(folder: Path, first: int, config: PoolConfig) -> None:
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    for number in range(first, config.frames // config.shard, config.workers):
        if parent is not None and not parent.is_alive():
            return  # the training was killed: nobody waits for these frames
        if not (folder / f"shard_{number:05d}").exists():
            _write_shard(folder, number, config)


class Pool:
    """Shards under `folder`, filled by background processes while training goes on with those already there.

    draws: false where another process fills the same folder.
    """

    def __init__(self, folder: Path, config: PoolConfig, draws: bool = True) -> None:
        self.folder, self.config, self._draws = folder, config, draws
        folder.mkdir(parents=True, exist_ok=True)
        if draws:
            for stale in folder.glob("part_*"):
                shutil.rmtree(stale)
        context = multiprocessing.get_context("spawn")
        self._workers = [
            context.Process(target=_worker, args=(folder, i, config), daemon=True)
            for i in range(config.workers if draws else 0)
        ]
        for worker in self._workers:
            worker.start()
        self._shards: dict[Path, dict[str, NDArray[np.uint8]]] = {}

    def refresh(self) -> int:
        """Take in new shards; returns the number of frames at hand."""
        for path in sorted(self.folder.glob("shard_*")):
            if path not in self._shards:
                self._shards[path] = {name: np.load(path / f"{name}.npy", mmap_mode="r") for name in FIELDS}
        return len(self._shards) * self.config.shard

    def wait_for(self, frames: int) -> None:
        """Block until so many frames are there (at most the pool's size)."""
        wanted = min(frames, self.config.frames // self.config.shard * self.config.shard)
        while True:
            drawing = any(w.is_alive() for w in self._workers)
            if self.refresh() >= wanted:
                return
            if self._draws and not drawing:
                raise RuntimeError("the processes that draw phantom frames have died")
            time.sleep(0.2)

    def batches(self, size: int, seed: int, device: torch.device) -> Iterator[TrainingBatch]:
        """Random batches without end, varied so that no frame comes twice in the same form."""
        rng = np.random.default_rng(seed)
        for step in itertools.count():
            if step % 50 == 0:
                self.refresh()
            shards = list(self._shards.values())
            which, where = rng.integers(len(shards), size=size), rng.integers(self.config.shard, size=size)
            pick = [(shards[i], j) for i, j in zip(which, where, strict=True)]
            arrays = {name: torch.from_numpy(np.stack([s[name][j] for s, j in pick])[:, None]) for name in FIELDS}
            drawn = TrainingBatch(
                noisy=arrays["noisy"].float() / 255,
                target=arrays["target"].float() / 255,
                change=arrays["change"].float() / -CHANGE_SCALE,
                confidence=arrays["confidence"].float() / 255,
                sector=arrays["sector"].float(),
            )
            yield _varied(drawn, rng, self.config, device)

    def close(self) -> None:
        """Stop the processes that draw."""
        for worker in self._workers:
            worker.terminate()
            worker.join()


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


def _per_frame(values: NDArray[np.float64], like: Tensor) -> Tensor:
    return torch.from_numpy(values.astype(np.float32)).to(like.device)[:, None, None, None]


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
    gamma = _per_frame(
        np.exp(rng.uniform(-1, 1, size) * np.log(config.gamma) * (rng.random(size) < config.varied)), noisy
    )
    level = _per_frame(np.where(rng.random(size) < config.dimmed, rng.uniform(0.35, 1.0, size), 1.0), noisy)

    def curve(grey: Tensor) -> Tensor:
        """Below black, where no display shows anything, the change goes on in a straight line."""
        return torch.where(grey > 0, grey.clamp_min(1e-6) ** gamma, grey)

    return (
        noisy.clamp_min(0) ** gamma * level,
        target.clamp_min(0) ** gamma * level,
        (curve(noisy + change) - curve(noisy)) * level,
    )
