"""GIF delays, stills of every mode, folders in natural order, npz."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from echoq_models.cine import read
from echoq_models.cine.stills import natural_key
from echoq_models.errors import InputError
from tests import make_files as make


def test_gif_delays_are_real(tmp_path: Path) -> None:
    frames = make.sector_frames()
    loop = read(make.write_gif(tmp_path / "g", frames, [30, 50, 20, 40, 70, 90]))
    assert loop.times_ms.tolist() == [0, 30, 80, 100, 140, 210]
    assert np.array_equal(loop.frames, frames)
    assert not loop.times_assumed
    assert loop.lossy == ()


def test_gif_without_delays_says_so(tmp_path: Path) -> None:
    loop = read(make.write_gif(tmp_path / "g", make.sector_frames(), [0] * 6))
    assert loop.times_assumed
    assert "30 frames per second are assumed" in loop.warnings[0]


def test_gif_cut_short(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (8, 40, 50), dtype=np.uint8)
    path = make.write_gif(tmp_path / "g", frames, [40] * 8)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    loop = read(path)
    assert 3 <= len(loop) <= 5
    assert np.array_equal(loop.frames, frames[: len(loop)])
    assert "cut off" in loop.warnings[-1]


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_exact_stills(tmp_path: Path, kind: str) -> None:
    frame = make.sector_frames(1)[0]
    Image.fromarray(frame).save(tmp_path / "s", format=kind)
    loop = read(tmp_path / "s")
    assert np.array_equal(loop.frames[0], frame)
    assert loop.times_ms.tolist() == [0]
    assert loop.fps == 0
    assert loop.lossy == ()
    assert loop.warnings == ()
    rgb = make.with_doppler(frame[None])[0]
    Image.fromarray(rgb).save(tmp_path / "s", format=kind)
    assert np.array_equal(read(tmp_path / "s").rgb(0), rgb)


@pytest.mark.parametrize("kind", ["JPEG", "WebP"])
def test_lossy_stills_say_so(tmp_path: Path, kind: str) -> None:
    Image.fromarray(make.sector_frames(1)[0]).save(tmp_path / "s", format=kind)
    assert read(tmp_path / "s").lossy == (kind,)


def test_sixteen_bits_transparency_palette_and_one_bit(tmp_path: Path) -> None:
    frame = make.sector_frames(1)[0]
    Image.fromarray(frame.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    assert np.array_equal(read(tmp_path / "deep.png").frames[0], frame)
    alpha = np.dstack([frame, frame, frame, np.where(frame > 60, 255, 0).astype(np.uint8)])
    Image.fromarray(alpha).save(tmp_path / "alpha.png")
    assert np.array_equal(read(tmp_path / "alpha.png").frames[0], np.where(frame > 60, frame, 0))
    Image.fromarray(frame).convert("P").save(tmp_path / "palette.png")
    assert np.array_equal(read(tmp_path / "palette.png").frames[0], frame)
    Image.fromarray(frame > 99).save(tmp_path / "bits.png")
    assert np.array_equal(read(tmp_path / "bits.png").frames[0], np.where(frame > 99, 255, 0))


def test_floating_point_pictures_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((8, 8), np.float32)).save(tmp_path / "f.tiff")
    with pytest.raises(InputError, match="floating point"):
        read(tmp_path / "f.tiff")


def test_absurd_size_is_refused_from_the_header(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = (60000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    path.write_bytes(data)
    with pytest.raises(InputError):
        read(path)


def test_a_folder_is_a_loop_in_natural_order(tmp_path: Path) -> None:
    frames = make.sector_frames(12)
    folder = make.write_stills(tmp_path / "stills", frames)
    (folder / "notes.txt").write_text("hello")
    (folder / ".DS_Store").write_bytes(b"\0" * 50)
    loop = read(folder)
    assert np.array_equal(loop.frames, frames)
    assert loop.times_assumed
    assert "30 frames per second are assumed" in loop.warnings[0]
    assert sorted(["f10", "f2", "F1"], key=natural_key) == ["F1", "f2", "f10"]


def test_a_folder_of_different_sizes_names_the_odd_one(tmp_path: Path) -> None:
    folder = make.write_stills(tmp_path / "stills", make.sector_frames(3))
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "f4.png")
    with pytest.raises(InputError, match=r"f4\.png: this picture is 8 x 8"):
        read(folder)


def test_a_folder_with_a_damaged_still(tmp_path: Path) -> None:
    frames = make.sector_frames(4)
    folder = make.write_stills(tmp_path / "stills", frames)
    (folder / "f2.png").write_bytes((folder / "f2.png").read_bytes()[:200])
    loop = read(folder)
    assert np.array_equal(loop.frames, frames[[0, 2, 3]])
    assert "f2.png" in loop.warnings[0]


def test_npz(tmp_path: Path) -> None:
    frames = make.sector_frames()
    times = np.array([0, 30, 65, 100, 130, 170.5])
    loop = read(make.write_npz(tmp_path / "n", frames, times + 5))
    assert np.array_equal(loop.frames, frames)
    assert np.allclose(loop.times_ms, times)
    assert loop.warnings == ()
    without = read(make.write_npz(tmp_path / "n", frames))
    assert without.times_assumed
    rgb = make.with_doppler(frames)
    assert np.array_equal(read(make.write_npz(tmp_path / "n", rgb)).rgb(2), rgb[2])
    assert read(make.write_npz(tmp_path / "n", frames[0])).frames.shape == (1, 48, 64)


@pytest.mark.parametrize(
    ("frames", "sentence"),
    [
        (np.zeros((2, 8, 8), np.float32), "must be uint8"),
        (np.zeros((0, 8, 8), np.uint8), "no frames"),
        (np.zeros((2, 8, 8, 4), np.uint8), "must be"),
        (np.zeros(5, np.uint8), "must be"),
        (np.array([{"a": 1}], dtype=object), "must be uint8"),
    ],
)
def test_wrong_arrays(tmp_path: Path, frames: np.ndarray, sentence: str) -> None:
    path = make.write_npz(tmp_path / "n", frames)
    with pytest.raises(InputError, match=sentence):
        read(path)


def test_an_array_that_claims_to_be_huge_is_not_allocated(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**6, 4000, 4000)})
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w") as archive:
        archive.writestr("frames.npy", header.getvalue() + bytes(100))
    with pytest.raises(InputError, match="more than can be opened"):
        read(tmp_path / "bomb.npz")


def test_nonsense_times_are_replaced_aloud(tmp_path: Path) -> None:
    for times in ([0, 1, 2, 3, 4, 5], [0, 50, 20, 90, 99, 120], [np.nan] * 6, [0.0, 1.0]):
        loop = read(make.write_npz(tmp_path / "n", make.sector_frames(), np.array(times, float)))
        assert loop.times_assumed
        assert np.allclose(np.diff(loop.times_ms), 1000 / 30)
        assert "assumed" in loop.warnings[0]


def test_real_stills(realdata: Path) -> None:
    folder = read(realdata / "a4c" / "hazy_loop_2")
    assert folder.frames.shape == (52, 448, 512)
    assert folder.lossy == ("JPEG",)
    gif = read(realdata / "a4c" / "loop_1.gif")
    assert gif.frames.shape == (32, 256, 256)
    assert gif.colour is None
    assert not gif.times_assumed
