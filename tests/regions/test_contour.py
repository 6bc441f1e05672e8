"""Contours: what a spline looks like, how few handles follow a border, and the small edits of the window."""

from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest
from hearts import bullet, overlap
from hypothesis import given, settings
from hypothesis import strategies as st

from echoq_models.errors import RegionError
from echoq_models.regions import Contour, polygon_mask

SQUARE = np.array([[10.0, 10], [30, 10], [30, 30], [10, 30]])


def ellipse(count: int, a: float = 120.0, b: float = 70.0) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([200 + a * np.cos(angle), 150 + b * np.sin(angle)], axis=1)


def distances(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Distance of each point from the outline of a polygon."""
    contour = polygon.astype(np.float32).reshape(-1, 1, 2)
    return np.array([abs(cv2.pointPolygonTest(contour, (float(x), float(y)), True)) for x, y in points])


def test_a_straight_contour_is_its_points() -> None:
    contour = Contour(SQUARE)
    assert contour.outline is contour.points
    assert contour.starts.tolist() == [0, 1, 2, 3]
    assert contour.area == 400.0
    assert Contour(SQUARE[::-1]).area == -400.0
    assert contour.centroid == (20.0, 20.0)


def test_a_spline_runs_through_its_handles_and_is_round() -> None:
    handles = ellipse(16)
    contour = Contour(handles, smooth=True)
    np.testing.assert_allclose(contour.outline[contour.starts], handles, atol=0.005)
    assert distances(ellipse(500), contour.outline).max() < 0.5
    assert contour.area == pytest.approx(np.pi * 120 * 70, rel=2e-3)
    assert contour.centroid == pytest.approx((200, 150), abs=0.1)
    assert len(contour.outline) < 200


def test_the_outline_lies_on_the_curve() -> None:
    rough = Contour(ellipse(9), smooth=True).outline
    steps = np.hypot(*np.diff(rough, axis=0).T)
    # Curvature is at most a / b² = 1 / 41: a chord of that length lies at most chord² / (8 radius) off the curve.
    assert (steps**2 / (8 * 40)).max() < 0.2
    tiny = Contour(ellipse(9) / 100, smooth=True)
    assert len(tiny.outline) <= 18  # no more points than anyone can see
    huge = Contour(ellipse(9) * 1000, smooth=True)
    assert len(huge.outline) <= 9 * 64


def test_two_handles_on_one_place_make_a_corner() -> None:
    contour = Contour(np.repeat(SQUARE, 2, axis=0), smooth=True)
    assert contour.area == pytest.approx(400.0)
    assert distances(contour.outline, SQUARE).max() < 0.01


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(-2000, 2000), st.floats(-2000, 2000)), min_size=3, max_size=12), st.integers(0, 11))
def test_any_handles_give_a_finite_outline(points: list[tuple[float, float]], again: int) -> None:
    points.append(points[again % len(points)])
    contour = Contour(np.array(points), smooth=True)
    assert np.isfinite(contour.outline).all()
    assert 3 <= len(contour.outline) <= 64 * len(points)
    np.testing.assert_allclose(contour.outline[contour.starts], points, atol=0.0051)
    assert np.isfinite(contour.area) and np.isfinite(contour.centroid).all()


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_few_handles_follow_the_border_of_a_mask(scale: int) -> None:
    mask = bullet((130 * scale,) * 2, (65 * scale,) * 2, 70 * scale, 36 * scale, tilt=20)
    borders, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    border = borders[0][:, 0].astype(np.float64)
    contour = Contour.through(border)
    assert contour.smooth
    assert 8 <= len(contour) <= 32
    assert overlap(polygon_mask(contour.outline, mask.shape), mask) > 0.985
    away = distances(border, contour.outline)
    size = np.sqrt(mask.sum())
    assert away.max() < max(1.5, 0.015 * size)  # also at the two corners of the mitral line
    assert away.mean() < 0.5
    assert np.hypot(*(contour.points[0] - border[0])) < 1.5


def test_the_number_of_handles_can_be_chosen() -> None:
    contour = Contour.through(ellipse(400), handles=10)
    assert len(contour) == 10
    assert distances(contour.outline, ellipse(400)).max() < 1.0
    assert len(Contour.through(ellipse(400))) < len(Contour.through(np.repeat(SQUARE, 2, axis=0) * 5))


def test_small_edits_give_new_contours() -> None:
    contour = Contour(SQUARE, smooth=True)
    assert contour.moved(2, -3).points[0].tolist() == [12.0, 7.0]
    assert contour.scaled(2.0).points[0].tolist() == pytest.approx([0.0, 0.0], abs=0.1)
    assert contour.scaled(0.5, about=(10, 10)).points.tolist() == [[10, 10], [20, 10], [20, 20], [10, 20]]
    assert contour.with_point(0, (20, 8)).points.tolist()[:3] == [[10, 10], [20, 8], [30, 10]]
    assert contour.with_point(3, (8, 20)).points.tolist()[4] == [8, 20]
    assert contour.without_point(1).points.tolist() == [[10, 10], [30, 30], [10, 30]]
    assert contour.at_handle(2, (33, 35)).points[2].tolist() == [33.0, 35.0]
    assert all(c.smooth for c in (contour.moved(1, 1), contour.scaled(2), contour.without_point(0)))
    assert contour == Contour(SQUARE, smooth=True)
    with pytest.raises(RegionError, match="three"):
        contour.without_point(0).without_point(0)


@pytest.mark.parametrize("smooth", [False, True])
def test_the_mouse_finds_stretch_and_inside(smooth: bool) -> None:
    contour = Contour(SQUARE, smooth=smooth)
    for after, middle in enumerate(((20, 10), (30, 20), (20, 30), (10, 20))):
        found, distance = contour.edge(middle)
        assert found == after
        assert distance < 3.0
    assert contour.edge((20, 5))[1] == pytest.approx(5.0, abs=3.0)
    assert contour.contains((20, 20))
    assert not contour.contains((20, 40))
    assert contour.contains((20, 9)) == smooth  # a spline bulges out


def test_equal_read_only_and_through_a_pipe() -> None:
    contour = Contour(SQUARE, smooth=True)
    outline = contour.outline
    again = pickle.loads(pickle.dumps(contour))  # noqa: S301
    assert again == contour
    np.testing.assert_array_equal(again.outline, outline)
    assert contour != Contour(SQUARE)
    assert contour != Contour(SQUARE + 1, smooth=True)
    assert contour != "contour"
    for array in (contour.points, contour.outline):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1.0


@pytest.mark.parametrize(
    "points", [[], [[1, 2]], [[1, 2], [3, 4]], [[1, 2, 3]] * 3, [[1, np.nan]] * 3, "abc", [[1], [2, 3]]]
)
def test_what_is_no_contour_is_refused(points: object) -> None:
    with pytest.raises(RegionError, match="at least three finite"):
        Contour(points)  # type: ignore[arg-type]


def test_a_contour_without_extent_has_no_spline() -> None:
    with pytest.raises(RegionError, match="extent"):
        Contour.through(np.full((9, 2), 5.0))
