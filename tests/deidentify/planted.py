"""A loop whose header, file meta, preamble, names and pixels are full of things that name a person."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom import DataElement, Dataset, config, dcmread
from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from tests.make_files import JPEG_BASELINE, sector_frames, write_dicom

WORD = "QZXK"  # in every planted name; found whatever surrounds it
DIGITS = "735194"  # in every planted number
DATE, TIME = "19370304", f"11{22}33.{DIGITS}"
UID = f"1.2.{DIGITS}"
MARKS = (WORD, DIGITS, DATE, "087Y")

# Without these the file is no image, so they keep their own values.
_NEEDED = """SpecificCharacterSet SOPClassUID Modality PhotometricInterpretation Rows Columns SamplesPerPixel
PlanarConfiguration BitsAllocated BitsStored HighBit PixelRepresentation NumberOfFrames PixelData FrameTime
FrameIncrementPointer LossyImageCompression"""
NEEDED = frozenset(_NEEDED.split())
_NESTED = """PatientName PatientID StudyDate StudyTime AcquisitionDateTime TextValue PatientAge StationAETitle
StudyDescription CodeMeaning CodeValue LongCodeValue URNCodeValue ReferencedSOPInstanceUID BodyPartExamined
PatientWeight PatientComments"""
_META = """SourceApplicationEntityTitle SendingApplicationEntityTitle ReceivingApplicationEntityTitle
ImplementationVersionName MediaStorageSOPInstanceUID PrivateInformationCreatorUID PrivateInformation
ImplementationClassUID SourcePresentationAddress"""
_PRIVATE = "AE CS SH LO PN LT ST UC UT UR UI DA DT TM AS DS IS OB UN"


@dataclass
class Planted:
    """What was planted: the number of elements with something in them, by kind of place."""

    counts: dict[str, int] = field(default_factory=dict)

    def add(self, place: str, number: int = 1) -> None:
        self.counts[place] = self.counts.get(place, 0) + number

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def value_for(vr: str, tag: int) -> Any:
    """Something that names a person, as this VR can hold it; None where it can hold nothing of the kind."""
    name = f"{WORD}{tag:08X}"
    if vr in ("AE", "CS", "SH", "LO", "PN", "LT", "ST", "UC", "UT"):
        return f"{name}^JOHN" if vr == "PN" else name
    by_vr = {
        "UR": f"http://{name}.example",
        "UI": f"{UID}.{tag}",
        "DA": DATE,
        "DT": f"{DATE}{TIME}",
        "TM": TIME,
        "AS": "087Y",
        "DS": f"{DIGITS}.5",
        "IS": DIGITS,
    }
    if vr in ("OB", "OW", "UN", "OB or OW", "US or OW", "US or SS or OW", "OL", "OV", "OF", "OD"):
        return (name * 8).encode()[: 8 * (len(name * 8) // 8)]
    return by_vr.get(vr)


def plant(data: Dataset, planted: Planted, kept: frozenset[str], depth: int) -> None:
    """Fill a data set with everything that the dictionary knows, private groups, overlays, curves and nesting.

    kept: numbers that a loop needs, which cannot be told from a person's number, so none is planted there.
    """
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
        if tag >> 16 in (0x0000, 0x0002, 0x0004, 0xFFFE, 0x7FE0) or keyword in NEEDED or keyword in kept:
            continue
        if vr == "SQ":
            deep = depth if tag % 8 == 0 else 1  # all of them this deep would take long
            data.add(DataElement(tag, "SQ", Sequence([_item(planted, deep, tag)])))
        elif (value := value_for(vr, tag)) is not None:
            data.add(DataElement(tag, vr.split(" or ")[-1], value))
            planted.add(f"VR {vr}")
    _repeating(data, planted)
    _private(data, planted, depth)
    data.add(DataElement(0x00080099, "LO", f"{WORD}unknown"))
    planted.add("unknown tags")
    icon = Dataset()
    icon.add(DataElement(0x7FE00010, "OB", f"{WORD}icon".encode() * 4))
    data.IconImageSequence = [icon]
    planted.add("icon")


def _item(planted: Planted, depth: int, tag: int) -> Dataset:
    """A sequence's item with one element of each text VR, a private one, codes, and a sequence of its own."""
    item = Dataset()
    for keyword in _NESTED.split():
        inner = Tag(keyword)
        vr = DicomDictionary[inner][0]
        item.add(DataElement(inner, vr, value_for(vr, tag)))
        planted.add("nested")
    item.CodingSchemeDesignator = "DCM"
    item.private_block(0x0011, f"{WORD} maker", create=True).add_new(1, "LO", f"{WORD} private nested")
    planted.add("private nested", 2)
    if depth > 1:
        item.add(DataElement(0x00081140, "SQ", Sequence([_item(planted, depth - 1, tag)])))
        item.add(DataElement(0x0040A730, "SQ", Sequence([_item(planted, depth - 1, tag)])))
    return item


