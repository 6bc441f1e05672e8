"""Writing: exact where it says so, real frame times, whole files or nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from echoq_models.cine import CineLoop, WriteOptions, open_writer, read, write
from echoq_models.cine.caption import place
from echoq_models.cine.colour import FrameCollector
from echoq_models.errors import Cancelled, OutputError
from tests import make_files as make
from tests.shared import said_by_ffmpeg

UNEVEN = np.array([0.0, 31.0, 70.0, 102.0, 150.0, 185.0])
CAPTION = "denoised, research use"


def colour_loop(size: tuple[int, int] = (48, 64), times: np.ndarray = UNEVEN) -> CineLoop:
    with FrameCollector(Path("loop")) as collector:
        for frame in make.with_doppler(make.sector_frames(len(times), *size)):
            collector.add_rgb(frame)
        frames, colour, tint = collector.finish()
    return CineLoop(frames, times, "test", colour=colour, tint=tint)


@pytest.mark.parametrize("suffix", [".avi", ".mkv", ".mp4", ".mov", ".npz", ".gif", ""])
def test_exact_grey(tmp_path: Path, small_loop: CineLoop, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    write(small_loop, path, lossless=True)
    back = read(path)
    assert np.array_equal(back.frames, small_loop.frames)
    assert back.colour is None
    assert back.lossy == ()
    assert np.allclose(back.times_ms, small_loop.times_ms)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".avi", ".mkv", ".mp4", ""])
def test_exact_colour(tmp_path: Path, suffix: str) -> None:
    loop = colour_loop()
    write(loop, tmp_path / f"out{suffix}", lossless=True)
    back = read(tmp_path / f"out{suffix}")
    assert all(np.array_equal(back.rgb(t), loop.rgb(t)) for t in range(len(loop)))


def test_an_exact_gradient_of_an_odd_size(tmp_path: Path) -> None:
    """600 rows became 608 elsewhere, and 256 grey levels 220."""
    frames = np.tile(np.arange(256, dtype=np.uint8)[:151], (2, 75, 1))
    frames[1] += 105
    loop = CineLoop(frames, np.array([0.0, 40.0]), "test")
    for suffix in (".mp4", ".avi", ".mkv"):
        write(loop, tmp_path / f"g{suffix}", lossless=True)
        assert np.array_equal(read(tmp_path / f"g{suffix}").frames, frames)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".gif", ".npz", ""])
def test_real_times_survive(tmp_path: Path, suffix: str) -> None:
    loop = CineLoop(make.sector_frames(), UNEVEN, "test")
    write(loop, tmp_path / f"out{suffix}")
    back = read(tmp_path / f"out{suffix}")
    tolerance = {".gif": 5.01, ".mkv": 0.51}.get(suffix, 0.02)
    assert np.abs(back.times_ms - UNEVEN).max() <= tolerance
    assert not back.times_assumed
    assert len(back) == 6


def test_avi_has_the_mean_rate(tmp_path: Path) -> None:
    write(CineLoop(make.sector_frames(), UNEVEN, "test"), tmp_path / "out.avi")
    assert read(tmp_path / "out.avi").fps == pytest.approx(1000 * 5 / 185, rel=1e-3)


def test_long_uneven_loops(tmp_path: Path) -> None:
    """Longer than a command line."""
    rng = np.random.default_rng(0)
    times = np.concatenate([[0.0], np.cumsum(rng.uniform(10, 40, 1199))])
    loop = CineLoop(rng.integers(0, 255, (1200, 16, 16), dtype=np.uint8), times, "test")
    write(loop, tmp_path / "long.mp4")
    assert np.abs(read(tmp_path / "long.mp4").times_ms - times).max() < 0.02
    assert [p.name for p in tmp_path.iterdir()] == ["long.mp4"]


def test_the_default_film_plays_everywhere(tmp_path: Path) -> None:
    loop = colour_loop((49, 63))
    write(loop, tmp_path / "out.mp4", caption=CAPTION, options=WriteOptions(title="Loop", comment="method fast"))
    said = said_by_ffmpeg(tmp_path / "out.mp4")
    assert "h264 (High)" in said
    assert "yuv420p(tv, bt709" in said
    assert "title           : Loop" in said
    assert "comment         : method fast" in said
    back = read(tmp_path / "out.mp4")
    assert back.size[0] % 2 == 0
    assert back.size[1] == 64  # one column of padding, no scaling
    assert np.abs(back.frames[:, :40, :63].astype(int) - loop.frames[:, :40]).mean() < 3
    assert back.frames[:, :40, 63].max() < 20
    assert back.lossy == ("H.264",)


def test_frames_in_place_of_the_loops_own(tmp_path: Path) -> None:
    loop = colour_loop()
    darker = loop.frames // 2
    write(loop, tmp_path / "d.mkv", frames=darker, lossless=True)
    back = read(tmp_path / "d.mkv")
    for t in range(len(loop)):
        mask = loop.coloured(t)
        assert mask is not None
        assert np.array_equal(back.rgb(t)[mask], loop.rgb(t)[mask])  # colour is put back untouched
        assert np.array_equal(back.frames[t][~mask], darker[t][~mask])
    write(loop, tmp_path / "d.npz", frames=darker)
    assert np.array_equal(read(tmp_path / "d.npz").frames, darker)
    with pytest.raises(ValueError, match="must be uint8"):
        write(loop, tmp_path / "e.npz", frames=darker[:2])


def test_a_tinted_loop_is_written_tinted(tmp_path: Path) -> None:
    table = make.sepia(np.arange(256, dtype=np.uint8))
    loop = CineLoop(make.sector_frames(), UNEVEN, "test", tint=table)
    write(loop, tmp_path / "png")
    assert np.abs(read(tmp_path / "png").rgb(0).astype(int) - loop.rgb(0)).max() <= 3


def test_the_caption_hides_no_pixel(tmp_path: Path) -> None:
    loop = CineLoop(make.sector_frames(3, 200, 280), np.arange(3) * 40.0, "test")
    write(loop, tmp_path / "c.gif", caption=CAPTION)
    back = read(tmp_path / "c.gif")
    assert back.size == loop.size  # there is room beside the sector
    shown = loop.frames.max(axis=0) > 4
    assert np.array_equal(back.frames[:, shown], loop.frames[:, shown])
    assert (back.frames[:, ~shown] > 100).any()
    full = CineLoop(np.full((2, 60, 80), 90, np.uint8), np.array([0.0, 40.0]), "test")
    write(full, tmp_path / "f.gif", caption=CAPTION)
    band = read(tmp_path / "f.gif")
    assert band.size[0] > 60
    assert band.size[1] == 80
    assert (band.frames[:, :60] == 90).all()
    assert (band.frames[:, 60:] > 100).any()


def test_exact_files_carry_the_caption_as_text(tmp_path: Path, small_loop: CineLoop) -> None:
    from PIL import Image

    write(small_loop, tmp_path / "c.npz", caption=CAPTION)
    assert str(np.load(tmp_path / "c.npz", allow_pickle=False)["caption"]) == CAPTION
    write(small_loop, tmp_path / "c", caption=CAPTION)
    with Image.open(tmp_path / "c" / "frame_00000.png") as image:
        assert image.text["Description"] == CAPTION  # type: ignore[attr-defined]
    write(small_loop, tmp_path / "c.mkv", caption=CAPTION, lossless=True)
    assert CAPTION in said_by_ffmpeg(tmp_path / "c.mkv")
    assert np.array_equal(read(tmp_path / "c.mkv").frames, small_loop.frames)


def test_captions_fit_any_width() -> None:
    for width in (40, 64, 112, 320, 2400):
        placed = place(CAPTION, (width, width))
        assert placed.text.shape[1] <= width
        assert placed.text.max() > 100
        out = placed.stamp(np.zeros((width, width, 3), np.uint8))
        assert out.shape == (width + placed.band, width, 3)


def test_identical_frames_stay_frames(tmp_path: Path) -> None:
    frames = np.repeat(make.sector_frames(1), 4, axis=0)
    loop = CineLoop(frames, np.array([0.0, 40, 100, 130]), "test")
    for suffix in (".gif", ".mp4", ".mkv"):
        write(loop, tmp_path / f"same{suffix}")
        assert len(read(tmp_path / f"same{suffix}")) == 4
    assert read(tmp_path / "same.gif").times_ms.tolist() == [0, 40, 100, 130]


def test_gif_keeps_its_length(tmp_path: Path) -> None:
    """33.3 ms is 3, 3, 4 hundredths, not 3, 3, 3."""
    loop = CineLoop(make.sector_frames(31, 16, 16), np.arange(31) * 100 / 3, "test")
    write(loop, tmp_path / "g.gif")
    assert read(tmp_path / "g.gif").times_ms[-1] == pytest.approx(1000, abs=6)


def test_gif_colours(tmp_path: Path) -> None:
    loop = colour_loop()
    write(loop, tmp_path / "g.gif")
    back = read(tmp_path / "g.gif")
    for t in range(len(loop)):
        assert np.array_equal(back.rgb(t), loop.rgb(t))


def test_a_still_can_be_written(tmp_path: Path) -> None:
    loop = CineLoop(make.sector_frames(1), np.zeros(1), "test")
    for suffix in (".mp4", ".avi", ".gif", ".npz", ""):
        write(loop, tmp_path / f"s{suffix}")
        assert len(read(tmp_path / f"s{suffix}")) == 1


def test_streaming_side_by_side(tmp_path: Path, small_loop: CineLoop) -> None:
    height, width = small_loop.size
    options = WriteOptions(caption=CAPTION)
    with open_writer(tmp_path / "two.mp4", (height, 2 * width), small_loop.times_ms, options=options) as writer:
        for t, frame in enumerate(small_loop.frames):
            pair = np.concatenate([frame, 255 - frame], axis=1)
            writer.add(np.repeat(pair[..., None], 3, axis=2) if t % 2 == 0 else pair)
    back = read(tmp_path / "two.mp4")
    assert len(back) == 6
    assert back.size[1] == 2 * width
    assert back.size[0] > height


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".gif", ".npz", ""])
def test_nothing_is_left_after_a_failure(tmp_path: Path, small_loop: CineLoop, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    with pytest.raises(Cancelled):
        write(small_loop, path, cancel=lambda: True)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError), open_writer(path, small_loop.size, small_loop.times_ms) as writer:
        writer.add(small_loop.frames[0])
        raise RuntimeError("the denoiser failed")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="only 1 of 6"), open_writer(path, small_loop.size, UNEVEN) as writer:
        writer.add(small_loop.frames[0])
    assert list(tmp_path.iterdir()) == []


def test_a_failure_keeps_the_older_file(tmp_path: Path, small_loop: CineLoop) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"older")
    with pytest.raises(Cancelled):
        write(small_loop, path, cancel=lambda: True)
    assert path.read_bytes() == b"older"
    write(small_loop, path)
    assert len(read(path)) == 6


def test_png_folders_replace_only_their_own_kind(tmp_path: Path, small_loop: CineLoop) -> None:
    write(small_loop, tmp_path / "png")
    short = CineLoop(small_loop.frames[:2], small_loop.times_ms[:2], "test")
    write(short, tmp_path / "png")
    assert len(read(tmp_path / "png")) == 2
    (tmp_path / "png" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds other things"):
        write(short, tmp_path / "png")
    assert (tmp_path / "png" / "notes.txt").exists()


def test_what_cannot_be_written_is_said(tmp_path: Path, small_loop: CineLoop) -> None:
    with pytest.raises(OutputError, match="no DICOM encoding"):
        write(small_loop, tmp_path / "out.dcm", options=WriteOptions(dicom_encoding="zip"))
    with pytest.raises(OutputError, match="not a known output"):
        write(small_loop, tmp_path / "out.wmv")
    with pytest.raises(OutputError, match="does not exist"):
        write(small_loop, tmp_path / "absent" / "out.mp4")
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(OutputError, match="a folder has that name"):
        write(small_loop, tmp_path / "folder.mp4")


def test_a_failing_encoder_is_one_sentence(tmp_path: Path, small_loop: CineLoop) -> None:
    with pytest.raises(OutputError) as failed:
        write(small_loop, tmp_path / "out.mp4", options=WriteOptions(preset="no such preset"))
    assert "video encoder failed" in str(failed.value)
    assert str(tmp_path / "out.mp4") in str(failed.value)
    assert list(tmp_path.iterdir()) == []


def test_the_cardiac_loop_through_the_default_film(tmp_path: Path, cardiac_loop_path: Path) -> None:
    """gCNR must survive a film for showing as far as possible: the default is near-transparent."""
    loop = read(cardiac_loop_path)
    write(loop, tmp_path / "out.mp4", caption=CAPTION)
    back = read(tmp_path / "out.mp4")
    assert back.size == loop.size
    assert np.allclose(back.times_ms, loop.times_ms, atol=0.5)
    bright = loop.frames > 8
    assert np.abs(back.frames.astype(int) - loop.frames)[bright].mean() < 2.5
