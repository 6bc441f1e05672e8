"""Colour, tint and chroma noise are told apart."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from echoq_models.cine.colour import ColourSettings, FrameCollector, luminance, ybr_to_rgb
from echoq_models.cine.loop import CineLoop
from tests import make_files as make


def collect(rgb: np.ndarray, lossy: bool = False, settings: ColourSettings | None = None) -> CineLoop:
    with FrameCollector(Path("loop"), lossy=lossy, settings=settings) as collector:
        for frame in rgb:
            collector.add_rgb(frame)
        frames, colour, tint = collector.finish()
    return CineLoop(frames, np.arange(len(frames)) * 40.0, "test", colour=colour, tint=tint)


def jpeg(rgb: np.ndarray, quality: int, subsampling: str = "4:2:0") -> np.ndarray:
    out = []
    for frame in rgb:
        buffer = BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
        out.append(np.asarray(Image.open(buffer)))
    return np.stack(out)


def test_luminance_is_bt601_and_keeps_grey() -> None:
    grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    assert np.array_equal(luminance(grey)[0], np.arange(256))
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert np.abs(luminance(rgb) - rgb @ np.array([0.299, 0.587, 0.114])).max() <= 0.51


def test_ybr_conversion_is_the_standards() -> None:
    from pydicom.pixels import convert_color_space

    rng = np.random.default_rng(0)
    ybr = rng.integers(0, 256, (200, 200, 3), dtype=np.uint8)
    theirs = convert_color_space(ybr, "YBR_FULL", "RGB")
    assert np.abs(ybr_to_rgb(ybr).astype(int) - theirs).max() <= 1
    assert (ybr_to_rgb(ybr) == theirs).mean() > 0.9999


def test_grey_has_no_colour() -> None:
    frames = make.sector_frames()
    loop = collect(np.repeat(frames[..., None], 3, axis=3))
    assert loop.colour is None
    assert loop.tint is None
    assert np.array_equal(loop.frames, frames)


def test_doppler_is_colour_and_exact() -> None:
    rgb = make.with_doppler(make.sector_frames())
    loop = collect(rgb)
    assert loop.tint is None
    for t in range(len(loop)):
        assert np.array_equal(loop.rgb(t), rgb[t])
        assert np.array_equal(loop.coloured(t), (rgb[t] != rgb[t][..., :1]).any(axis=2))


def test_colour_that_comes_late_and_goes() -> None:
    frames = make.sector_frames(20)
    rgb = np.repeat(frames[..., None], 3, axis=3)
    rgb[13] = make.with_doppler(frames)[13]
    loop = collect(rgb)
    assert [len(loop.colour.frame(t)[0]) > 0 for t in range(20)] == [t == 13 for t in range(20)]  # type: ignore[union-attr]
    assert np.array_equal(loop.rgb(13), rgb[13])


def test_a_tinted_map_is_no_colour() -> None:
    frames = make.sector_frames(6, 96, 128)
    rgb = make.sepia(frames)
    loop = collect(rgb)
    assert loop.tint is not None
    assert loop.tint.shape == (256, 3)
    share = 0 if loop.colour is None else len(loop.colour.index) / loop.frames.size
    assert share < 0.01
    assert np.abs(loop.rgb(2).astype(int) - rgb[2])[frames[2] > 40].mean() < 2


def test_doppler_on_a_tinted_map() -> None:
    frames = make.sector_frames(6, 96, 128)
    rgb = make.sepia(frames)
    rgb[:, 40:60, 50:64] = (200, 20, 10)
    loop = collect(rgb)
    assert loop.tint is not None
    mask = loop.coloured(0)
    assert mask is not None
    assert mask[40:60, 50:64].all()
    mask[40:60, 50:64] = False
    assert mask.mean() < 0.01


def test_grey_text_on_a_tinted_loop_stays_grey() -> None:
    rgb = make.sepia(make.sector_frames(6, 96, 128))
    rgb[:, 2:6, 2:30] = 200
    loop = collect(rgb)
    assert (loop.rgb(3)[2:6, 2:30] == 200).all()


@pytest.mark.parametrize("quality", [60, 75, 90])
def test_chroma_noise_of_jpeg_is_grey(quality: int) -> None:
    """A grey loop beside one coloured button: JPEG smears chroma into the grey around it."""
    rgb = np.repeat(make.sector_frames(4, 96, 128)[..., None], 3, axis=3)
    rgb[:, 4:10, 4:10] = (60, 90, 230)
    loop = collect(jpeg(rgb, quality), lossy=True)
    mask = loop.coloured(0)
    assert mask is not None
    assert mask[5:9, 5:9].all()
    assert not mask[20:].any()


@pytest.mark.parametrize("quality", [75, 92])
def test_a_tinted_map_through_jpeg(quality: int) -> None:
    y, x = np.mgrid[:96, :128]
    smooth = np.clip(120 + 90 * np.sin(x / 17) * np.cos(y / 13), 0, 255).astype(np.uint8)
    rgb = make.sepia(np.stack([np.roll(smooth, 3 * t, axis=1) for t in range(4)]))
    loop = collect(jpeg(rgb, quality), lossy=True)
    assert loop.tint is not None
    assert loop.colour is None or len(loop.colour.index) / loop.frames.size < 0.02


def test_a_coloured_banner_however_large_is_no_tint() -> None:
    rgb = np.repeat(make.sector_frames(4, 96, 128)[..., None], 3, axis=3)
    rgb[:, :40] = (30, 60, 110)
    loop = collect(rgb)
    assert loop.tint is None
    mask = loop.coloured(0)
    assert mask is not None
    assert mask[:40].all()
    assert not mask[40:].any()


def test_whole_frames_of_colour_go_to_disk_and_come_back() -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (12, 40, 50, 3), dtype=np.uint8)
    loop = collect(rgb, settings=ColourSettings(memory_bytes=10_000))
    assert loop.colour is not None
    assert isinstance(loop.colour.index, np.memmap)
    in_memory = collect(rgb)
    assert in_memory.colour is not None
    assert not isinstance(in_memory.colour.index, np.memmap)
    for t in range(12):
        assert np.array_equal(loop.rgb(t), in_memory.rgb(t))
        mask = loop.coloured(t)
        assert mask is not None
        assert np.array_equal(loop.rgb(t)[mask], rgb[t][mask])
        assert mask.mean() > 0.8


def test_many_frames_without_a_known_count() -> None:
    frames = make.sector_frames(70)
    with FrameCollector(Path("loop")) as collector:
        for frame in frames:
            collector.add_grey(frame)
        got, colour, tint = collector.finish()
    assert np.array_equal(got, frames)
    assert colour is None
    assert tint is None
