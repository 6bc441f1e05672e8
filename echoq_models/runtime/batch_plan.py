"""Which loops a batch works on, and where the result of each goes."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from echoq_models.errors import InputError

STILLS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")  # how PNG and JPEG begin
LOOP_SUFFIXES = frozenset(
    f".{each}"
    for each in ("dcm", "dicom", "ima", "avi", "mp4", "m4v", "mov", "mkv", "webm", "gif", "npz", "png", "jpg", "jpeg")
)
# Files that lie beside loops and are none. Everything else is tried, so that a damaged loop is reported.
_OTHER = """json csv tsv txt md rst pdf xml html htm log toml yaml yml ini cfg doc docx xls xlsx ppt pptx
zip gz tar 7z py ipynb m r h5 pt pkl safetensors sqlite sqlite-journal part tmp lnk exe dll"""
OTHER_SUFFIXES = frozenset(f".{each}" for each in _OTHER.split())
TRUTH = ".truth.npz"  # beside a phantom's loop: what is known of it
OTHER_NAMES = frozenset({"thumbs.db", "desktop.ini", "dicomdir"})


def find_loops(folder: Path, leave_out: Path | None = None) -> list[Path]:
    """Loops under `folder`, sorted: files, and folders that hold nothing but stills (each is one loop).

    folder: may be a DICOMDIR too: the loops that it lists.
    leave_out: a folder whose content is not looked at (the output, where it lies inside the input).
    Content decides where the suffix is silent; notes, tables and archives are passed over. Raises InputError.
    """
    if is_study(folder):
        from echoq_models.cine.dicom_study import loops_of

        return loops_of(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: this is not a folder")
    found: list[Path] = []
    for name, folders, files in os.walk(folder):
        here = Path(name)
        folders[:] = sorted(
            each
            for each in folders
            if not each.startswith(".") and not (leave_out and (here / each).resolve() == leave_out.resolve())
        )
        candidates = [here / each for each in sorted(files) if _may_be_loop(here / each)]
        if here != folder and candidates and all(_is_still(each) for each in candidates):
            found.append(here)
        else:
            found.extend(candidates)
    return sorted(found)


def is_study(place: Path) -> bool:
    """Whether `place` is a DICOMDIR, which lists the loops of a study."""
    from echoq_models.cine.dicom_study import is_dicomdir

    return place.is_file() and is_dicomdir(place)


def top_of(place: Path) -> Path:
    """The folder that a batch's loops lie in: a folder itself, or that of a DICOMDIR."""
    return place.parent if place.is_file() else place


def holds_only_stills(folder: Path) -> bool:
    """True for a folder whose every loop file is a still: it is one loop, not a batch."""
    candidates = [each for each in folder.iterdir() if each.is_file() and _may_be_loop(each)]
    inside = any(each.is_dir() and not each.name.startswith(".") for each in folder.iterdir())
    return bool(candidates) and not inside and all(_is_still(each) for each in candidates)


def _may_be_loop(path: Path) -> bool:
    suffix = path.suffix.lower()
    name = path.name.lower()
    if name.startswith(".") or name.endswith(TRUTH) or name in OTHER_NAMES or suffix in OTHER_SUFFIXES:
        return False
    return suffix in LOOP_SUFFIXES or not _is_text(path)


def _is_text(path: Path) -> bool:
    """Whether a file without a telling suffix is a note (README, LICENSE) and not a DICOM file without suffix."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
        return bool(head) and b"\0" not in head and bool(head.decode("utf-8", errors="ignore").strip())
    except OSError:
        return False


def _is_still(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(8).startswith(STILLS)
    except OSError:
        return False


def plan(folder: Path, output: Path, suffix: str) -> list[tuple[Path, Path]]:
    """(source, target) of each loop. The folder's structure is kept; two loops never share a target."""
    sources = find_loops(folder, leave_out=output)
    folder = top_of(folder)
    plain = [output / _bare(source.relative_to(folder), suffix) for source in sources]
    crowd = Counter(str(target).lower() for target in plain)  # file systems may ignore case
    return [
        (source, target if crowd[str(target).lower()] == 1 else output / _full(source.relative_to(folder), suffix))
        for source, target in zip(sources, plain, strict=True)
    ]


def _bare(relative: Path, suffix: str) -> Path:
    """a/b.dcm -> a/b.mp4, but a/1.2.840.113 -> a/1.2.840.113.mp4: only a loop's suffix is one."""
    name = relative.stem if relative.suffix.lower() in LOOP_SUFFIXES else relative.name
    return relative.with_name(name + suffix)


def _full(relative: Path, suffix: str) -> Path:
    return relative.with_name(relative.name + suffix)
