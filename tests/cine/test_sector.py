"""The sector: found in what scanners really write, cropped and pasted without touching anything else."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import cv2
import numpy as np
import pydicom.examples
import pytest
from numpy.typing import NDArray

from echoq_models.cine import CineLoop, UltrasoundRegion, read, sector

REALDATA = Path(__file__).parents[3] / "shared" / "realdata"


def loop_of(frames: NDArray[np.uint8], regions: tuple[UltrasoundRegion, ...] = ()) -> CineLoop:
    return CineLoop(frames, np.arange(len(frames)) * 33.3, "test", regions=regions)


def wedge(size: tuple[int, int], apex: tuple[float, float], half: float, near: float, far: float) -> NDArray[np.bool_]:
    y, x = np.mgrid[: size[0], : size[1]]
    radius, angle = np.hypot(x - apex[0], y - apex[1]), np.arctan2(x - apex[0], y - apex[1])
    return (np.abs(angle) <= np.deg2rad(half)) & (radius >= near) & (radius <= far)


def scanner(count: int = 6, near: float = 0.0) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Frames 600 x 800 with all that a scanner draws around its sector, and the true sector."""
    truth = wedge((600, 800), (400.0, 30.0), 40.0, near, 500.0)
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:600, :800]
    chamber = np.hypot((x - 390) / 80, (y - 280) / 110) < 1
    dim = np.clip(1.4 - np.abs(x - 400) / 320, 0.25, 1) * 120
    frames = np.zeros((count, 600, 800), dtype=np.uint8)
    for frame in frames:
        speckle = np.clip(dim * rng.rayleigh(0.8, size=truth.shape) + 15, 0, 255)
        frame[truth & ~chamber] = speckle[truth & ~chamber]
    for t, frame in enumerate(frames):
        cv2.putText(frame, "HR 72 bpm  MI 1.1", (10, 40), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 2)
        cv2.putText(frame, "Adult Echo", (620, 60), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 2)
        frame[100:300, 770:790] = np.linspace(255, 20, 200, dtype=np.uint8)[:, None]  # grey bar
        for depth in range(60, 500, 50):
            frame[30 + depth, 740:752] = 200  # depth ticks
        trace = 565 - 20 * np.exp(-(((np.arange(800) + 40 * t) % 200 - 100) ** 2) / 50)
        points = np.stack([np.arange(800), trace], axis=1).astype(np.int32)
        cv2.polylines(frame, [points], False, 220, 2)  # ECG
        frame[585:598, 100:500] = 90  # buttons
    return frames, truth


@pytest.mark.parametrize("near", [0.0, 120.0], ids=["phased", "curved"])
def test_finds_the_sector_among_all_that_a_scanner_draws(near: float) -> None:
    frames, truth = scanner(near=near)
    found = sector.fit(loop_of(frames))
    assert found.found
    assert np.count_nonzero(found.mask & truth) / np.count_nonzero(found.mask | truth) > 0.985
    # What little is wrong lies within three pixels of the edge: chamber in, ticks, text, ECG and bar out.
    edge = cv2.dilate(truth.astype(np.uint8), np.ones((7, 7))) != cv2.erode(truth.astype(np.uint8), np.ones((7, 7)))
    assert not (found.mask ^ truth)[~edge].any()


@pytest.mark.parametrize(("height", "width"), [(112, 112), (256, 256), (582, 582), (240, 320), (708, 1016)])
def test_finds_the_sector_at_any_size_even_cut_by_the_frame(height: int, width: int) -> None:
    truth = wedge((height, width), (0.5 * width, 0.08 * height), 45.0, 0.0, 0.95 * height)
    rng = np.random.default_rng(0)
    frames = (truth * np.clip(rng.rayleigh(60.0, (3, height, width)), 20, 255)).astype(np.uint8)
    found = sector.fit(loop_of(frames))
    assert np.count_nonzero(found.mask & truth) / np.count_nonzero(found.mask | truth) > 0.96


@pytest.mark.parametrize("squeeze", [0.8, 1.25])
def test_a_picture_squeezed_in_one_direction_keeps_its_round_end(squeeze: float) -> None:
    y, x = np.mgrid[:400, :500]
    radius, angle = np.hypot((x - 250) * squeeze, y - 20), np.arctan2((x - 250) * squeeze, y - 20)
    truth = (radius < 350) & (np.abs(angle) < np.deg2rad(35))
    frames = (truth * np.clip(np.random.default_rng(0).rayleigh(60.0, (3, 400, 500)), 20, 255)).astype(np.uint8)
    found = sector.fit(loop_of(frames))
    assert np.count_nonzero(found.mask & truth) / np.count_nonzero(found.mask | truth) > 0.98


