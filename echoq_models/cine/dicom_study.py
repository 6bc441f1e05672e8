"""A DICOMDIR: the list of the files on a disc or in an exported study (PS3.3 F, PS3.10 8)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echoq_models.cine import dicom_header as header_of
from echoq_models.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

NAME = "DICOMDIR"
MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"


@dataclass(frozen=True)
class Study:
    """What a DICOMDIR lists: the image files that are there, in its order, and those that are not.

    left_out: (file as the DICOMDIR names it, why it is left out).
    """

    loops: tuple[Path, ...]
    left_out: tuple[tuple[str, str], ...]

    def complaints(self) -> list[str]:
        """One sentence for each file left out."""
        return [f"{name}, which the {NAME} lists, is left out: {reason}." for name, reason in self.left_out]


def is_dicomdir(path: Path) -> bool:
    """Whether a file is a DICOMDIR, by its content. False for what cannot be read."""
    from pydicom.filereader import read_file_meta_info

    try:
        with path.open("rb") as file:
            if file.read(132)[128:] != b"DICM":
                return False
        with header_of.quiet():
            return header_of.code(read_file_meta_info(path), "MediaStorageSOPClassUID") == MEDIA_DIRECTORY
    except Exception:  # whatever a file that is none provokes
        return False


def directory_in(folder: Path) -> Path | None:
    """The DICOMDIR that lies in a folder, None when there is none."""
    return next((each for each in sorted(folder.iterdir()) if each.name.upper() == NAME and each.is_file()), None)


def read_study(dicomdir: Path) -> Study:
    """Read a DICOMDIR. Files outside its folder are never looked at. Raises InputError when it is damaged."""
    from pydicom import dcmread

    try:
        with header_of.quiet():
            records = list(dcmread(dicomdir).DirectoryRecordSequence)
            names = [name for record in records if (name := _file_of(record))]
    except OSError as error:
        raise InputError(f"{dicomdir}: cannot be read ({error.strerror or 'it is damaged'}).") from error
    except Exception as error:  # damage raises whatever its bytes provoke
        raise InputError(f"{dicomdir}: this {NAME} is damaged; open its folder instead.") from error
    folder = _Folder(dicomdir.parent)
    loops: dict[Path, None] = {}
    left_out: list[tuple[str, str]] = []
    for parts in names:
        found = folder.find(parts)
        if isinstance(found, Path):
            loops[found] = None
        else:
            left_out.append(("/".join(parts), found))
    loops.pop(dicomdir, None)
    return Study(tuple(loops), tuple(dict.fromkeys(left_out)))


def loops_of(dicomdir: Path) -> list[Path]:
    """The image files that a DICOMDIR lists and that are there, in its order. Raises InputError when it is damaged."""
    return list(read_study(dicomdir).loops)


def only_loop(dicomdir: Path) -> tuple[Path, list[str]]:
    """The one loop of a DICOMDIR, and a sentence for each file left out. Raises InputError for none or several."""
    study = read_study(dicomdir)
    if len(study.loops) == 1:
        return study.loops[0], study.complaints()
    if study.loops:
        first = study.loops[0].relative_to(dicomdir.parent)
        raise InputError(f"{dicomdir}: this {NAME} lists {len(study.loops)} loops; open one of them, such as {first}.")
    missing = f"; {len(study.left_out)} that it lists are missing" if study.left_out else ""
    raise InputError(f"{dicomdir}: this {NAME} lists no loop that is there{missing}.")


def outline(loop: Path) -> dict[str, Any]:
    """What a file's header says, ready for JSON: modality, frames, height and width, or "problem" alone.

    No pixel is read. No name or number of a patient is among it.
    """
    from echoq_models.cine.dicom import read_header

    try:
        data = read_header(loop)
    except InputError as error:
        return {"problem": str(error)}
    height, width = header_of.size(data)
    if min(height, width) < 1:
        return {"problem": f"{loop}: this file holds no picture."}
    return {
        "modality": header_of.code(data, "Modality"),
        "frames": header_of.value(data, "NumberOfFrames", int, 1),
        "height": height,
        "width": width,
    }


def _file_of(record: Dataset) -> tuple[str, ...]:
    """The file of an image record, its path in parts; empty for other records and for deleted ones (PS3.3 F.3.2.2)."""
    if header_of.code(record, "DirectoryRecordType") != "IMAGE":
        return ()
    if header_of.value(record, "RecordInUseFlag", int, 0xFFFF) == 0:
        return ()
    return header_of.texts(record, "ReferencedFileID")


class _Folder:
    """Finds files whatever the case of their names: discs say IM0001 where Linux shows im0001 or IM0001;1."""

    def __init__(self, top: Path) -> None:
        self._top = top
        self._names: dict[Path, dict[str, Path]] = {}

    def find(self, parts: tuple[str, ...]) -> Path | str:
        """The file under the folder, or why there is none."""
        if any(part in ("", ".", "..") or set(part) & set("/\\:\0") for part in parts):
            return "it lies outside the folder"
        at = self._top
        for part in parts:
            found = self._inside(at).get(part.lower())
            if found is None:
                return "there is no such file"
            at = found
        if not at.is_file():
            return "there is no such file"
        if not at.resolve().is_relative_to(self._top.resolve()):
            return "it lies outside the folder"
        return at

    def _inside(self, folder: Path) -> dict[str, Path]:
        if folder not in self._names:
            try:
                entries = sorted(folder.iterdir())
            except OSError:
                entries = []
            self._names[folder] = {each.name.lower().removesuffix(";1").removesuffix("."): each for each in entries}
        return self._names[folder]
