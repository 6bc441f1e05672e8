"""The beat: areas in the right unit, and end diastole and systole of curves whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hearts import rectangle

from echoq_models.cine.sector import Spacing
from echoq_models.regions import (
    Contour,
    FrameRegions,
    Regions,
    areas,
    edit,
    find_marks,
    generated,
    leave_out,
    mask_areas,
    set_frame,
)

PAIRS = Path(__file__).parents[3] / "shared" / "realdata" / "a4c"
SQUARE = np.array([[10.0, 10], [30, 10], [30, 40], [10, 40]])


def beat(
    beats: float, start: float = 0.0, rate: float = 60.0, fps: float = 50.0, depth: float = 0.4
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Area curve of a ventricle, its times in ms, and the phase of each frame: 0 end diastole, 0.35 end systole."""
    times = np.arange(round(beats * 60 / rate * fps)) / fps
    phase = (times * rate / 60 + start) % 1
    filled = np.interp(phase, [0, 0.35, 0.42, 0.55, 0.85, 1], [1, 0, 0.1, 0.75, 0.8, 1])
    return 3000 * (1 - depth + depth * filled), times * 1000, phase


def moments(at: float, count: int, start: float, rate: float = 60.0, fps: float = 50.0) -> np.ndarray:
    """The frames, with fractions, of a phase `at` inside a loop of so many frames."""
    frames = (np.arange(-1, 20) + at - start) * 60 / rate * fps
    return frames[(frames >= 0) & (frames <= count - 1)]


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.05])
@pytest.mark.parametrize("start", [0.1, 0.3, 0.6, 0.75])
@pytest.mark.parametrize("beats", [1, 2, 3, 5])
def test_every_beat_is_found(beats: int, start: float, noise: float) -> None:
    curve, times, _ = beat(beats, start)
    noisy = curve * (1 + noise * np.random.default_rng(beats).standard_normal(len(curve)))
    marks = find_marks(noisy, times)
    near = 3.5 if noise < 0.05 else 5.5
    for found, at in ((marks.ed, 0.0), (marks.es, 0.35)):
        wanted = moments(at, len(curve), start)
        assert all(min(abs(t - w) for w in wanted) <= near for t in found)
        assert all(min(abs(t - w) for t in found) <= near for w in wanted if 4 < w < len(curve) - 5)
    assert not marks.by_hand


def test_a_loop_that_begins_and_ends_at_end_diastole() -> None:
    curve, times, _ = beat(1)
    marks = find_marks(curve, times)
    assert marks.ed == (0, 49)
    assert len(marks.es) == 1 and abs(marks.es[0] - 17) <= 1


def test_half_a_beat_has_one_of_each() -> None:
    curve, times, phase = beat(1)
    part = phase < 0.36
    marks = find_marks(curve[part], times[part])
    assert marks.ed == (0,)
    assert len(marks.es) == 1 and marks.es[0] >= 16


def test_an_end_that_is_no_extreme_is_not_marked() -> None:
    curve, times, _ = beat(1.7, start=0.15)  # begins half way down, ends in diastasis
    marks = find_marks(curve, times)
    assert 0 not in marks.ed and len(times) - 1 not in marks.ed
    assert len(marks.ed) == 1 and len(marks.es) == 2


@pytest.mark.parametrize(("rate", "fps"), [(40, 60), (75, 30), (110, 15), (150, 50)])
def test_slow_and_quick_hearts_at_other_frame_rates(rate: float, fps: float) -> None:
    curve, times, phase = beat(4, start=0.6, rate=rate, fps=fps)
    marks = find_marks(curve, times)
    assert len(marks.ed) == 4 and len(marks.es) == 4
    assert all(min(phase[t], 1 - phase[t]) < 0.12 for t in marks.ed)
    assert all(abs(phase[t] - 0.35) < 0.12 for t in marks.es)


def test_frames_without_a_ventricle_are_passed_over() -> None:
    curve, times, phase = beat(3, start=0.6)
    holes = curve.copy()
    holes[::7] = np.nan
    holes[60:70] = np.nan
    marks = find_marks(holes, times)
    full = find_marks(curve, times)
    assert len(marks.ed) == len(full.ed) and len(marks.es) == len(full.es)
    assert all(np.isfinite(holes[list(marks.ed + marks.es)]))
    assert all(abs(phase[t] - 0.35) < 0.1 for t in marks.es)


