"""Read a DICOM loop frame by frame from its path, so that 300 frames of 768 x 1024 stay under 1 GiB."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from struct import unpack
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from echoq_models.cine import dicom_header as header_of
from echoq_models.cine import dicom_pixels as pixels_of
from echoq_models.cine.colour import FrameCollector
from echoq_models.cine.dicom_study import MEDIA_DIRECTORY
from echoq_models.cine.encapsulated import Piece, encapsulated_frames, native_frames, read_pieces
from echoq_models.cine.isolated import DecoderCrash, FrameTimeout, decoder_for
from echoq_models.cine.limits import MAX_LOOP_BYTES, check_size
from echoq_models.cine.loop import CineLoop
from echoq_models.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

Progress = Callable[[int, int], None]

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
PIXEL_TAGS = {(0x7FE0, 0x0010): "PixelData", (0x7FE0, 0x0008): "FloatPixelData"}
MAX_FAILURES = 8  # frames in a row that do not decode before the rest is given up


def looks_like_dicom(path: Path) -> bool:
    """True for `DICM` at byte 128, or for a headless data set that names its SOP class."""
    with path.open("rb") as file:
        start = file.read(132)
        if start[128:] == b"DICM":
            return True
        if len(start) < 8 or start[:2] not in (b"\x02\x00", b"\x08\x00", b"\x00\x08", b"\x00\x02"):
            return False
        try:
            return bool(header_of.code(_parse(file), "SOPClassUID"))
        except Exception:  # whatever a file that is no DICOM provokes
            return False


def read_dicom(path: Path, progress: Progress | None = None) -> CineLoop:
    """Read an ultrasound loop, or any other DICOM image with a warning. Raises InputError."""
    with header_of.quiet(), path.open("rb") as opened:
        try:
            file, data, syntax = _open(opened)
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"{path}: the DICOM header is damaged ({type(error).__name__}); export the loop again."
            ) from error
        _refuse_unreadable(path, data, syntax)
        if syntax in header_of.VIDEO_SYNTAXES:
            from echoq_models.cine.dicom_video import read_stream

            _find_pixels(path, file, data, syntax)
            return read_stream(path, file, data, syntax, progress)
        count = header_of.value(data, "NumberOfFrames", int, 1)
        layout, frames = _locate(path, file, data, syntax, count)
        loop = _Loop(path, file, data, syntax, layout, frames, count)
        return loop.read(progress)


def read_stored(path: Path) -> Iterator[tuple[NDArray[Any], str]]:
    """The frames that `read_dicom` gives, as they are stored: samples (H, W) or (H, W, 3), and their photometric.

    Frames that cannot be decoded are left out. Raises InputError.
    """
    with header_of.quiet(), path.open("rb") as opened:
        file, data, syntax = _open(opened)
        layout, frames = _locate(path, file, data, syntax, header_of.value(data, "NumberOfFrames", int, 1))
        with contextlib.closing(decoder_for(layout)) as decoder:
            for pieces in frames:
                with contextlib.suppress(ValueError):
                    yield decoder.decode(read_pieces(file, pieces))


def read_header(path: Path) -> Dataset:
    """The header alone, as `CineLoop.header` has it. Raises InputError."""
    try:
        with header_of.quiet(), path.open("rb") as opened:
            return _open(opened)[1]
    except Exception as error:
        raise InputError(f"{path}: its DICOM header cannot be read any more.") from error


def _parse(file: BinaryIO) -> Dataset:
    from pydicom import dcmread

    file.seek(0)
    with header_of.quiet():
        return dcmread(file, stop_before_pixels=True, force=True)


def _open(file: BinaryIO) -> tuple[BinaryIO, Dataset, str]:
    """The file positioned at its pixel data element, the header without it, the transfer syntax."""
    from pydicom import Dataset
    from pydicom.filereader import _read_file_meta_info, read_dataset, read_preamble

    read_preamble(file, True)
    meta = _read_file_meta_info(file)
    if header_of.code(meta, "TransferSyntaxUID") == DEFLATED:
        inflated = BytesIO(_inflate(file.read()))
        from pydicom.filereader import _at_pixel_data

        data = read_dataset(inflated, False, True, stop_when=_at_pixel_data)
        data.file_meta = meta
        return inflated, data, EXPLICIT_LITTLE
    parsed = _parse(file)
    implicit, little = parsed.original_encoding
    default = (IMPLICIT_LITTLE if implicit else EXPLICIT_LITTLE) if little else EXPLICIT_BIG
    syntax = header_of.code(parsed.file_meta, "TransferSyntaxUID")
    if not syntax:
        syntax = "damaged" if "TransferSyntaxUID" in parsed.file_meta else default
    data = Dataset(parsed)  # not a FileDataset, which would hold on to the file
    data.file_meta = parsed.file_meta
    data.set_original_encoding(implicit, little, parsed.original_character_set)
    return file, data, syntax


def _inflate(data: bytes) -> bytes:
    """Raw deflate, as far as it goes: a file cut short still gives its beginning."""
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    parts: list[bytes] = []
    size = 0
    try:
        for at in range(0, len(data), 1 << 16):
            part = engine.decompress(data[at : at + (1 << 16)], MAX_LOOP_BYTES)
            parts.append(part)
            size += len(part)
            if size > MAX_LOOP_BYTES:
                break
    except zlib.error:
        pass  # what came before the damage stands
    return b"".join(parts)


def _refuse_unreadable(path: Path, data: Dataset, syntax: str) -> None:
    from pydicom.uid import UID

    sop = header_of.code(data, "SOPClassUID")
    if sop == MEDIA_DIRECTORY:  # one without the head by which `dicom_study` knows it
        raise InputError(f"{path}: this is a damaged DICOMDIR, a list of other files; open its folder instead.")
    known = (IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG, pixels_of.RLE, *header_of.VIDEO_SYNTAXES)
    compressed = (*pixels_of.JPEG, *pixels_of.JPEG_LOSSLESS, *pixels_of.JPEG_LS)
    if syntax not in (*known, *compressed, *pixels_of.JPEG_2000, *pixels_of.HTJ2K):
        raise InputError(
            f"{path}: its transfer syntax {UID(syntax).name} ({syntax}) is not supported; "
            "export it uncompressed or as JPEG."
        )


def _find_pixels(path: Path, file: BinaryIO, data: Dataset, syntax: str) -> tuple[str, int]:
    """Go from the pixel data element, where the file stands, to its value; its VR and length. Raises InputError."""
    implicit, little = syntax == IMPLICIT_LITTLE, syntax != EXPLICIT_BIG
    head = file.read(12)
    order = "<" if little else ">"
    keyword = PIXEL_TAGS.get(unpack(f"{order}HH", head[:4])) if len(head) == 12 else None
    if keyword is None:
        what = header_of.code(data, "Modality") or "no modality"
        raise InputError(f"{path}: this DICOM file ({what}) holds no pixels, or is cut off before them.")
    if keyword != "PixelData":
        raise InputError(f"{path}: its pixels are floating point numbers, not an image to show.")
    if implicit:
        file.seek(-4, 1)
        vr, length = "OW", unpack(f"{order}L", head[4:8])[0]
    else:
        vr, length = head[4:6].decode("latin-1"), unpack(f"{order}L", head[8:12])[0]
    return vr, length


def _locate(
    path: Path, file: BinaryIO, data: Dataset, syntax: str, count: int
) -> tuple[pixels_of.PixelFormat, list[tuple[Piece, ...]]]:
    """The pixel format and where each whole frame lies. The file stands at the pixel data element."""
    vr, length = _find_pixels(path, file, data, syntax)
    try:
        layout = pixels_of.pixel_format(data, syntax, vr)
    except ValueError as error:
        raise InputError(f"{path}: {error}.") from error
    check_size(path, layout.rows, layout.columns, count)
    start = file.tell()
    end = file.seek(0, 2)
    if syntax in (IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG):
        if layout.photometric in ("YBR_RCT", "YBR_ICT"):
            raise InputError(f"{path}: uncompressed pixels cannot be {layout.photometric}; export it again.")
        stop = min(end, start + length) if length != 0xFFFFFFFF else end
        return layout, [(p,) for p in native_frames(start, layout.frame_bytes, count, stop)]
    return layout, encapsulated_frames(file, start, count, end, _extended_offsets(data))


def _extended_offsets(data: Dataset) -> tuple[int, ...]:
    table = header_of.value(data, "ExtendedOffsetTable", bytes, b"")
    return unpack(f"<{len(table) // 8}Q", table[: len(table) - len(table) % 8])


def _weight(failure: ValueError) -> int:
    """How much a frame's failure counts towards giving up."""
    if isinstance(failure, FrameTimeout):
        return MAX_FAILURES
    return MAX_FAILURES // 2 if isinstance(failure, DecoderCrash) else 1