def _repeating(data: Dataset, planted: Planted) -> None:
    for pattern, (vr, *_) in RepeatersDictionary.items():
        if pattern[:2] in ("50", "60", "7F"):
            tag = int(pattern.replace("x", "0").replace("7F00", "7F02"), 16)
            if (value := value_for(vr, tag)) is not None:
                data.add(DataElement(tag, vr.split(" or ")[-1], value))
                planted.add("overlays and curves")


def _private(data: Dataset, planted: Planted, depth: int) -> None:
    for group in (0x0009, 0x0019, 0x0029, 0x200D, 0x7FE1):
        block = data.private_block(group, f"{WORD} maker", create=True)
        for number, vr in enumerate(_PRIVATE.split()):
            block.add_new(number, vr, value_for(vr, group << 16 | number))
        block.add_new(0x50, "SQ", Sequence([_item(planted, depth, group)]))
        planted.add("private", 20)


def write_planted(
    folder: Path, kept: frozenset[str], syntax: str = JPEG_BASELINE, depth: int = 3
) -> tuple[Path, Planted]:
    """Write a planted loop whose folder and file are named after the person, too."""
    planted = Planted()
    path = folder / f"{WORD}_JOHN" / f"{WORD}^JOHN {DATE}.dcm"
    path.parent.mkdir(parents=True)
    planted.add("names of files", 2)
    write_dicom(path, lettered(sector_frames(8, 240, 320)), syntax=syntax)
    planted.add("letters in pixels")
    with warnings.catch_warnings(), config.disable_value_validation():
        warnings.simplefilter("ignore")
        data = dcmread(path)
        plant(data, planted, kept, depth)
        if syntax == JPEG_BASELINE:
            data.PixelData = _commented(data, planted)
        _meta(data, planted)
        raw = BytesIO()
        data.save_as(raw, enforce_file_format=True)
    padding = b"\xfc\xff\xfc\xffOB\0\0" + (64).to_bytes(4, "little") + (WORD * 16).encode()
    path.write_bytes((WORD * 32).encode() + raw.getvalue()[128:] + padding)
    planted.add("preamble and padding", 2)
    return path, planted


def _meta(data: Dataset, planted: Planted) -> None:
    for keyword in _META.split():
        tag = Tag(keyword)
        data.file_meta[tag] = DataElement(tag, DicomDictionary[tag][0], value_for(DicomDictionary[tag][0], int(tag)))
        planted.add("file meta")


def _commented(data: Dataset, planted: Planted) -> bytes:
    """The JPEG frames with a comment in each."""
    from pydicom.encaps import generate_frames

    text = f"{WORD} comment".encode()
    comment = b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text
    frames = [frame[:2] + comment + frame[2:] for frame in generate_frames(data.PixelData, number_of_frames=8)]
    planted.add("comments in JPEG frames", len(frames))
    return encapsulate([frame + b"\0" * (len(frame) % 2) for frame in frames])


def lettered(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames with a name, a number and a date written beside the sector."""
    out = frames.copy()
    for frame in out:
        for at, text in (((2, 14), "DOE JOHN"), ((2, 30), "1937-03-04"), ((228, 14), "ID 735194")):
            cv2.putText(frame, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 1)
    return out


def found_in(folder: Path) -> dict[str, list[str]]:
    """The marks found in the bytes of every file under `folder`, and in their names; a list of places for each mark."""
    found: dict[str, list[str]] = {mark: [] for mark in MARKS}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        raw = path.read_bytes() if path.is_file() else b""
        for mark in MARKS:
            if mark in name or mark.encode() in raw:
                found[mark].append(name)
    return found
