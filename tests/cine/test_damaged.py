"""Two thousand damaged files: each is a loop or one sentence; nothing crashes, hangs, raises or names a patient."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from echoq_models.cine import CineLoop, read
from echoq_models.errors import InputError
from tests import make_files as make

GREY = make.sector_frames(3, 32, 40)  # JPEG 2000 needs 32 for its six resolutions
RGB = make.with_doppler(GREY)
DEEP = GREY.astype(np.uint16) * 16
Maker = Callable[[Path], object]


def dicom(pixels: np.ndarray, syntax: str, **facts: object) -> Maker:
    return lambda path: make.write_dicom(path, pixels, syntax=syntax, HeartRate=60, **facts)  # type: ignore[arg-type]


def still(pixels: np.ndarray, kind: str) -> Maker:
    return lambda path: Image.fromarray(pixels).save(path, format=kind)


def film(container: str, *codec: str) -> Maker:
    return lambda path: make.write_video(path, GREY, *codec, container=container)


# name: (how to make it, how many damaged copies). Films and what is decoded in a process of its own cost most.
KINDS: dict[str, tuple[Maker, int]] = {
    "raw": (dicom(GREY, make.EXPLICIT_LITTLE), 170),
    "implicit": (dicom(RGB, make.IMPLICIT_LITTLE), 120),
    "big endian": (dicom(GREY, make.EXPLICIT_BIG), 120),
    "deflated": (dicom(GREY, make.DEFLATED), 120),
    "twelve bits": (dicom(DEEP, make.EXPLICIT_LITTLE, bits_stored=12), 120),
    "RLE": (dicom(RGB, make.RLE), 170),
    "JPEG": (dicom(GREY, make.JPEG_BASELINE), 170),
    "JPEG 4:2:2": (dicom(make.rgb_to_ybr(RGB), make.JPEG_BASELINE, photometric="YBR_FULL_422"), 120),
    "JPEG 2000": (dicom(GREY, make.JPEG_2000_LOSSLESS), 170),
    "JPEG 2000 colour": (dicom(RGB, make.JPEG_2000_LOSSLESS, photometric="YBR_RCT"), 120),
    "JPEG lossless": (dicom(DEEP, make.JPEG_LOSSLESS_SV1, bits_stored=12), 12),
    "JPEG-LS": (dicom(GREY, make.JPEG_LS), 12),
    "GIF": (lambda path: make.write_gif(path, GREY, [40, 40, 40]), 170),
    "PNG": (still(GREY[0], "PNG"), 120),
    "JPEG still": (still(RGB[0], "JPEG"), 120),
    "BMP": (still(RGB[0], "BMP"), 60),
    "TIFF": (still(RGB[0], "TIFF"), 60),
    "WebP": (still(RGB[0], "WebP"), 60),
    "npz": (lambda path: make.write_npz(path, GREY, np.arange(3) * 40.0), 120),
    "AVI": (film("avi", "-c:v", "mjpeg"), 30),
    "MP4": (film("mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p"), 30),
    "MKV": (film("matroska", "-c:v", "ffv1"), 30),
}


def test_there_are_two_thousand() -> None:
    assert sum(count for _, count in KINDS.values()) >= 2000


@pytest.mark.skipif(sys.platform == "win32", reason="the time limit needs POSIX alarms")
@pytest.mark.parametrize("name", KINDS)
def test_damaged_copies(tmp_path: Path, name: str) -> None:
    maker, count = KINDS[name]
    original = tmp_path / "original"
    maker(original)
    assert isinstance(read(original), CineLoop)
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("read_many.py")), original, tmp_path, "0", str(count), "30"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    outcomes = [line.split(" ", 1) for line in done.stdout.splitlines()]
    wrong = [(seed, what) for seed, what in outcomes if what not in ("loop", "refused")]
    assert not wrong, wrong[:3]
    assert done.returncode == 0, f"died after copy {len(outcomes) - 1}: {done.stderr[-2000:]}"
    assert len(outcomes) == count
    # damage must really reach the decoders: neither everything nor nothing is refused
    assert "refused" in [what for _, what in outcomes]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=600),
    st.sampled_from([b"", b"\0" * 128 + b"DICM", b"GIF89a", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n"]),
)
def test_any_bytes(tmp_path: Path, body: bytes, start: bytes) -> None:
    path = tmp_path / "anything"
    path.write_bytes(start + body)
    try:
        assert isinstance(read(path), CineLoop)
    except InputError as error:
        assert "\n" not in str(error)
