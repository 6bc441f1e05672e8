"""An archive's loops as a frame store. Beside the shards there are

    loops.csv               the loops as they were found when the store was begun (see `archive_loops`)
    left_out/00000.csv      of the loops that shard 0 is made of, which were left out and why; written after the shard,
                            which is not there where all were
    left_out.csv            all of that together, file and reason; written last

and in the index `time_ms` in the loop and `spacing_mm`, of the stored frame's pixels (NaN where unknown). Of a DICOM
header nothing gets into the store but the patient's pseudonym; loops keep the names of their files.

So many loops make a shard that it can never hold more frames than the recipe says. Which loops these are follows from
the list alone: an interrupted run goes on after the shards that are whole, and ends with what an undisturbed one makes.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from echoq_models.errors import InputError, OutputError
from echoq_models.files import write_csv
from training.data import archive_loops
from training.data.archive_frames import Sampling, Taken, take
from training.data.archive_loops import ARCHIVES, MIXED, ArchiveLoop
from training.data.frames import SPLITS, FramesConfig, FrameStore, check, claim, in_order, split_of, write_shard

LEFT_OUT = "left_out.csv"
_COLUMNS = ("file", "reason")


def read_archive(config: FramesConfig, folder: Path, say: Callable[[str], None] = print) -> FrameStore:
    """Read what is missing of the store in `folder` from the archive; returns it. See `frames.draw`."""
    if not config.path:
        raise InputError(f"Where is {ARCHIVES[config.source]}? Name its folder: --data FOLDER, or path in [frames].")
    root = Path(config.path).expanduser().resolve()
    config = dataclasses.replace(config, path=str(root))
    check(config, folder)
    listed = _listed(config, root, folder)
    wanted = [loop for loop in listed if not loop.left_out]
    size = config.shard // config.per_loop
    blocks = [wanted[first : first + size] for first in range(0, len(wanted), size)]
    try:
        used = _read(config, root, folder, blocks, say)
        _remove_after(folder, used)
    except OSError as error:
        raise OutputError(f"The frame store {folder} cannot be used: {error.strerror or error}.") from error
    store = _usable(root, folder, say)
    rows = [(loop.file, loop.left_out) for loop in listed if loop.left_out]
    rows += [row for number in range(used) for row in _rows(folder, number)]
    report = folder / LEFT_OUT
    if _is_old(folder, report):
        write_csv(report, [_COLUMNS, *rows])
    say(f"left out: {len(rows)} of {len(listed)} loops, listed in {report}")
    return store


def _usable(root: Path, folder: Path, say: Callable[[str], None]) -> FrameStore:
    """The store, if it holds frames to train on."""
    if not any(folder.glob("shard_*.parquet")):
        raise InputError(f"{root}: no frames could be taken of its loops; the lists in {folder / 'left_out'} say why.")
    store = FrameStore(folder)
    patients = {split: len(set(store.index["patient"][store.of(split)])) for split in SPLITS}
    say(f"patients: {', '.join(f'{count} in {split}' for split, count in patients.items())}")
    if not patients["train"]:
        raise InputError(f"{root}: none of its patients falls to the split 'train'; there are too few to divide.")
    return store


def _listed(config: FramesConfig, root: Path, folder: Path) -> list[ArchiveLoop]:
    """The archive's loops as they were when the store was begun."""
    path = folder / "loops.csv"
    if path.exists():
        claim(config, folder)
        return archive_loops.read_list(path)
    views = Path(config.views).expanduser() if config.views else None
    loops = archive_loops.list_loops(config.source, root, views, leave_out=folder.resolve().parent)
    claim(config, folder)
    archive_loops.write_list(path, loops)
    return loops


