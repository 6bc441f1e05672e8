"""`echoq --selftest`, and the script that a frozen EchoQ starts with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from echoq_models.cine import dicom_pixels, isolated
from tests.make_files import jpeg_lossless
from tests.shared import ROOT, Echoq

FROZEN = ROOT / "installer" / "frozen.py"
STEPS = [
    "installation",
    "decoders",
    "figure",
    "worker",
    "open",
    "fast",
    "left ventricle",
    "export",
    "bm3d",
    "worker killed",
]


@pytest.mark.slow
def test_every_step_passes_here(echoq: Echoq) -> None:
    ended = echoq("--selftest")
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert [line.split("s  ")[1].split(":")[0] for line in lines] == [*STEPS, "all steps passed"]
    by_step = dict(zip(STEPS, lines, strict=False))
    assert ".npz, .avi" in by_step["export"] and "identical" in by_step["export"]
    assert "started again" in by_step["worker killed"]


def test_what_fails_is_said_and_ends_with_5(echoq: Echoq) -> None:
    ended = echoq("--selftest", IMAGEIO_FFMPEG_EXE="/nowhere/ffmpeg")
    assert ended.returncode == 5
    assert ended.stdout == ""
    assert ended.stderr == "echoq: selftest failed, installation: the bundled ffmpeg is missing\n"


def test_the_frozen_script_is_the_command_line(echoq_environment: dict[str, str]) -> None:
    ended = subprocess.run(
        [sys.executable, FROZEN, "--version"], env=echoq_environment, capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("echoq ")


@pytest.mark.skipif(os.name != "posix", reason="a shell script stands for the frozen program")
def test_a_frozen_program_decodes_in_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "echoq"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" "{FROZEN}" "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "executable", str(program))
    frame = np.arange(0, 192, 3, dtype=np.uint8).reshape(8, 8)
    layout = dicom_pixels.PixelFormat(dicom_pixels.JPEG_LOSSLESS[1], 8, 8, 1, "MONOCHROME2", 8, 8, False, 0)
    decoder = isolated.decoder_for(layout)
    assert isinstance(decoder, isolated.IsolatedDecoder)
    try:
        decoded, _ = decoder.decode(jpeg_lossless(frame, 8))
        np.testing.assert_array_equal(decoded, frame)
        with pytest.raises(ValueError, match="codestream"):
            decoder.decode(b"not a codestream")
    finally:
        decoder.close()
