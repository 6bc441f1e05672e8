"""EchoNet-Dynamic: loops of 112 x 112 pixels with the left ventricle traced in their ED and ES frames.

`FileList.csv` says which loop is in which split, `VolumeTracings.csv` holds the tracings and `Videos` the loops. A
tracing is a long axis and then the discs' chords across it, in order along it, in pixels whose centres are integers.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echoq_models import cine
from echoq_models.errors import InputError
from training.data.labelled import SPLITS, LabelledFrame, Mask, context, note

Floats = NDArray[np.float64]

_ENDS = ("X1", "Y1", "X2", "Y2")
_LIST, _TRACINGS, _VIDEOS = "FileList.csv", "VolumeTracings.csv", "Videos"
_FEWEST_CHORDS = 3
_ACROSS = 0.5  # at least this share of the chords crosses the long axis, else the first row is no long axis


class EchoNetDynamic:
    """The archive in `folder`, or in its subfolder "EchoNet-Dynamic". Raises InputError."""

    def __init__(self, folder: Path) -> None:
        self.problems: list[str] = []
        self._folder = _root(folder)
        self._videos = {
            _name(path.name): path
            for path in sorted((self._folder / _VIDEOS).iterdir())
            if path.suffix.lower() == ".avi"
        }
        self._tracings = self._read_tracings()
        self._where: dict[str, str] = {}
        self._splits = self._read_splits()

    def splits(self) -> Mapping[str, Sequence[str]]:
        """The archive's own splits, without the loops that have no video or no tracing."""
        return self._splits

    def frames(self, split: str) -> Iterator[LabelledFrame]:
        """The traced frames, loop by loop in the order of the list."""
        for name in self._splits[split]:
            try:
                loop = cine.read(self._videos[name])
            except InputError as error:
                note(self.problems, str(error))
                continue
            for t, rows in sorted(self._tracings[name].items()):
                try:
                    if t >= len(loop):
                        raise ValueError(f"the loop has {len(loop)} frames")
                    lv = tracing_mask(rows, loop.size)
                except ValueError as error:
                    note(self.problems, f"{name}: the tracing of frame {t} is left out: {error}.")
                else:
                    yield LabelledFrame(context(loop.frames, t), lv, name, t, None)

    def loops(self) -> Iterator[tuple[str, str, Path | None]]:
        """Name, split and video of every loop, traced or not."""
        for name in sorted(self._where.keys() | self._videos.keys()):
            yield name, self._where.get(name, ""), self._videos.get(name)

    def _read_tracings(self) -> dict[str, dict[int, Floats]]:
        """Of each loop and traced frame the rows as float64 (n, 4) of x1, y1, x2, y2, repeated rows once."""
        found: dict[str, dict[int, dict[tuple[float, ...], None]]] = {}
        damaged: dict[tuple[str, int], int] = {}
        path = self._folder / _TRACINGS
        for line, row in _rows(path, ("FileName", *_ENDS, "Frame")):
            name = _name(row["FileName"])
            try:
                t = _whole(row["Frame"])
            except ValueError:
                t = -1
            if not name or t < 0:
                note(self.problems, f"{path}: line {line} names no frame of a loop and is left out.")
                continue
            try:
                ends = tuple(_number(row[column]) for column in _ENDS)
            except ValueError:
                damaged.setdefault((name, t), line)
            else:
                found.setdefault(name, {}).setdefault(t, {})[ends] = None
        for (name, t), line in damaged.items():  # a lost row may be the long axis or cut off a part of the ventricle
            found.get(name, {}).pop(t, None)
            why = f"line {line} of {_TRACINGS} has a cell that is no number"
            note(self.problems, f"{name}: the tracing of frame {t} is left out: {why}.")
        return {name: {t: np.array(list(rows)) for t, rows in of.items()} for name, of in found.items() if of}

    def _read_splits(self) -> dict[str, list[str]]:
        splits: dict[str, list[str]] = {split: [] for split in SPLITS}
        where = self._where
        for line, row in _rows(self._folder / _LIST, ("FileName", "Split")):
            name, split = _name(row["FileName"]), row["Split"].lower()
            if split not in splits:
                self.problems.append(f"{name}: line {line} of {_LIST} puts it in no known split ({row['Split']!r}).")
            elif name not in where:
                where[name] = split
                if self._usable(name):
                    splits[split].append(name)
            elif where[name] != split:
                self.problems.append(f"{name}: {_LIST} puts it in {where[name]} and in {split}; it stays in the first.")
        for name in sorted(self._tracings.keys() - where.keys()):
            self.problems.append(f"{name}: it is traced, but not listed in {_LIST}.")
        return splits

    def _usable(self, name: str) -> bool:
        if name not in self._videos:
            self.problems.append(f"{name}: listed, but there is no such video in {_VIDEOS}.")
        elif name not in self._tracings:
            self.problems.append(f"{name}: listed, but {_TRACINGS} holds no tracing of it that can be used.")
        else:
            return True
        return False


