"""What a DICOM header says about a loop: times, ultrasound regions, ECG, lossy history."""

from __future__ import annotations

import contextlib
import logging
import math
import re
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from echoq_models.cine import timing
from echoq_models.cine.loop import UltrasoundRegion

if TYPE_CHECKING:
    from pydicom import Dataset

T = TypeVar("T")

_CODE = re.compile(r"[A-Z0-9_. ]{1,64}")
_EARLIER = re.compile(r"EchoQ \S{1,24}: (denoised by (?:model )?[a-z0-9_-]{1,24})\b")  # see dicom_derive.Provenance
_VIEW_WORD = r"\b(apical|parasternal|subcostal|suprasternal|chamber|axis)\b"
_VIEW = re.compile(rf"A[2-5]C|PLAX|PSAX|[\w ,()-]{{0,40}}{_VIEW_WORD}[\w ,()-]{{0,40}}", re.I)

ULTRASOUND = tuple(f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("3", "3.1", "6", "6.1", "6.2", "6.3"))
CAPTURES = tuple(f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("7", "7.1", "7.2", "7.3", "7.4"))
CENTIMETRES = 3
FRAME_TIME_TAG = 0x00181063
VIDEO_SYNTAXES = {
    **{f"1.2.840.10008.1.2.4.{n}{more}": "MPEG-2" for n in (100, 101) for more in ("", ".1")},
    **{f"1.2.840.10008.1.2.4.{n}{more}": "H.264" for n in range(102, 107) for more in ("", ".1")},
    **{f"1.2.840.10008.1.2.4.{n}": "HEVC" for n in (107, 108)},
}
LOSSY_SYNTAXES = {
    **VIDEO_SYNTAXES,
    "1.2.840.10008.1.2.4.50": "JPEG baseline",
    "1.2.840.10008.1.2.4.51": "JPEG extended",
    "1.2.840.10008.1.2.4.81": "JPEG-LS near-lossless",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
    "1.2.840.10008.1.2.4.203": "HTJ2K",
}
LOSSY_METHODS = {
    "ISO_10918_1": "JPEG",
    "ISO_14495_1": "JPEG-LS near-lossless",
    "ISO_15444_1": "JPEG 2000",
    "ISO_15444_15": "HTJ2K",
    "ISO_13818_2": "MPEG-2",
    "ISO_14496_10": "H.264",
    "ISO_23008_2": "HEVC",
}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom's warnings (they may quote a patient's data) out of terminals and logs."""
    logger = logging.getLogger("pydicom")
    before = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


def value(data: Dataset, keyword: str, cast: Callable[[Any], T], default: T) -> T:
    """One element's first value through `cast`; `default` when it is absent, empty or damaged."""
    try:
        got = data[keyword].value
        if hasattr(got, "__getitem__") and not isinstance(got, str | bytes):
            got = got[0]
        return default if got is None or got == "" else cast(got)
    except Exception:  # a damaged element raises whatever its bytes provoke; the default stands in
        return default


def floats(data: Dataset, keyword: str) -> tuple[float, ...]:
    """All values of an element as finite floats; empty when it is absent or damaged."""
    try:
        got = data[keyword].value
        several = got if hasattr(got, "__iter__") and not isinstance(got, str | bytes) else [got]
        numbers = tuple(float(v) for v in several)
    except Exception:  # as in `value`
        return ()
    return numbers if all(map(math.isfinite, numbers)) else ()


def texts(data: Dataset, keyword: str) -> tuple[str, ...]:
    """All values of a text element, without padding; empty when it is absent or damaged."""
    try:
        got = data[keyword].value
        several = [got] if isinstance(got, str) else list(got or [])
        return tuple(str(each).strip(" \0") for each in several)
    except Exception:  # as in `value`
        return ()