def _read(
    config: FramesConfig, root: Path, folder: Path, blocks: Sequence[Sequence[ArchiveLoop]], say: Callable[[str], None]
) -> int:
    """Make the shards that are missing, in order, until there are frames enough; returns how many shards that takes."""
    there = {number: counts for number in range(len(blocks)) if (counts := _counts(folder, number))}
    missing = [(number, blocks[number]) for number in range(len(blocks)) if number not in there]
    total = sum(map(len, blocks))
    (folder / "left_out").mkdir(exist_ok=True)
    loops = frames = left_out = 0
    with closing(in_order(partial(read_block, config, root, folder), missing, config.workers)) as made:
        for number, block in enumerate(blocks):
            new = there.get(number) or next(made)
            loops, frames, left_out = loops + len(block), frames + new[0], left_out + new[1]
            say(f"loops={loops}/{total} frames={frames} left_out={left_out}")
            if 0 < config.frames <= frames:
                return number + 1
    return len(blocks)


def read_block(
    config: FramesConfig, root: Path, folder: Path, number: int, loops: Sequence[ArchiveLoop]
) -> tuple[int, int]:
    """Make shard `number` of these loops: how many frames it has, and how many loops were left out.

    Raises InputError when the whole archive is gone, so that its loops are not taken for missing.
    """
    mixed = config.source in MIXED
    sampling = Sampling(config.side, config.per_loop, config.span_ms, mixed, mixed and not config.views)
    taken: list[tuple[ArchiveLoop, Taken]] = []
    left_out = []
    for loop in loops:
        found = take(root, loop.file, sampling)
        if not root.is_dir():
            raise InputError(f"{root} is not there any more: run again when it is.")
        if isinstance(found, str):
            left_out.append((loop.file, found))
        else:
            taken.append((loop, found))
    if taken:
        write_shard(folder, number, np.concatenate([found.frames for _, found in taken]), _columns(taken))
    write_csv(_note(folder, number), [_COLUMNS, *left_out])
    return sum(len(found.frames) for _, found in taken), len(left_out)


def _columns(taken: Sequence[tuple[ArchiveLoop, Taken]]) -> dict[str, Any]:
    counts = [len(found.frames) for _, found in taken]
    patients = [loop.patient or found.patient for loop, found in taken]
    splits = [loop.split or split_of(patient) for (loop, _), patient in zip(taken, patients, strict=True)]
    return {
        "patient": np.repeat(patients, counts),
        "loop": np.repeat([loop.loop for loop, _ in taken], counts),
        "split": np.repeat(splits, counts),
        "frame": np.concatenate([found.numbers for _, found in taken]),
        "time_ms": np.concatenate([found.times_ms for _, found in taken]),
        "spacing_mm": np.repeat([found.spacing_mm for _, found in taken], counts),
    }


def _note(folder: Path, number: int) -> Path:
    return folder / "left_out" / f"{number:05d}.csv"


def _counts(folder: Path, number: int) -> tuple[int, int] | None:
    """Frames in a shard that is whole and loops that were left out of it, None where it is not."""
    from pyarrow import parquet

    if not _note(folder, number).exists():
        return None
    index = folder / f"shard_{number:05d}.parquet"
    return parquet.read_metadata(index).num_rows if index.exists() else 0, len(_rows(folder, number))


def _rows(folder: Path, number: int) -> list[tuple[str, str]]:
    """File and reason of what was left out of a shard."""
    with _note(folder, number).open(newline="", encoding="utf-8") as file:
        return [(row["file"], row["reason"]) for row in csv.DictReader(file)]


def _remove_after(folder: Path, used: int) -> None:
    """Remove the shards from number `used` on: made in advance by other processes, or for a recipe with more frames."""
    for pattern in ("left_out/*.csv", "shard_*.parquet", "shard_*.npy"):
        for path in folder.glob(pattern):
            if int(path.stem.removeprefix("shard_")) >= used:
                path.unlink()


def _is_old(folder: Path, report: Path) -> bool:
    """Whether there is news since the report was written. If not it stays, so that what was made after it stays too."""
    parts = [folder / "store.json", *folder.glob("left_out/*.csv")]
    return not report.exists() or max(path.stat().st_mtime_ns for path in parts) > report.stat().st_mtime_ns