def test_a_dark_band_does_not_cut_the_sector_in_two() -> None:
    frames, truth = scanner(6)
    frames[:, 150:190][:, truth[150:190]] = 0
    found = sector.fit(loop_of(frames))
    assert np.count_nonzero(found.mask & truth) / np.count_nonzero(found.mask | truth) > 0.98


def test_a_still_and_any_part_of_the_loop_give_nearly_the_same_sector() -> None:
    frames, _ = scanner(8)
    whole, still = sector.fit(loop_of(frames)), sector.fit(loop_of(frames[3:4]))
    assert np.count_nonzero(whole.mask ^ still.mask) < 0.02 * np.count_nonzero(whole.mask)


def dark_still(fuzz: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """One frame of a bright septum in tissue of 2 to 8 grey levels, and its sector; fuzz: what a codec left around."""
    truth = wedge((300, 320), (160.0, 8.0), 38.0, 0.0, 270.0)
    rng = np.random.default_rng(5)
    frame = np.where(truth, rng.integers(2, 9, truth.shape), rng.integers(0, fuzz + 1, truth.shape)).astype(np.uint8)
    frame[40:200, 150:175] = 90
    return frame[None], truth


def test_a_dark_still_shows_its_sector_where_no_codec_blurred_the_lowest_levels() -> None:
    frames, truth = dark_still()
    found = sector.fit(loop_of(frames))
    assert np.count_nonzero(found.mask & truth) / np.count_nonzero(found.mask | truth) > 0.96


def test_what_a_codec_leaves_around_a_dark_picture_is_no_sector() -> None:
    frames, truth = dark_still(fuzz=6)
    found = sector.fit(dataclasses.replace(loop_of(frames), lossy=("JPEG baseline",)))
    assert not found.found or np.count_nonzero(found.mask & ~truth) < 0.01 * truth.size


@pytest.mark.parametrize("level", [0, 128, 255])
def test_without_a_sector_the_whole_frame_counts_and_says_so(level: int) -> None:
    found = sector.fit(loop_of(np.full((2, 90, 120), level, dtype=np.uint8)))
    assert not found.found
    assert found.mask.all()
    assert found.side == 120


def test_the_cardiac_loop_of_pydicom() -> None:
    loop = read(pydicom.examples.get_path("ybr_color"))
    found = sector.fit(loop)
    rows, columns = np.flatnonzero(found.mask.any(axis=1)), np.flatnonzero(found.mask.any(axis=0))
    # Read off the enlarged picture: the sector spans 40-298 by 21-201.
    assert abs(columns[0] - 40) <= 2
    assert abs(columns[-1] - 298) <= 3
    assert abs(rows[0] - 21) <= 4
    assert abs(rows[-1] - 201) <= 3
    for x, y in [(170, 100), (180, 112), (150, 160), (60, 155), (280, 155), (170, 198)]:  # chambers, dim corners
        assert found.mask[y, x], (x, y)
    for x, y in [(190, 20), (300, 120), (310, 75), (20, 12), (100, 230), (295, 203)]:  # mark, ticks, text, buttons
        assert not found.mask[y, x], (x, y)

    spacing = sector.usable_spacing(loop, found)
    assert spacing is not None
    assert spacing.shrink == 2
    assert spacing.mm_per_pixel_x == pytest.approx(1.021, abs=0.001)
    assert spacing.note is not None
    assert "shrunk 2 times" in spacing.note


REAL = [
    # file, points inside (dark chambers, dim edges), points outside (ECG, ticks, marks, corners)
    ("a4c/loop_with_ecg.mp4", [(220, 410), (330, 160), (20, 390), (560, 400), (290, 535)], [(95, 570), (570, 295)]),
    ("a4c/loop_1.gif", [(140, 210), (100, 200), (5, 180), (250, 180), (128, 248)], [(5, 5), (250, 5), (10, 252)]),
    ("a4c/lv_pair_1.npz", [(70, 70), (10, 90), (105, 60), (60, 20)], [(75, 11), (97, 38), (5, 5), (2, 110)]),
    ("a4c/lv_pair_2.npz", [(25, 95), (60, 60), (5, 90), (108, 90)], [(68, 4), (105, 45), (5, 5)]),
    ("a4c/hazy_1.png", [(128, 150), (4, 160), (252, 150), (128, 250)], [(10, 100), (250, 100), (20, 252)]),
    ("a4c/hazy_loop_2", [(240, 280), (50, 310), (300, 420), (500, 400)], [(20, 200), (480, 200), (30, 440)]),
    ("dicom/US-PAL-8-10x-echo", [(310, 85), (420, 150), (120, 240), (300, 345)], [(60, 395), (560, 100), (180, 136)]),
    ("dicom/US-RGB-8-epicard", [(300, 100), (200, 300), (300, 400)], [(190, 190), (20, 150), (150, 400)]),
    ("dicom/OBXXXX1A_rle_2frame.dcm", [(470, 100), (470, 500), (150, 415), (750, 400)], [(400, 20), (180, 530)]),
    ("dicom/YBR_FULL-RLE.dcm", [(200, 200), (470, 390), (90, 60)], [(540, 150), (30, 200), (300, 440)]),
]


@pytest.mark.skipif(not REALDATA.is_dir(), reason="real files are not here")
@pytest.mark.parametrize(("name", "inside", "outside"), REAL, ids=[name for name, _, _ in REAL])
def test_real_loops(name: str, inside: list[tuple[int, int]], outside: list[tuple[int, int]]) -> None:
    found = sector.fit(read(REALDATA / name))
    assert found.found
    assert all(found.mask[y, x] for x, y in inside)
    assert not any(found.mask[y, x] for x, y in outside)


def region(x0: int, y0: int, x1: int, y1: int, mm: float | None, kind: int = 1) -> UltrasoundRegion:
    return UltrasoundRegion(x0, y0, x1, y1, kind, 1, mm, mm)


def test_spacing_belongs_to_the_region_a_point_lies_in() -> None:
    frames, _ = scanner(2)
    loop = loop_of(frames, (region(60, 20, 739, 540, 0.3), region(0, 545, 799, 580, 0.9, kind=10)))
    found = sector.fit(loop)
    assert sector.usable_spacing(loop, found) == sector.Spacing(0.3, 0.3)
    assert sector.usable_spacing(loop, found, (400.0, 300.0)) == sector.Spacing(0.3, 0.3)
    assert sector.usable_spacing(loop, found, (400.0, 560.0)) is None  # the ECG's region
    two = loop_of(frames, (region(60, 20, 399, 540, 0.3), region(400, 20, 799, 540, 0.4)))
    assert sector.usable_spacing(two, found, (100.0, 300.0)) == sector.Spacing(0.3, 0.3)
    assert sector.usable_spacing(two, found, (700.0, 300.0)) == sector.Spacing(0.4, 0.4)


def test_a_region_that_fits_nowhere_gives_no_spacing() -> None:
    frames, _ = scanner(2)
    for box in [(3000, 2000, 3600, 2400), (700, 500, 900, 800), (-50, 0, 300, 300)]:
        loop = loop_of(frames, (region(*box, 0.3),))
        assert sector.usable_spacing(loop, sector.fit(loop)) is None
    assert sector.usable_spacing(loop_of(frames), sector.fit(loop_of(frames))) is None


SIZES = [(112, 112), (256, 256), (582, 582), (600, 800), (240, 320), (90, 500)]


def squares(height: int, width: int) -> sector.Sector:
    mask = wedge((height, width), (0.5 * width, 0.05 * height), 42.0, 0.0, 0.9 * height)
    return sector.fit(loop_of((mask * 100)[None].astype(np.uint8)))


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_nothing_changes_outside_the_sector_in_colour_or_where_the_change_is_zero(height: int, width: int) -> None:
    found = squares(height, width)
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 256, (3, height, width), dtype=np.uint8)
    coloured = [rng.random((height, width)) < 0.2, None, np.ones((height, width), dtype=bool)]
    change = rng.uniform(-0.9, -0.3, (3, 256, 256)).astype(np.float32)
    out = sector.paste_change(frames, change, found, coloured)
    for t, colour in enumerate(coloured):
        kept = ~found.mask if colour is None else ~found.mask | colour
        np.testing.assert_array_equal(out[t][kept], frames[t][kept])
        changed = ~kept & (frames[t] > 0)
        assert (out[t][changed] < frames[t][changed]).all()
    np.testing.assert_array_equal(sector.paste_change(frames, np.zeros_like(change), found), frames)
    same = sector.paste_image(frames, sector.patches(frames, found)[:, 0], found)
    np.testing.assert_array_equal(same, frames)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_patches_are_in_range_black_outside_and_the_same_in_any_batch(height: int, width: int) -> None:
    found = squares(height, width)
    frames = np.random.default_rng(2).integers(0, 256, (4, height, width), dtype=np.uint8)
    batch = sector.patches(frames, found)
    assert batch.shape == (4, 1, 256, 256)
    assert batch.dtype == np.float32
    assert batch.min() >= 0
    assert batch.max() <= 1
    blank = frames.copy()
    blank[:, ~found.mask] = 0
    np.testing.assert_array_equal(sector.patches(blank, found), batch)
    change = -np.abs(batch[:, 0] - 0.3)
    pasted = sector.paste_change(frames, change, found)
    for t in range(4):
        np.testing.assert_array_equal(sector.patches(frames[t : t + 1], found)[0], batch[t])
        np.testing.assert_array_equal(sector.paste_change(frames[t : t + 1], change[t : t + 1], found)[0], pasted[t])