def code(data: Dataset, keyword: str) -> str:
    """An element that is a code or UID, so that it may be shown; empty when absent, damaged or longer than those.

    In a damaged file any element can hold any bytes of the header, also a patient's name.
    """
    found = value(data, keyword, str, "").strip(" \0")
    return found if _CODE.fullmatch(found) else ""


def size(data: Dataset | None) -> tuple[int, int]:
    """Rows and columns of the picture; 0 where they are missing or damaged."""
    return (0, 0) if data is None else (value(data, "Rows", int, 0), value(data, "Columns", int, 0))


def is_ultrasound(data: Dataset) -> bool:
    """Whether a header is that of an ultrasound image, by its SOP class, else by its modality."""
    sop = code(data, "SOPClassUID")
    return sop in ULTRASOUND if sop else code(data, "Modality") == "US"


def view_label(data: Dataset) -> str:
    """The view's name ("Apical four chamber", "A4C"); empty when there is none that reads like a view.

    ViewCodeSequence (0054,0220), else ViewName (0008,212A). A view's word must be in it, so that nothing private shows.
    """
    coded = value(data, "ViewCodeSequence", lambda item: str(item.CodeMeaning), "")
    found = (text.strip(" \0") for text in (coded, value(data, "ViewName", str, "")))
    return next((text for text in found if _VIEW.fullmatch(text)), "")


def frame_times(data: Dataset, count: int) -> tuple[NDArray[np.float64], bool, tuple[str, ...]]:
    """Times float64 (count,) in ms from 0, whether they were assumed, and warnings.

    Order: Frame Increment Pointer -> Frame Time Vector or Frame Time (also without the pointer), then Cine Rate;
    Recommended Display Frame Rate is only a hint for the assumed rate (PS3.3 C.7.6.5). Values outside
    2 ms - 10 s between frames are refused with a warning and the next source is tried.
    """
    if count == 1:
        return np.zeros(1), False, ()
    warnings: list[str] = []
    sources = [_from_vector, _from_frame_time]
    if value(data, "FrameIncrementPointer", int, 0) == FRAME_TIME_TAG:
        sources.reverse()
    for source in (*sources, _from_cine_rate):
        times, complaint = source(data, count)
        if complaint:
            warnings.append(complaint)
        if times is not None:
            return times, False, tuple(warnings)
    hint = value(data, "RecommendedDisplayFrameRate", float, 0.0)
    if hint > 0 and timing.usable([1000.0 / hint]):
        warnings.append(
            f"The file states no frame times; its recommended display rate of {hint:g} frames per second is taken."
        )
        return timing.constant(count, 1000.0 / hint), True, tuple(warnings)
    times, complaint = timing.assumed(count, "The file states no usable frame times")
    return times, True, (*warnings, complaint)


def _from_vector(data: Dataset, count: int) -> tuple[NDArray[np.float64] | None, str]:
    if "FrameTimeVector" not in data:
        return None, ""
    steps = np.asarray(floats(data, "FrameTimeVector"))
    if len(steps) == count - 1:  # some writers leave out the first, which is 0
        steps = np.concatenate([[0.0], steps])
    if len(steps) < count:
        return None, f"The Frame Time Vector gives {len(steps)} times for {count} frames and is not used."
    if not timing.usable(steps[1:count]):
        worst = steps[1:count].min()
        return None, f"The Frame Time Vector makes no sense (a step of {worst:g} ms) and is not used."
    return np.concatenate([[0.0], np.cumsum(steps[1:count])]), ""


def _from_frame_time(data: Dataset, count: int) -> tuple[NDArray[np.float64] | None, str]:
    if "FrameTime" not in data:
        return None, ""
    step = value(data, "FrameTime", float, math.nan)
    if not timing.usable([step]):
        return None, f"A Frame Time of {step:g} ms makes no sense and is not used."
    return timing.constant(count, step), ""


