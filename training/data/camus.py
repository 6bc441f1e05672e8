"""CAMUS: half a heart cycle of each patient in the four-chamber view, with labelled frames.

The present release (`database_nifti`, `database_split`) labels every frame of the half cycle; the first one
(`training`, `testing`, MetaImage files) only ED and ES. A label holds 1 in the left ventricle's cavity, 2 in its wall
and 3 in the left atrium. Patients are named patient0001 and so on; the two-chamber view is not read.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echoq_models.errors import InputError
from training.data.labelled import SPLITS, U8, LabelledFrame, context, note
from training.data.volumes import METAIMAGE, NIFTI, Volume, read_volume

_VENTRICLE, _ATRIUM = 1, 3
_LISTS = {"train": "subgroup_training.txt", "val": "subgroup_validation.txt", "test": "subgroup_testing.txt"}
_INSTANTS = ("ED", "ES")
_LABELS = ("half_sequence_gt", "ED_gt", "ES_gt")
_LEAST_DOWN = 0.5  # of the way across: an atrium farther to the side of its ventricle means that x and y are swapped
_PARTS = 10  # without lists one patient in so many is for validation, and one for the test


class Camus:
    """The archive in `folder` or in its subfolder "CAMUS_public". Raises InputError."""

    def __init__(self, folder: Path) -> None:
        self.problems: list[str] = []
        self._folder = folder / "CAMUS_public" if (folder / "CAMUS_public").is_dir() else folder
        self._known = _patients(self._folder)
        self._patients = {name: place for name, place in self._known.items() if any(_file(place, w) for w in _LABELS)}
        unlabelled = self._known.keys() - self._patients.keys()
        self.problems += [f"{name}: it has no label of the four-chamber view." for name in sorted(unlabelled)]
        lists = [place / "database_split" for place in (self._folder, self._folder.parent)]
        found = next((place for place in lists if place.is_dir()), None)
        self._where = self._divide() if found is None else self._listed(found)

    def splits(self) -> Mapping[str, Sequence[str]]:
        """The splits of `database_split`, or those that `problems` describes, without patients that have no label."""
        return {split: [n for n, of in self._where.items() if of == split and n in self._patients] for split in SPLITS}

    def loops(self) -> Iterator[tuple[str, str, Path | None]]:
        """Name, split and four-chamber loop of every patient, labelled or not."""
        for name, place in sorted(self._known.items()):
            yield name, self._where.get(name, ""), _file(place, "half_sequence") or _file(place, "sequence")

    def frames(self, split: str) -> Iterator[LabelledFrame]:
        """The labelled frames, patient by patient: the whole half cycle where it is labelled, else ED and ES."""
        for name in self.splits()[split]:
            place = self._patients[name]
            loop = self._read(place, "half_sequence") or self._read(place, "sequence")
            labels = self._read(place, "half_sequence_gt")
            if loop is not None and labels is not None and self._fit(name, loop, labels):
                for t, label in enumerate(labels.values):
                    yield from self._labelled(name, t, context(loop.grey, t), label, loop.spacing_mm)
            else:
                yield from self._stills(place, loop)

    def _stills(self, place: Path, loop: Volume | None) -> Iterator[LabelledFrame]:
        """ED and ES: among their neighbours where the loop has that picture at the place that the patient's file
        says (ED may be the first frame or the last), else alone."""
        name, numbers = place.name, _numbers(place / "Info_4CH.cfg")
        for order, instant in enumerate(_INSTANTS, start=1):
            labels, still = self._read(place, f"{instant}_gt"), self._read(place, instant)
            if labels is None or still is None:
                note(self.problems, f"{name}: no {instant} picture with a label can be read.")
                continue
            if not self._fit(name, still, labels):
                continue
            t, around = max(0, numbers.get(instant, order) - 1), context(still.grey, 0)
            if loop is not None and 0 <= t < len(loop.values) and np.array_equal(loop.values[t], still.values[0]):
                around = context(loop.grey, t)
            elif loop is not None:
                note(self.problems, f"{name}: its {instant} picture is not frame {t} of the loop and stands alone.")
            yield from self._labelled(name, t, around, labels.values[0], still.spacing_mm)

    def _labelled(
        self, name: str, t: int, around: U8, label: NDArray[Any], spacing_mm: tuple[float, float] | None
    ) -> Iterator[LabelledFrame]:
        """The frame, or nothing where its label is empty."""
        lv = np.rint(label) == _VENTRICLE
        if lv.any():
            yield LabelledFrame(around, lv, name, t, spacing_mm)
        else:
            note(self.problems, f"{name}: the label of frame {t} holds no left ventricle.")

    def _fit(self, name: str, pictures: Volume, labels: Volume) -> bool:
        """Whether labels (T, H, W) belong to these pictures, and both are stored the way they are read."""
        shown, drawn = pictures.values.shape, labels.values.shape
        if shown != drawn:
            note(self.problems, f"{name}: a label of the shape {drawn} does not fit pictures of the shape {shown}.")
            return False
        down, across = _to_atrium(np.rint(labels.values))
        if down <= _LEAST_DOWN * abs(across):
            note(self.problems, f"{name}: its atrium does not lie below its ventricle, so the axes are not CAMUS's.")
            return False
        return True

    def _read(self, place: Path, what: str) -> Volume | None:
        path = _file(place, what)
        if path is None:
            return None
        try:
            return read_volume(path)
        except InputError as error:
            note(self.problems, str(error))
            return None

    def _listed(self, folder: Path) -> dict[str, str]:
        """The split of each patient by the archive's own lists; one in two lists stays in the one that is held out."""
        where: dict[str, str] = {}
        for split, file in _LISTS.items():
            try:
                lines = (folder / file).read_text(encoding="utf-8-sig", errors="replace").split()
            except OSError:
                self.problems.append(f"{folder}: {file} cannot be read, so the split {split} has no patients.")
                continue
            for name in lines:
                if where.get(name, split) != split:
                    self.problems.append(f"{name}: it is in two lists and stays in {file}.")
                if name not in self._known:
                    self.problems.append(f"{name}: it is in {file}, but there is no such folder.")
                where[name] = split
        unlisted = sorted(self._patients.keys() - where.keys())
        self.problems.extend(f"{name}: it is in no list of {folder.name}." for name in unlisted)
        return where

    def _divide(self) -> dict[str, str]:
        """The split of each patient by a hash of the name; what the first release holds in `testing` stays the test."""
        held = any(place.parent.name == "testing" for place in self._patients.values())
        where: dict[str, str] = {}
        for name, place in self._known.items():
            part = zlib.crc32(name.encode()) % _PARTS
            own = "val" if part == 0 else "test" if part == 1 and not held else "train"
            where[name] = "test" if place.parent.name == "testing" else own
        rest = "the test is its folder testing" if held else f"one in {_PARTS} for the test"
        self.problems.append(
            f"{self._folder}: it has no database_split; by a hash of their names about one patient in {_PARTS} is for "
            f"validation and {rest}."
        )
        return where


