"""Read a loop that lies in DICOM as one film: MPEG-2, H.264 or HEVC (PS3.5 8.2.5 - 8.2.8, A.4.5 - A.4.10).

The stream is copied out of its fragments, piece by piece, into a temporary file that ffmpeg can seek in.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from echoq_models.cine import dicom_header as header_of
from echoq_models.cine import timing
from echoq_models.cine.dicom_carry import carried, fit_to_size
from echoq_models.cine.encapsulated import Piece, fragments
from echoq_models.cine.limits import check_size
from echoq_models.cine.loop import CineLoop
from echoq_models.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

    from echoq_models.cine.video import Film

Progress = Callable[[int, int], None]

_CHUNK = 1 << 20  # bytes copied at once
# ffmpeg's demuxers of bare streams; their clock means nothing
_BARE = {"MPEG-2": "mpegvideo", "H.264": "h264", "HEVC": "hevc"}


def read_stream(path: Path, file: BinaryIO, data: Dataset, syntax: str, progress: Progress | None) -> CineLoop:
    """Read the loop whose encapsulated pixel data begins where `file` stands. Raises InputError.

    Frame times are the header's; the film's own where the header states none.
    """
    from echoq_models.cine.video import decode

    stated = header_of.value(data, "NumberOfFrames", int, 0)
    height, width = header_of.size(data)
    check_size(path, max(1, height), max(1, width), max(1, stated))
    start = file.tell()
    pieces = fragments(file, start, file.seek(0, 2))[1:]  # the first is the offset table
    if not any(piece.length for piece in pieces):
        raise InputError(f"{path}: the file is cut off before its film begins; copy it again.")
    with _copied(file, pieces) as stream:
        demuxer = _demuxer(stream, syntax)
        film = decode(stream, demuxer, progress, source=path, expected=stated)
    warnings = _flaws(film, stated, whole=pieces[-1].whole)
    if (said := header_of.size(data)) != (found := film.frames.shape[1:]):
        warnings.append(
            f"The film inside is {found[1]} x {found[0]} pixels where the header says {said[1]} x {said[0]}."
        )
        data = _of_size(data, found)
    times, assumed, complaints = _times(data, film, bare=demuxer in _BARE.values())
    return CineLoop(
        frames=film.frames,
        times_ms=times,
        kind="DICOM",
        source=path,
        colour=film.colour,
        tint=film.tint,
        regions=header_of.regions(data),
        lossy=header_of.lossy_steps(data, syntax),
        times_assumed=assumed,
        header=data,
        heart_rate=header_of.heart_rate(data),
        r_waves_ms=header_of.floats(data, "RWaveTimeVector"),
        warnings=(*warnings, *complaints, *header_of.nature(data)),
    )


@contextmanager
def _copied(file: BinaryIO, pieces: list[Piece]) -> Iterator[Path]:
    """The stream as a private temporary file; memory holds a megabyte of it."""
    handle, name = tempfile.mkstemp(prefix="echoq-film-")
    stream = Path(name)
    try:
        with os.fdopen(handle, "wb") as target:
            for piece in pieces:
                file.seek(piece.offset)
                left = piece.length
                while left > 0 and (chunk := file.read(min(left, _CHUNK))):
                    target.write(chunk)
                    left -= len(chunk)
        yield stream
    finally:
        stream.unlink(missing_ok=True)


def _demuxer(stream: Path, syntax: str) -> str:
    """What the stream is packed in, by its content: MP4, transport or program stream, or nothing."""
    from echoq_models.cine.sniff import FILMS, kind_of

    return FILMS.get(kind_of(stream)) or _BARE[header_of.VIDEO_SYNTAXES[syntax]]


def _flaws(film: Film, stated: int, whole: bool) -> list[str]:
    """stated: the frames that the header speaks of, 0 for none.  whole: the file does not end within the film."""
    from echoq_models.cine.video import NOT_SQUARE

    found = len(film.frames)
    flaws = [] if film.square else [NOT_SQUARE]
    if found < stated:
        flaws.append(f"Only {found} of {stated} frames could be read; the rest of the film is missing or damaged.")
    elif film.damaged or not whole:
        flaws.append(f"The film inside is damaged or cut off; {found} frames could be read.")
    elif found > stated > 0:
        flaws.append(f"The film inside holds {found} frames where the header says {stated}.")
    return flaws


def _times(data: Dataset, film: Film, bare: bool) -> tuple[NDArray[np.float64], bool, tuple[str, ...]]:
    """Frame times (T,) in ms from 0, whether they were assumed, and warnings. bare: a stream without a clock."""
    count = len(film.frames)
    times, assumed, complaints = header_of.frame_times(data, count)
    if assumed and not bare:
        own, own_assumed, _ = timing.checked(film.times_ms, count)
        if not own_assumed:
            return own, False, complaints[:-1]  # the last one tells of the assumption
    return times, assumed, complaints


def _of_size(data: Dataset, size: tuple[int, int]) -> Dataset:
    """The header with regions and spacings of a picture of `size` (H, W)."""
    fitted = carried(data, header_of.value(data, "NumberOfFrames", int, 1))
    fit_to_size(fitted, header_of.size(data), size)
    fitted.Rows, fitted.Columns = size
    fitted.file_meta = data.file_meta
    return fitted
