"""A phantom loop as DICOM: Ultrasound Multi-frame Image Storage, and openly a simulation.

Modules of PS3.3 A.7: cine (C.7.6.5), ultrasound region calibration (C.8.5.5), US image (C.8.5.6). The same loop gives
the same bytes: UIDs come from seed and pixels, there is no date.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import echoq_models
from training.phantom.overlay import Beat, ecg_box

if TYPE_CHECKING:
    from pydicom import Dataset

U8 = NDArray[np.uint8]
Mask = NDArray[np.bool_]

US_MULTI_FRAME = "1.2.840.10008.5.1.4.1.1.3.1"
RLE, JPEG_LS = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80"
TISSUE, ECG_TRACE = 0x0001, 0x000A  # RegionDataType
TWO_D, WAVEFORM = 1, 4  # RegionSpatialFormat
NONE, CENTIMETRES, SECONDS = 0, 3, 4  # PhysicalUnits


@dataclass(frozen=True)
class DicomFacts:
    """What stands in the header. frame_ms: from one frame to the next.  sector: bool (H, W).  mm_per_pixel: x, y.
    compress: JPEG-LS lossless in place of RLE."""

    seed: int
    frame_ms: float
    heart_rate: int
    beat: Beat
    sector: Mask
    mm_per_pixel: tuple[float, float]
    compress: bool = False


def write_dicom(path: Path, frames: U8, facts: DicomFacts) -> None:
    """Write `frames`, uint8 (T, H, W), to `path`. Raises OSError."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    data = header(frames, facts)
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.compress(UID(JPEG_LS if facts.compress else RLE), frames, generate_instance_uid=False)
    data.save_as(path, enforce_file_format=True)


def header(frames: U8, facts: DicomFacts) -> Dataset:
    """The data set without its pixels."""
    from pydicom import Dataset
    from pydicom.uid import generate_uid

    content = [str(facts.seed), hashlib.sha256(np.ascontiguousarray(frames).data).hexdigest()]
    data = Dataset()
    data.SpecificCharacterSet = "ISO_IR 192"
    data.ImageType = ["ORIGINAL", "PRIMARY"]
    data.SOPClassUID = US_MULTI_FRAME
    data.SOPInstanceUID, data.StudyInstanceUID, data.SeriesInstanceUID = (
        generate_uid(entropy_srcs=[*content, of]) for of in ("instance", "study", "series")
    )
    data.StudyDate = data.StudyTime = data.AccessionNumber = data.ReferringPhysicianName = data.StudyID = ""
    data.PatientName, data.PatientID = "Phantom^EchoQ", f"phantom-{facts.seed}"
    data.PatientBirthDate = data.PatientSex = data.PatientOrientation = data.Laterality = ""
    data.Modality, data.SeriesNumber, data.InstanceNumber = "US", 1, 1
    data.Manufacturer, data.ManufacturerModelName = "EchoQ", "physics phantom"
    data.SoftwareVersions = echoq_models.__version__
    data.SeriesDescription = "Simulated phantom, apical four chamber, not a patient"
    data.ViewCodeSequence = [_code("399214001", "SCT", "Apical four chamber")]
    data.QualityControlImage = "YES"  # PS3.3 C.7.6.1: an image of a phantom
    data.BurnedInAnnotation = "NO"  # words and trace are drawn in, but nothing that names a person or a date
    data.LossyImageCompression = "00"
    _pixel_module(data, frames)
    _cine_module(data, len(frames), facts)
    data.SequenceOfUltrasoundRegions = [_sector_region(facts), _ecg_region(facts)]
    return data


def _pixel_module(data: Dataset, frames: U8) -> None:
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.NumberOfFrames, data.Rows, data.Columns = (int(n) for n in frames.shape)
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.UltrasoundColorDataPresent = 0


def _cine_module(data: Dataset, count: int, facts: DicomFacts) -> None:
    data.FrameIncrementPointer = 0x00181063
    data.FrameTime = f"{facts.frame_ms:.9f}"[:16]
    data.CineRate = data.RecommendedDisplayFrameRate = round(1000 / facts.frame_ms)
    data.StartTrim, data.StopTrim = 1, count
    data.PreferredPlaybackSequencing = 0  # again from the start
    data.HeartRate = facts.heart_rate
    data.RWaveTimeVector = facts.beat.r_waves_ms


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _region(box: tuple[int, int, int, int], kind: int, shape: int, **more: Any) -> Dataset:
    """An item of the Sequence of Ultrasound Regions; box: x0, y0, x1, y1, inclusive."""
    from pydicom import Dataset

    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = shape, kind, 0
    item.RegionLocationMinX0, item.RegionLocationMinY0, item.RegionLocationMaxX1, item.RegionLocationMaxY1 = box
    for name, value in more.items():
        setattr(item, name, value)
    return item


def _sector_region(facts: DicomFacts) -> Dataset:
    rows, columns = np.flatnonzero(facts.sector.any(axis=1)), np.flatnonzero(facts.sector.any(axis=0))
    box = int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])
    x, y = facts.mm_per_pixel
    return _region(
        box,
        TISSUE,
        TWO_D,
        PhysicalUnitsXDirection=CENTIMETRES,
        PhysicalUnitsYDirection=CENTIMETRES,
        PhysicalDeltaX=x / 10,
        PhysicalDeltaY=y / 10,
    )


def _ecg_region(facts: DicomFacts) -> Dataset:
    box = ecg_box((facts.sector.shape[0], facts.sector.shape[1]))
    start, end = facts.beat.shown_ms
    first = round(box.column(0.0, facts.beat))
    return _region(
        (box.x0, box.y0, box.x1, box.y1),
        ECG_TRACE,
        WAVEFORM,
        PhysicalUnitsXDirection=SECONDS,
        PhysicalUnitsYDirection=NONE,
        PhysicalDeltaX=(end - start) / 1000 / (box.x1 - box.x0),
        PhysicalDeltaY=1.0,
        ReferencePixelX0=first - box.x0,  # the first frame's time
        ReferencePixelY0=0,
        ReferencePixelPhysicalValueX=0.0,
        ReferencePixelPhysicalValueY=0.0,
    )