def everything(side: int) -> sector.Sector:
    return sector.Sector(np.ones((side, side), dtype=bool), 0, 0, side)


@pytest.mark.parametrize("axis", [0, 1])
def test_growing_is_aligned_to_pixel_centres(axis: int) -> None:
    patch = np.arange(256, dtype=np.float32)
    ramp = -np.broadcast_to(patch[:, None] if axis == 0 else patch, (256, 256)) / 255.0 / 2.0
    out = sector.paste_change(np.full((1, 1024, 1024), 200, dtype=np.uint8), ramp[None], everything(1024))[0]
    line = out[:, 500] if axis == 0 else out[500]
    # Pixel i of 1024 lies at (i + 1/2) / 4 - 1/2 of 256; half a pixel wrong would show in every second value.
    at = (np.arange(1024) + 0.5) / 4.0 - 0.5
    expected = np.floor(200 - np.clip(at, 0, 255) / 2.0 + 0.5)
    np.testing.assert_array_equal(line, expected)


def test_shrinking_takes_the_mean_over_area() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (1, 768, 768), dtype=np.uint8)
    mean = frames[0].reshape(256, 3, 256, 3).mean(axis=(1, 3)) / 255.0
    np.testing.assert_allclose(sector.patches(frames, everything(768))[0, 0], mean, atol=1e-5)


