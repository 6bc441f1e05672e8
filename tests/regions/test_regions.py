"""Regions over a loop: key frames, cached masks, and errors a person can act on."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from echoq_models.errors import RegionError
from echoq_models.regions import Contour, Findings, FrameRegions, Marks, Regions, Review, regions


def box(x: float, y: float, side: float = 10.0) -> list[list[float]]:
    return [[x, y], [x + side, y], [x + side, y + side], [x, y + side]]


def test_a_key_frame_holds_until_the_next_one() -> None:
    drawn = Regions([box(0, 0)], [box(20, 0)], {5: FrameRegions(lv=[box(2, 0)]), 9: FrameRegions([], [box(24, 0)])})
    left = [int(np.flatnonzero(drawn.masks((40, 50), t)[0].any(axis=0))[0]) for t in range(12)]
    assert left == [0] * 5 + [2] * 7
    muscle = [int(np.flatnonzero(drawn.masks((40, 50), t)[1].any(axis=0))[0]) for t in range(12)]
    assert muscle == [20] * 9 + [24] * 3


def test_frames_before_the_first_key_frame_use_it_when_nothing_else_is_drawn() -> None:
    drawn = Regions(frames={4: FrameRegions([box(1, 0)], [box(20, 0)]), 8: FrameRegions([box(3, 0)])})
    assert drawn.at(0) == drawn.frames[4]
    assert drawn.at(7) == drawn.frames[4]
    assert drawn.at(8) == FrameRegions([box(3, 0)], [box(20, 0)])
    drawn.check((40, 40))


def test_masks_are_made_once_per_key_frame_and_cannot_be_changed() -> None:
    drawn = Regions([box(0, 0)], [box(20, 0)], {5: FrameRegions(lv=[box(2, 0)])})
    assert drawn.masks((40, 40), 0) is drawn.masks((40, 40), 4)
    assert drawn.masks((40, 40), 5) is drawn.masks((40, 40), 99)
    assert drawn.masks((40, 40), 4) is not drawn.masks((40, 40), 5)
    assert drawn.masks((50, 40), 0)[0].shape == (50, 40)
    with pytest.raises(ValueError, match="read-only"):
        drawn.masks((40, 40))[0][:] = True
    with pytest.raises(ValueError, match="read-only"):
        drawn.lv[0].points[0, 0] = 5.0


def test_frames_that_stay_keep_their_masks_when_another_changes() -> None:
    kept = FrameRegions([box(0, 0)], [box(20, 0)])
    before = Regions(frames={0: kept, 5: FrameRegions([box(2, 0)], [box(24, 0)])})
    masks = before.masks((40, 40), 0)
    after = Regions(frames={0: kept, 5: FrameRegions([box(4, 0)], [box(24, 0)])})
    assert after.masks((40, 40), 3) is masks


def test_masks_of_many_frames_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "CACHED_BYTES", 3 * 2 * 40 * 40)
    cache = regions._Cache()
    shapes = [FrameRegions([box(i, 0)]) for i in range(5)]
    first = cache.masks(shapes[0], (40, 40))
    for shown in shapes[1:3]:
        cache.masks(shown, (40, 40))
    assert cache.masks(shapes[0], (40, 40)) is first
    for shown in shapes[3:]:
        cache.masks(shown, (40, 40))
    assert cache.masks(shapes[0], (40, 40)) is first  # the one used last stays
    assert len(cache._kept) == 3


def test_splines_are_measured_as_they_are_drawn() -> None:
    curve = Contour(np.array(box(10, 10)), smooth=True)
    drawn = Regions([curve])
    lv, _ = drawn.masks((40, 40))
    assert lv.sum() > 1.15 * Regions([box(10, 10)]).masks((40, 40))[0].sum()  # it bulges between its handles
    assert drawn != Regions([box(10, 10)])


def test_the_callers_points_are_copied() -> None:
    points = np.array(box(0, 0))
    drawn = Regions([points])
    points += 7
    assert drawn.lv[0].points[0].tolist() == [0.0, 0.0]


def test_check_says_what_is_wrong_and_where() -> None:
    size = (40, 40)
    Regions([box(0, 0)], [box(20, 0)]).check(size)
    Regions([box(0, 0)], [box(11, 0)]).check(size)
    with pytest.raises(RegionError, match="myocardium region holds no pixel of the 40 x 40"):
        Regions([box(0, 0)]).check(size)
    with pytest.raises(RegionError, match="left ventricle region holds no pixel"):
        Regions([box(100, 100)], [box(0, 0)]).check(size)
    with pytest.raises(RegionError, match="share 11 pixels"):
        Regions([box(0, 0)], [box(10, 0)]).check(size)
    moved = Regions([box(0, 0)], [box(20, 0)], {7: FrameRegions(lv=[box(15, 0)])})
    with pytest.raises(RegionError, match="in frame 8 share"):
        moved.check(size)


def test_pixels_of_both_are_measured_in_neither_and_pass_only_where_a_network_gave_them() -> None:
    size = (40, 40)
    drawn = Regions([box(0, 0)], [box(10, 0)])
    lv, myocardium = drawn.masks(size)
    assert drawn.at(0).shared(size) == 11
    assert (lv.sum(), myocardium.sum()) == (110, 110) and not (lv & myocardium).any()
    with pytest.raises(RegionError, match="share 11 pixels"):
        drawn.check(size)
    followed = Regions(frames={0: drawn.at(0)}, generated={0: FrameRegions([box(0, 0)], [box(12, 0)])})
    followed.check(size)
    swallowed = Regions(frames={0: FrameRegions([box(0, 0, 30)], [box(10, 5)])}, generated=followed.generated)
    with pytest.raises(RegionError, match="myocardium region in frame 1 holds no pixel"):
        swallowed.check(size)


def test_a_frame_left_out_shows_nothing_and_its_neighbours_stay() -> None:
    size = (40, 40)
    there = {t: FrameRegions([box(t, 0)], [box(20, 0)]) for t in range(4)}
    drawn = Regions(frames=there, edited=frozenset({2}), left_out=frozenset({2}))
    assert not drawn.at(2) and drawn.under(2) == there[2]
    assert not drawn.masks(size, 2)[0].any()
    assert [drawn.at(t) for t in (1, 3)] == [there[1], there[3]]
    drawn.check(size)
    with pytest.raises(RegionError, match="in frame 4"):
        Regions(frames={**there, 3: FrameRegions([box(90, 0)])}, left_out=frozenset({2})).check(size)
    Regions(frames={**there, 3: FrameRegions([box(90, 0)])}, left_out=frozenset({3})).check(size)
    held = Regions([box(90, 0)], [box(20, 0)], {3: there[3]}, left_out=frozenset({0}))
    held.check(size)
    with pytest.raises(RegionError, match="in frame 2"):
        held.check(size, range(5))  # frame 2 shows what frame 1, left out, has


@pytest.mark.parametrize("points", [[[1, 2, 3]], [1, 2], [[np.nan, 1], [2, 2], [3, 3]], [[np.inf, 1]]])
def test_points_must_be_finite_pairs(points: list[object]) -> None:
    with pytest.raises(RegionError, match="finite"):
        Regions(lv=[points])  # type: ignore[list-item]


def test_no_negative_key_frames() -> None:
    for where in (
        {"frames": {-1: FrameRegions([box(0, 0)])}},
        {"lv_whole": {-1: box(0, 0)}},
        {"generated": {-2: FrameRegions()}},
    ):
        with pytest.raises(RegionError, match="negative"):
            Regions(**where)  # type: ignore[arg-type]
    with pytest.raises(RegionError, match="negative"):
        Marks(ed=(3, -1))


def test_only_key_frames_can_be_edited_ones() -> None:
    drawn = Regions(frames={3: FrameRegions([box(0, 0)])}, edited=frozenset({3, 7}))
    assert drawn.edited == {3}


def test_marks_are_sorted_and_reviews_checked() -> None:
    assert Marks((9, 2, 9), (5,)).ed == (2, 9)
    assert Marks((1,)) and not Marks()
    when = "2025-01-31T09:30:00+01:00"
    assert Review("accepted", "me", when) == Review("accepted", "me", when, "")
    for decision, time in (("maybe", when), ("accepted", "2025-01-31T09:30:00"), ("accepted", ""), ("rejected", "now")):
        with pytest.raises(RegionError, match="A review"):
            Review(decision, "me", time)


def test_findings_are_checked_and_renewed() -> None:
    said = Findings({0: 0.91234567, 3: 0.2}, {3: "Too small."})
    assert said.confidence == {0: 0.9123, 3: 0.2} and said.found == (0,) and said and not Findings()
    again = said.renewed(Findings({3: 0.8, 4: 0.1}, {4: "Too dark."}))
    assert again == Findings({0: 0.9123, 3: 0.8, 4: 0.1}, {4: "Too dark."})
    for wrong in ({"confidence": {1: 1.5}}, {"confidence": {-1: 0.5}}, {"reasons": {1: "x" * 401}}):
        with pytest.raises(RegionError):
            Findings(**wrong)  # type: ignore[arg-type]


def test_equality_truth_and_the_way_through_a_pipe() -> None:
    drawn = Regions([box(0, 0)], [box(20, 0)], {5: FrameRegions(lv=[box(2, 0)])}, marks=Marks((0,)), source="lv")
    drawn.masks((40, 40))
    again = pickle.loads(pickle.dumps(drawn))  # noqa: S301
    assert again == drawn
    assert again != Regions([box(0, 0)], [box(20, 0)])
    assert drawn != "regions"
    assert drawn
    assert not Regions()
    assert Regions(frames={3: FrameRegions([box(0, 0)])})
