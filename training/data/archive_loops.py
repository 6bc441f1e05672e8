"""What an archive holds for the frame store: one row a loop, with its patient and split, or why it is left out.

    loops             any folder of loops: what `echoq_models.cine` reads.  The patient is the file's own PatientID,
                      written as a pseudonym (see `pseudonym`); without one, the first folder below the archive that the
                      loop lies in, or the file itself.  Loops of one patient that are not DICOM belong in one folder.
    mimic-iv-echo     its DICOM tree, whole or in part: files/p10/p10002221/s94106955/94106955_0001.dcm is the loop
                      94106955_0001 of the patient p10002221
    echonet-dynamic   the videos that FileList.csv puts in a split; each is a patient of its own
    camus             the four-chamber loops of patient0001 and so on

EchoNet-Dynamic and CAMUS keep the division that they were published with, so that what others test on is not trained on
here; the others are divided 90-5-5 by patient (see `frames.split_of`).
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from echoq_models.errors import InputError
from echoq_models.files import write_csv
from echoq_models.runtime.batch_plan import find_loops
from training.data import view_list
from training.data.labelled import open_archive

# Kinds of archive, with the name that a model card gives them.
ARCHIVES = {
    "loops": "loops of an archive of one's own",
    "echonet-dynamic": "EchoNet-Dynamic",
    "mimic-iv-echo": "MIMIC-IV-ECHO",
    "camus": "CAMUS",
}
MIXED = ("loops", "mimic-iv-echo")  # they hold every view, and what a scanner draws around the sector
_MIMIC_PATIENT = re.compile(r"p\d{8}")


@dataclass(frozen=True)
class ArchiveLoop:
    """file: path relative to the archive, with "/".  patient: "" where only the file knows it.  loop: its name.
    split: "" where the patient decides.  left_out: why it is not taken, "" where it is."""

    file: str
    patient: str
    loop: str
    split: str = ""
    left_out: str = ""


def pseudonym(patient_id: str) -> str:
    """A DICOM PatientID as the store names it: "id-" and the first 16 hex digits of its plain SHA-256, so that a
    patient is the same one, in the same split, in every store. Whoever knows an id can find it again: it is no
    anonymisation."""
    return f"id-{hashlib.sha256(patient_id.encode()).hexdigest()[:16]}"


def list_loops(kind: str, folder: Path, views: Path | None, leave_out: Path) -> list[ArchiveLoop]:
    """The loops of an archive in a fixed order. kind: one of ARCHIVES.  views: see `view_list`.  leave_out: a folder
    that is not looked at, where it lies inside the archive. Raises InputError when nothing is there to take."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder.")
    if kind == "loops":
        found = _folder(folder, leave_out)
    elif kind == "mimic-iv-echo":
        found = _mimic(folder)
    else:
        found = _published(kind, folder)
    found = [_named(loop) for loop in found]
    if views is not None:
        reasons = view_list.refused(views, [loop.file for loop in found])
        pairs = zip(found, reasons, strict=True)
        found = [dataclasses.replace(loop, left_out=loop.left_out or reason) for loop, reason in pairs]
    if not found:
        raise InputError(f"{folder}: there are no loops in it.")
    if all(loop.left_out for loop in found):
        raise InputError(f"{folder}: none of its {len(found)} loops is taken; of the first, {found[0].left_out}.")
    return found


def _named(loop: ArchiveLoop) -> ArchiveLoop:
    """The loop, left out where no table could hold its name."""
    name = loop.file.encode("utf-8", "replace").decode()
    return loop if name == loop.file else ArchiveLoop(name, "", name, left_out="its name is not in UTF-8")


def _folder(folder: Path, leave_out: Path) -> list[ArchiveLoop]:
    names = [path.relative_to(folder).as_posix() for path in find_loops(folder, leave_out)]
    return [ArchiveLoop(name, "", name) for name in names]


def folder_patient(file: str) -> str:
    """The patient of a loop that does not say whose it is."""
    return PurePosixPath(file).parts[0]


def _mimic(folder: Path) -> list[ArchiveLoop]:
    found = []
    for place, folders, files in os.walk(folder):
        folders.sort()
        patient = next((name for name in reversed(Path(place).parts) if _MIMIC_PATIENT.fullmatch(name)), "")
        for name in sorted(files) if patient else ():
            path = Path(place, name)
            if path.suffix.lower() == ".dcm":
                found.append(ArchiveLoop(path.relative_to(folder).as_posix(), patient, path.stem))
    if not found:
        raise InputError(f"{folder}: this is not MIMIC-IV-ECHO; it has no folders like files/p10/p10002221 with loops.")
    return found


def _published(kind: str, folder: Path) -> list[ArchiveLoop]:
    rows = []
    for name, split, path in open_archive(kind, folder).loops():
        reason = "" if split else "the archive puts it in none of its splits"
        file = name if path is None else path.relative_to(folder).as_posix()
        rows.append(ArchiveLoop(file, name, name, split, reason if path is not None else "its loop is missing"))
    return rows


_FIELDS = tuple(field.name for field in dataclasses.fields(ArchiveLoop))


def write_list(path: Path, loops: Sequence[ArchiveLoop]) -> None:
    """Raises OutputError."""
    write_csv(path, [_FIELDS, *map(dataclasses.astuple, loops)])


def read_list(path: Path) -> list[ArchiveLoop]:
    """What `write_list` wrote. Raises InputError when it is damaged."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [ArchiveLoop(*(row[name] for name in _FIELDS)) for row in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise InputError(f"{path} is damaged ({error}): remove {path.parent} and make it again.") from error
