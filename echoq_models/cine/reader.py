"""The door through which every loop comes in: the content decides how it is read, never the suffix."""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from echoq_models.cine.loop import CineLoop
from echoq_models.errors import EchoQError, InputError

Progress = Callable[[int, int], None]


def read(path: Path | str, *, progress: Progress | None = None) -> CineLoop:
    """Read a loop of any kind: DICOM, a film, GIF, a still, a folder of stills, .npz, a DICOMDIR of one loop.

    progress: called with (frames done, frames in all or 0 while unknown); may raise an EchoQError to stop.
    Raises InputError with one sentence when the input is missing, unreadable or not a loop.
    """
    path = Path(path)
    try:
        return _read(path, progress)
    except EchoQError:
        raise
    except MemoryError as error:
        raise InputError(f"{path}: the loop does not fit this computer's memory.") from error
    except PermissionError as error:
        raise InputError(f"{path}: no permission to read it.") from error
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file.") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or 'the file is damaged'}).") from error
    except Exception as error:  # decoders of foreign formats raise whatever the damage provokes
        raise InputError(
            f"{path}: the file is damaged and cannot be read ({type(error).__name__}); copy or export it again."
        ) from error


def _read(path: Path, progress: Progress | None) -> CineLoop:
    from echoq_models.cine import sniff

    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        return _read_folder(path, progress)
    if not stat.S_ISREG(mode):
        raise InputError(f"{path}: this is not an ordinary file.")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty.")
    kind = sniff.kind_of(path)
    if kind == "DICOM":
        from echoq_models.cine import dicom_study
        from echoq_models.cine.dicom import read_dicom

        if dicom_study.is_dicomdir(path):
            return _read_study(path, progress)
        return read_dicom(path, progress)
    if kind in sniff.FILMS:
        from echoq_models.cine.video import read_video

        return read_video(path, kind, progress)
    if kind == "npz":
        from echoq_models.cine.stills import read_npz

        return read_npz(path, progress)
    if kind:
        from echoq_models.cine.stills import read_picture

        return read_picture(path, kind, progress)
    raise InputError(f"{path}: this is not a loop; DICOM, AVI, MP4, MOV, MKV, GIF, PNG, JPEG and npz can be opened.")


def _read_folder(folder: Path, progress: Progress | None) -> CineLoop:
    """A folder of stills is one loop; a folder with a single loop file, or a study of one loop, is that loop."""
    from echoq_models.cine.dicom_study import directory_in
    from echoq_models.cine.sniff import STILLS, kind_of
    from echoq_models.cine.stills import read_folder

    files = [f for f in sorted(folder.iterdir()) if f.is_file() and not f.name.startswith(".")]
    kinds = {file: kind_of(file) for file in files}
    study = directory_in(folder)
    loops = [f for f in files if kinds[f] and kinds[f] not in STILLS and f != study]
    stills = [f for f in files if kinds[f] in STILLS]
    if stills and not loops:
        return read_folder(folder, stills, progress)
    if len(loops) == 1 and not stills:
        return _read(loops[0], progress)
    if loops:
        raise InputError(f"{folder}: this folder holds {len(loops)} loops and {len(stills)} stills; open one of them.")
    if study is not None:
        return _read_study(study, progress)
    raise InputError(f"{folder}: this folder holds no pictures and no loops.")


def _read_study(dicomdir: Path, progress: Progress | None) -> CineLoop:
    """The one loop that a DICOMDIR lists."""
    from echoq_models.cine.dicom_study import only_loop

    path, complaints = only_loop(dicomdir)
    loop = _read(path, progress)
    return replace(loop, warnings=(*loop.warnings, *complaints))
