"""Films: levels, frame times, rotation, damage, and what ffmpeg must not be allowed to do."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from echoq_models.cine import ffmpeg, read
from echoq_models.errors import InputError
from tests import make_files as make

GRADIENT = np.stack([np.roll(np.tile(np.arange(256, dtype=np.uint8), (32, 1)), t, axis=1) for t in range(4)])

EXACT = {
    "FFV1 in AVI": ("avi", ["-c:v", "ffv1"]),
    "FFV1 in MKV": ("matroska", ["-c:v", "ffv1"]),
    "H.264 grey full range": ("mp4", ["-c:v", "libx264", "-crf", "0", "-pix_fmt", "gray", "-color_range", "pc"]),
    "H.264 RGB": ("mov", ["-c:v", "libx264rgb", "-crf", "0"]),
    "VP9 in WebM": ("webm", ["-c:v", "libvpx-vp9", "-lossless", "1", "-pix_fmt", "gbrp"]),
    "PNG in MOV": ("mov", ["-c:v", "png"]),
    "raw AVI": ("avi", ["-c:v", "rawvideo", "-pix_fmt", "bgr24"]),
}


@pytest.mark.parametrize(("container", "codec"), EXACT.values(), ids=EXACT)
def test_a_grey_gradient_comes_back_equal(tmp_path: Path, container: str, codec: list[str]) -> None:
    loop = read(make.write_video(tmp_path / "film", GRADIENT, *codec, container=container))
    assert np.array_equal(loop.frames, GRADIENT)
    assert loop.colour is None
    assert np.allclose(np.diff(loop.times_ms), 40)
    assert not loop.times_assumed


def test_exact_films_have_no_lossy_history(tmp_path: Path) -> None:
    for name in ("FFV1 in AVI", "H.264 grey full range", "H.264 RGB", "raw AVI"):
        container, codec = EXACT[name]
        assert read(make.write_video(tmp_path / "film", GRADIENT, *codec, container=container)).lossy == (), name
    lossy = ["-c:v", "libx264", "-crf", "20", "-pix_fmt", "yuv444p"]
    assert read(make.write_video(tmp_path / "film", GRADIENT, *lossy, container="mp4")).lossy == ("H.264",)


@pytest.mark.parametrize("codec", [["-c:v", "mjpeg", "-q:v", "2"], ["-c:v", "libx264", "-crf", "5"]])
@pytest.mark.parametrize("wide", ["yuvj420p", "yuv420p"])
def test_full_and_limited_range_show_the_same(tmp_path: Path, codec: list[str], wide: str) -> None:
    if codec[1] == "mjpeg" and wide == "yuv420p":
        pytest.skip("JPEG is full range")
    kind = "avi" if codec[1] == "mjpeg" else "mp4"
    steps = np.repeat(np.arange(0, 256, 17, dtype=np.uint8), 16)  # flat fields, so that coding hardly matters
    frames = np.tile(steps, (3, 32, 1))
    loop = read(make.write_video(tmp_path / "film", frames, *codec, "-pix_fmt", wide, container=kind))
    centre = loop.frames[0, 16, 8::16].astype(int)
    assert np.abs(centre - np.arange(0, 256, 17)).max() <= 2
    assert loop.colour is None


def test_colour_survives(tmp_path: Path) -> None:
    rgb = make.with_doppler(make.sector_frames(4, 96, 128))
    loop = read(make.write_video(tmp_path / "film", rgb, "-c:v", "ffv1", "-pix_fmt", "bgr0", container="matroska"))
    assert all(np.array_equal(loop.rgb(t), rgb[t]) for t in range(4))


def test_ten_bits(tmp_path: Path) -> None:
    loop = read(
        make.write_video(tmp_path / "film", GRADIENT, "-c:v", "ffv1", "-pix_fmt", "gray10le", container="matroska")
    )
    assert np.abs(loop.frames.astype(int) - GRADIENT).max() <= 1


def test_variable_frame_times_are_kept(tmp_path: Path) -> None:
    expression = "settb=1/90000,setpts='if(lt(N,2),N*2700,if(lt(N,4),N*5400,N*9000))'"
    codec = ["-vf", expression, "-fps_mode", "passthrough", "-enc_time_base", "1:90000", "-pix_fmt", "yuv420p"]
    path = make.write_video(tmp_path / "film", make.sector_frames(6), *codec, container="mp4")
    loop = read(path)
    assert np.allclose(loop.times_ms, [0, 30, 120, 180, 400, 500], atol=0.1)
    assert not loop.times_assumed


def test_b_frames_come_in_order(tmp_path: Path) -> None:
    frames = np.stack([np.full((32, 32), 10 * t, np.uint8) for t in range(1, 13)])
    codec = ["-c:v", "libx264", "-bf", "3", "-crf", "10", "-pix_fmt", "yuv420p"]
    loop = read(make.write_video(tmp_path / "film", frames, *codec, container="mp4"))
    assert len(loop) == 12
    assert (np.diff(loop.frames.mean(axis=(1, 2))) > 5).all()
    assert np.allclose(np.diff(loop.times_ms), 40)


def test_a_phone_film_stands_upright(tmp_path: Path) -> None:
    """Rotation flags are obeyed, as every player does."""
    import subprocess

    frames = make.sector_frames(3, 48, 64)
    flat = make.write_video(tmp_path / "flat.mp4", frames, "-c:v", "libx264rgb", "-crf", "0")
    arguments = ["-y", "-loglevel", "error", "-display_rotation", "90", "-i", str(flat), "-c", "copy"]
    subprocess.run([ffmpeg.executable(), *arguments, str(tmp_path / "turned.mp4")], check=True)
    loop = read(tmp_path / "turned.mp4")
    assert loop.size == (64, 48)
    assert np.array_equal(loop.frames, np.rot90(frames, axes=(1, 2)))


@pytest.mark.parametrize("container", ["avi", "mp4", "matroska"])
def test_a_film_cut_short(tmp_path: Path, container: str) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (20, 48, 64), dtype=np.uint8)
    codec = ["-c:v", "mjpeg", "-q:v", "3", *(["-movflags", "+faststart"] if container == "mp4" else [])]
    path = make.write_video(tmp_path / "film", frames, *codec, container=container)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    loop = read(path)
    assert 8 <= len(loop) <= 13
    assert "damaged or cut off" in loop.warnings[-1]
    assert np.allclose(np.diff(loop.times_ms), 40, atol=1)


def test_films_without_frames(tmp_path: Path) -> None:
    path = make.write_video(tmp_path / "film", make.sector_frames(), "-c:v", "libx264", container="mp4")
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moov") - 4])  # what a broken recording leaves
    with pytest.raises(InputError, match="holds no picture"):
        read(path)
    sound = tmp_path / "sound.mkv"
    import subprocess

    tone = ["-f", "lavfi", "-i", "sine=duration=0.2", "-c:a", "pcm_s16le"]
    subprocess.run([ffmpeg.executable(), "-y", "-loglevel", "error", *tone, str(sound)], check=True)
    with pytest.raises(InputError, match=r"no picture|no frame"):
        read(sound)


def test_absurd_size(tmp_path: Path) -> None:
    frames = np.zeros((1, 16, 16), np.uint8)
    path = make.write_video(tmp_path / "film", frames, "-vf", "scale=16200:8200", "-c:v", "png", container="avi")
    started = time.monotonic()
    with pytest.raises(InputError):
        read(path)
    assert time.monotonic() - started < 20


def test_a_decoder_that_stalls_is_ended(tmp_path: Path) -> None:
    """A pipe that nobody fills stands for a film on which ffmpeg hangs."""
    import os

    if not hasattr(os, "mkfifo"):
        pytest.skip("needs named pipes")
    os.mkfifo(tmp_path / "stuck")
    keep_open = os.open(tmp_path / "stuck", os.O_RDWR)
    try:
        with ffmpeg.Process(
            ["-f", "avi", "-i", ffmpeg.file_argument(tmp_path / "stuck"), "-f", "null", "-"],
            feed=False,
            quiet_seconds=0.5,
        ) as process:
            assert process.read(10) == b""
            process.finish()
            assert process.timed_out
    finally:
        os.close(keep_open)


def test_ffmpeg_opens_only_the_file_itself(tmp_path: Path) -> None:
    """A playlist dressed up as a film must not make ffmpeg fetch or read anything else."""
    make.write_video(tmp_path / "other.avi", make.sector_frames(), "-c:v", "ffv1")
    script = f"ffconcat version 1.0\nfile '{tmp_path / 'other.avi'}'\n"
    for disguise in (b"RIFF\x10\0\0\0AVI ", b"\x1a\x45\xdf\xa3", b"\0\0\0\x10ftypisom"):
        (tmp_path / "list.mp4").write_bytes(disguise + script.encode())
        with pytest.raises(InputError):
            read(tmp_path / "list.mp4")


def test_a_name_that_looks_like_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make.write_video(tmp_path / "-i http%3A.avi", make.sector_frames(), "-c:v", "ffv1", container="avi")
    assert len(read("-i http%3A.avi")) == 6


def test_real_loop_with_ecg(realdata: Path) -> None:
    loop = read(realdata / "a4c" / "loop_with_ecg.mp4")
    assert loop.frames.shape == (120, 582, 582)
    assert loop.lossy == ("H.264",)
    assert 25 < loop.fps < 60
