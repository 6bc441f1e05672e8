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
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.phantom.simulate import PhantomBatch, seeded, simulate, simulate_structureless

CHANGE_SCALE = 400.0  # change is stored as round(-400 change): -0.64..0 in steps of about 0.6 grey levels
FIELDS = ("noisy", "target", "change", "confidence", "sector")


@dataclass(frozen=True)
class PoolConfig:
    """frames: size of the pool.  shard: frames a shard.  workers: processes that draw.  seed: of the first shard.
    live: draw anew for every step instead, on the training device ("auto": on CUDA only).
    dimmed: share of frames shown darker, by up to three.  structureless: share of frames of uniform tissue without
    haze; without them about one such frame in seven came out with a chamber painted into it."""

    frames: int = 9216
    shard: int = 128
    workers: int = 2
    seed: int = 1000
    live: str = "auto"
    dimmed: float = 0.3
    structureless: float = 0.12


@dataclass(frozen=True)
class TrainingBatch:
    """float32 (B, 1, 256, 256) each: noisy, target, confidence, sector in [0, 1]; change <= 0 in full grey scales."""

    noisy: Tensor
    target: Tensor
    change: Tensor
    confidence: Tensor
    sector: Tensor


def _draw(size: int, generator: torch.Generator, rng: np.random.Generator, config: PoolConfig) -> PhantomBatch:
    """Phantom frames; now and then a whole batch of structureless ones, which must come out as they went in."""
    return (simulate_structureless if rng.random() < config.structureless else simulate)(size, generator)


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
    """Shards under `folder`, filled by background processes while training goes on with those already there."""

    def __init__(self, folder: Path, config: PoolConfig) -> None:
        self.folder, self.config = folder, config
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob("part_*"):
            shutil.rmtree(stale)
        context = multiprocessing.get_context("spawn")
        self._workers = [
            context.Process(target=_worker, args=(folder, i, config), daemon=True) for i in range(config.workers)
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
            if not drawing:
                raise RuntimeError("the processes that draw phantom frames have died")
            time.sleep(0.2)

    def batches(self, size: int, seed: int, device: torch.device) -> Iterator[TrainingBatch]:
        """Random batches without end, half of the frames mirrored and some dimmed, as on a scanner set too dark."""
        rng = np.random.default_rng(seed)
        for step in itertools.count():
            if step % 50 == 0:
                self.refresh()
            shards = list(self._shards.values())
            which, where = rng.integers(len(shards), size=size), rng.integers(self.config.shard, size=size)
            pick = [(shards[i], j) for i, j in zip(which, where, strict=True)]
            arrays = {name: torch.from_numpy(np.stack([s[name][j] for s, j in pick])[:, None]) for name in FIELDS}
            yield _varied(
                TrainingBatch(
                    noisy=arrays["noisy"].float() / 255,
                    target=arrays["target"].float() / 255,
                    change=arrays["change"].float() / -CHANGE_SCALE,
                    confidence=arrays["confidence"].float() / 255,
                    sector=arrays["sector"].float(),
                ),
                rng,
                self.config.dimmed,
                device,
            )

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
        yield _varied(drawn, rng, config.dimmed, device)


def _varied(batch: TrainingBatch, rng: np.random.Generator, dimmed: float, device: torch.device) -> TrainingBatch:
    """Half of the frames mirrored, and a share of them dimmed, as on a scanner whose gain is set too low."""
    size = len(batch.noisy)
    flip = torch.from_numpy(rng.random(size) < 0.5)[:, None, None, None].to(device)
    levels = np.where(rng.random(size) < dimmed, rng.uniform(0.35, 1.0, size), 1.0).astype(np.float32)
    scale = torch.from_numpy(levels)[:, None, None, None].to(device)

    def turn(x: Tensor) -> Tensor:
        x = x.to(device, non_blocking=True)
        return torch.where(flip, x.flip(-1), x)

    return TrainingBatch(
        turn(batch.noisy) * scale,
        turn(batch.target) * scale,
        turn(batch.change) * scale,
        turn(batch.confidence),
        turn(batch.sector),
    )