class _Loop:
    """One file being read."""

    def __init__(
        self,
        path: Path,
        file: BinaryIO,
        data: Dataset,
        syntax: str,
        layout: pixels_of.PixelFormat,
        frames: list[tuple[Piece, ...]],
        count: int,
    ) -> None:
        self.path, self.file, self.data, self.syntax = path, file, data, syntax
        self.layout, self.frames, self.count = layout, frames, count
        self.lossy = header_of.lossy_steps(data, syntax)
        self.warnings: list[str] = []
        self.decoder = decoder_for(layout)
        self.first_failure = ""

    def read(self, progress: Progress | None) -> CineLoop:
        if not self.frames:
            raise InputError(f"{self.path}: the file is cut off before its first frame ends; copy it again.")
        with (
            contextlib.closing(self.decoder),
            FrameCollector(self.path, expected=len(self.frames), lossy=bool(self.lossy)) as collector,
        ):
            tables = self._tables()
            kept = self._decode_all(collector, tables, progress)
            if not kept:
                raise InputError(f"{self.path}: no frame can be decoded: {self.first_failure}.")
            frames, colour, tint = collector.finish()
        times, assumed, complaints = header_of.frame_times(self.data, self.count)
        times = times[kept]
        self._warn_about(len(kept), complaints)
        return CineLoop(
            frames=frames,
            times_ms=times - times[0],
            kind="DICOM",
            source=self.path,
            colour=colour,
            tint=tint,
            regions=header_of.regions(self.data),
            lossy=self.lossy,
            times_assumed=assumed,
            header=self.data,
            heart_rate=header_of.heart_rate(self.data),
            r_waves_ms=tuple(r - float(times[0]) for r in header_of.floats(self.data, "RWaveTimeVector")),
            warnings=tuple(self.warnings),
        )

    def _frame(self, index: int) -> tuple[NDArray[Any], str]:
        return self.decoder.decode(read_pieces(self.file, self.frames[index]))

    def _decode_all(
        self,
        collector: FrameCollector,
        tables: pixels_of.Palette | pixels_of.GreyScale | None,
        progress: Progress | None,
    ) -> list[int]:
        """Indices of the frames that could be decoded."""
        kept: list[int] = []
        failures = 0
        for index in range(len(self.frames)):
            try:
                array, photometric = self._frame(index)
                pixels_of.deliver(array, photometric, self.layout, tables, collector)
            except ValueError as error:
                self.first_failure = self.first_failure or str(error)
                failures += _weight(error)
                if failures >= MAX_FAILURES:
                    break
                continue
            failures = 0
            kept.append(index)
            if progress is not None:
                progress(index + 1, len(self.frames))
        return kept

    def _tables(self) -> pixels_of.Palette | pixels_of.GreyScale | None:
        """What turns stored values into display values; None for colour samples."""
        if self.layout.photometric == "PALETTE COLOR":
            try:
                return pixels_of.palette(self.data, self.syntax != EXPLICIT_BIG)
            except ValueError as error:
                raise InputError(f"{self.path}: {error}.") from error
        if self.layout.samples == 3:
            return None
        return pixels_of.grey_scale(self.data, self.layout, self._sample)

    def _sample(self) -> list[NDArray[Any]]:
        """A few decoded frames from all over the loop."""
        wanted = sorted(set(np.linspace(0, len(self.frames) - 1, 5).astype(int).tolist()))
        got = []
        for index in wanted:
            try:
                got.append(self._frame(index)[0])
            except ValueError as error:
                self.first_failure = self.first_failure or str(error)
                if isinstance(error, FrameTimeout):
                    break
        if not got:
            raise InputError(f"{self.path}: no frame can be decoded: {self.first_failure}.")
        return got

    def _warn_about(self, kept: int, complaints: tuple[str, ...]) -> None:
        if kept < self.count:
            self.warnings.append(
                f"Only {kept} of {self.count} frames could be read; the rest of the file is missing or damaged."
            )
        self.warnings.extend(complaints)
        self.warnings.extend(header_of.nature(self.data))
