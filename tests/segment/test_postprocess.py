"""What may pass for a left ventricle: every rule says its own sentence, and what passes has a smooth border."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from echoq_models.cine import sector as sectors
from echoq_models.cine.sector import Sector
from echoq_models.segment import postprocess
from echoq_models.segment.postprocess import GRID, RULES, Field, Judged, judge, settle, verdict
from tests.make_networks import ellipse

SIZE = (GRID, GRID)
GOOD = ellipse(SIZE, (64, 56), (14, 26))


@pytest.fixture
def field() -> Field:
    """A sector that covers the grid but for its corners."""
    y, x = np.mgrid[:GRID, :GRID]
    mask = (np.hypot(x - 64, y) < 126) & (np.abs(x - 64) < 0.9 * y + 6)
    return Field.of(Sector(mask, 0, 0, GRID))


def logits(mask: np.ndarray, slope: float = 2.0) -> np.ndarray:
    """float32 (GRID, GRID): 0 at the border of the mask, rising inwards and falling outwards by `slope` a pixel."""
    inwards, outwards = (cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, 5) for part in (mask, ~mask))
    return np.clip(slope * (inwards - np.minimum(outwards, 99)), -12, 12).astype(np.float32)


def test_a_ventricle_passes_as_it_is(field: Field) -> None:
    found = judge(logits(GOOD), 0.97, field, RULES)
    assert found.reason == "" and postprocess.overlap(found.mask, GOOD) > 0.97
    assert 0.93 < found.confidence <= 0.97  # the network's own Dice times its belief that there is one
    unsure = judge(logits(GOOD, 0.7), 0.97, field, RULES)
    assert unsure.reason == "" and unsure.confidence < found.confidence - 0.05


def test_the_border_is_drawn_where_the_rules_say(field: Field) -> None:
    areas = [judge(logits(GOOD), 1.0, field, replace(RULES, border=border)).mask.sum() for border in (-2.0, 0.0, 2.0)]
    rim = np.pi * (14 + 26)  # about the pixels of a border one wide: a logit of 2 is about one pixel further in
    assert all(0.5 * rim < -step < 1.2 * rim for step in np.diff(areas))


def test_the_largest_piece_counts_and_its_holes_are_filled(field: Field) -> None:
    holed = GOOD & ~ellipse(SIZE, (64, 50), (4, 4))
    crumbs = holed | ellipse(SIZE, (90, 90), (5, 5)) | ellipse(SIZE, (64, 92), (3, 3))
    found = judge(logits(crumbs), 1.0, field, replace(RULES, certainty=0.0))
    assert found.reason == "" and postprocess.overlap(found.mask, GOOD) > 0.97
    shape = Sector(np.ones((256, 256), dtype=bool), 0, 0, 256)
    whole = ellipse((256, 256), (128.5, 112.5), (28, 52))
    assert postprocess.overlap(sectors.paste_mask(found.surface, shape), whole) > 0.96  # no crumb, no hole there either


RAGGED = GOOD & ~ellipse(SIZE, (76, 56), (11, 12))
UNFIT = {
    r"none that it would trust \(probability 0\.10\)": (GOOD, 0.1),
    "nothing in the frame looks like one": (np.zeros(SIZE, dtype=bool), 1.0),
    r"too small \(0\.\d %": (ellipse(SIZE, (64, 56), (4, 6)), 1.0),
    r"too large \(7\d\.\d %": (ellipse(SIZE, (64, 66), (52, 56)), 1.0),
    r"\d\d % of what was marked lies outside the sector": (ellipse(SIZE, (22, 42), (13, 24)), 1.0),
    r"too ragged \(it fills \d\d %": (RAGGED, 1.0),
    r"wrong shape \(\d\.\d times as long as wide\)": (ellipse(SIZE, (64, 60), (6, 34)), 1.0),
    "lies where no left ventricle can be": (ellipse(SIZE, (64, 112), (18, 11)), 1.0),
}


@pytest.mark.parametrize("sentence", UNFIT)
def test_what_cannot_be_a_ventricle_is_refused_with_its_reason(sentence: str, field: Field) -> None:
    mask, present = UNFIT[sentence]
    found = judge(logits(mask), present, field, RULES)
    assert not found.mask.any()
    assert found.reason.startswith("No LV found: ") and found.reason.endswith(".")
    with pytest.raises(AssertionError, match=sentence):
        raise AssertionError(found.reason)


def test_a_network_that_cannot_decide_is_refused(field: Field) -> None:
    hazy = np.where(GOOD, RULES.border + 0.4, RULES.border - 1.5).astype(np.float32)
    found = judge(hazy, 1.0, field, RULES)
    assert "not sure of its border (expected Dice 0." in found.reason


def seen(*masks: np.ndarray) -> list[Judged]:
    """Judgements of frames: the mask accepted, or refused where it is empty."""
    blank = np.zeros(SIZE, dtype=np.float32)
    return [Judged(mask, blank, 0.9, "" if mask.any() else "No LV found: nothing.") for mask in masks]


def test_a_loop_needs_a_ventricle_often_enough_in_about_one_place() -> None:
    small, none = ellipse(SIZE, (64, 56), (9, 20)), np.zeros(SIZE, dtype=bool)
    beating = verdict(seen(GOOD, small, none, GOOD, small, none), RULES)
    assert beating.reason == "" and postprocess.overlap(beating.place, small) > 0.95
    rare = verdict(seen(GOOD, none, none, none, none), RULES)
    assert "only 20 % of the loop's frames" in rare.reason
    corners = [ellipse(SIZE, (x, y), (9, 14)) for x, y in ((40, 40), (88, 40), (40, 88), (88, 88), (64, 64))]
    assert "jumps about" in verdict(seen(*corners), RULES).reason

    judged = seen(GOOD, corners[0])
    assert settle(judged[0], beating, RULES) is judged[0]
    assert "elsewhere than in the rest of the loop" in settle(judged[1], beating, RULES).reason
    refused = settle(judged[0], rare, RULES)
    assert refused.reason == rare.reason and not refused.mask.any()


@pytest.mark.parametrize("total", [1, 5, 12, 13, 300])
def test_witnesses_are_spread_over_the_loop(total: int) -> None:
    frames = postprocess.witnesses(total, RULES)
    assert frames[0] == 0 and frames[-1] == total - 1 and len(frames) == min(total, 12)
    assert len(set(np.diff(frames))) <= 2


@pytest.mark.parametrize(("side", "x0", "y0"), [(108, 2, 1), (256, 60, 10), (620, 150, -8)])
def test_the_border_is_smooth_and_in_place_at_every_size(side: int, x0: int, y0: int) -> None:
    size = (max(112, side + y0 - 20), side + x0 + 40)
    mask = np.zeros(size, dtype=bool)
    mask[max(y0, 0) : y0 + side, x0 : x0 + side] = True
    sector = Sector(mask, x0, y0, side)
    scale = side / GRID
    centre = (x0 + scale * 64.5 - 0.5, y0 + scale * 56.5 - 0.5)
    truth = ellipse(size, centre, (14 * scale, 26 * scale))
    y, x = np.mgrid[:GRID, :GRID]
    at_zero = replace(RULES, border=0.0)
    soft = 28 * (1 - np.hypot((x - 64) / 14, (y - 56) / 26))
    rough = soft + np.random.default_rng(1).normal(0, 1.5, soft.shape)
    native, uneven = (
        sectors.paste_mask(judge(each.astype(np.float32), 1.0, Field.of(sector), at_zero).surface, sector)
        for each in (soft, rough)
    )
    assert native.shape == size and postprocess.overlap(native, truth) > 0.95
    assert postprocess.overlap(uneven, truth) > 0.93 and postprocess._shape(uneven)[0] > 0.95
    contours, _ = cv2.findContours(native.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    assert len(contours) == 1
    x, y = (contours[0][:, 0, :] - np.array(centre)).T / (np.array([[14], [26]]) * scale)
    away = np.abs(np.hypot(x, y) - 1) * 14 * scale  # pixels from the ellipse, at most
    assert away.max() < 0.85 + 0.1 * scale  # the steps of the grid, up to half of `scale`, are gone


def test_what_lies_beyond_the_sector_is_cut_off() -> None:
    mask = np.ones((200, 240), dtype=bool)
    mask[:, :100] = False
    sector = Sector(mask, 20, 0, 200)
    native = sectors.paste_mask(judge(logits(GOOD), 1.0, Field.of(sector), replace(RULES, outside=1.0)).surface, sector)
    assert native.any() and not native[:, :100].any()
