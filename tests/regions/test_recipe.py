"""The recipe: hand-computed masks, tilted and mirrored hearts, sectors, spacing, and contours that say the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hearts import bullet, fan, overlap, rectangle

from echoq_models.cine.sector import Spacing
from echoq_models.errors import RegionError
from echoq_models.regions import frame_regions, long_axis, regions_from_lv, whole_contour
from echoq_models.regions.recipe import DEFAULT, PAPER, PRESETS

PAIRS = Path(__file__).parents[3] / "shared" / "realdata" / "a4c"
MM = Spacing(1.0, 1.0)
TURNS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "a quarter": lambda m: np.rot90(m).copy(),
    "half": lambda m: np.rot90(m, 2).copy(),
    "three quarters": lambda m: np.rot90(m, 3).copy(),
    "left and right": lambda m: m[:, ::-1].copy(),
    "up and down": lambda m: m[::-1].copy(),
    "along the diagonal": lambda m: m.T.copy(),
}


def _shell(mask: np.ndarray) -> np.ndarray:
    """The pixels within two of a mask's border."""
    kernel = np.ones((5, 5), np.uint8)
    return (cv2.dilate(mask.astype(np.uint8), kernel) - cv2.erode(mask.astype(np.uint8), kernel)) > 0


def test_a_rectangle_in_the_paper_s_preset() -> None:
    mask = rectangle((140, 100), left=30, top=20, width=41, height=101)
    lv, myocardium = regions_from_lv(mask, None, MM, replace(PAPER, shrink_mm=3.0, enlarge_mm=8.0))
    # Three pixels off each side; 30 % of 101 rows off the base: rows 20 to 90 remain (centres under 19.5 + 70.7).
    np.testing.assert_array_equal(lv, rectangle(mask.shape, left=33, top=23, width=35, height=68))
    y, x = np.mgrid[:140, :100]
    dx, dy = np.maximum(np.maximum(30 - x, x - 70), 0), np.maximum(np.maximum(20 - y, y - 120), 0)
    near = np.hypot(dx, dy) <= 8.5  # pixel centres whose centre lies within 8 mm of the border
    np.testing.assert_array_equal(myocardium, near & ~mask)


def test_a_rectangle_in_the_default_preset() -> None:
    mask = rectangle((140, 100), left=30, top=20, width=41, height=101)
    lv, myocardium = regions_from_lv(mask, None, MM, replace(DEFAULT, ease_mm=0.0))
    np.testing.assert_array_equal(lv, rectangle(mask.shape, left=33, top=23, width=35, height=68))
    y, x = np.mgrid[:140, :100]
    away = np.hypot(np.maximum(np.maximum(30 - x, x - 70), 0), np.maximum(np.maximum(20 - y, y - 120), 0)) - 0.5
    # 85 % of the length: rows up to 105 (centres under 19.5 + 85.85).
    np.testing.assert_array_equal(myocardium, (away > 1.5) & (away <= 8.0) & (y <= 105))


def test_an_ellipse_shrinks_and_grows_by_millimetres() -> None:
    y, x = np.mgrid[:300, :300]
    mask = ((x - 150) / 50) ** 2 + ((y - 150) / 90) ** 2 < 1
    settings = replace(PAPER, base_share=0.0, shrink_mm=5.0, enlarge_mm=10.0)
    lv, myocardium = regions_from_lv(mask, None, Spacing(0.5, 0.5), settings)
    perimeter = np.pi * (3 * 140 - np.sqrt((150 + 90) * (50 + 270)))  # Ramanujan
    area = np.pi * 50 * 90
    # Steiner: a convex shape moved out by r gains r * perimeter + pi r²; moved in by r it loses r * perimeter - pi r².
    assert lv.sum() == pytest.approx(area - 10 * perimeter + np.pi * 100, rel=0.02)
    assert myocardium.sum() == pytest.approx(20 * perimeter + np.pi * 400, rel=0.02)


