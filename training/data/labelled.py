"""Frames with a traced left ventricle, as research archives give them, and the door to open such an archive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from echoq_models.errors import InputError

U8 = NDArray[np.uint8]
Mask = NDArray[np.bool_]

KINDS = ("echonet-dynamic", "camus")
SPLITS = ("train", "val", "test")
REACH = 2  # frames from a labelled frame to its neighbours in `context`


@dataclass(frozen=True)
class LabelledFrame:
    """One frame whose left ventricle somebody traced.

    context: uint8 (3, H, W), frames t - 2, t and t + 2 of the loop, 0-255 (its ends repeat; where the archive has a
    single still, three times that).  lv: bool (H, W), the cavity in frame t.  loop: name of the loop or patient.
    frame: t, from 0.  spacing_mm: millimetres per pixel (x, y), which may differ; None where unknown.
    """

    context: U8
    lv: Mask
    loop: str
    frame: int
    spacing_mm: tuple[float, float] | None


class Archive(Protocol):
    """An opened archive. problems: one sentence for each file or tracing that cannot be used; it grows while frames
    are read, since only then their files are opened."""

    problems: list[str]

    def splits(self) -> Mapping[str, Sequence[str]]:
        """Names of the loops in "train", "val" and "test": the archive's own division where it has one."""

    def frames(self, split: str) -> Iterator[LabelledFrame]:
        """The labelled frames of a split, read one loop at a time, in the same order every time."""

    def loops(self) -> Iterator[tuple[str, str, Path | None]]:
        """Name, split and file of every four-chamber loop, labelled or not, sorted; the split is "" where the archive
        gives none, the file None where it is missing."""


def open_archive(kind: str, path: Path) -> Archive:
    """The archive in the folder `path`; kind is one of KINDS.

    Raises InputError when the folder is not such an archive, and EchoQError when a library to read it is missing.
    """
    if kind not in KINDS:
        raise InputError(f"{kind}: no such kind of archive; {' and '.join(KINDS)} can be read.")
    if not path.is_dir():
        raise InputError(f"{path}: no such folder.")
    if kind == "camus":
        from training.data.camus import Camus

        return Camus(path)
    from training.data.echonet_dynamic import EchoNetDynamic

    return EchoNetDynamic(path)


def context(frames: U8, t: int) -> U8:
    """uint8 (3, H, W): frame t of a loop (T, H, W) between its neighbours; a neighbour beyond an end is that end."""
    around = np.clip([t - REACH, t, t + REACH], 0, len(frames) - 1)
    return np.array(frames[around])


def note(problems: list[str], sentence: str) -> None:
    """Add a sentence to the list of problems, once however often the frames are read."""
    if sentence not in problems:
        problems.append(sentence)
