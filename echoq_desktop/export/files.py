"""Small files written whole or not at all, and where to offer to put them."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path

from PySide6.QtCore import QStandardPaths

from echoq_desktop.loop_state import phantom_path, sample_path
from echoq_models.errors import OutputError
from echoq_models.files import replacing
from echoq_models.runtime.batch import LOOP_SUFFIXES


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` to `path`, replacing what was there only once all is written. Raises OutputError."""
    try:
        with replacing(path) as new:
            new.write_bytes(data)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}. Choose another place.") from error


def suggestion(loop: Path, ending: str) -> Path:
    """Where to offer to save something of a loop: `<loop name><ending>`, in the folder used last in this run.

    The first time: beside the loop, or in the documents folder when that place is not for the person's files
    (read-only, or a shipped sample's).
    """
    name = loop.stem if loop.suffix.lower() in LOOP_SUFFIXES else loop.name
    folder = _last.get("folder") or loop.parent
    shipped = (sample_path().parent, phantom_path().parent)
    if not folder.is_dir() or not os.access(folder, os.W_OK) or folder in shipped:
        places = QStandardPaths.standardLocations(QStandardPaths.StandardLocation.DocumentsLocation)
        folder = next((Path(place) for place in places if Path(place).is_dir()), Path.home())
    return folder / f"{name}{ending}"


def nameless(folder: Path, ending: str) -> Path:
    """A file in `folder` that is not there yet and whose name tells nothing: `loop<ending>`, `loop-2<ending>`, ..."""
    names = (folder / f"loop{'' if number == 1 else f'-{number}'}{ending}" for number in count(1))
    return next(path for path in names if not path.exists())


def remember(path: Path) -> None:
    """Offer this file's folder the next time."""
    _last["folder"] = path.parent


_last: dict[str, Path] = {}
