"""The door through which every loop comes in: the content decides how it is read, never the suffix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from echoq_models.cine.loop import CineLoop
from echoq_models.errors import EchoQError, InputError

Progress = Callable[[int, int], None]


def read(path: Path | str, *, progress: Progress | None = None) -> CineLoop:
    """Read a loop of any kind.

    progress: called with (frames done, frames in all or 0 when unknown); may raise to stop.
    Raises InputError with one sentence when the input is missing, unreadable or not a loop.
    """
    path = Path(path)
    try:
        reader = _reader_for(path)
        return reader(path, progress)
    except EchoQError:
        raise
    except MemoryError as error:
        raise InputError(f"{path}: the loop does not fit this computer's memory.") from error
    except PermissionError as error:
        raise InputError(f"{path}: no permission to read it.") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or type(error).__name__}).") from error
    except Exception as error:  # decoders of foreign formats raise whatever the damage provokes
        raise InputError(
            f"{path}: the file is damaged and cannot be read ({type(error).__name__}); copy or export it again."
        ) from error


def _reader_for(path: Path) -> Callable[[Path, Progress | None], CineLoop]:
    from echoq_models.cine import dicom

    if not path.exists():
        raise InputError(f"{path}: no such file.")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty.")
    if dicom.looks_like_dicom(path):
        return dicom.read_dicom
    raise InputError(f"{path}: this is not a loop that can be opened.")
