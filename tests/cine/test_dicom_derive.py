"""The header of a derived object: what is carried, what is made true, what is left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence

import echoq_models
from echoq_models.cine import CineLoop, read, write
from echoq_models.cine.dicom_derive import Provenance, derived_header
from tests import make_files as make

SHA = "5e" * 32
FAST = Provenance("denoised by model fast, research use", {"weights": "Fast network", "sha256": SHA, "strength": 0.5})
US_IMAGE, US_FRAMES = "1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.3.1"
CAPTURED_GREY, CAPTURED_COLOUR = "1.2.840.10008.5.1.4.1.1.7.2", "1.2.840.10008.5.1.4.1.1.7.4"


def region() -> Dataset:
    """A tissue region with a spacing of 0.5 mm."""
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = 1, 1, 0
    item.RegionLocationMinX0, item.RegionLocationMinY0 = 4, 2
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = 59, 45
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
    item.PhysicalDeltaX = item.PhysicalDeltaY = 0.05
    return item


def source(path: Path, **elements: Any) -> CineLoop:
    """A grey ultrasound loop with the usual header."""
    facts: dict[str, Any] = {
        "ImageType": ["ORIGINAL", "PRIMARY", "TTE", "0001"],
        "PatientBirthDate": "19500101",
        "StudyDate": "20200102",
        "SeriesNumber": 3,
        "InstanceNumber": 7,
        "SeriesDescription": "Apical four chamber",
        "Manufacturer": "Maker",
        "HeartRate": 66,
        "RWaveTimeVector": [10.0, 900.0],
        "StartTrim": 1,
        "StopTrim": 6,
        "SequenceOfUltrasoundRegions": Sequence([region()]),
        **elements,
    }
    return read(make.write_dicom(path, make.sector_frames(), **facts))


def derive(loop: CineLoop, provenance: Provenance = FAST) -> Dataset:
    return derived_header(loop, provenance)


def test_an_ultrasound_loop_stays_one_of_the_same_study(tmp_path: Path) -> None:
    loop = source(tmp_path / "in")
    data = derive(loop)
    header = loop.header
    assert header is not None
    assert data.SOPClassUID == US_FRAMES
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyDate", "StudyInstanceUID", "Manufacturer"):
        assert data[keyword].value == header[keyword].value
    assert data.SOPInstanceUID != header.SOPInstanceUID
    assert data.SeriesInstanceUID != header.SeriesInstanceUID
    assert data.SeriesNumber == 1003
    assert data.InstanceNumber == 7
    assert list(data.ImageType) == ["DERIVED", "SECONDARY", "TTE", "0001"]
    assert data.SeriesDescription == "Apical four chamber [denoised by model fast, research use]"
    assert "PixelData" not in data


def test_one_series_for_loops_treated_alike(tmp_path: Path) -> None:
    loop = source(tmp_path / "in")
    other = replace(FAST, parameters={**FAST.parameters, "strength": 1.0})
    assert derive(loop).SeriesInstanceUID == derive(loop).SeriesInstanceUID
    assert derive(loop).SOPInstanceUID != derive(loop).SOPInstanceUID
    assert derive(loop, other).SeriesInstanceUID != derive(loop).SeriesInstanceUID


def test_provenance_is_in_the_header(tmp_path: Path) -> None:
    loop = source(tmp_path / "in", DerivationDescription="scan converted")
    data = derive(loop)
    start, _, rest = data.DerivationDescription.partition("; ")
    assert start == "scan converted"
    for word in (f"EchoQ {echoq_models.__version__}", "model fast", SHA, "strength 0.5", "research use"):
        assert word in rest
    image, maker = data.SourceImageSequence[0], data.ContributingEquipmentSequence[0]
    assert loop.header is not None
    assert image.ReferencedSOPInstanceUID == loop.header.SOPInstanceUID
    assert image.ReferencedSOPClassUID == US_FRAMES
    purpose = image.PurposeOfReferenceCodeSequence[0]
    assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("121322", "DCM")
    assert maker.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert (maker.Manufacturer, maker.SoftwareVersions) == ("EchoQ", echoq_models.__version__)
    assert SHA in maker.ContributionDescription


def test_a_derived_object_says_so_and_keeps_its_history(tmp_path: Path) -> None:
    write(source(tmp_path / "a"), tmp_path / "b.dcm", options=_options(FAST))
    once = read(tmp_path / "b.dcm")
    assert len(once.warnings) == 1
    assert "derived" in once.warnings[0]
    assert "denoised by model fast" in once.warnings[0]
    write(once, tmp_path / "c.dcm", options=_options(Provenance("denoised by bm3d, research use", {"sigma": 12.5})))
    twice = read(tmp_path / "c.dcm")
    assert "denoised by model fast, then denoised by bm3d" in twice.warnings[0]
    data = dcmread(tmp_path / "c.dcm")
    assert data.DerivationDescription.index("model fast") < data.DerivationDescription.index("bm3d")
    assert len(data.SourceImageSequence) == len(data.ContributingEquipmentSequence) == 2
    assert data.SeriesDescription == "Apical four chamber [denoised by bm3d, research use]"


def test_long_texts_lose_their_oldest_words_only(tmp_path: Path) -> None:
    loop = source(tmp_path / "in", DerivationDescription="x" * 1000, SeriesDescription="y" * 64)
    data = derive(loop)
    assert len(data.DerivationDescription) == 1024
    assert SHA in data.DerivationDescription
    assert len(data.SeriesDescription) == 64
    assert data.SeriesDescription.endswith(" [denoised by model fast, research use]")


def test_cine_and_regions_are_carried(tmp_path: Path) -> None:
    loop = source(tmp_path / "in", CineRate=25, PreferredPlaybackSequencing=0)
    write(loop, tmp_path / "out.dcm")
    back, data = read(tmp_path / "out.dcm"), dcmread(tmp_path / "out.dcm")
    assert data.FrameTime == 40.0
    assert data.FrameIncrementPointer == 0x00181063
    assert (data.CineRate, data.HeartRate, data.StopTrim) == (25, 66, 6)
    assert back.regions == loop.regions
    assert back.regions[0].mm_per_pixel_x == pytest.approx(0.5)
    assert back.r_waves_ms == (10.0, 900.0)
    assert back.heart_rate == 66


def test_uneven_times_go_into_the_vector(tmp_path: Path) -> None:
    loop = source(tmp_path / "in", FrameTimeVector=[0, 31.25, 39.5, 32, 48, 35], FrameIncrementPointer=0x00181065)
    write(loop, tmp_path / "out.dcm")
    data = dcmread(tmp_path / "out.dcm")
    assert data.FrameIncrementPointer == 0x00181065
    assert "FrameTime" not in data
    assert np.allclose(read(tmp_path / "out.dcm").times_ms, loop.times_ms, atol=1e-6)


def test_assumed_times_are_never_stated_as_acquired(tmp_path: Path) -> None:
    loop = read(make.write_dicom(tmp_path / "in", make.sector_frames(), frame_time=None))
    assert loop.times_assumed
    write(loop, tmp_path / "out.dcm")
    data = dcmread(tmp_path / "out.dcm")
    assert not {"FrameTime", "FrameTimeVector", "CineRate"} & set(data.dir())
    assert data.RecommendedDisplayFrameRate == 30
    assert read(tmp_path / "out.dcm").times_assumed


def test_a_damaged_source_gives_times_and_counts_of_what_is_left(tmp_path: Path) -> None:
    path = tmp_path / "in"
    source(path, FrameTimeVector=[0, 31, 39, 32, 48, 35], FrameIncrementPointer=0x00181065, EffectiveDuration=0.185)
    path.write_bytes(path.read_bytes()[:-9000])  # the last three frames
    loop = read(path)
    assert len(loop) == 3
    write(loop, tmp_path / "out.dcm")
    data = dcmread(tmp_path / "out.dcm")
    assert data.NumberOfFrames == 3
    assert list(data.FrameTimeVector) == [0, 31, 39]
    assert not {"StartTrim", "StopTrim", "EffectiveDuration"} & set(data.dir())
    assert np.array_equal(read(tmp_path / "out.dcm").times_ms, loop.times_ms)


def test_how_the_old_pixels_were_stored_is_not_carried(tmp_path: Path) -> None:
    stored = make.sector_frames().astype(np.uint16) * 16
    facts = {"WindowCenter": 2040, "WindowWidth": 4081, "RescaleSlope": 1, "RescaleIntercept": 0}
    loop = read(make.write_dicom(tmp_path / "in", stored, bits_stored=12, SmallestImagePixelValue=3, **facts))
    data = derive(loop)
    assert (data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation) == (8, 8, 7, 0)
    assert not {*facts, "SmallestImagePixelValue", "PixelPaddingValue"} & set(data.dir())


def test_private_elements_and_signatures_are_left_out(tmp_path: Path) -> None:
    loop = source(tmp_path / "in")
    assert loop.header is not None
    block = loop.header.private_block(0x0019, "MAKER", create=True)
    block.add_new(0x50, "LO", "of the maker")
    loop.header.SequenceOfUltrasoundRegions[0].add_new(0x00191050, "LO", "nested")
    loop.header.DigitalSignaturesSequence = Sequence([Dataset()])
    data = derive(loop)
    assert not [element for element in data.iterall() if element.tag.is_private]
    assert "DigitalSignaturesSequence" not in data
    assert block[0x50].value == "of the maker"  # the loop's own header stays as it was


def test_damaged_elements_cost_only_themselves(tmp_path: Path) -> None:
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    loop = source(tmp_path / "in")
    assert loop.header is not None
    for tag, vr, value in ((0x00101010, "AS", b"\xff" * 40), (0x00181244, "US", b"\1"), (0x00080060, "CS", b"US")):
        loop.header._dict[Tag(tag)] = RawDataElement(Tag(tag), vr, len(value), value, 0, False, True)
    write(loop, tmp_path / "out.dcm")
    back = read(tmp_path / "out.dcm")
    assert np.array_equal(back.frames, loop.frames)
    assert back.header is not None
    assert back.header.PatientID == "0"


def test_lossy_once_is_lossy_for_ever(tmp_path: Path) -> None:
    frames = make.sector_frames()
    path = make.write_dicom(tmp_path / "in", frames, syntax=make.JPEG_BASELINE)  # its header does not even say so
    once = read(path)
    data = derive(once)
    assert data.LossyImageCompression == "01"
    assert data.LossyImageCompressionMethod == "ISO_10918_1"
    assert float(data.LossyImageCompressionRatio) == pytest.approx(frames.size / path.stat().st_size, rel=0.01)
    write(once, tmp_path / "out.dcm")
    assert read(tmp_path / "out.dcm").lossy == ("JPEG",)


def test_earlier_lossy_steps_come_first(tmp_path: Path) -> None:
    facts = {
        "LossyImageCompression": "01",
        "LossyImageCompressionMethod": "ISO_14496_10",
        "LossyImageCompressionRatio": 20,
    }
    frames = make.sector_frames()
    data = derive(read(make.write_dicom(tmp_path / "in", frames, syntax=make.JPEG_2000, **facts)))
    assert list(data.LossyImageCompressionMethod) == ["ISO_14496_10", "ISO_15444_1"]
    assert data.LossyImageCompressionRatio[0] == 20
    assert len(data.LossyImageCompressionRatio) == 2
    data = derive(read(make.write_dicom(tmp_path / "in2", frames, **facts)))  # stored losslessly after H.264
    assert data.LossyImageCompressionMethod == "ISO_14496_10"
    assert data.LossyImageCompressionRatio == 20


def test_a_lossless_source_is_not_called_lossy(tmp_path: Path) -> None:
    assert "LossyImageCompression" not in derive(source(tmp_path / "in"))
    assert derive(source(tmp_path / "in2", LossyImageCompression="00")).LossyImageCompression == "00"


@pytest.mark.parametrize("said", ["YES", "NO", None])
def test_burned_in_annotation_is_never_invented(tmp_path: Path, said: str | None) -> None:
    facts = {"BurnedInAnnotation": said} if said else {}
    assert derive(source(tmp_path / "in", **facts)).get("BurnedInAnnotation") == said


def test_a_still_stays_a_single_frame_object(tmp_path: Path) -> None:
    loop = read(make.write_dicom(tmp_path / "in", make.sector_frames(1), sop_class=US_IMAGE))
    data = derive(loop)
    assert data.SOPClassUID == US_IMAGE
    assert not {"NumberOfFrames", "FrameTime", "FrameIncrementPointer"} & set(data.dir())


@pytest.mark.parametrize("colour", [False, True])
def test_a_film_becomes_a_secondary_capture(tmp_path: Path, colour: bool) -> None:
    frames = make.sector_frames()
    pixels = make.with_doppler(frames) if colour else frames
    loop = read(make.write_video(tmp_path / "in.mp4", pixels, "-c:v", "libx264", fps=25))
    write(loop, tmp_path / "out.dcm", frames=loop.frames // 2, options=_options(FAST))
    data = dcmread(tmp_path / "out.dcm")
    assert data.SOPClassUID == (CAPTURED_COLOUR if colour else CAPTURED_GREY)
    assert data.BurnedInAnnotation == "YES"
    assert (data.PatientName, data.PatientID) == ("", "")
    assert data.LossyImageCompressionMethod == "ISO_14496_10"
    assert float(data.FrameTime) == pytest.approx(40.0, abs=0.02)
    assert "SourceImageSequence" not in data
    assert SHA in data.DerivationDescription
    back = read(tmp_path / "out.dcm")
    assert back.lossy == ("H.264",)
    assert np.allclose(back.times_ms, loop.times_ms, atol=1e-3)


def test_regions_follow_a_picture_of_another_size(tmp_path: Path) -> None:
    loop = source(tmp_path / "in")
    twice = replace(loop, frames=np.repeat(np.repeat(loop.frames, 2, axis=1), 2, axis=2))
    write(twice, tmp_path / "out.dcm")
    found = read(tmp_path / "out.dcm").regions[0]
    assert (found.x0, found.y0, found.x1, found.y1) == (8, 4, 118, 90)
    assert found.mm_per_pixel_x == pytest.approx(0.25)
    assert loop.header is not None
    assert loop.header.SequenceOfUltrasoundRegions[0].PhysicalDeltaX == 0.05


def test_a_big_endian_source_and_an_implicit_one(tmp_path: Path) -> None:
    for syntax in (make.EXPLICIT_BIG, make.IMPLICIT_LITTLE, make.DEFLATED):
        facts = {"SequenceOfUltrasoundRegions": Sequence([region()]), "HeartRate": 66}
        loop = read(make.write_dicom(tmp_path / "in", make.sector_frames(), syntax=syntax, **facts))
        write(loop, tmp_path / "out.dcm")
        back = read(tmp_path / "out.dcm")
        assert back.regions == loop.regions
        assert back.heart_rate == 66
        assert np.array_equal(back.frames, loop.frames)


def test_times_are_in_the_time_zone_of_the_header(tmp_path: Path) -> None:
    from datetime import UTC, datetime, timedelta

    data = derive(source(tmp_path / "in", TimezoneOffsetFromUTC="+0530"))
    said = data.ContributingEquipmentSequence[0].ContributionDateTime
    assert said.endswith("+0530")
    assert data.InstanceCreationDate + data.InstanceCreationTime == said[:14]
    there = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=5.5)
    assert abs(datetime.strptime(said[:14], "%Y%m%d%H%M%S") - there) < timedelta(minutes=2)


def test_names_in_other_scripts_survive(tmp_path: Path) -> None:
    loop = source(tmp_path / "in", SpecificCharacterSet="ISO_IR 192", PatientName="Łukasz^Żółw")
    write(loop, tmp_path / "out.dcm")
    assert dcmread(tmp_path / "out.dcm").PatientName == "Łukasz^Żółw"


def _options(provenance: Provenance) -> Any:
    from echoq_models.cine import WriteOptions

    return WriteOptions(provenance=provenance)
