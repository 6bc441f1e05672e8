"""Write loops: films to show, and exact files to measure. Whole files only, or nothing."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from echoq_models.cine import caption as captions
from echoq_models.cine.loop import CineLoop
from echoq_models.errors import Cancelled, OutputError
from echoq_models.files import settle

if TYPE_CHECKING:
    from pydicom import Dataset

    from echoq_models.cine.dicom_derive import Provenance

U8 = NDArray[np.uint8]
Progress = Callable[[int, int], None]

VIDEO = (".mp4", ".mov", ".avi", ".mkv")
SUFFIXES = (*VIDEO, ".gif", ".dcm", ".npz", "")  # "": a folder of PNG
EXACT = (".dcm", ".npz", "")  # no pixel is changed in these, so no caption is drawn into them


@dataclass(frozen=True)
class WriteOptions:
    """How a file is written.

    lossless: exact pixels (.mp4, .mov: H.264 at crf 0, full range; .avi, .mkv: FFV1); ignored where a format is
    exact anyway.  caption: text drawn into the picture, or into the metadata of exact files (npz, PNG and
    lossless video), whose pixels stay the source's.  title, comment: metadata of the container.
    crf: H.264's quality of the default .mp4 (1 best, 51 worst).  quality: MJPEG's (2 best, 31 worst).
    dicom_encoding: of .dcm, all lossless: "rle", "raw" or "jpeg-ls".  provenance: what was done, for the header of
    .dcm; None for frames that nobody changed.
    """

    lossless: bool = False
    caption: str | None = None
    title: str = ""
    comment: str = ""
    crf: int = 12
    preset: str = "fast"
    quality: int = 2
    dicom_encoding: str = "rle"
    provenance: Provenance | None = None


class Sink(Protocol):
    """One file format, fed frame by frame."""

    def add(self, frame: U8) -> None:
        """Take a frame (H, W) or (H, W, 3)."""

    def finish(self) -> None:
        """Complete the file."""

    def abort(self) -> None:
        """Stop; what was written is deleted by the caller."""


class LoopWriter:
    """Takes grey (H, W) or RGB (H, W, 3) uint8 frames one by one; a context manager.

    The file appears under its name only when every frame was given and the writer was left without an error;
    else nothing is left behind. Raises OutputError.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        times_ms: NDArray[np.float64],
        options: WriteOptions,
        free: NDArray[np.bool_] | None,
        header: Dataset | None = None,
    ) -> None:
        self.path, self._size, self._expected, self._given = path, size, len(times_ms), 0
        suffix = _suffix(path)
        _check_target(path, suffix)
        self._temporary = _temporary(path, suffix)
        self._caption: captions.Caption | None = None
        drawn = suffix not in EXACT and not (options.lossless and suffix in VIDEO)
        if options.caption and drawn:
            self._caption = captions.place(options.caption, size, free)
            size = (size[0] + self._caption.band, size[1])
        try:
            with _telling(path):
                self._sink = _sink(suffix, self._temporary, size, times_ms, options, header)
        except BaseException:
            self._discard()
            raise

    def __enter__(self) -> LoopWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.abort()
        else:
            self.close()

    def add(self, frame: U8) -> None:
        """Write the next frame, uint8 (H, W) or (H, W, 3)."""
        if frame.dtype != np.uint8 or frame.shape[:2] != self._size or frame.shape[2:] not in ((), (3,)):
            raise ValueError(f"a frame must be uint8 {self._size} (x 3), not {frame.dtype} {frame.shape}")
        if self._given == self._expected:
            raise ValueError(f"more than the {self._expected} frames announced")
        self._given += 1
        with self._cleaning():
            self._sink.add(self._caption.stamp(frame) if self._caption is not None else frame)

    def close(self) -> None:
        """Complete the file and give it its name."""
        with self._cleaning():
            if self._given != self._expected:
                raise OutputError(f"only {self._given} of {self._expected} frames were written.")
            self._sink.finish()
            _move_into_place(self._temporary, self.path)

    def abort(self) -> None:
        """Stop and leave nothing behind."""
        self._sink.abort()
        self._discard()

    @contextlib.contextmanager
    def _cleaning(self) -> Iterator[None]:
        try:
            with _telling(self.path):
                yield
        except BaseException:
            self.abort()
            raise

    def _discard(self) -> None:
        if self._temporary.is_dir():
            shutil.rmtree(self._temporary, ignore_errors=True)
        else:
            self._temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Name the file in what goes wrong with it."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}).") from error
    except OutputError as error:
        raise OutputError(f"{path}: {error}") from error


def open_writer(
    path: Path | str,
    size: tuple[int, int],
    times_ms: Sequence[float] | NDArray[np.float64],
    *,
    options: WriteOptions | None = None,
    free: NDArray[np.bool_] | None = None,
    header: Dataset | None = None,
) -> LoopWriter:
    """Open a writer for frames of `size` (H, W) shown at `times_ms` (T,), float, increasing.

    free: bool (H, W), pixels that are black in every frame, where a caption may go; None puts it in a band
    below.  header: what `dicom_derive.derived_header` made of the loop, needed for .dcm and ignored elsewhere.
    Raises OutputError when the suffix is not known or the target cannot be written.
    """
    times = np.asarray(times_ms, dtype=np.float64)
    return LoopWriter(Path(path), size, times - times[0], options or WriteOptions(), free, header)


