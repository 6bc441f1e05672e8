"""The frame store that the generator is trained on: uint8 shards, mapped into memory, with a Parquet index.

    store.json              what was asked for (the recipe's [frames] table)
    shard_00000.npy         uint8 (N, side, side)
    shard_00000.parquet     N rows of INDEX, and of what else the source knows about its frames

A shard's index is written last, so a shard with an index is whole, and an interrupted run goes on after the last one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from echoq_models.errors import InputError, OutputError
from echoq_models.files import replacing
from training.data import phantom_frames
from training.data.phantom_frames import BATCH, COMPONENTS

INDEX = ("shard", "row", "patient", "loop", "frame", "split", "sha256")
SPLITS = {"train": 0.90, "val": 0.05, "test": 0.05}


@dataclass(frozen=True)
class FramesConfig:
    """source: "phantom".  side: of the square frames, pixels.  frames: how many.  shard: frames a file.  workers:
    processes that draw (0, or on CUDA: this one).  seed: of the first phantom batch.  hearts: a name of
    `phantom_frames.HEARTS`."""

    source: str = "phantom"
    side: int = 256
    frames: int = 40960
    shard: int = 1024
    workers: int = 2
    seed: int = 7_000_000
    hearts: str = "a4c"

    def __post_init__(self) -> None:
        if self.source != "phantom":
            raise ValueError(f"source is {self.source!r}; known is 'phantom'")
        if self.hearts not in phantom_frames.HEARTS:
            raise ValueError(f"hearts is {self.hearts!r}; known are {', '.join(phantom_frames.HEARTS)}")
        if self.shard % BATCH or self.frames < self.shard:
            raise ValueError(f"shard must be a multiple of {BATCH} and no more than frames")


def split_of(patient: str) -> str:
    """The split a patient belongs to, always the same: by the hash of the name, 90-5-5."""
    place = int.from_bytes(hashlib.sha256(patient.encode()).digest()[:8], "big") / 2**64
    edge = 0.0
    for name, share in SPLITS.items():
        edge += share
        if place < edge:
            return name
    return "test"


def write_shard(
    folder: Path, number: int, frames: NDArray[np.uint8], columns: Mapping[str, Sequence[Any] | NDArray[Any]]
) -> None:
    """Write shard `number` with its index, whole or not at all.

    frames: (N, side, side).  columns: N values each, at least patient, loop and frame; the rest of INDEX follows.
    """
    import pyarrow
    from pyarrow import parquet

    rows = {
        "shard": np.full(len(frames), number),
        "row": np.arange(len(frames)),
        "split": [split_of(patient) for patient in columns["patient"]],
        "sha256": [hashlib.sha256(frame.tobytes()).hexdigest() for frame in frames],
        **columns,
    }
    try:
        with replacing(folder / f"shard_{number:05d}.npy") as new, new.open("wb") as file:
            np.save(file, frames)
        with replacing(folder / f"shard_{number:05d}.parquet") as new:
            ordered = [*INDEX, *(name for name in columns if name not in INDEX)]
            parquet.write_table(pyarrow.table({name: rows[name] for name in ordered}), new)
    except OSError as error:
        raise OutputError(f"The frame store {folder} cannot be written: {error.strerror or error}.") from error


def draw_shard(folder: Path, config: FramesConfig, number: int, device: str = "cpu") -> int:
    """Draw shard `number` of phantom frames; returns how many frames it has."""
    first = config.seed + number * config.shard // BATCH
    seeds = range(first, first + config.shard // BATCH)
    drawn = [phantom_frames.draw_batch(seed, config.side, config.hearts, device=device) for seed in seeds]
    noisy = torch.cat([d.frames.noisy for d in drawn])[:, 0]
    levels = torch.cat([d.levels_db for d in drawn]).cpu().numpy()
    name = [f"phantom-{seed}-{member}" for seed in seeds for member in range(BATCH)]
    columns: dict[str, Sequence[Any] | NDArray[Any]] = {
        "patient": name,
        "loop": name,
        "frame": np.zeros(len(name), dtype=np.int64),
        "seed": np.repeat(np.arange(first, first + len(seeds)), BATCH),
        "member": np.tile(np.arange(BATCH), len(seeds)),
        "haze_db": torch.cat([d.frames.haze_db for d in drawn]).cpu().numpy(),
        **{f"{component}_db": levels[:, i] for i, component in enumerate(COMPONENTS)},
    }
    write_shard(folder, number, noisy.mul(255).round().to(torch.uint8).cpu().numpy(), columns)
    return len(name)


def draw(config: FramesConfig, folder: Path, device: torch.device, say: Callable[[str], None] = print) -> FrameStore:
    """Draw what is missing of the store in `folder`; returns it.

    Raises InputError when the folder holds frames of another recipe, OutputError when it cannot be written.
    """
    _claim(config, folder)
    numbers = [n for n in range(config.frames // config.shard) if not (folder / f"shard_{n:05d}.parquet").exists()]
    done = config.frames // config.shard - len(numbers)
    for made in _drawn(config, folder, numbers, device):
        done += 1
        say(f"frames={done * made}/{config.frames}")
    return FrameStore(folder)


def _claim(config: FramesConfig, folder: Path) -> None:
    """Note in the folder what it holds. How many frames there are may change from one run to the next."""
    wanted = json.loads(json.dumps(dataclasses.asdict(config)))
    note = folder / "store.json"
    free = ("frames", "workers")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if note.exists():
            found = json.loads(note.read_text(encoding="utf-8"))
            if any(found.get(key) != value for key, value in wanted.items() if key not in free):
                raise InputError(f"{folder} holds frames of another recipe: remove it or choose another folder.")
        with replacing(note) as new:
            new.write_text(json.dumps(wanted, indent=2), encoding="utf-8")
    except (OSError, ValueError) as error:
        raise OutputError(f"The frame store {folder} cannot be used: {error}.") from error


def _drawn(config: FramesConfig, folder: Path, numbers: list[int], device: torch.device) -> Iterator[int]:
    if config.workers == 0 or device.type == "cuda":
        for number in numbers:
            yield draw_shard(folder, config, number, str(device))
        return
    workers = ProcessPoolExecutor(
        config.workers, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    )
    with workers:
        work = partial(draw_shard, folder, config)
        for ended in as_completed([workers.submit(work, number) for number in numbers]):
            yield ended.result()


class FrameStore:
    """The frames in `folder` and what is known of them. Raises InputError when there are none, or damaged ones.

    index: columns by name, one value a frame.  side: pixels.
    """

    def __init__(self, folder: Path) -> None:
        from pyarrow import ArrowException, parquet

        self.folder = folder
        paths = sorted(folder.glob("shard_*.parquet"))
        if not paths:
            raise InputError(f"There are no frames in {folder}: run `python -m training frames` first.")
        try:
            tables = [parquet.read_table(path) for path in paths]
            self.shards = [np.load(path.with_suffix(".npy"), mmap_mode="r", allow_pickle=False) for path in paths]
        except (OSError, ValueError, ArrowException) as error:
            raise InputError(f"The frame store {folder} is damaged ({error}): remove it and make it again.") from error
        self.index = {
            name: np.concatenate([table[name].to_numpy() for table in tables]) for name in tables[0].column_names
        }
        self._place = np.array([(i, row) for i, shard in enumerate(self.shards) for row in range(len(shard))])
        self.side = int(self.shards[0].shape[-1])

    def __len__(self) -> int:
        return len(self._place)

    def of(self, split: str) -> NDArray[np.int64]:
        """Numbers of the frames in a split."""
        return np.flatnonzero(self.index["split"] == split)

    def frames(self, numbers: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """The frames with these numbers, (N, side, side)."""
        return np.stack([self.shards[i][row] for i, row in self._place[np.asarray(numbers)]])
