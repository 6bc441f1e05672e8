"""DICOM out: every pixel comes back, the frames are found through their table, memory stays flat."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import generate_frames, get_frame, parse_basic_offsets

from echoq_models.cine import CineLoop, WriteOptions, dicom_writer, open_writer, read, write
from echoq_models.cine.dicom_derive import derived_header
from echoq_models.errors import Cancelled, OutputError
from tests import make_files as make
from tests.shared import ROOT

ENCODINGS = {"rle": make.RLE, "raw": make.EXPLICIT_LITTLE, "jpeg-ls": make.JPEG_LS}


def source(path: Path, kind: str, height: int = 48, width: int = 64) -> CineLoop:
    """A DICOM loop read from disk: grey, with Doppler colours, or a tinted grey map."""
    frames = make.sector_frames(6, height, width)
    pixels = {"grey": frames, "colour": make.with_doppler(frames), "tinted": make.sepia(frames)}[kind]
    return read(make.write_dicom(path, pixels))


def shown(loop: CineLoop) -> np.ndarray:
    """What is written of a loop: uint8 (T, H, W), or (T, H, W, 3) where it has colour."""
    coloured = loop.colour is not None or loop.tint is not None
    return np.stack([loop.rgb(t) for t in range(len(loop))]) if coloured else loop.frames


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", ["grey", "colour", "tinted"])
def test_every_pixel_comes_back(tmp_path: Path, kind: str, encoding: str) -> None:
    loop = source(tmp_path / "in.dcm", kind)
    write(loop, tmp_path / "out.dcm", options=WriteOptions(dicom_encoding=encoding))
    data = dcmread(tmp_path / "out.dcm")
    assert data.file_meta.TransferSyntaxUID == ENCODINGS[encoding]
    assert data.PhotometricInterpretation == ("MONOCHROME2" if kind == "grey" else "RGB")
    assert np.array_equal(data.pixel_array, shown(loop))
    back = read(tmp_path / "out.dcm")
    assert np.array_equal(back.frames, loop.frames)
    tint_is_learned_anew = kind == "tinted"
    assert np.abs(shown(back).astype(int) - shown(loop)).max() <= tint_is_learned_anew
    assert np.array_equal(back.times_ms, loop.times_ms)
    assert back.warnings == ()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.dcm", "out.dcm"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", ["grey", "colour"])
def test_odd_sizes_are_padded_and_read(tmp_path: Path, kind: str, encoding: str) -> None:
    loop = source(tmp_path / "in.dcm", kind, 37, 51)
    write(CineLoop(loop.frames[:3], loop.times_ms[:3], "test"), tmp_path / "three.dcm")
    write(loop, tmp_path / "out.dcm", options=WriteOptions(dicom_encoding=encoding))
    assert (tmp_path / "out.dcm").stat().st_size % 2 == 0
    assert np.array_equal(shown(read(tmp_path / "out.dcm")), shown(loop))
    assert np.array_equal(read(tmp_path / "three.dcm").frames, loop.frames[:3])


def test_changed_luminance_keeps_colour_and_text(tmp_path: Path) -> None:
    loop = source(tmp_path / "in.dcm", "colour")
    darker = loop.frames // 2
    write(loop, tmp_path / "out.dcm", frames=darker)
    back = read(tmp_path / "out.dcm")
    for t in range(len(loop)):
        coloured = loop.coloured(t)
        assert coloured is not None
        assert np.array_equal(back.rgb(t)[coloured], loop.rgb(t)[coloured])
        assert np.array_equal(back.frames[t][~coloured], darker[t][~coloured])


@pytest.mark.parametrize("encoding", ["rle", "jpeg-ls"])
def test_the_offset_table_finds_each_frame(tmp_path: Path, encoding: str) -> None:
    loop = source(tmp_path / "in.dcm", "grey")
    write(loop, tmp_path / "out.dcm", options=WriteOptions(dicom_encoding=encoding))
    data = dcmread(tmp_path / "out.dcm")
    offsets = parse_basic_offsets(data.PixelData)
    assert len(offsets) == len(loop)
    for t, coded in enumerate(generate_frames(data.PixelData, number_of_frames=len(loop))):
        at = 8 + 4 * len(loop) + offsets[t]
        assert data.PixelData[at : at + 4] == b"\xfe\xff\x00\xe0"
        assert data.PixelData[at + 8 : at + 8 + len(coded)] == coded


def test_the_extended_table_where_four_gigabytes_may_not_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_writer, "LONGEST", 20_000)
    loop = source(tmp_path / "in.dcm", "grey")
    write(loop, tmp_path / "out.dcm")
    data = dcmread(tmp_path / "out.dcm")
    assert parse_basic_offsets(data.PixelData) == []
    table = (data.ExtendedOffsetTable, data.ExtendedOffsetTableLengths)
    whole = list(generate_frames(data.PixelData, number_of_frames=len(loop)))
    for t in (5, 0, 3):
        assert get_frame(data.PixelData, t, extended_offsets=table, number_of_frames=len(loop)) == whole[t]
    assert np.array_equal(data.pixel_array, loop.frames)
    assert np.array_equal(read(tmp_path / "out.dcm").frames, loop.frames)


def test_uncompressed_pixels_beyond_four_gigabytes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_writer, "LONGEST", 10_000)
    loop = CineLoop(make.sector_frames(), np.arange(6) * 40.0, "test")
    with pytest.raises(OutputError, match=r"out\.dcm: uncompressed pixels of more than 4 GiB"):
        write(loop, tmp_path / "out.dcm", options=WriteOptions(dicom_encoding="raw"))
    assert list(tmp_path.iterdir()) == []


def test_nothing_half_written_is_left(tmp_path: Path, small_loop: CineLoop) -> None:
    write(small_loop, tmp_path / "out.dcm")
    before = (tmp_path / "out.dcm").read_bytes()
    asked = iter([False, False, True])
    with pytest.raises(Cancelled):
        write(small_loop, tmp_path / "out.dcm", cancel=lambda: next(asked))
    with pytest.raises(OutputError, match="only 1 of 6 frames"):  # noqa: SIM117
        with open_writer(tmp_path / "out.dcm", (48, 64), small_loop.times_ms, header=derived_header(small_loop)) as to:
            to.add(small_loop.frames[0])
    assert (tmp_path / "out.dcm").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["out.dcm"]


def test_a_header_of_other_frames_is_refused(tmp_path: Path, small_loop: CineLoop) -> None:
    other = CineLoop(small_loop.frames[:2], small_loop.times_ms[:2], "test")
    for header in (None, derived_header(other)):
        with pytest.raises(ValueError, match="derived_header"):
            open_writer(tmp_path / "out.dcm", small_loop.size, small_loop.times_ms, header=header)
    assert list(tmp_path.iterdir()) == []


MEMORY = """
import resource, sys
import numpy as np
from echoq_models.cine import CineLoop, open_writer, WriteOptions
from echoq_models.cine.dicom_derive import derived_header
frame = np.random.default_rng(0).integers(0, 40, (768, 1024), dtype=np.uint8)
loop = CineLoop(np.broadcast_to(frame, (300, 768, 1024)), np.arange(300) * 20.0, "test")
options = WriteOptions(dicom_encoding=sys.argv[2])
with open_writer(sys.argv[1], loop.size, loop.times_ms, options=options, header=derived_header(loop)) as writer:
    writer.add(frame)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(299):
        writer.add(frame)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("encoding", ["rle", "raw"])
def test_memory_stays_flat_over_300_large_frames(tmp_path: Path, encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path / "long.dcm"), encoding],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 16_000  # KiB more after 300 frames of 768 KiB than after one
    assert int(dcmread(tmp_path / "long.dcm", stop_before_pixels=True).NumberOfFrames) == 300
