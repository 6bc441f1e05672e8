"""The frame store that the generator is trained on: uint8 shards, mapped into memory, with a Parquet index.

    store.json              what was asked for (the recipe's [frames] table)
    shard_00000.npy         uint8 (N, side, side)
    shard_00000.parquet     N rows of INDEX, and of what else the source knows about its frames

A shard's index is written after its frames, so a shard with an index is whole, and an interrupted run goes on after
what is there. Of an archive there is more: see `archive_store`.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from echoq_models.cine.sector import PATCH
from echoq_models.errors import EchoQError, InputError, OutputError
from echoq_models.files import replacing
from training import recipe
from training.data import phantom_frames
from training.data.archive_loops import ARCHIVES
from training.data.phantom_frames import BATCH, COMPONENTS

INDEX = ("shard", "row", "patient", "loop", "frame", "split", "sha256")
SPLITS = {"train": 0.90, "val": 0.05, "test": 0.05}


@dataclass(frozen=True)
class FramesConfig:
    """side: of the square frames, pixels.  shard: frames a file, at most.  workers: processes (0, or for the phantom
    on CUDA: this one).

    source: "phantom", or a kind of `archive_loops.ARCHIVES`.
    frames: how many. Of an archive, the loops are read in order until so many are there; 0: all of it.
    Of the phantom, seed: of the first batch.  hearts: a name of `phantom_frames.HEARTS`.
    Of an archive, path: its folder, which `--data` on the command line names too.  views: a view list (CSV, see
    `view_list`) that chooses the apical four-chamber loops; "": of archives that hold every view those are taken in
    which the left-ventricle network finds a left ventricle. It finds one in other apical views too and misses it in
    strong haze, so a list is better.  per_loop: most frames of a loop, spread evenly over its first span_ms, about a
    beat, so that they make a sequence too."""

    source: str = "phantom"
    side: int = 256
    frames: int = 40960
    shard: int = 1024
    workers: int = 2
    seed: int = 7_000_000
    hearts: str = "a4c"
    path: str = ""
    views: str = ""
    per_loop: int = 16
    span_ms: float = 1000.0

    def __post_init__(self) -> None:
        if self.source != "phantom" and self.source not in ARCHIVES:
            raise ValueError(f"source is {self.source!r}; known are 'phantom' and {', '.join(map(repr, ARCHIVES))}")
        if self.hearts not in phantom_frames.HEARTS:
            raise ValueError(f"hearts is {self.hearts!r}; known are {', '.join(phantom_frames.HEARTS)}")
        if self.shard % BATCH or (not self.of_archive and self.frames < self.shard):
            raise ValueError(f"shard must be a multiple of {BATCH} and no more than frames")
        if self.of_archive and not (0 < self.per_loop <= self.shard and self.span_ms >= 0 and self.side <= PATCH):
            raise ValueError(f"per_loop must be from 1 to shard, span_ms 0 or more, an archive's side at most {PATCH}")

    @property
    def of_archive(self) -> bool:
        """Whether the frames are not the phantom's."""
        return self.source != "phantom"


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
    split: by the patient (see `split_of`) unless it is among them. Raises OutputError.
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
    """Draw, or read from an archive, what is missing of the store in `folder`; returns it.

    Raises InputError when the folder holds frames of another recipe or the archive cannot be read, OutputError when it
    cannot be written.
    """
    for torn in folder.rglob(".*.tmp"):  # by a run that was killed while it wrote
        torn.unlink(missing_ok=True)
    if config.of_archive:
        from training.data.archive_store import read_archive

        return read_archive(config, folder, say)
    check(config, folder)
    claim(config, folder)
    numbers = [n for n in range(config.frames // config.shard) if not (folder / f"shard_{n:05d}.parquet").exists()]
    done = config.frames // config.shard - len(numbers)
    workers = 0 if device.type == "cuda" else config.workers
    for made in in_order(partial(draw_shard, folder, config, device=str(device)), [(n,) for n in numbers], workers):
        done += 1
        say(f"frames={done * made}/{config.frames}")
    return FrameStore(folder)


_FREE = ("frames", "workers")


def check(config: FramesConfig, folder: Path) -> None:
    """Raises InputError when the folder holds something else. How many frames there are may change from one run to the
    next."""
    wanted, found = recipe.plain(config), _note_in(folder, config)
    if found is not None and any(found.get(key) != value for key, value in wanted.items() if key not in _FREE):
        raise InputError(f"{folder} holds frames of another recipe: remove it or choose another folder.")


def claim(config: FramesConfig, folder: Path) -> None:
    """Note in the folder what it holds, unless it says so already."""
    found = _note_in(folder, config)
    if found is not None and found["frames"] == config.frames:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / "store.json") as new:
            new.write_text(json.dumps(recipe.plain(config), indent=2), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"The frame store {folder} cannot be used: {error}.") from error


def _note_in(folder: Path, config: FramesConfig) -> dict[str, Any] | None:
    """What the store was asked for, None where there is none yet. Raises OutputError."""
    try:
        return recipe.noted(json.loads((folder / "store.json").read_text(encoding="utf-8")), config)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise OutputError(f"The frame store {folder} cannot be used: {error}.") from error


Result = TypeVar("Result")


def in_order(work: Callable[..., Result], calls: Sequence[tuple[Any, ...]], workers: int) -> Generator[Result]:
    """What `work` gives for each of the calls, made by so many processes (0: by this one).

    Where it is left early, calls that have not begun are not made. Raises EchoQError when a process dies.
    """
    if workers == 0:
        for call in calls:
            yield work(*call)
        return
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_begin)
    try:
        for ended in [pool.submit(work, *call) for call in calls]:
            yield ended.result()
    except BrokenProcessPool:
        raise EchoQError("A process that made frames died, perhaps for want of memory: run it again.") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """In a process that makes frames: one thread, and an end where whoever waits for them was killed."""
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


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
        counts = [len(shard) for shard in self.shards]
        rows = np.concatenate([np.arange(count) for count in counts])
        self._place = np.column_stack([np.repeat(np.arange(len(counts)), counts), rows])
        self.side = int(self.shards[0].shape[-1])

    def __len__(self) -> int:
        return len(self._place)

    def of(self, split: str) -> NDArray[np.int64]:
        """Numbers of the frames in a split."""
        return np.flatnonzero(self.index["split"] == split)

    def frames(self, numbers: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """The frames with these numbers, (N, side, side)."""
        return np.stack([self.shards[i][row] for i, row in self._place[np.asarray(numbers)]])


def provenance(config: FramesConfig, store: FrameStore) -> tuple[str, str]:
    """What a card says of frames that weights were made of: what they are, and whose the weights may be."""
    count = f"{len(store.of('train'))} frames of {store.side} x {store.side} pixels"
    if config.of_archive:
        return f"{ARCHIVES[config.source]}, {count}", "for whoever may use the archive it was trained on"
    haze = f"with haze of {len(COMPONENTS)} components, seed {config.seed}"
    return f"EchoQ physics phantom, {count} {haze}", "Apache-2.0"
