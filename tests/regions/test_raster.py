"""Polygons to masks and back: the boundary convention, and that nothing is lost on the way."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from echoq_models.regions import mask_polygons, polygon_mask, polygons_mask


def polygon(*points: tuple[float, float]) -> NDArray[np.float64]:
    return np.array(points, dtype=np.float64)


def test_a_square_holds_the_pixels_its_outline_passes_over() -> None:
    mask = polygon_mask(polygon((2, 3), (6, 3), (6, 5), (2, 5)), (10, 10))
    expected = np.zeros((10, 10), dtype=bool)
    expected[3:6, 2:7] = True
    np.testing.assert_array_equal(mask, expected)


def test_centres_lie_at_integers() -> None:
    # From 1.6 to 4.4: centres 2, 3, 4; the outline at 1.6 lies in pixel 2, at 4.4 in pixel 4.
    mask = polygon_mask(polygon((1.6, 1.6), (4.4, 1.6), (4.4, 4.4), (1.6, 4.4)), (8, 8))
    expected = np.zeros((8, 8), dtype=bool)
    expected[2:5, 2:5] = True
    np.testing.assert_array_equal(mask, expected)


def test_the_same_whichever_way_round_and_wherever_it_starts() -> None:
    points = polygon((3.2, 1.1), (20.7, 4.3), (16.4, 18.8), (9.9, 12.2), (2.5, 15.0))
    mask = polygon_mask(points, (24, 24))
    for turn in range(5):
        np.testing.assert_array_equal(polygon_mask(np.roll(points, turn, axis=0), (24, 24)), mask)
        np.testing.assert_array_equal(polygon_mask(np.roll(points[::-1], turn, axis=0), (24, 24)), mask)


@settings(max_examples=120, deadline=None)
@given(st.lists(st.tuples(st.floats(-15, 45), st.floats(-15, 45)), min_size=3, max_size=3))
def test_a_triangle_holds_all_centres_inside_and_none_far_outside(points: list[tuple[float, float]]) -> None:
    triangle = polygon(*points)
    mask = polygon_mask(triangle, (30, 32))
    contour = triangle.astype(np.float32).reshape(-1, 1, 2)
    for y in range(30):
        for x in range(32):
            depth = cv2.pointPolygonTest(contour, (float(x), float(y)), True)
            if depth > 1e-3:
                assert mask[y, x]
            if depth < -(2**-0.5) - 1e-3:
                assert not mask[y, x]


def test_what_lies_outside_the_frame_is_cut_off() -> None:
    mask = polygon_mask(polygon((-50, -20), (4, -20), (4, 300), (-50, 300)), (6, 9))
    expected = np.zeros((6, 9), dtype=bool)
    expected[:, :5] = True
    np.testing.assert_array_equal(mask, expected)
    assert polygon_mask(polygon((-9, -9), (90, -9), (90, 90), (-9, 90)), (6, 9)).all()
    assert not polygon_mask(polygon((20, 20), (30, 20), (30, 30)), (6, 9)).any()
    assert not polygon_mask(polygon((-30, 0), (-20, 0), (-20, 5)), (6, 9)).any()


def test_a_contour_that_crosses_itself_leaves_no_hole() -> None:
    star = polygon(*[(20 + 15 * np.sin(4 * np.pi * k / 5), 20 - 15 * np.cos(4 * np.pi * k / 5)) for k in range(5)])
    assert polygon_mask(star, (40, 40))[20, 20]
    eight = polygon_mask(polygon((2, 2), (18, 18), (18, 2), (2, 18)), (21, 21))
    assert eight[10, 4]
    assert eight[10, 16]
    assert not eight[4, 10]


@pytest.mark.parametrize("points", [[], [(3, 3)], [(3, 3), (9, 9)]])
def test_fewer_than_three_points_are_nothing(points: list[tuple[float, float]]) -> None:
    assert not polygon_mask(np.array(points, dtype=np.float64).reshape(-1, 2), (20, 20)).any()


def test_several_polygons_are_united() -> None:
    one, two = polygon((1, 1), (8, 1), (8, 8), (1, 8)), polygon((5, 5), (12, 5), (12, 12), (5, 12))
    united = polygons_mask([one, two], (16, 16))
    np.testing.assert_array_equal(united, polygon_mask(one, (16, 16)) | polygon_mask(two, (16, 16)))
    assert not polygons_mask([], (16, 16)).any()


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.3, 5.0), st.floats(0.05, 0.95))
def test_a_mask_comes_back_exactly_holes_filled(seed: int, smooth: float, share: float) -> None:
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random((37, 52)), (0, 0), smooth)
    mask = noise > np.quantile(noise, share)
    back = polygons_mask(mask_polygons(mask), mask.shape)
    outside = cv2.copyMakeBorder((~mask).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    _, labels = cv2.connectedComponents(outside, connectivity=4)
    np.testing.assert_array_equal(back, (labels != labels[0, 0])[1:-1, 1:-1])


def test_contours_come_largest_first_and_can_be_simplified() -> None:
    mask = np.zeros((120, 120), dtype=bool)
    mask[2:6, 2:6] = True
    y, x = np.mgrid[:120, :120]
    disc = np.hypot(x - 70, y - 70) < 35
    fine, simple = mask_polygons(mask | disc), mask_polygons(mask | disc, tolerance=1.0)
    assert len(fine) == len(simple) == 2
    assert polygon_mask(fine[0], mask.shape)[70, 70]
    assert len(simple[0]) < len(fine[0]) / 3
    back = polygon_mask(simple[0], mask.shape)
    assert np.count_nonzero(back & disc) / np.count_nonzero(back | disc) > 0.95
    assert mask_polygons(np.zeros((5, 5), dtype=bool)) == ()
