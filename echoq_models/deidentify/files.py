"""One loop from a file into a cleaned file: header, sector, frames."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from echoq_models.cine.loop import CineLoop
from echoq_models.deidentify.header import HeaderOptions, HeaderReport, clean_header, declare
from echoq_models.deidentify.pixels import Judgement, blank, judge
from echoq_models.deidentify.pseudonyms import Pseudonyms, identity_of
from echoq_models.errors import Cancelled, EchoQError, InputError, OutputError

if TYPE_CHECKING:
    from pydicom import Dataset

Progress = Callable[[int, int, str], None]
Cancel = Callable[[], bool]

SUFFIXES = {"AVI": ".avi", "MP4": ".mp4", "MOV": ".mov", "npz": ".npz"}  # other films become .mkv, stills a folder
STILLS = ("stills", "PNG", "JPEG", "BMP", "TIFF", "WebP")


@dataclass(frozen=True)
class Options:
    """How loops are de-identified.

    header: what of the header is kept.  keep_unjudged: also write loops whose pixels may still show a name: those
    without a sector that is certain keep all their pixels, the others those of the sector. What is no ultrasound is
    never written: `kept` knows nothing of what else such an object needs.
    """

    header: HeaderOptions = field(default_factory=HeaderOptions)
    keep_unjudged: bool = False


@dataclass(frozen=True)
class Cleaned:
    """A file that was written. patient: the pseudonym, "" where there is no header."""

    output: Path
    patient: str
    header: HeaderReport | None
    judgement: Judgement
    burned_in: str


class LeftOut(EchoQError):
    """A loop is not written, since its pixels may show a name (exit code 4). judgement: why."""

    exit_code = 4

    def __init__(self, source: Path, judgement: Judgement) -> None:
        super().__init__(f"{source}: left out: {reason_of(judgement)}")
        self.judgement = judgement


def reason_of(judgement: Judgement) -> str:
    """Why pixels are not clean, in one sentence."""
    said = list(judgement.doubts)
    if judgement.texts:
        places = ", ".join(f"x {text.x} y {text.y}" for text in judgement.texts[:3])
        more = f" and {len(judgement.texts) - 3} more places" if len(judgement.texts) > 3 else ""
        said.append(f"possible text inside the sector at {places}{more}")
    return "; ".join(said)


def clean_file(
    source: Path,
    place: Callable[[str, str, str], Path],
    names: Pseudonyms,
    options: Options,
    progress: Progress,
    cancel: Cancel,
) -> Cleaned:
    """Read `source`, clean it, and write it where `place(patient, name, suffix)` says.

    patient: the pseudonym, "" where there is no header; name: stands for the file; suffix: of the kind that keeps it
    whole. Raises InputError, OutputError, LeftOut, and Cancelled once `cancel()` is true; nothing half-written is left.
    """
    from echoq_models import cine
    from echoq_models.cine.dicom_header import quiet
    from echoq_models.files import checksum

    def going(done: int, total: int) -> None:
        _heed(cancel, source)
        progress(done, total, "reading")

    loop = cine.read(source, progress=going)
    _heed(cancel, source)
    judgement = judge(loop)
    if not judgement.clean and not (options.keep_unjudged and judgement.ultrasound):
        raise LeftOut(source, judgement)
    if loop.header is None:
        name = names.file(checksum(source, lambda: _heed(cancel, source)))
        suffix = SUFFIXES.get(loop.kind, "" if loop.kind in STILLS else ".mkv")
        target = _checked(source, place("", name, suffix))
        _write_loop(loop, judgement, target, progress, cancel)
        return Cleaned(target, "", None, judgement, "")
    with quiet():
        header, report = clean_header(loop.header, names, options.header)
        if not {"SOPClassUID", "SOPInstanceUID"} <= set(header.dir()):
            raise InputError(f"{source}: its header does not say what kind of DICOM object it is.")
        target = _checked(source, place(names.patient(identity_of(loop.header)), _name(loop.header, names), ".dcm"))
        _write_dicom(loop, judgement, header, options, target, progress, cancel)
    return Cleaned(target, str(header.PatientID), report, judgement, str(header.get("BurnedInAnnotation", "")))


def _name(header: Dataset, names: Pseudonyms) -> str:
    return names.file(str(header.SOPInstanceUID))


def _heed(cancel: Cancel, source: Path) -> None:
    if cancel():
        raise Cancelled(f"{source}: cancelled.")


def _checked(source: Path, target: Path) -> Path:
    if target.resolve() == source.resolve():
        raise OutputError(f"{target}: this is the input itself; choose another output")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{target.parent}: the folder cannot be made ({error.strerror or error})") from error
    return target


def _write_loop(loop: CineLoop, judgement: Judgement, target: Path, progress: Progress, cancel: Cancel) -> None:
    """A film, stills or npz: lossless, without any text of its container."""
    from echoq_models import cine

    options = cine.WriteOptions(lossless=True)
    frames = _displayed(loop, grey=target.suffix.lower() == ".npz" or (loop.colour is None and loop.tint is None))
    with cine.open_writer(target, loop.size, loop.times_ms, options=options) as writer:
        for t, frame in enumerate(frames):
            _heed(cancel, target)
            if judgement.mask is not None:
                blank(frame, judgement.mask)
            writer.add(frame)
            progress(t + 1, len(loop), "writing")


def _displayed(loop: CineLoop, grey: bool) -> Iterator[NDArray[np.uint8]]:
    """Frames as they are shown: new arrays, (H, W) or RGB (H, W, 3)."""
    for t in range(len(loop)):
        yield np.array(loop.frames[t]) if grey else loop.rgb(t)


def _write_dicom(
    loop: CineLoop,
    judgement: Judgement,
    header: Dataset,
    options: Options,
    target: Path,
    progress: Progress,
    cancel: Cancel,
) -> None:
    """The cleaned header with the source's samples, blanked: never a byte of the source's own pixel data."""
    from echoq_models.cine.dicom_writer import DicomSink
    from echoq_models.files import replacing

    frames = _stored(loop, header)
    _settle(header, loop)
    declare(header, options.header, pixels_clean=judgement.clean)
    black = _black(loop, header)
    done = 0
    try:
        with replacing(target) as temporary:
            sink = DicomSink(temporary, header)
            try:
                for done, frame in enumerate(frames, start=1):
                    _heed(cancel, target)
                    if judgement.mask is not None:
                        blank(frame, judgement.mask, black)
                    sink.add(frame)
                    progress(done, len(loop), "writing")
                if done != len(loop):
                    raise InputError(f"{loop.source}: the file changed while it was read.")
                sink.finish()
            finally:
                sink.abort()
    except OSError as error:
        raise OutputError(f"{target}: cannot be written ({error.strerror or error})") from error


def _stored(loop: CineLoop, header: Dataset) -> Iterator[NDArray[np.uint8]]:
    """Frames to write. 8-bit samples stay as stored; deeper ones, and video, are written as they are shown.

    The header is made to say which, before the first frame is drawn.
    """
    from echoq_models.cine.dicom import read_stored

    assert loop.source is not None
    if header.get("BitsAllocated") == 8 and header.get("BitsStored") == 8 and not _is_video(loop):
        frames = read_stored(loop.source)
        first = next(frames, None)
        if first is not None and first[0].dtype == np.uint8:
            # decoders give every pixel its own colour
            header.PhotometricInterpretation = first[1].removesuffix("_422")
            return (np.array(frame) for frame, _ in itertools.chain([first], frames))
    colour = loop.colour is not None or loop.tint is not None
    for keyword in [each for each in header.dir() if "Palette" in each or each.startswith(("Rescale", "Window"))]:
        del header[keyword]
    header.SamplesPerPixel, header.PhotometricInterpretation = (3, "RGB") if colour else (1, "MONOCHROME2")
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 8, 8, 7, 0
    if "PresentationLUTShape" in header:
        header.PresentationLUTShape = "IDENTITY"
    return _displayed(loop, grey=not colour)


def _is_video(loop: CineLoop) -> bool:
    from echoq_models.cine.dicom_header import VIDEO_SYNTAXES, code

    assert loop.header is not None
    return code(loop.header.file_meta, "TransferSyntaxUID") in VIDEO_SYNTAXES


def _settle(header: Dataset, loop: CineLoop) -> None:
    """Make true what the header says of frames, planes and lossy steps."""
    from echoq_models.cine.dicom_derive import METHOD_TERMS

    if header.SamplesPerPixel == 3:
        header.PlanarConfiguration = 1  # as RLE stores colours, and as YBR_FULL must be (PS3.3 C.8.5.6.1.14)
    elif "PlanarConfiguration" in header:
        del header.PlanarConfiguration
    if "NumberOfFrames" in header and header.NumberOfFrames != len(loop):
        header.NumberOfFrames = len(loop)  # of a damaged file
        if "FrameTimeVector" in header:
            header.FrameTimeVector = [round(float(step), 6) for step in np.diff(loop.times_ms, prepend=0.0)]
    if loop.lossy:
        header.LossyImageCompression = "01"
        methods = [METHOD_TERMS[step] for step in loop.lossy if step in METHOD_TERMS]
        if methods and "LossyImageCompressionMethod" not in header:
            header.LossyImageCompressionMethod = methods


def _black(loop: CineLoop, header: Dataset) -> int | tuple[int, ...]:
    """The stored sample that is shown black (PS3.3 C.7.6.3.1.2)."""
    kind = header.PhotometricInterpretation
    if kind == "PALETTE COLOR":
        from echoq_models.cine.dicom_pixels import palette

        assert loop.header is not None
        table = palette(loop.header, loop.header.original_encoding[1] is not False)
        return int(np.clip(table.first + int(table.rgb.sum(axis=1).argmin()), 0, 255))
    if kind.startswith("YBR_FULL"):
        return (0, 128, 128)
    return 255 if kind == "MONOCHROME1" else 0


def facts(cleaned: Cleaned) -> dict[str, Any]:
    """What a report says of a written file; nothing of the original's values or name."""
    header = cleaned.header
    return {
        **pixel_facts(cleaned.judgement),
        "burned_in_annotation": cleaned.burned_in or None,
        "removed": list(header.removed) if header else [],
        "replaced": list(header.replaced) if header else [],
        "private_removed": header.private_removed if header else 0,
    }


def pixel_facts(judgement: Judgement) -> dict[str, Any]:
    """What a report says of pixels."""
    return {
        "pixels_clean": judgement.clean,
        "outside_blanked": judgement.mask is not None,
        "not_judged": list(judgement.doubts),
        "possible_text": [dataclasses.asdict(text) for text in judgement.texts],
    }