def _from_cine_rate(data: Dataset, count: int) -> tuple[NDArray[np.float64] | None, str]:
    if "CineRate" not in data:
        return None, ""
    rate = value(data, "CineRate", float, 0.0)
    if not (math.isfinite(rate) and rate > 0 and timing.usable([1000.0 / rate])):
        return None, f"A Cine Rate of {rate:g} frames per second makes no sense and is not used."
    return timing.constant(count, 1000.0 / rate), ""


def regions(data: Dataset) -> tuple[UltrasoundRegion, ...]:
    """Every item of the Sequence of Ultrasound Regions that has bounds (PS3.3 C.8.5.5)."""
    try:
        items = list(data["SequenceOfUltrasoundRegions"].value or [])
    except Exception:  # absent or damaged
        return ()
    return tuple(r for r in map(_region, items) if r is not None)


def _region(item: Dataset) -> UltrasoundRegion | None:
    names = ("RegionLocationMinX0", "RegionLocationMinY0", "RegionLocationMaxX1", "RegionLocationMaxY1")
    bounds = [value(item, name, int, -1) for name in names]
    if min(bounds) < 0:
        return None
    return UltrasoundRegion(
        x0=bounds[0],
        y0=bounds[1],
        x1=bounds[2],
        y1=bounds[3],
        data_type=value(item, "RegionDataType", int, 0),
        spatial_format=value(item, "RegionSpatialFormat", int, 0),
        mm_per_pixel_x=_spacing(item, "X"),
        mm_per_pixel_y=_spacing(item, "Y"),
    )


def _spacing(item: Dataset, axis: str) -> float | None:
    """Millimetres per pixel, None unless the axis is measured in centimetres."""
    if value(item, f"PhysicalUnits{axis}Direction", int, 0) != CENTIMETRES:
        return None
    delta = abs(value(item, f"PhysicalDelta{axis}", float, 0.0)) * 10.0
    return delta if math.isfinite(delta) and delta > 0 else None


def heart_rate(data: Dataset) -> float | None:
    """Beats per minute, None when absent or impossible (0 is a common stand-in for unknown)."""
    rate = value(data, "HeartRate", float, 0.0)
    return rate if 10 <= rate <= 400 else None


def lossy_steps(data: Dataset, syntax: str) -> tuple[str, ...]:
    """The lossy steps in the pixels' history, oldest first, without repeating the file's own syntax."""
    own = LOSSY_SYNTAXES.get(syntax)
    if not value(data, "LossyImageCompression", str, "00").strip().startswith("01"):
        return (own,) if own else ()
    names = texts(data, "LossyImageCompressionMethod")
    steps = [LOSSY_METHODS.get(name, name) for name in names if _CODE.fullmatch(name)]
    if own:
        if steps and own.startswith(steps[-1]):
            steps.pop()  # the last step recorded is the syntax the file is in
        steps.append(own)
    return tuple(steps) or ("unnamed lossy compression",)


def denoised_before(data: Dataset) -> tuple[str, ...]:
    """What EchoQ did to these pixels earlier, oldest first ("denoised by model fast"), as their header records it.

    Only words that EchoQ itself writes are given back: any element of a damaged file can hold a patient's name.
    """
    try:
        items = list(data["ContributingEquipmentSequence"].value or [])
    except Exception:  # absent or damaged
        return ()
    said = (_EARLIER.match(value(item, "ContributionDescription", str, "")) for item in items)
    return tuple(match[1] for match in said if match is not None)


def nature(data: Dataset) -> list[str]:
    """What a person should know of where the pixels come from: no ultrasound, or denoised before."""
    from pydicom.uid import UID

    notes = []
    sop = code(data, "SOPClassUID")
    if sop and sop not in (*ULTRASOUND, *CAPTURES):
        notes.append(f"This is {UID(sop).name}, not an ultrasound loop.")
    if earlier := denoised_before(data):
        notes.append(f"This loop is derived, not an original: EchoQ's header says {', then '.join(earlier)}.")
    return notes
