"""The evaluation of the left-ventricle network: its measures on cases with a known answer, and its table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from echoq_models.segment import Segmentation
from training.evaluation import segmentation as stage
from training.evaluation.segmentation import Case, Plan, RealPair, Row


def pulsing(shift: int = 0, count: int = 60) -> np.ndarray:
    """bool (T, 112, 112): an ellipse that contracts once in 30 frames."""
    y, x = np.mgrid[:112, :112]
    width = 14 + 5 * np.cos(2 * np.pi * (np.arange(count) + shift) / 30)
    return np.stack([np.hypot((x - 60) / w, (y - 50) / 30) < 1 for w in width])


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch):
    """Lets `segment` answer with given masks."""

    def put(masks: np.ndarray) -> None:
        def segment(loop, network):
            found = masks[: len(loop)].any(axis=(1, 2))
            frames = tuple(range(len(loop)))
            return Segmentation(masks[: len(loop)], found.astype(np.float32), found, ("",) * len(loop), frames)

        monkeypatch.setattr(stage, "segment", segment)

    return put


def pair_file(folder: Path, masks: np.ndarray) -> Path:
    path = folder / "pair.npz"
    np.savez(path, frames=(masks * 100).astype(np.uint8), lv_mask=masks.astype(np.uint8))
    return path


def test_agreement_with_another_outline(tmp_path, says):
    path = pair_file(tmp_path, pulsing())
    says(pulsing())
    same = stage.on_real(path, "lv")[0]
    assert (same.dice, same.found) == (1.0, 1.0)
    assert same.correlation == pytest.approx(1.0)
    assert set(same.apart) == {0}
    says(pulsing(shift=6))
    late = stage.on_real(path, "lv")[0]
    assert late.dice < 0.95
    assert late.correlation < 0.5
    assert max(late.apart) >= 4


def test_frames_without_an_outline_count_as_no_agreement(tmp_path, says):
    masks = pulsing()
    half = masks.copy()
    half[::2] = False
    says(half)
    found = stage.on_real(pair_file(tmp_path, masks), "lv")[0]
    assert found.dice == pytest.approx(0.5)
    assert found.found == pytest.approx(0.5)


def test_dice_of_known_masks():
    a, b = np.zeros((2, 10, 10), dtype=bool)
    a[:, :4], b[:, 2:6] = True, True
    assert stage.dice(a, b) == pytest.approx(0.5)
    assert stage.dice(a & b & ~a, a & ~a) == 1.0


def test_the_table_holds_what_it_should():
    good = [Case(-10.0, 0.95, 1.0)] * 40 + [Case(2.0, float("nan"), 0.1)] * 10
    pairs = [RealPair("x", 100, 0.9, 1.0, 0.9, (0, 2))]
    rows = {row.what.strip(): row for row in stage.table(good, {"noise": 1.0}, pairs, 2.0)}
    assert all(row.holds in (True, None) for row in rows.values())
    assert "40 of 40 accepted" in rows["haze -10 to -5 dB"].measured
    bad = good + [Case(-20.0, 0.5, 0.9)] * 10 + [Case(-20.0, float("nan"), 0.1)] * 10
    worse = [RealPair("x", 100, 0.7, 0.8, 0.5, (0, 7))]
    rows = {row.what.strip(): row for row in stage.table(bad, {"noise": 0.9}, worse, 6.0)}
    for what in (
        "the same, 5th percentile",
        "accepted at haze <= -5 dB",
        "no LV found: noise",
        "100 frames of 600 x 800",
    ):
        assert rows[what].holds is False, what
    assert [row.holds for name, row in rows.items() if name.startswith("x: ")] == [None, False, False]
    assert "NO" in stage.spelled([Row("a", "b", "c", False)])


def test_the_held_out_loops_have_truth_and_every_size():
    drawn = list(stage.phantom_loops(Plan(loops=8, frames=2)))
    assert {frames.shape[1:] for frames, *_ in drawn} == {(112, 112), (256, 256)}
    for frames, lv, haze in drawn:
        assert frames.shape == lv.shape
        assert 0.01 < lv.mean() < 0.5
        assert -120 <= haze <= 8


def test_a_report_is_written_whole(tmp_path, says, monkeypatch):
    says(pulsing())
    real = tmp_path / "real"
    real.mkdir()
    pair_file(real, pulsing())
    monkeypatch.setattr(
        stage, "on_phantom", lambda network, plan: [Case(-8.0, 0.93, 0.9), Case(3.0, float("nan"), 0.0)]
    )
    monkeypatch.setattr(stage, "nothing_to_find", lambda plan: {"black": [np.zeros((1, 112, 112), np.uint8)]})
    monkeypatch.setattr(
        stage, "phantom_loops", lambda plan: iter([(np.zeros((2, 112, 112), np.uint8), pulsing()[:2], 0.0)] * 6)
    )
    monkeypatch.setattr(stage, "seconds_for_100_frames", lambda network: 1.0)
    figures = stage.evaluate("lv", tmp_path / "out", Plan(), real, say=lambda text: None)
    found = json.loads((tmp_path / "out" / "segmentation.json").read_text())
    assert found["frames"][1]["dice"] is None
    assert figures["pair: Dice, frames with an outline"] == "1.000, 100 %"
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"segmentation.json", "pair.png", "phantom.png"}
