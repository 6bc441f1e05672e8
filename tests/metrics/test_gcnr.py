"""gCNR against cases worked by hand, its invariances, its null value and its confidence interval."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from echoq_models import regions
from echoq_models.errors import RegionError
from echoq_models.metrics.gcnr import (
    SMALL_REGION_PIXELS,
    gcnr,
    histograms,
    loop_gcnr,
    median_ci,
    null_gcnr,
    overlap_gcnr,
    speckle_distribution,
)

A4C = Path(__file__).parents[3] / "shared" / "realdata" / "a4c"


def rows(*levels: list[int]) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
    """A frame of two rows of grey levels, region a its first row and b its second."""
    frame = np.array(levels, dtype=np.uint8)
    a, b = np.zeros(frame.shape, dtype=bool), np.zeros(frame.shape, dtype=bool)
    a[0], b[1] = True, True
    return frame, a, b


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([10, 10, 20, 30], [10, 10, 20, 30], 0.0),
        ([0, 1, 2, 3], [4, 5, 6, 255], 1.0),
        ([10, 10, 20, 20], [20, 20, 30, 30], 0.5),
        ([10, 10, 10, 20], [10, 20, 20, 30], 0.5),  # min(3/4, 1/4) + min(1/4, 2/4) = 1/2
        ([7, 7, 7, 7], [7, 8, 8, 8], 0.75),
        ([255, 255, 0, 0], [0, 0, 255, 255], 0.0),
    ],
)
def test_worked_by_hand(first: list[int], second: list[int], expected: float) -> None:
    assert gcnr(*rows(first, second)) == pytest.approx(expected, abs=1e-12)


def test_regions_of_different_size_compare_shares_not_counts() -> None:
    frame = np.array([[1, 1, 2, 2, 1, 3]], dtype=np.uint8)
    a, b = np.array([[1, 1, 1, 1, 0, 0]], dtype=bool), np.array([[0, 0, 0, 0, 1, 1]], dtype=bool)
    assert gcnr(frame, a, b) == pytest.approx(0.5)


def test_bins_cut_the_scale_into_equal_parts() -> None:
    frame, a, b = rows([0, 63, 64, 127], [0, 64, 128, 255])
    p_a, p_b = histograms(frame, a, b, bins=4)
    np.testing.assert_allclose(p_a, [0.5, 0.5, 0, 0])
    np.testing.assert_allclose(p_b, [0.25, 0.25, 0.25, 0.25])
    assert gcnr(frame, a, b, bins=4) == pytest.approx(0.5)
    assert gcnr(frame, a, b, bins=1) == 0.0


levels = st.lists(st.integers(0, 255), min_size=1, max_size=60)


@settings(max_examples=150, deadline=None)
@given(levels, levels, st.randoms(use_true_random=False))
def test_bounded_symmetric_and_blind_to_relabelled_grey_levels(first: list[int], second: list[int], random) -> None:  # type: ignore[no-untyped-def]
    frame = np.array([first + second], dtype=np.uint8)
    a = np.arange(frame.size)[None] < len(first)
    value = gcnr(frame, a, ~a)
    assert 0.0 <= value <= 1.0
    assert gcnr(frame, ~a, a) == pytest.approx(value, abs=1e-12)
    relabel = list(range(256))
    random.shuffle(relabel)
    assert gcnr(np.array(relabel, dtype=np.uint8)[frame], a, ~a) == pytest.approx(value, abs=1e-12)


def test_empty_overlapping_and_misfit_regions_are_said_clearly() -> None:
    frame, a, b = rows([1, 2], [3, 4])
    with pytest.raises(RegionError, match="share pixels"):
        gcnr(frame, a, a | b)
    with pytest.raises(RegionError, match="no pixel"):
        gcnr(frame, a, np.zeros_like(b))
    with pytest.raises(ValueError, match="of its size"):
        gcnr(frame, a[:1], b)
    with pytest.raises(ValueError, match="uint8"):
        gcnr(frame.astype(np.float32), a, b)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="bool"):
        gcnr(frame, a.astype(np.uint8), b)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="bins"):
        gcnr(frame, a, b, bins=300)


def test_loop_takes_fixed_or_moving_regions_and_names_the_frame_that_fails() -> None:
    one, a, b = rows([1, 1], [1, 2])
    frames = np.stack([one, one[:, ::-1], np.full_like(one, 9)])
    np.testing.assert_allclose(loop_gcnr(frames, (a, b)), [0.5, 0.5, 0.0])
    moving = loop_gcnr(frames, lambda t: (a, b) if t else (b, a))
    np.testing.assert_allclose(moving, [0.5, 0.5, 0.0])
    with pytest.raises(RegionError, match="Frame 2: "):
        loop_gcnr(frames, lambda t: (a, b if t != 1 else a))


@pytest.mark.parametrize(("n_a", "n_b"), [(40, 40), (300, 300), (1000, 1000), (300, 4000), (20000, 20000)])
@pytest.mark.parametrize("bins", [256, 64])
def test_null_value_is_what_a_simulation_gives(n_a: int, n_b: int, bins: int) -> None:
    rng = np.random.default_rng(0)
    p = speckle_distribution(bins)
    drawn_a, drawn_b = rng.multinomial(n_a, p, size=400) / n_a, rng.multinomial(n_b, p, size=400) / n_b
    simulated = np.mean(1.0 - np.minimum(drawn_a, drawn_b).sum(axis=1))
    assert null_gcnr(n_a, n_b, bins) == pytest.approx(simulated, abs=0.005 + 0.2 / n_a)  # counts are near Poisson


def test_null_value_as_people_know_it() -> None:
    assert null_gcnr(1000, 1000) == pytest.approx(0.18, abs=0.006)
    assert null_gcnr(300, 300) == pytest.approx(0.32, abs=0.01)
    assert null_gcnr(SMALL_REGION_PIXELS, SMALL_REGION_PIXELS) < 0.18
    flat = np.full(256, 1 / 256)
    assert null_gcnr(1000, 1000, p=flat) > null_gcnr(1000, 1000)  # more levels, more chance overlap missed
    assert null_gcnr(1, 1, p=flat) == pytest.approx(255 / 256, abs=0.01)
    with pytest.raises(ValueError, match="pixel"):
        null_gcnr(0, 10)


def test_speckle_distribution_is_that_of_drawn_speckle() -> None:
    power = np.random.default_rng(1).exponential(size=2_000_000)
    grey = np.clip(np.round(128 + 255 / 60 * 10 * np.log10(power)), 0, 255).astype(np.uint8)
    drawn = np.bincount(grey, minlength=256) / grey.size
    np.testing.assert_allclose(speckle_distribution(), drawn, atol=4e-4)
    assert overlap_gcnr(speckle_distribution(), drawn) < 0.01


def test_median_and_its_interval() -> None:
    assert median_ci(np.array([0.5])) == median_ci(np.array([0.5]), block=7)
    single = median_ci(np.array([0.5]))
    assert (single.median, single.low, single.high) == (0.5, 0.5, 0.5)
    values = np.random.default_rng(0).normal(0.6, 0.05, 100)
    result = median_ci(values)
    assert result == median_ci(values)
    assert result.median == np.median(values)
    assert result.low < result.median < result.high
    assert median_ci(values, level=0.5).high < result.high
    for wrong in ([], [0.5, np.nan]):
        with pytest.raises(ValueError, match="finite"):
            median_ci(np.array(wrong))


def test_interval_covers_the_true_median_of_dependent_frames() -> None:
    # Neighbouring frames resemble each other (AR(1), 0.8): blocks must cover what single frames do not.
    rng = np.random.default_rng(5)
    covered = {1: 0, 16: 0}
    for _ in range(120):
        values = np.empty(200)
        values[0] = rng.normal()
        for t in range(1, 200):
            values[t] = 0.8 * values[t - 1] + 0.6 * rng.normal()
        for block in covered:
            interval = median_ci(values, block=block, draws=300)
            covered[block] += interval.low <= 0.0 <= interval.high
    assert covered[16] / 120 > 0.82
    assert covered[1] / 120 < 0.7


def test_fast_enough_to_follow_a_dragged_handle() -> None:
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (600, 800), dtype=np.uint8)
    y, x = np.mgrid[:600, :800]
    radius = np.hypot(x - 400, y - 300)
    a, b = radius < 120, (radius > 130) & (radius < 180)
    taken = []
    for _ in range(20):
        start = time.process_time()
        gcnr(frame, a, b)
        taken.append(time.process_time() - start)
    assert min(taken) < 0.002


@pytest.mark.skipif(not A4C.is_dir(), reason="real files are not here")
@pytest.mark.parametrize(("name", "expected"), [("hazy_1.png", 0.600), ("hazy_1_authors_result.png", 0.970)])
def test_real_frame_in_hand_drawn_regions(name: str, expected: float) -> None:
    frame = np.asarray(Image.open(A4C / name).convert("L"))
    drawn = regions.load(A4C / "hazy_1.roi.json")
    assert gcnr(frame, *drawn.masks((256, 256))) == pytest.approx(expected, abs=0.003)
