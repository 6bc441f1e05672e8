"""An archive's labelled frames as training examples, cut to the sector as the segmenter sees them, in shards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from echoq_models.cine import sector as sectors
from echoq_models.cine.loop import CineLoop
from echoq_models.errors import InputError
from echoq_models.segment.architecture import SIDE
from training.data.labelled import Archive, LabelledFrame
from training.data.pool import Pool, ShardConfig, write_shard
from training.data.volumes import square_pixels

SHARD = 64


def example(frame: LabelledFrame) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """frames (3, 128, 128) and lv (1, 128, 128) of 0 or 1, both uint8; pixels are square, as on a scanner's screen."""
    pictures = square_pixels(np.concatenate([frame.context, frame.lv[None] * np.uint8(255)]), frame.spacing_mm)
    loop = CineLoop(pictures[:3], np.arange(3.0), kind="archive")
    patches = sectors.patches(pictures, sectors.fit(loop))[:, 0]
    small = np.stack([cv2.resize(p, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for p in patches])
    return (small[:3] * 255).round().astype(np.uint8), (small[3:] > 0.5).astype(np.uint8)


def keep(archive: Archive, split: str, folder: Path, say: Callable[[str], None] = print) -> None:
    """Write the examples of a split as shards into `folder`, unless it holds some from an earlier run."""
    if any(folder.glob("shard_*")):
        return
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for number, part in enumerate(_parts(map(example, archive.frames(split)))):
        whole = (part * SHARD)[:SHARD]  # the last shard repeats its examples
        frames, lv = (np.stack(arrays) for arrays in zip(*whole, strict=True))
        arrays = {"frames": frames, "lv": lv, "present": np.ones(SHARD, np.uint8)}
        write_shard(folder, number, arrays)
        count += len(part)
    for problem in archive.problems:
        say(problem)
    say(f"{count} labelled frames in the split {split!r}, {len(archive.problems)} problems")


def open_kept(folder: Path) -> Pool:
    """What `keep` wrote. Raises InputError when it found no usable frame."""
    pool = Pool(folder, ShardConfig(shard=SHARD), draw=None)
    if pool.refresh() == 0:
        raise InputError("The archive has no usable frame to train on.")
    return pool


Example = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def _parts(examples: Iterator[Example]) -> Iterator[list[Example]]:
    """Lists of SHARD examples, the last one shorter."""
    while part := list(islice(examples, SHARD)):
        yield part