def write(
    loop: CineLoop,
    path: Path | str,
    *,
    frames: NDArray[np.uint8] | None = None,
    caption: str | None = None,
    lossless: bool = False,
    options: WriteOptions | None = None,
    progress: Progress | None = None,
    cancel: Callable[[], bool] | None = None,
) -> None:
    """Write a loop; the suffix chooses: .mp4 .mov .avi .mkv .gif .npz .dcm, or none for a folder of PNG.

    frames: uint8 (T, H, W), luminance to write in place of the loop's own (denoised); colour and tint are put
    back, except in .npz, which holds luminance and times only.
    caption, lossless: as in WriteOptions, and override `options`.
    Raises OutputError; Cancelled when `cancel()` turns true (nothing is left behind).
    """
    grey = loop.frames if frames is None else frames
    if grey.shape != loop.frames.shape or grey.dtype != np.uint8:
        raise ValueError(f"frames must be uint8 {loop.frames.shape}, not {grey.dtype} {grey.shape}")
    base = options or WriteOptions()
    chosen = WriteOptions(
        **{**base.__dict__, "caption": caption or base.caption, "lossless": lossless or base.lossless}
    )
    plain = Path(path).suffix.lower() == ".npz" or (loop.colour is None and loop.tint is None)
    free = black_pixels(loop, grey) if chosen.caption else None
    header = None
    if Path(path).suffix.lower() == ".dcm":
        header = _header(loop, chosen.provenance, changed=frames is not None)
    with open_writer(path, loop.size, loop.times_ms, options=chosen, free=free, header=header) as writer:
        for t in range(len(loop)):
            if cancel is not None and cancel():
                raise Cancelled(f"{path}: writing was cancelled.")
            writer.add(grey[t] if plain else loop.rgb(t, grey[t]))
            if progress is not None:
                progress(t + 1, len(loop))


def _header(loop: CineLoop, provenance: Provenance | None, changed: bool) -> Dataset:
    from echoq_models.cine.dicom_derive import UNCHANGED, Provenance, derived_header

    return derived_header(loop, provenance or (Provenance("pixels changed, research use") if changed else UNCHANGED))


def black_pixels(loop: CineLoop, grey: U8) -> NDArray[np.bool_]:
    """Pixels, bool (H, W), that are black in every one of `grey`, uint8 (T, H, W), and never coloured in the loop."""
    brightest = np.zeros(loop.size, dtype=np.uint8)
    for t in range(len(loop)):
        np.maximum(brightest, grey[t], out=brightest)
    black = brightest <= 4
    if loop.colour is not None:
        black.reshape(-1)[np.asarray(loop.colour.index)] = False
    return black


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        if path.is_dir():
            return ""
        known = ", ".join(s for s in SUFFIXES if s)
        raise OutputError(f"{path}: {suffix!r} is not a known output; use {known}, or a folder name for PNG.")
    return suffix


def _check_target(path: Path, suffix: str) -> None:
    if not path.parent.is_dir():
        raise OutputError(f"{path}: the folder {path.parent} does not exist.")
    if suffix and path.is_dir():
        raise OutputError(f"{path}: a folder has that name; choose another.")
    if not suffix and path.exists() and not _ours(path):
        raise OutputError(f"{path}: exists and holds other things; choose a new or empty folder.")


def _ours(path: Path) -> bool:
    """True for a folder that is empty or that an earlier export filled."""
    if not path.is_dir():
        return False
    names = [p.name for p in path.iterdir()]
    return all(n.startswith("frame_") and n.endswith(".png") for n in names)


def _temporary(path: Path, suffix: str) -> Path:
    """A hidden name beside the target, created so that nobody else takes it. It keeps the suffix.

    The process's number is in it, for `remove_unfinished`.
    """
    try:
        if not suffix:
            return Path(tempfile.mkdtemp(prefix=_unfinished(path, suffix, os.getpid()), dir=path.parent))
        handle, name = tempfile.mkstemp(prefix=_unfinished(path, suffix, os.getpid()), suffix=suffix, dir=path.parent)
        os.close(handle)
        _give_usual_mode(Path(name))
        return Path(name)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}).") from error


def _unfinished(path: Path, suffix: str, process: int) -> str:
    return f".{path.stem if suffix else path.name}-{process}-"


def remove_unfinished(path: Path, process: int) -> None:
    """Delete what a process that was killed had begun to write for the target `path`."""
    for left in path.parent.glob(f"{glob.escape(_unfinished(path, path.suffix, process))}*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                left.unlink()


def _give_usual_mode(path: Path) -> None:
    """mkstemp makes files private; an export is an ordinary file."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod((0o777 if path.is_dir() else 0o666) & ~umask)


def _move_into_place(temporary: Path, path: Path) -> None:
    if temporary.is_dir():
        _give_usual_mode(temporary)
    settle(temporary, path)


def _sink(
    suffix: str,
    path: Path,
    size: tuple[int, int],
    times_ms: NDArray[np.float64],
    options: WriteOptions,
    header: Dataset | None,
) -> Sink:
    from echoq_models.cine import picture_writer, video_writer

    if suffix in VIDEO:
        return video_writer.VideoSink(path, size, times_ms, options)
    if suffix == ".gif":
        return picture_writer.GifSink(path, size, times_ms, options)
    if suffix == ".npz":
        return picture_writer.NpzSink(path, size, times_ms, options)
    if suffix == ".dcm":
        from echoq_models.cine.dicom_writer import DicomSink

        if header is None or (header.Rows, header.Columns, int(header.get("NumberOfFrames", 1))) != (
            *size,
            len(times_ms),
        ):
            raise ValueError("a .dcm needs the header that derived_header makes for these frames")
        return DicomSink(path, header, options.dicom_encoding)
    return picture_writer.PngFolderSink(path, size, times_ms, options)
