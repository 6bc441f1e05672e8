"""The header of a DICOM object derived from a loop: what still holds is carried over, the rest is made true.

`derived_header` is a pure function of the loop's own header and facts; `dicom_writer.DicomSink` adds the pixels.
An ultrasound source gives an ultrasound object (single-frame for a still, so that it stays what it was), everything
else a multi-frame Secondary Capture of grey bytes or true colour (PS3.3 A.6, A.7, A.8.3, A.8.5).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_OID, uuid5

import echoq_models
from echoq_models.cine import dicom_header as header_of
from echoq_models.cine.dicom_carry import PRODUCT, carried, decimal, fit_to_size, history_text
from echoq_models.cine.loop import CineLoop

if TYPE_CHECKING:
    from pydicom import Dataset

ULTRASOUND = "1.2.840.10008.5.1.4.1.1.6.1"
ULTRASOUND_FRAMES = "1.2.840.10008.5.1.4.1.1.3.1"
CAPTURED_GREY = "1.2.840.10008.5.1.4.1.1.7.2"
CAPTURED_COLOUR = "1.2.840.10008.5.1.4.1.1.7.4"

PROCESSING = ("109102", "Processing Equipment")
SOURCE_IMAGE = ("121322", "Source image for image processing operation")
SERIES_STEP = 1000  # added to the source's series number
STEADY_MS = 1e-4  # frame times within this of a constant rate are that rate
LO, ST = 64, 1024  # longest texts of these value representations (PS3.5 6.2)

_MARK = re.compile(r" ?\[denoised by .*")  # of an earlier run; the whole story is in DerivationDescription
# Type 2 attributes (PS3.3 C.7.1.1, C.7.2.1, C.7.3.1, C.7.5.1): may be empty, must be there
MAY_BE_EMPTY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
    *("SeriesNumber", "Manufacturer", "Laterality", "PatientOrientation"),
)
# Lossy steps as LossyImageCompressionMethod names them (PS3.3 C.7.6.1.1.5.1, and terms of the same make)
METHOD_TERMS = {name: term for term, name in header_of.LOSSY_METHODS.items()} | {
    "JPEG baseline": "ISO_10918_1",
    "JPEG extended": "ISO_10918_1",
    "MJPEG": "ISO_10918_1",
    "MPEG-1": "ISO_11172_2",
    "MPEG-4": "ISO_14496_2",
}


@dataclass(frozen=True)
class Provenance:
    """What was done to the pixels, for headers and sidecars.

    what: in few words, "denoised by model fast, research use".  parameters: in order of importance; the weights'
    sha256 is among them.  changed: False for pixels that are the source's.
    """

    what: str
    parameters: Mapping[str, str | float | int | None] = field(default_factory=dict)
    changed: bool = True

    def kind(self) -> tuple[str, ...]:
        """What is the same for all loops that are treated alike (BM3D's noise level is each loop's own)."""
        alike = (self.parameters.get(name) for name in ("sha256", "strength"))
        return (echoq_models.__version__, self.what, *map(str, alike))

    def text(self) -> str:
        """ "EchoQ 0.1.0: denoised by model fast, research use; weights ...; sha256 ...", at most 1024 ASCII letters."""
        parts = [f"{PRODUCT} {echoq_models.__version__}: {self.what}"]
        parts += [f"{name} {value}" for name, value in self.parameters.items() if value is not None]
        return _ascii("; ".join(parts))[:ST]


UNCHANGED = Provenance("written as DICOM, no pixel changed", changed=False)


def is_coloured(loop: CineLoop) -> bool:
    """Whether a loop is written as RGB; else as MONOCHROME2."""
    return loop.colour is not None or loop.tint is not None


def derived_header(loop: CineLoop, provenance: Provenance = UNCHANGED, when: datetime | None = None) -> Dataset:
    """The data set, without pixels, of `loop` written anew; the pixels are 8-bit grey, or RGB where it has colour.

    The loop's own header is left as it is. Patient, study, acquisition, regions and cine attributes are carried;
    frame times are the loop's (a damaged source has fewer frames than its header says). Private elements are not
    carried: what they say of these pixels nobody knows.
    when: the time to write into it, now if None. Never raises on damaged source headers: what cannot be written
    again is left out.
    """
    with header_of.quiet():
        source = loop.header
        data = carried(source, len(loop))
        when = when or _now(data)
        _identity(data, source, loop, provenance, when)
        _image(data, source, loop, provenance)
        _pixel_module(data, loop)
        _cine(data, loop)
        fit_to_size(data, header_of.size(source), loop.size)
        _lossy(data, source, loop)
        _history(data, source, provenance, when)
    return data


def _now(data: Dataset) -> datetime:
    """The present time in the time zone that the header's times are in, else in this computer's."""
    offset = header_of.value(data, "TimezoneOffsetFromUTC", str, "").strip()
    if len(offset) == 5 and offset[0] in "+-" and offset[1:].isdigit() and int(offset[1:]) <= 1400:
        minutes = int(offset[1:3]) * 60 + int(offset[3:])
        return datetime.now(timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes)))
    return datetime.now().astimezone()


def _identity(data: Dataset, source: Dataset | None, loop: CineLoop, provenance: Provenance, when: datetime) -> None:
    """Patient and study stay, series and instance are new; all loops of a series treated alike share the new one."""
    from pydicom.uid import UID, generate_uid

    data.SOPClassUID = UID(_sop_class(source, loop))
    data.SOPInstanceUID = generate_uid(prefix=None)
    if series := header_of.code(data, "SeriesInstanceUID"):
        alike = uuid5(NAMESPACE_OID, "|".join((series, *provenance.kind())))
        data.SeriesInstanceUID = UID(f"2.25.{alike.int}")
    else:
        data.SeriesInstanceUID = generate_uid(prefix=None)
    if not header_of.code(data, "StudyInstanceUID"):
        data.StudyInstanceUID = generate_uid(prefix=None)
    for keyword in MAY_BE_EMPTY:
        if keyword not in data and not (keyword == "Laterality" and "ImageLaterality" in data):
            setattr(data, keyword, None)
    if not header_of.code(data, "Modality"):
        data.Modality = "US"
    if (number := header_of.value(data, "SeriesNumber", int, -1)) >= 0:
        data.SeriesNumber = number + SERIES_STEP
    if header_of.value(data, "InstanceNumber", int, -1) < 0:
        data.InstanceNumber = 1
    if provenance.changed:
        mark = f"[{_ascii(provenance.what)}]"[:LO]
        before = _MARK.sub("", header_of.value(data, "SeriesDescription", str, ""))
        data.SeriesDescription = f"{before[: LO - len(mark) - 1]} {mark}".strip()
    for name in ("InstanceCreation", "Series", "Content"):
        setattr(data, f"{name}Date", when.strftime("%Y%m%d"))
        setattr(data, f"{name}Time", when.strftime("%H%M%S"))


def _sop_class(source: Dataset | None, loop: CineLoop) -> str:
    if source is not None and header_of.is_ultrasound(source):
        return ULTRASOUND_FRAMES if len(loop) > 1 else ULTRASOUND
    return CAPTURED_COLOUR if is_coloured(loop) else CAPTURED_GREY


def _image(data: Dataset, source: Dataset | None, loop: CineLoop, provenance: Provenance) -> None:
    """ImageType, and what the class of the new object asks for."""
    kept = header_of.texts(source, "ImageType")[2:] if source is not None else ()
    data.ImageType = ["DERIVED", "SECONDARY", *kept]
    data.pop("DerivationDescription", None)
    before = header_of.value(source, "DerivationDescription", str, "") if source is not None else ""
    data.DerivationDescription = history_text(before, provenance.text(), ST)
    if data.SOPClassUID in (ULTRASOUND, ULTRASOUND_FRAMES):
        if not is_coloured(loop) and "UltrasoundColorDataPresent" in data:
            data.UltrasoundColorDataPresent = 0
        return
    if "ConversionType" not in data:
        data.ConversionType = "WSD"  # workstation (PS3.3 C.8.6.1)
    if header_of.code(data, "BurnedInAnnotation") not in ("YES", "NO"):
        data.BurnedInAnnotation = "YES"  # nobody looked: films of echo machines mostly show names and dates
    if not is_coloured(loop):
        data.PresentationLUTShape = "IDENTITY"
        data.RescaleIntercept, data.RescaleSlope, data.RescaleType = 0, 1, "US"


def _pixel_module(data: Dataset, loop: CineLoop) -> None:
    data.Rows, data.Columns = loop.size
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.SamplesPerPixel = 3 if is_coloured(loop) else 1
    data.PhotometricInterpretation = "RGB" if is_coloured(loop) else "MONOCHROME2"
    if is_coloured(loop):
        data.PlanarConfiguration = 0
    if data.SOPClassUID != ULTRASOUND:
        data.NumberOfFrames = len(loop)


def _cine(data: Dataset, loop: CineLoop) -> None:
    """Frame times as the loop has them. Assumed times are a recommended rate, never stated as acquired."""
    import numpy as np

    stated = ("FrameIncrementPointer", "FrameTime", "FrameTimeVector", "CineRate")
    had_rate = "CineRate" in data
    for keyword in stated:
        data.pop(keyword, None)
    if "RWaveTimeVector" in data:
        data.RWaveTimeVector = list(loop.r_waves_ms)
    if len(loop) < 2:
        return
    steps = np.diff(loop.times_ms)
    if loop.times_assumed:
        data.RecommendedDisplayFrameRate = max(1, round(loop.fps))
        data.FrameIncrementPointer = 0x00182001  # frames without times are pages, one after the other
        data.PageNumberVector = list(range(1, len(loop) + 1))
        return
    if np.abs(steps - steps.mean()).max() < STEADY_MS:
        data.FrameTime = decimal(steps.mean())
        data.FrameIncrementPointer = 0x00181063
    else:
        data.FrameTimeVector = [decimal(step) for step in (0.0, *steps)]
        data.FrameIncrementPointer = 0x00181065
    if had_rate or data.SOPClassUID != ULTRASOUND_FRAMES:
        data.CineRate = max(1, round(loop.fps))


def _lossy(data: Dataset, source: Dataset | None, loop: CineLoop) -> None:
    """Lossy once is lossy for ever (PS3.3 C.7.6.1.1.5): "01" stays, the source's own step joins the list."""
    if not loop.lossy:
        return
    data.LossyImageCompression = "01"
    ratios = header_of.floats(source, "LossyImageCompressionRatio") if source is not None else ()
    before = header_of.texts(source, "LossyImageCompressionMethod") if source is not None else ()
    methods = [_method_term(step) for step in loop.lossy]
    if methods == ["unnamed"]:
        return
    data.LossyImageCompressionMethod = methods
    if len(ratios) == len(methods):
        return  # the last step was recorded already
    ratio = _own_ratio(loop)
    if len(ratios) == len(before) == len(methods) - 1 and ratio is not None:
        data.LossyImageCompressionRatio = [*map(decimal, ratios), ratio]
    else:
        data.pop("LossyImageCompressionRatio", None)  # one for each method, or none