def test_pixels_need_not_be_square() -> None:
    mask = rectangle((200, 100), left=30, top=20, width=40, height=161)
    lv, myocardium = regions_from_lv(mask, None, Spacing(1.0, 0.5), replace(PAPER, shrink_mm=4.0, enlarge_mm=8.0))
    rows, columns = np.flatnonzero(lv.any(axis=1)), np.flatnonzero(lv.any(axis=0))
    assert (columns[0], columns[-1]) == (34, 65)  # 4 mm are 4 pixels across
    assert rows[0] == pytest.approx(28, abs=1)  # and 8 down
    assert rows[-1] == pytest.approx(20 + 0.7 * 161, abs=1)
    columns, rows = np.flatnonzero(myocardium.any(axis=0)), np.flatnonzero(myocardium.any(axis=1))
    assert (columns[0], columns[-1]) == (22, 77)
    assert rows[0] == pytest.approx(4, abs=1)
    assert not (lv & myocardium).any()


def test_without_spacing_distances_follow_the_ventricle_s_size() -> None:
    small, large = bullet((130, 130), (65, 65), 60, 32), bullet((520, 520), (260, 260), 240, 128)
    for settings in PRESETS.values():
        for a, b in zip(
            regions_from_lv(small, settings=settings), regions_from_lv(large, settings=settings), strict=True
        ):
            assert b.sum() / a.sum() == pytest.approx(16, rel=0.1)
    mm = 50 / np.sqrt(large.sum())
    for a, b in zip(regions_from_lv(large), regions_from_lv(large, None, Spacing(mm, mm)), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("settings", PRESETS.values(), ids=PRESETS)
@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_turning_or_mirroring_the_mask_does_the_same_to_the_regions(turn, settings) -> None:  # type: ignore[no-untyped-def]
    for mask in (bullet(tilt=13), bullet((250, 210), (100, 128), 131, 61, tilt=-31)):
        for straight, turned in zip(
            regions_from_lv(mask, settings=settings), regions_from_lv(turn(mask), settings=settings), strict=True
        ):
            np.testing.assert_array_equal(turn(straight), turned)


@pytest.mark.parametrize("settings", PRESETS.values(), ids=PRESETS)
@pytest.mark.parametrize("angle", [-30, -20, 20, 30])
def test_a_tilted_heart_has_tilted_regions(angle: int, settings) -> None:  # type: ignore[no-untyped-def]
    size = (400, 400)
    straight = regions_from_lv(bullet(size, (199.5, 199.5), 200, 106), settings=settings)
    tilted = regions_from_lv(bullet(size, (199.5, 199.5), 200, 106, tilt=angle), settings=settings)
    rotate = cv2.getRotationMatrix2D((199.5, 199.5), angle, 1.0)
    for a, b in zip(straight, tilted, strict=True):
        turned = cv2.warpAffine(a.astype(np.float32), rotate, size) > 0.5
        assert overlap(turned, b) > 0.95


@pytest.mark.parametrize("tilt", [0, 25, -40, 100, 180, 250])
def test_the_axis_leads_from_the_round_end_to_the_flat_one(tilt: int) -> None:
    apex, base = long_axis(bullet((300, 300), (150, 150), 160, 84, tilt=tilt))
    direction = np.array([np.sin(np.deg2rad(tilt)), np.cos(np.deg2rad(tilt))])
    np.testing.assert_allclose(apex, 150 - 80 * direction, atol=2.5)
    np.testing.assert_allclose(base, 150 + 80 * direction, atol=2.5)


def test_an_annulus_that_is_not_square_to_the_axis_keeps_its_middle() -> None:
    mask = bullet((300, 300), (150, 150), 180, 90)
    y, x = np.mgrid[:300, :300]
    mask &= (y - 215) + 0.35 * (x - 150) < 0  # one side of the base lies higher
    apex, base = long_axis(mask)
    assert apex == pytest.approx((150, 60), abs=3)
    assert base == pytest.approx((150, 215), abs=5)


def test_the_probe_decides_where_the_shape_does_not() -> None:
    y, x = np.mgrid[:300, :300]
    even = ((x - 150) / 50) ** 2 + ((y - 150) / 80) ** 2 < 1
    up, down = fan(even.shape), fan(even.shape)[::-1].copy()
    down[:150] = False  # the top of what is left lies at its middle row
    assert long_axis(even)[0][1] < 100
    assert long_axis(even, up)[0][1] < 100
    sideways = even.T.copy()
    probe = np.zeros_like(even)
    probe[10:, 200:] = True
    assert long_axis(sideways, probe)[0][0] > 200
    # An apical view has its apex up, whatever a poor mask looks like.
    upside_down = bullet((300, 300), (150, 150), 160, 84, tilt=180)
    assert long_axis(upside_down)[0][1] > 200
    assert long_axis(upside_down, up)[0][1] < 100


def test_a_round_ventricle_takes_the_beam_for_its_axis() -> None:
    y, x = np.mgrid[:300, :300]
    disc = np.hypot(x - 190, y - 150) < 50
    sector = fan(disc.shape)
    apex, base = np.array(long_axis(disc, sector))
    beam = np.array([190 - 149.5, 150.0])
    assert np.dot(base - apex, beam) / np.linalg.norm(base - apex) / np.linalg.norm(beam) > 0.99


def test_nothing_is_measured_outside_the_sector() -> None:
    mask = bullet((240, 240), (40, 150), 120, 64, tilt=20)
    sector = fan(mask.shape)
    assert (mask & ~sector).any()
    free = regions_from_lv(mask)
    for settings in PRESETS.values():
        lv, myocardium = regions_from_lv(mask, sector, None, settings)
        assert not (lv & ~sector).any() and not (myocardium & ~sector).any()
        assert lv.any() and myocardium.any() and not (lv & myocardium).any()
    literal = replace(DEFAULT, edge_mm=0.0)
    np.testing.assert_array_equal(regions_from_lv(mask, sector, None, literal)[0], free[0] & sector)


@pytest.mark.parametrize(("edge_mm", "pixels"), [(0.0, 0), (1.0, 2), (2.0, 4)])
def test_the_dark_edge_of_the_sector_is_kept_out_but_not_the_frame_s(edge_mm: float, pixels: int) -> None:
    mask, spacing = bullet((240, 240), (120, 120), 120, 64), Spacing(0.5, 0.5)
    sector = rectangle(mask.shape, 85, 0, 75, 240)  # it reaches the frame's border above and below
    settings = replace(DEFAULT, edge_mm=edge_mm)
    kept = rectangle(mask.shape, 85 + pixels, 0, 75 - 2 * pixels, 240)
    for made, whole in zip(
        regions_from_lv(mask, sector, spacing, settings), regions_from_lv(mask, None, spacing, settings), strict=True
    ):
        np.testing.assert_array_equal(made, whole & kept)


def test_a_rough_border_is_smoothed_and_a_straight_one_stays() -> None:
    smooth = bullet((480, 480), (240, 240), 240, 128)
    rough = smooth ^ ((np.random.default_rng(0).random(smooth.shape) < 0.4) & (_shell(smooth)))
    straight, eased, literal = (
        regions_from_lv(mask, None, Spacing(0.4, 0.4), settings)[0]
        for mask, settings in ((smooth, DEFAULT), (rough, DEFAULT), (rough, replace(DEFAULT, ease_mm=0.0)))
    )
    assert overlap(straight, eased) > 0.98
    assert overlap(straight, literal) < 0.97


def test_specks_and_holes_do_not_matter() -> None:
    mask = bullet(tilt=10)
    spoiled = mask.copy()
    spoiled[118:122, 118:122] = False
    spoiled[5:9, 5:9] = True
    for a, b in zip(regions_from_lv(mask), regions_from_lv(spoiled), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_ventricle_cut_by_the_frame_has_its_border_there() -> None:
    mask = bullet((240, 240), (20, 120), 120, 64)
    lv, _ = regions_from_lv(mask, None, MM)
    assert not lv[:, :3].any()
    assert lv[:, 3].any()


@pytest.mark.parametrize(
    ("mask", "sector", "spacing", "says"),
    [
        (np.zeros((50, 50), bool), None, None, "0 pixels"),
        (rectangle((50, 50), 20, 20, 5, 5), None, None, "25 pixels"),
        (rectangle((50, 50), 20, 20, 8, 20), None, MM, "measured left ventricle"),
        (rectangle((50, 50), 20, 5, 1, 45), None, None, "measured left ventricle"),
        (bullet(), bullet(), None, "Too little myocardium"),
        (bullet(), np.zeros((240, 240), bool), None, "measured left ventricle"),
    ],
)
def test_what_cannot_be_measured_is_said(mask, sector, spacing, says: str) -> None:  # type: ignore[no-untyped-def]
    for make in (regions_from_lv, frame_regions):
        with pytest.raises(RegionError, match=says):
            make(mask, sector, spacing)


def test_other_shapes_without_a_ventricle_are_said_too() -> None:
    with pytest.raises(RegionError, match="no left ventricle"):
        long_axis(np.zeros((9, 9), bool))
    with pytest.raises(RegionError, match="too small"):
        whole_contour(np.zeros((9, 9), bool))


@pytest.mark.parametrize("settings", PRESETS.values(), ids=PRESETS)
@pytest.mark.parametrize(("scale", "tilt"), [(1, -25), (1, 10), (2, 0), (2, 40), (4, -35), (4, 15)])
def test_contours_say_what_the_masks_say(scale: int, tilt: int, settings) -> None:  # type: ignore[no-untyped-def]
    mask = bullet((130 * scale,) * 2, (65 * scale,) * 2, 66 * scale, 36 * scale, tilt)
    shown = frame_regions(mask, None, None, settings)
    assert len(shown.lv) == 1
    assert len(shown.myocardium) == (1 if settings is DEFAULT else 2)
    assert all(c.smooth for c in shown.lv + shown.myocardium)
    assert len(shown.lv[0]) <= 24 and max(map(len, shown.myocardium)) <= 48
    drawn = shown.masks(mask.shape)
    for made, seen in zip(regions_from_lv(mask, None, None, settings), drawn, strict=True):
        assert overlap(made, seen) >= 0.97
    assert not (drawn[0] & drawn[1]).any()
    whole = whole_contour(mask)
    assert abs(whole.area) == pytest.approx(mask.sum(), rel=0.06)
    apex, _ = long_axis(mask)
    assert np.hypot(*(whole.points[0] - apex)) < 3 * scale


def test_contours_of_a_ventricle_at_the_sector_s_edge() -> None:
    mask = bullet((480, 480), (120, 290), 240, 128, tilt=15)
    sector = fan(mask.shape)
    for settings in PRESETS.values():
        shown = frame_regions(mask, sector, None, settings)
        for made, seen in zip(regions_from_lv(mask, sector, None, settings), shown.masks(mask.shape), strict=True):
            assert overlap(made, seen) >= 0.97


@pytest.mark.skipif(not PAIRS.is_dir(), reason="real loops are not here")
def test_masks_of_real_loops_give_regions_that_can_be_measured() -> None:
    for path in sorted(PAIRS.glob("lv_pair_*.npz")):
        with np.load(path, allow_pickle=False) as pair:
            masks = pair["lv_mask"].astype(bool)
        last = None
        for mask in masks[::8]:
            shown = frame_regions(mask)
            lv, myocardium = shown.masks(mask.shape)
            assert not (lv & myocardium).any()
            assert 0.4 < lv.sum() / mask.sum() < 0.65
            assert 0.3 < myocardium.sum() / mask.sum() < 0.9
            apex, base = np.array(long_axis(mask))
            assert apex[1] < base[1] - 20  # apex up
            if last is not None:  # the axis does not jump about
                assert np.dot(base - apex, last) / np.linalg.norm(base - apex) / np.linalg.norm(last) > 0.97
            last = base - apex