def test_at_256_pixels_nothing_is_resampled() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (1, 256, 256), dtype=np.uint8)
    np.testing.assert_allclose(sector.patches(frames, everything(256))[0, 0] * 255, frames[0], atol=1e-4)
    nearly = np.zeros((256, 256), dtype=bool)
    nearly[3:250, 2:254] = True
    made = sector.Sector(nearly, *sector._square(nearly))
    assert (made.x0, made.y0, made.side) == (0, 0, 256)


def test_rounding_is_half_up_and_clipped() -> None:
    frames = np.tile(np.array([100, 101, 0, 255], dtype=np.uint8), (1, 256, 64))
    for levels, expected in [(-0.5, [100, 101, 0, 255]), (-1.5, [99, 100, 0, 254]), (1.5, [102, 103, 2, 255])]:
        change = np.full((1, 256, 256), levels / 255.0, dtype=np.float32)
        np.testing.assert_array_equal(sector.paste_change(frames, change, everything(256))[0, 0, :4], expected)


def test_native_speckle_is_kept_not_blurred() -> None:
    frames, _ = scanner(1)
    found = sector.fit(loop_of(frames))
    y, x = np.mgrid[:256, :256].astype(np.float32) / 256.0
    darker = (-0.1 - 0.05 * np.sin(3 * x) * np.cos(2 * y))[None].astype(np.float32)
    image = sector.patches(frames, found)[:, 0] + darker
    for out in (sector.paste_change(frames, darker, found), sector.paste_image(frames, image, found)):
        inner = cv2.erode(found.mask.astype(np.uint8), np.ones((9, 9))).astype(bool) & (frames[0] > 60)
        before, after = (f - cv2.GaussianBlur(f, (0, 0), 3) for f in (frames[0].astype(float), out[0].astype(float)))
        # The fine detail, most of which 256 pixels cannot hold, comes through one to one.
        slope = (before * after)[inner].sum() / (before * before)[inner].sum()
        assert slope == pytest.approx(1.0, abs=0.02)
        assert np.corrcoef(before[inner], after[inner])[0, 1] > 0.99


def best_of(times: int, work) -> float:  # type: ignore[no-untyped-def]
    """Seconds of processor time, so that a busy machine does not fail the test."""
    taken = []
    for _ in range(times):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)


def test_costs_little() -> None:
    frames = np.concatenate([scanner(4)[0]] * 25)
    loop = loop_of(frames)
    found = sector.fit(loop)
    assert best_of(3, lambda: sector.fit(loop)) < 0.3
    change = np.full((1, 256, 256), -0.1, dtype=np.float32)
    assert best_of(10, lambda: sector.paste_change(frames[:1], change, found)) < 0.005
