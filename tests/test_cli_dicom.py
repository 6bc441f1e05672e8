"""`echoq denoise` into DICOM."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydicom import dcmread

from echoq_desktop import cli
from tests import make_files as make
from tests.shared import fan_frames

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def fan_dicom(tmp_path: Path) -> Path:
    """The fan as an ultrasound object, beside the regions of `fan_roi`."""
    return make.write_dicom(tmp_path / "fan.dcm", fan_frames(3))


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def test_the_encoding_can_be_chosen(fan_dicom: Path, tmp_path: Path) -> None:
    for name, syntax in (("raw", make.EXPLICIT_LITTLE), ("jpeg-ls", make.JPEG_LS), ("rle", make.RLE)):
        out = tmp_path / f"{name}.dcm"
        assert run("denoise", fan_dicom, "-o", out, "--method", "fast", "--dicom-encoding", name) == 0
        assert dcmread(out, stop_before_pixels=True).file_meta.TransferSyntaxUID == syntax
    assert run("denoise", fan_dicom, "-o", tmp_path / "x.dcm", "--dicom-encoding", "zip") == 2


def test_denoising_twice_is_told(fan_dicom: Path, fan_roi: Path, tmp_path: Path, capsys: Captured) -> None:
    once, twice = tmp_path / "once.dcm", tmp_path / "twice.dcm"
    assert run("denoise", fan_dicom, "-o", once, "--method", "fast") == 0
    out, err = capsys.readouterr()
    assert f"{tmp_path / 'once.echoq.json'}: the regions" in out
    assert "warning" not in err
    assert run("denoise", once, "-o", twice, "--method", "fast") == 0
    assert "derived, not an original" in capsys.readouterr().err
    assert run("info", twice, "--json") == 0
    (warning,) = json.loads(capsys.readouterr().out)["warnings"]
    assert "denoised by model fast, then denoised by model fast" in warning