def tracing_mask(rows: Floats, size: tuple[int, int]) -> Mask:
    """Mask bool (H, W) of one tracing: float64 (n, 4) of x1, y1, x2, y2, first the long axis, then the chords.

    As in the archive's own code (echonet/dynamic, `echonet/datasets/echo.py`) the outline runs along one end of the
    chords and back along the others, through whole pixels, and the long axis is left out. Here the ends of each
    chord are first sorted by the side of the axis on which they lie. Raises ValueError, saying what is wrong.
    """
    axis, chords = rows[0].reshape(2, 2), rows[1:].reshape(-1, 2, 2)
    if len(chords) < _FEWEST_CHORDS:
        raise ValueError(f"it has {len(chords)} chords")
    along, to = axis[1] - axis[0], chords - axis[0]
    side = along[0] * to[..., 1] - along[1] * to[..., 0]  # (n, 2), signed distance from the axis
    if np.mean(side.min(axis=1) * side.max(axis=1) < 0) < _ACROSS:
        raise ValueError("its first row is no long axis")
    ends = np.take_along_axis(chords, np.argsort(side, axis=1)[..., None], axis=1)
    mask = _filled(np.rint(np.concatenate([ends[:, 0], ends[::-1, 1]])), size)
    if not mask.any():
        raise ValueError("it lies outside the picture")
    return mask


def _filled(polygon: Floats, size: tuple[int, int]) -> Mask:
    """Pixels whose centre lies inside a polygon (n, 2) of x, y or exactly on its edge, as skimage.draw.polygon has it.

    `regions.polygon_mask` also draws the outline: 2 % more area in a ventricle this small.
    """
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float64)
    inside, edge = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        side = (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)
        inside ^= ((y0 <= y) != (y1 <= y)) & ((side > 0) == (y1 > y0))
        edge |= (side == 0) & ((x - x0) * (x - x1) <= 0) & ((y - y0) * (y - y1) <= 0)
    return inside | edge


def _root(folder: Path) -> Path:
    for root in (folder, folder / "EchoNet-Dynamic"):
        if (root / _LIST).is_file():
            folder = root
            break
    missing = [name for name in (_LIST, _TRACINGS) if not (folder / name).is_file()]
    missing += [_VIDEOS] if not (folder / _VIDEOS).is_dir() else []
    if missing:
        raise InputError(f"{folder}: this is not EchoNet-Dynamic; it lacks {', '.join(missing)}.")
    return folder


def _rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells of each row that is not blank. Raises InputError."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            reader = csv.reader(file)
            head = [cell.strip() for cell in next(reader, [])]
            lacking = [column for column in columns if column not in head]
            if lacking:
                raise InputError(f"{path}: the table lacks the column {', '.join(lacking)}.")
            for cells in reader:
                row = dict(zip(head, map(str.strip, cells), strict=False))
                if any(row.values()):
                    yield reader.line_num, {column: row.get(column, "") for column in columns}
    except (OSError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({error}).") from error


def _name(file: str) -> str:
    """A loop's name: either table may or may not write ".avi" behind it."""
    return file[:-4] if file.lower().endswith(".avi") else file


def _number(cell: str) -> float:
    value = float(cell)
    if not np.isfinite(value):
        raise ValueError(f"{cell} is not finite")
    return value


def _whole(cell: str) -> int:
    value = _number(cell)
    if value != int(value):
        raise ValueError(f"{cell} is not whole")
    return int(value)