def _method_term(step: str) -> str:
    if step.startswith("unnamed"):
        return "unnamed"
    plain = "".join(letter if letter.isalnum() else "_" for letter in _ascii(step).upper())
    return METHOD_TERMS.get(step, plain[:16])


def _own_ratio(loop: CineLoop) -> Any | None:
    """Bytes of the decoded frames to bytes of the file that they came from, as the source's own lossy step."""
    try:
        size = loop.source.stat().st_size if loop.source is not None and loop.source.is_file() else 0
    except OSError:
        return None
    samples = 3 if is_coloured(loop) else 1
    return decimal(round(loop.frames.size * samples / size, 2)) if size else None


def _history(data: Dataset, source: Dataset | None, provenance: Provenance, when: datetime) -> None:
    """Who did it, and from which image; earlier entries stay in front."""
    from pydicom import Dataset
    from pydicom.sequence import Sequence

    maker = Dataset()
    maker.PurposeOfReferenceCodeSequence = _coded(PROCESSING)
    maker.Manufacturer = maker.ManufacturerModelName = PRODUCT
    maker.SoftwareVersions = echoq_models.__version__
    maker.ContributionDateTime = when.strftime("%Y%m%d%H%M%S%z")
    maker.ContributionDescription = provenance.text()
    data.ContributingEquipmentSequence = Sequence([*(data.get("ContributingEquipmentSequence") or []), maker])
    if source is None:
        return
    sop, instance = header_of.code(source, "SOPClassUID"), header_of.code(source, "SOPInstanceUID")
    if not (sop and instance):
        return
    image = Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = sop, instance
    image.PurposeOfReferenceCodeSequence = _coded(SOURCE_IMAGE)
    data.SourceImageSequence = Sequence([*(data.get("SourceImageSequence") or []), image])


def _coded(code: tuple[str, str]) -> Any:
    from pydicom import Dataset
    from pydicom.sequence import Sequence

    item = Dataset()
    item.CodeValue, item.CodeMeaning = code
    item.CodingSchemeDesignator = "DCM"
    return Sequence([item])


def _ascii(text: str) -> str:
    """Letters that every character set of DICOM has, without the backslash that divides values."""
    return text.encode("ascii", "replace").decode().replace("\\", "/")
