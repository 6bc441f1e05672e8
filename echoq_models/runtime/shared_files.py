"""Pixels shared by the window and the worker: memory-mapped files in a private folder.

Not in shared memory: a container gives that 64 MiB and then kills the writer with SIGBUS. The files hold patient
images, so the folder is open to its owner only, goes when its owner leaves, and is swept by the next run when the
owner had no chance to.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from echoq_models.errors import OutputError

PREFIX = "echoq-pixels-"
LOCK = "owner.lock"
YOUNG_SECONDS = 10.0  # a folder this young may not have its lock yet


class SharedFolder:
    """A private folder (mode 0700) under the user's temporary folder, locked while its owner lives.

    The lock is the operating system's: it goes with the process, however that dies, and a process number that
    is used again cannot deceive it. Raises OutputError when the folder cannot be made.
    """

    def __init__(self, root: Path | None = None) -> None:
        try:
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
            self._lock: int | None = _lock(self.path / LOCK)
        except OSError as error:
            place = root or tempfile.gettempdir()
            raise OutputError(f"{place}: no temporary folder can be made here ({error.strerror}).") from error
        self._waiting: set[Path] = set()

    def file(self, name: str) -> Path:
        """Where a file of this name lies."""
        return self.path / name

    def discard(self, files: Iterable[Path | str]) -> None:
        """Delete files; those still mapped somewhere (Windows refuses) are tried again at the next call."""
        self._waiting.update(Path(each) for each in files)
        for path in list(self._waiting):
            try:
                path.unlink(missing_ok=True)
            except OSError:
                continue
            self._waiting.discard(path)

    def close(self) -> None:
        """Let go of the lock and delete the folder; what is still mapped goes with the next run's sweep."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        shutil.rmtree(self.path, ignore_errors=True)


def sweep(root: Path | None = None) -> int:
    """Delete the folders of runs that are dead. Returns how many went.

    Only real folders of this user are touched, and none whose owner holds its lock.
    """
    gone = 0
    for folder in Path(root or tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            if _is_ours(folder) and _is_abandoned(folder):
                shutil.rmtree(folder)
                gone += 1
        except OSError:
            continue
    return gone


def allocate(path: Path, shape: tuple[int, ...], dtype: type[np.generic] = np.uint8) -> NDArray:
    """A new writable map of zeros with its room on the disk taken.

    A sparse file would kill the writer with SIGBUS once the disk is full. Raises OutputError when it is.
    """
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    try:
        with path.open("wb") as file:
            _reserve(file, size)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise OutputError(
            f"{path.parent.parent}: there is no room for {size / 2**20:.0f} MiB of frames ({error.strerror}); "
            "free some, or set TMPDIR to another folder."
        ) from error
    return np.memmap(path, dtype=dtype, mode="r+", shape=shape)


def attach(path: Path | str, shape: tuple[int, ...], dtype: type[np.generic] = np.uint8) -> NDArray:
    """A writable map of a file that `allocate` made. Raises OSError."""
    return np.memmap(path, dtype=dtype, mode="r+", shape=shape)


def view(path: Path | str, shape: tuple[int, ...], dtype: type[np.generic] = np.uint8) -> NDArray:
    """A read-only map of a file that `allocate` made; it shows what the writer puts there. Raises OSError."""
    return np.memmap(path, dtype=dtype, mode="r", shape=shape)


def _reserve(file: BinaryIO, size: int) -> None:
    """Give a file its size, with real blocks behind it."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
        return
    block = bytes(2**20)
    for start in range(0, size, len(block)):  # Windows, macOS: only written zeros have their room
        file.write(block[: size - start])


def _is_ours(folder: Path) -> bool:
    facts = folder.lstat()
    return folder.is_dir() and not folder.is_symlink() and (not hasattr(os, "getuid") or facts.st_uid == os.getuid())


def _is_abandoned(folder: Path) -> bool:
    """Whether no living process holds the folder's lock."""
    lock = folder / LOCK
    if not lock.exists():
        return time.time() - folder.stat().st_mtime > YOUNG_SECONDS
    try:
        descriptor = _lock(lock)
    except OSError:
        return False
    os.close(descriptor)
    return True


def _lock(path: Path) -> int:
    """Open `path` and lock it; the descriptor holds the lock. Raises OSError when somebody else has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
