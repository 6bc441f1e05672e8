"""What other people's programs say of the DICOM we write: dcmtk, and dicom3tools' checker, where they are installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from echoq_models import resources
from echoq_models.cine import CineLoop, WriteOptions, read, write
from echoq_models.cine.dicom_derive import Provenance, is_coloured
from tests import make_files as make

PROVENANCE = Provenance("denoised by model fast, research use", {"weights": "Fast network", "sha256": "ab" * 32})
REAL = ("US-PAL-8-10x-echo", "US-RGB-8-epicard", "OBXXXX1A_expb_2frame.dcm", "YBR_422.dcm", "gdcm-US-ALOKA-16_big.dcm")
UID = re.compile(r"(\d+\.){3,}\d+")


def needs(*programs: str) -> pytest.MarkDecorator:
    missing = [name for name in programs if shutil.which(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} not installed")


def said(*command: object) -> tuple[int, str]:
    done = subprocess.run(
        [*map(str, command)], capture_output=True, text=True, errors="replace", check=False, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


def errors(path: Path) -> Counter[str]:
    """dciodvfy's errors by kind. The UID of the source is one value, in whichever element it stands."""
    found: Counter[str] = Counter()
    for line in said("dciodvfy", path)[1].splitlines():
        if line.startswith("Error"):
            bad = UID.search(line)
            found[f"bad UID {bad[0]}" if bad and ("UID" in line) else line] += 1
    return found


def derived(loop: CineLoop, path: Path, encoding: str = "rle") -> Path:
    options = WriteOptions(dicom_encoding=encoding, provenance=PROVENANCE)
    write(loop, path, frames=loop.frames // 2, options=options)
    return path


@needs("dciodvfy")
@pytest.mark.parametrize("encoding", ["rle", "raw", "jpeg-ls"])
def test_the_phantom_stays_without_error(tmp_path: Path, encoding: str) -> None:
    loop = read(resources.phantom_sample()[0])
    assert errors(derived(loop, tmp_path / "out.dcm", encoding)) == {}


@needs("dciodvfy")
def test_the_sample_of_pydicom_stays_without_error(tmp_path: Path, cardiac_loop_path: Path) -> None:
    """Its only errors are in a private element, which is not carried."""
    assert errors(derived(read(cardiac_loop_path), tmp_path / "out.dcm")) == {}


@needs("dciodvfy")
@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
def test_a_film_has_no_error_at_all(tmp_path: Path, colour: bool) -> None:
    frames = make.sector_frames()
    film = make.write_video(tmp_path / "in.mp4", make.with_doppler(frames) if colour else frames, "-c:v", "libx264")
    assert errors(derived(read(film), tmp_path / "out.dcm")) == {}
    write(CineLoop(frames, np.arange(6) * 33.3, "npz", times_assumed=True), tmp_path / "pages.dcm")
    assert errors(tmp_path / "pages.dcm") == {}


@needs("dciodvfy")
@pytest.mark.parametrize("name", REAL)
def test_real_files_get_no_new_error(tmp_path: Path, realdata: Path, name: str) -> None:
    source = realdata / "dicom" / name
    before, after = errors(source), errors(derived(read(source), tmp_path / "out.dcm"))
    assert set(after) <= set(before)
    assert after.total() < before.total()


@needs("dcmdump", "dcm2pnm", "dcmdjpls", "dcmdrle")
@pytest.mark.parametrize("encoding", ["rle", "raw", "jpeg-ls"])
@pytest.mark.parametrize("kind", ["grey", "colour"])
def test_dcmtk_reads_every_pixel(tmp_path: Path, kind: str, encoding: str) -> None:
    frames = make.sector_frames()
    path = make.write_dicom(tmp_path / "in.dcm", make.with_doppler(frames) if kind == "colour" else frames)
    loop = read(path)
    out = derived(loop, tmp_path / "out.dcm", encoding)
    code, text = said("dcmdump", out)
    assert code == 0
    assert not re.search(r"^[EW]:", text, re.MULTILINE)
    plain = tmp_path / "plain.dcm"
    if encoding == "raw":
        plain = out
    else:
        assert said("dcmdrle" if encoding == "rle" else "dcmdjpls", out, plain)[0] == 0
    for t in (0, 5):
        picture = tmp_path / f"{t}.png"
        assert said("dcm2pnm", "+on", "+F", t + 1, plain, picture)[0] == 0
        with Image.open(picture) as image:
            got = np.asarray(image.convert("RGB" if is_coloured(loop) else "L"))
        expected = loop.rgb(t, loop.frames[t] // 2) if is_coloured(loop) else loop.frames[t] // 2
        assert np.array_equal(got, expected)