def _to_atrium(labels: NDArray[Any]) -> tuple[float, float]:
    """Rows down and columns across from the ventricle's centre to the atrium's; (1, 0) where one is missing."""
    ventricle, atrium = (np.argwhere(labels == value) for value in (_VENTRICLE, _ATRIUM))
    if not len(ventricle) or not len(atrium):
        return 1.0, 0.0
    _, down, across = atrium.mean(axis=0) - ventricle.mean(axis=0)
    return float(down), float(across)


def _patients(folder: Path) -> dict[str, Path]:
    """Folder of each patient by name, wherever a release puts them."""
    places = [folder, *(folder / name for name in ("database_nifti", "training", "testing"))]
    found = {path.name: path for place in places for path in sorted(place.glob("patient*")) if path.is_dir()}
    if not found:
        raise InputError(f"{folder}: this is not CAMUS; it holds no folders patient0001, patient0002 and so on.")
    return found


def _file(place: Path, what: str) -> Path | None:
    """The four-chamber view's file, in whichever format it is there."""
    paths = (place / f"{place.name}_4CH_{what}{suffix}" for suffix in (*NIFTI, METAIMAGE))
    return next((path for path in paths if path.is_file()), None)


def _numbers(path: Path) -> dict[str, int]:
    """The whole numbers of a patient's file of lines such as "ED: 1"; none where it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":")[::2] for line in lines)
    return {key.strip(): int(value) for key, value in pairs if value.strip().isdecimal()}
