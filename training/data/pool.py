"""A pool of training examples on disk, filled by background processes while training goes on with what is there.

For machines where drawing is slower than training (a CPU). A shard is a folder of `.npy` files, made under a
temporary name and renamed when whole; what it holds follows from its number alone, so that a pool can be continued or
made again.
"""

from __future__ import annotations

import itertools
import multiprocessing
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

DrawShard = Callable[[int], Mapping[str, NDArray[np.generic]]]  # number -> arrays whose first axis counts examples


@dataclass(frozen=True)
class ShardConfig:
    """frames: size of the pool.  shard: frames a shard.  workers: processes that draw.  seed: of the first shard.
    live: draw anew for every step instead, on the training device ("auto": on CUDA only)."""

    frames: int = 9216
    shard: int = 128
    workers: int = 2
    seed: int = 1000
    live: str = "auto"

    def draws_live(self, device: torch.device) -> bool:
        """Whether examples are drawn anew for every step on this device."""
        return self.live == "yes" or (self.live == "auto" and device.type == "cuda")


def per_frame(values: NDArray[np.floating], like: Tensor) -> Tensor:
    """One number for each of N frames (N,) as float32 (N, 1, 1, 1), where `like` is."""
    return torch.from_numpy(np.asarray(values, dtype=np.float32)).to(like.device)[:, None, None, None]


def write_shard(folder: Path, number: int, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    """Write the arrays of shard `number` into `folder`, whole or not at all."""
    temporary = folder / f"part_{number:05d}"
    temporary.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        np.save(temporary / f"{name}.npy", array)
    temporary.rename(folder / f"shard_{number:05d}")


def _worker(folder: Path, first: int, config: ShardConfig, draw: DrawShard) -> None:
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    for number in range(first, config.frames // config.shard, config.workers):
        if parent is not None and not parent.is_alive():
            return  # the training was killed: nobody waits for these frames
        if not (folder / f"shard_{number:05d}").exists():
            write_shard(folder, number, draw(number))


class Pool:
    """Shards under `folder`.

    draw: gives the arrays of a shard; it must be picklable. None where something else fills the folder.
    """

    def __init__(self, folder: Path, config: ShardConfig, draw: DrawShard | None) -> None:
        self.folder, self.config = folder, config
        folder.mkdir(parents=True, exist_ok=True)
        if draw is not None:
            for stale in folder.glob("part_*"):
                shutil.rmtree(stale)
        context = multiprocessing.get_context("spawn")
        self._workers = [
            context.Process(target=_worker, args=(folder, i, config, draw), daemon=True)
            for i in range(config.workers if draw is not None else 0)
        ]
        for worker in self._workers:
            worker.start()
        self._shards: dict[Path, dict[str, NDArray[np.generic]]] = {}

    def refresh(self) -> int:
        """Take in new shards; returns the number of examples at hand."""
        for path in sorted(self.folder.glob("shard_*")):
            if path not in self._shards:
                self._shards[path] = {file.stem: np.load(file, mmap_mode="r") for file in path.glob("*.npy")}
        return len(self._shards) * self.config.shard

    def wait_for(self, frames: int) -> None:
        """Block until so many examples are there (at most the pool's size)."""
        wanted = min(frames, self.config.frames // self.config.shard * self.config.shard)
        while True:
            drawing = any(w.is_alive() for w in self._workers)
            if self.refresh() >= wanted:
                return
            if self._workers and not drawing:
                raise RuntimeError("the processes that draw phantom frames have died")
            time.sleep(0.2)

    def picks(self, size: int, rng: np.random.Generator) -> Iterator[dict[str, Tensor]]:
        """Random examples without end, `size` at a time: the shards' arrays by name, stacked, on the CPU."""
        for step in itertools.count():
            if step % 50 == 0:
                self.refresh()
            shards = list(self._shards.values())
            which, where = rng.integers(len(shards), size=size), rng.integers(self.config.shard, size=size)
            pick = [(shards[i], j) for i, j in zip(which, where, strict=True)]
            yield {name: torch.from_numpy(np.stack([s[name][j] for s, j in pick])) for name in shards[0]}

    def close(self) -> None:
        """Stop the processes that draw."""
        for worker in self._workers:
            worker.terminate()
            worker.join()
