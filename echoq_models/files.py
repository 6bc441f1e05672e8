"""Files that appear whole or not at all, also after a power cut, and what tells one content from another."""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from echoq_models.errors import OutputError

CHUNK = 1 << 20  # bytes read at once for a checksum


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, renamed to it when the block ends well and removed when it does not.

    Raises OSError as the block and the renaming do; what stood at `path` is untouched then.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        settle(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def settle(new: Path, path: Path) -> None:
    """Bring the file or folder `new` to the disk and give it the name `path`, on the same file system.

    After a power cut there is the old one or the new one, whole; of a folder that is replaced perhaps neither. Raises
    OSError.
    """
    sync(new)
    if new.is_dir() and path.is_dir():
        old = new.with_name(f"{new.name}-old")
        path.replace(old)
        new.replace(path)
        shutil.rmtree(old, ignore_errors=True)
    else:
        new.replace(path)
    _sync_folder(path.parent)


def sync(path: Path) -> None:
    """Bring a file, or a folder and the files in it, to the disk. Raises OSError."""
    if path.is_dir():
        for each in path.iterdir():
            sync(each)
        _sync_folder(path)
        return
    with path.open("rb+") as file:  # Windows syncs only what is open for writing
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    """Bring the names in a folder to the disk, where the system has a way to."""
    if os.name == "nt":
        return
    with suppress(OSError):  # some network drives cannot
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@dataclass(frozen=True)
class Stamp:
    """What tells without reading whether a file, or a folder's files, changed.

    text: sizes and times, "" where nothing is there.  newest_ns: the latest of the times, nanoseconds since 1970.
    size: bytes of all files.
    """

    text: str = ""
    newest_ns: int = 0
    size: int = 0


def stamp(path: Path) -> Stamp:
    """The stamp of a file, or of the visible files of a folder. Raises OSError, but not for what is not there."""
    try:
        found = [(each.name if path.is_dir() else "", each.stat()) for each in contents(path)]
    except (FileNotFoundError, NotADirectoryError):
        return Stamp()
    lines = [f"{name} {of.st_size} {of.st_mtime_ns} {of.st_ctime_ns}" for name, of in found]
    newest = max((max(of.st_mtime_ns, of.st_ctime_ns) for _, of in found), default=0)
    text = lines[0].strip() if len(lines) == 1 else hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return Stamp(text, newest, sum(of.st_size for _, of in found))


def checksum(path: Path, going: Callable[[], None] = lambda: None) -> str:
    """SHA-256, 64 hex digits, of a file, or of names and contents of a folder's visible files.

    going: called after each chunk; may raise to stop. Raises OSError.
    """
    if path.is_dir():
        lines = [f"{each.name} {checksum(each, going)}" for each in contents(path)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            found.update(chunk)
            going()
    return found.hexdigest()


def contents(path: Path) -> list[Path]:
    """A file itself, or the visible files of a folder, sorted. Raises OSError when it is not there."""
    if not path.is_dir():
        return [path]
    return sorted(each for each in path.iterdir() if each.is_file() and not each.name.startswith("."))


def write_csv(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Rows as a CSV file, None as an empty cell. Raises OutputError."""
    try:
        with replacing(path) as new, new.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
    except OSError as error:
        raise OutputError(f"{path}: the table cannot be written ({error.strerror or error})") from error