def test_irregular_times_are_taken_as_they_are() -> None:
    curve, times, phase = beat(3, start=0.6, fps=100)
    kept = np.sort(np.random.default_rng(0).choice(len(curve), 110, replace=False))
    marks = find_marks(curve[kept], times[kept])
    assert len(marks.ed) == len(marks.es) == 3
    assert all(abs(phase[kept][t] - 0.35) < 0.08 for t in marks.es)


def test_two_peaks_of_one_beat_are_one() -> None:
    curve, times, _ = beat(4, start=0.6)
    spoiled = curve.copy()
    for t in find_marks(curve, times).ed:
        spoiled[max(t - 4, 0) : t - 1] -= 700  # a dip of 60 ms just before the maximum
    marks = find_marks(spoiled, times)
    assert len(marks.ed) == 4
    assert np.diff(times[list(marks.ed)]).min() > 350


def test_flat_noisy_still_and_empty_curves_have_none() -> None:
    rng = np.random.default_rng(3)
    assert not find_marks(np.full(100, 2000.0), np.arange(100) * 20.0)
    assert not find_marks(np.full(100, np.nan), np.arange(100) * 20.0)
    assert not find_marks(np.array([2000.0]), np.zeros(1))
    assert not find_marks(np.array([]), np.array([]))
    assert not find_marks(np.zeros(50), np.arange(50) * 20.0)
    found = [
        bool(find_marks(2000 * (1 + share * rng.standard_normal(count)), np.arange(count) * 20.0))
        for share in (0.01, 0.05, 0.15)
        for count in (30, 100, 200)
        for _ in range(10)
    ]
    assert sum(found) <= 2


def test_areas_of_masks_and_contours() -> None:
    masks = np.stack([rectangle((60, 60), 5, 5, 10, 20), rectangle((60, 60), 5, 5, 10, 10), np.zeros((60, 60), bool)])
    np.testing.assert_array_equal(mask_areas(masks), [200, 100, np.nan])
    np.testing.assert_allclose(mask_areas(masks, Spacing(0.5, 0.4)), [40, 20, np.nan])
    drawn = Regions([SQUARE], frames={2: FrameRegions([SQUARE * 2, SQUARE + 100])})
    np.testing.assert_allclose(areas(drawn, 4), [600, 600, 3000, 3000])
    np.testing.assert_allclose(areas(drawn, 2, Spacing(0.5, 0.4)), [120, 120])
    assert np.isnan(areas(Regions(myocardium=[SQUARE]), 3)).all()


def test_the_whole_ventricle_counts_where_the_network_gave_it() -> None:
    drawn = Regions([SQUARE], lv_whole={0: Contour(SQUARE * 2), 2: Contour(SQUARE[::-1] * 3)})
    # The measured part is smaller: a curve of both would jump.
    np.testing.assert_allclose(areas(drawn, 4), [2400, np.nan, 5400, np.nan])


def test_a_corrected_ventricle_counts_as_it_was_corrected() -> None:
    given = {t: FrameRegions([SQUARE]) for t in (0, 1, 2)}
    drawn = generated(given, {t: Contour(SQUARE * 2) for t in given}, 4)
    np.testing.assert_allclose(areas(drawn, 4), [2400, 2400, 2400, np.nan])
    half = SQUARE * (0.5, 1.0)
    fixed = edit(set_frame(drawn, 0, drawn.at(0), 4), 2, "lv", [Contour(half)], 4)
    np.testing.assert_allclose(areas(fixed, 4), [2400, 1800, 1200, np.nan])  # frame 1 follows
    seen = edit(fixed, 3, "lv", [Contour(SQUARE)], 4)  # the network found none there
    np.testing.assert_allclose(areas(seen, 4), [2400, 1800, 1200, 2400])
    assert np.isnan(areas(leave_out(seen, 2), 4)[2])


@pytest.mark.skipif(not PAIRS.is_dir(), reason="real loops are not here")
def test_real_area_curves_have_their_beats() -> None:
    for name, count in (("lv_pair_1", 3), ("lv_pair_2", 3)):
        with np.load(PAIRS / f"{name}.npz", allow_pickle=False) as pair:
            curve = mask_areas(pair["lv_mask"].astype(bool))
        marks = find_marks(curve, np.arange(len(curve)) * 20.0)
        assert len(marks.es) == count
        assert curve[list(marks.es)].max() < 0.7 * curve[list(marks.ed)].min()
