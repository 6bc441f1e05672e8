"""Frame times in the stated order, ultrasound regions, ECG facts, lossy history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset

from echoq_models.cine import read
from echoq_models.cine.dicom_header import frame_times, heart_rate, lossy_steps, regions, view_label
from tests import make_files as make

FRAME_TIME, FRAME_TIME_VECTOR = 0x00181063, 0x00181065


def header(**elements: Any) -> Dataset:
    data = Dataset()
    for keyword, value in elements.items():
        setattr(data, keyword, value)
    return data


def test_the_vector_gives_real_uneven_times() -> None:
    data = header(FrameIncrementPointer=FRAME_TIME_VECTOR, FrameTimeVector=[0, 20, 30, 40], CineRate=99)
    times, assumed, warnings = frame_times(data, 4)
    assert times.tolist() == [0, 20, 50, 90]
    assert not assumed
    assert warnings == ()


def test_a_vector_without_its_first_zero() -> None:
    times, assumed, _ = frame_times(header(FrameTimeVector=[20, 30, 40]), 4)
    assert times.tolist() == [0, 20, 50, 90]
    assert not assumed


def test_the_pointer_chooses_between_vector_and_frame_time() -> None:
    both = {"FrameTimeVector": [0, 20, 30], "FrameTime": 50}
    assert frame_times(header(FrameIncrementPointer=FRAME_TIME, **both), 3)[0].tolist() == [0, 50, 100]
    assert frame_times(header(FrameIncrementPointer=FRAME_TIME_VECTOR, **both), 3)[0].tolist() == [0, 20, 50]


def test_frame_time_comes_before_cine_rate_and_display_rate_last() -> None:
    data = header(FrameTime=50, CineRate=10, RecommendedDisplayFrameRate=5)
    assert frame_times(data, 2)[0].tolist() == [0, 50]
    del data.FrameTime
    assert frame_times(data, 2)[0].tolist() == [0, 100]
    del data.CineRate
    times, assumed, warnings = frame_times(data, 2)
    assert times.tolist() == [0, 200]
    assert assumed
    assert "recommended display rate of 5" in warnings[0]


def test_no_times_at_all_are_thirty_frames_per_second_and_said() -> None:
    times, assumed, warnings = frame_times(header(), 4)
    assert np.allclose(np.diff(times), 1000 / 30)
    assert assumed
    assert "30 frames per second are assumed" in warnings[-1]


@pytest.mark.parametrize("nonsense", [0, -33.3, 1.5, 1e9])
def test_nonsense_is_refused_aloud(nonsense: float) -> None:
    times, assumed, warnings = frame_times(header(FrameTime=nonsense), 3)
    assert np.allclose(np.diff(times), 1000 / 30)
    assert assumed
    assert "makes no sense" in warnings[0]
    # the next source in the order is used when it makes sense
    times, assumed, warnings = frame_times(header(FrameTime=nonsense, CineRate=20), 3)
    assert times.tolist() == [0, 50, 100]
    assert not assumed
    assert "makes no sense" in warnings[0]


@pytest.mark.parametrize("vector", [[0, 20, 0], [0, -5, 20], [0, 20], [0]])
def test_a_vector_with_nonsense_is_not_used(vector: list[float]) -> None:
    times, assumed, warnings = frame_times(header(FrameTimeVector=vector, FrameTime=25), 4)
    assert times.tolist() == [0, 25, 50, 75]
    assert not assumed
    assert "Frame Time Vector" in warnings[0]


def test_cine_rate_nonsense() -> None:
    assert frame_times(header(CineRate=0), 3)[1]
    assert frame_times(header(CineRate=4000), 3)[1]


def test_a_still_needs_no_times() -> None:
    assert frame_times(header(FrameTime=0), 1)[1:] == (False, ())


def test_header_facts_arrive_in_the_loop(tmp_path: Path) -> None:
    region = header(
        RegionLocationMinX0=4,
        RegionLocationMinY0=2,
        RegionLocationMaxX1=60,
        RegionLocationMaxY1=40,
        RegionSpatialFormat=1,
        RegionDataType=1,
        PhysicalUnitsXDirection=3,
        PhysicalUnitsYDirection=3,
        PhysicalDeltaX=0.025,
        PhysicalDeltaY=-0.03,
    )
    ecg = header(
        RegionLocationMinX0=0,
        RegionLocationMinY0=41,
        RegionLocationMaxX1=63,
        RegionLocationMaxY1=47,
        RegionSpatialFormat=4,
        RegionDataType=0x0A,
        PhysicalUnitsXDirection=4,
        PhysicalUnitsYDirection=0,
        PhysicalDeltaX=0.01,
        PhysicalDeltaY=1.0,
    )
    facts = {"HeartRate": 72, "RWaveTimeVector": [10.0, 840.5], "SequenceOfUltrasoundRegions": [region, ecg]}
    loop = read(make.write_dicom(tmp_path / "loop", make.sector_frames(), **facts))
    assert loop.heart_rate == 72
    assert loop.r_waves_ms == (10.0, 840.5)
    tissue, trace = loop.regions
    assert (tissue.x0, tissue.y0, tissue.x1, tissue.y1) == (4, 2, 60, 40)
    assert tissue.mm_per_pixel_x == pytest.approx(0.25)
    assert tissue.mm_per_pixel_y == pytest.approx(0.3)
    assert (trace.data_type, trace.spatial_format) == (0x0A, 4)
    assert trace.mm_per_pixel_x is None  # seconds, not centimetres


def test_regions_without_bounds_and_heart_rates_of_zero_are_dropped() -> None:
    assert regions(header(SequenceOfUltrasoundRegions=[header(RegionDataType=1)])) == ()
    assert regions(header()) == ()
    assert heart_rate(header(HeartRate=0)) is None
    assert heart_rate(header()) is None


def test_lossy_history() -> None:
    assert lossy_steps(header(), make.EXPLICIT_LITTLE) == ()
    assert lossy_steps(header(LossyImageCompression="00"), make.RLE) == ()
    assert lossy_steps(header(), make.JPEG_BASELINE) == ("JPEG baseline",)
    told = header(LossyImageCompression="01", LossyImageCompressionMethod="ISO_10918_1")
    assert lossy_steps(told, make.JPEG_BASELINE) == ("JPEG baseline",)
    assert lossy_steps(told, make.EXPLICIT_LITTLE) == ("JPEG",)
    twice = header(LossyImageCompression="01", LossyImageCompressionMethod=["ISO_10918_1", "ISO_15444_1"])
    assert lossy_steps(twice, make.JPEG_2000) == ("JPEG", "JPEG 2000")
    assert lossy_steps(twice, make.RLE) == ("JPEG", "JPEG 2000")
    assert lossy_steps(header(LossyImageCompression="01"), make.RLE) == ("unnamed lossy compression",)


def test_a_view_is_told_and_nothing_else_that_stands_in_its_place() -> None:
    from pydicom.dataset import Dataset

    coded = Dataset()
    coded.CodeMeaning = "Apical four chamber"
    assert view_label(header(ViewCodeSequence=[coded])) == "Apical four chamber"
    assert view_label(header(ViewName="A4C")) == "A4C"
    coded.CodeMeaning = "Doe^Jane"
    assert view_label(header(ViewCodeSequence=[coded], ViewName="DOE JANE")) == ""
    assert view_label(header()) == ""
