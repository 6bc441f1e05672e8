"""Films inside DICOM: every family and packing, whole and damaged. The films are made on the spot."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence

from echoq_models.cine import read, write
from echoq_models.errors import InputError
from tests import make_files as make

MPEG2, MPEG2_PIECES = "1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.101.1"
H264, H264_PIECES = "1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.106.1"
HEVC, HEVC_TEN_BIT = "1.2.840.10008.1.2.4.107", "1.2.840.10008.1.2.4.108"
CODECS = {
    "MPEG-2": ("-c:v", "mpeg2video", "-q:v", "2", "-pix_fmt", "yuv420p"),
    "H.264": ("-c:v", "libx264", "-crf", "10", "-pix_fmt", "yuv420p"),
    "HEVC": ("-c:v", "libx265", "-crf", "10", "-pix_fmt", "yuv420p", "-x265-params", "log-level=none"),
}
KINDS = [
    ("MPEG-2", "mpeg2video", MPEG2, 0),
    ("MPEG-2", "mpegts", MPEG2_PIECES, 500),
    ("MPEG-2", "vob", MPEG2, 0),
    ("H.264", "h264", H264, 0),
    ("H.264", "mp4", H264, 0),
    ("H.264", "mpegts", H264_PIECES, 700),
    ("HEVC", "hevc", HEVC, 0),
    ("HEVC", "mp4", HEVC_TEN_BIT, 0),
    ("HEVC", "mpegts", HEVC, 900),
]


def frames(count: int = 8) -> np.ndarray:
    """Smooth pictures, which lossy compression keeps well."""
    y, x = np.mgrid[:64, :96]
    return np.stack([(120 + 80 * np.sin(x / 9 + t / 2) * np.cos(y / 11)).astype(np.uint8) for t in range(count)])


def film(folder: Path, pixels: np.ndarray, codec: str, container: str) -> bytes:
    path = make.write_video(folder / "film", pixels, *CODECS[codec], container=container)
    data = path.read_bytes()
    path.unlink()
    return data


@pytest.mark.parametrize(("codec", "container", "syntax", "fragment"), KINDS)
def test_every_family_and_packing(tmp_path: Path, codec: str, container: str, syntax: str, fragment: int) -> None:
    pixels = frames()
    path = tmp_path / "loop"
    make.write_dicom_film(path, film(tmp_path, pixels, codec, container), pixels, syntax, fragment=fragment)
    seen: list[tuple[int, int]] = []
    loop = read(path, progress=lambda done, total: seen.append((done, total)))
    assert loop.frames.shape == pixels.shape
    assert np.abs(loop.frames.astype(int) - pixels).mean() < 3
    assert loop.kind == "DICOM"
    assert loop.lossy == (codec,)
    assert loop.warnings == ()
    assert not loop.times_assumed
    assert np.allclose(loop.times_ms, np.arange(8) * 40.0)  # the header's
    assert loop.header is not None
    assert loop.header.PatientName == "Nobody^Synthetic"
    assert seen[-1] == (8, 8)


def test_colour_is_kept(tmp_path: Path) -> None:
    pixels = make.with_doppler(make.sector_frames(4, 96, 128))
    path = make.write_dicom_film(tmp_path / "loop", film(tmp_path, pixels, "H.264", "mp4"), pixels, H264)
    coloured = read(path).coloured(2)
    assert coloured is not None
    assert coloured[40:44, 50:60].all()


def test_times_of_the_header_come_first(tmp_path: Path) -> None:
    pixels = frames()
    data = film(tmp_path, pixels, "H.264", "mp4")  # says 25 frames per second
    steps = [0, 20, 21, 22, 20, 21, 22, 20]
    facts = {"FrameTimeVector": steps, "FrameIncrementPointer": 0x00181065}
    loop = read(make.write_dicom_film(tmp_path / "a", data, pixels, H264, frame_time=None, **facts))
    assert np.allclose(loop.times_ms, np.cumsum(steps))
    loop = read(make.write_dicom_film(tmp_path / "b", data, pixels, H264, frame_time=None, CineRate=50))
    assert loop.fps == pytest.approx(50)


def test_times_of_the_film_where_the_header_has_none(tmp_path: Path) -> None:
    pixels = frames()
    path = tmp_path / "loop"
    loop = read(make.write_dicom_film(path, film(tmp_path, pixels, "H.264", "mp4"), pixels, H264, frame_time=None))
    assert loop.fps == pytest.approx(25, rel=1e-3)
    assert not loop.times_assumed
    assert loop.warnings == ()
    bare = film(tmp_path, pixels, "H.264", "h264")  # has no clock of its own
    loop = read(make.write_dicom_film(path, bare, pixels, H264, frame_time=None))
    assert loop.times_assumed
    assert loop.fps == pytest.approx(30)


@pytest.mark.parametrize(("codec", "container", "syntax"), [("MPEG-2", "mpegts", MPEG2), ("H.264", "h264", H264)])
def test_a_film_cut_short_gives_its_beginning(tmp_path: Path, codec: str, container: str, syntax: str) -> None:
    pixels = np.concatenate([make.sector_frames(20, 64, 96, seed) for seed in range(2)])
    data = film(tmp_path, pixels, codec, container)
    path = make.write_dicom_film(tmp_path / "loop", data, pixels, syntax)
    path.write_bytes(path.read_bytes()[: -len(data) // 3])
    loop = read(path)
    assert 10 < len(loop) < 40
    assert f"{len(loop)} of 40 frames" in loop.warnings[0]
    assert len(loop.times_ms) == len(loop)


def test_damage_within_the_film_is_told(tmp_path: Path) -> None:
    pixels = make.sector_frames(40, 64, 96)
    data = bytearray(film(tmp_path, pixels, "H.264", "mpegts"))
    data[len(data) // 2 : len(data) // 2 + 3000] = bytes(3000)
    loop = read(make.write_dicom_film(tmp_path / "loop", bytes(data), pixels, H264))
    assert len(loop) > 10
    assert "damaged" in loop.warnings[0]


def test_a_header_that_counts_or_measures_wrongly(tmp_path: Path) -> None:
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 2, 4
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 40, 30
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX = region.PhysicalDeltaY = 0.1
    pixels = frames()
    path = make.write_dicom_film(
        tmp_path / "loop",
        film(tmp_path, pixels, "H.264", "mp4"),
        pixels[:5, ::2, ::2],  # half as large, and fewer
        H264,
        SequenceOfUltrasoundRegions=Sequence([region]),
    )
    loop = read(path)
    assert len(loop) == 8
    assert "holds 8 frames where the header says 5" in loop.warnings[0]
    assert "96 x 64 pixels where the header says 48 x 32" in loop.warnings[1]
    found = loop.regions[0]
    assert (found.x0, found.y0, found.x1, found.y1) == (4, 8, 80, 60)
    assert found.mm_per_pixel_x == pytest.approx(0.5)
    write(loop, tmp_path / "out.dcm")
    assert read(tmp_path / "out.dcm").regions == loop.regions


def test_nothing_to_decode_is_one_sentence(tmp_path: Path) -> None:
    pixels = frames()
    for data in (b"no film at all" * 40, b"\0" * 4000):
        with pytest.raises(InputError, match="film"):
            read(make.write_dicom_film(tmp_path / "loop", data, pixels, HEVC))
    path = make.write_dicom_film(tmp_path / "loop", b"", pixels, H264)
    with pytest.raises(InputError, match="cut off before its film begins"):
        read(path)


def test_the_copy_is_gone_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aside = tmp_path / "aside"
    aside.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(aside))
    pixels = frames()
    data = film(tmp_path, pixels, "H.264", "mp4")
    read(make.write_dicom_film(tmp_path / "loop", data, pixels, H264))
    with pytest.raises(InputError):
        read(make.write_dicom_film(tmp_path / "bad", data[:90], pixels, H264))
    assert list(aside.iterdir()) == []


def test_a_film_denoised_becomes_an_ultrasound_object(tmp_path: Path) -> None:
    pixels = frames()
    path = make.write_dicom_film(tmp_path / "loop", film(tmp_path, pixels, "H.264", "mp4"), pixels, H264)
    loop = read(path)
    write(loop, tmp_path / "out.dcm", frames=loop.frames // 2)
    data = dcmread(tmp_path / "out.dcm")
    assert data.SOPClassUID == make.US_MULTIFRAME
    assert data.file_meta.TransferSyntaxUID == make.RLE
    assert data.LossyImageCompressionMethod == "ISO_14496_10"
    assert read(tmp_path / "out.dcm").lossy == ("H.264",)
