"""What the shipped `fast` weights promise, on a few held-out frames through the person's own door."""

import cv2
import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from echoq_models.cine import read
from echoq_models.denoise.architectures import build
from echoq_models.metrics.fidelity import psnr
from echoq_models.metrics.flicker import flicker
from echoq_models.metrics.gcnr import gcnr
from echoq_models.regions import load as load_regions
from echoq_models.weights import store
from training.evaluation import nulls, sets
from training.evaluation.fidelity import held_out_records
from training.evaluation.methods import Method, denoise, stills


@pytest.fixture(autouse=True)
def shipped_only(monkeypatch, tmp_path):
    monkeypatch.setenv("ECHOQ_WEIGHTS", str(tmp_path))


def test_the_card_is_whole_and_the_network_small():
    card, tensors = store.load("fast")
    for text in (card.recipe, card.data, card.trained, card.intended_use, card.limits, card.licence):
        assert text
    assert card.output == "gain"
    assert card.figures["fast gCNR median"] >= 0.90
    network = build(dict(card.architecture)).eval()
    network.load_state_dict(tensors)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.rand(1, 1, 256, 256))
    assert counter.get_total_flops() / 2 <= 1.2e9
    assert store.find("fast").path.stat().st_size < 4 * 2**20


def test_haze_goes_and_the_clean_twin_comes_nearer():
    data = sets.held_out(16, frames=1, seed=4_242_424)
    before = [r.values for r in held_out_records(data, "original", data.noisy)]
    after = [r.values for r in held_out_records(data, "fast", stills("fast", data.noisy))]
    assert np.median([v["gcnr"] for v in before]) < 0.70
    assert np.median([v["gcnr"] for v in after]) >= 0.88
    assert np.median([b["psnr_db"] - a["psnr_db"] for a, b in zip(before, after, strict=True)]) > 3.0


def test_nothing_is_ever_brightened():
    data = sets.held_out(4, frames=1, seed=11)
    assert (stills("fast", data.noisy) <= data.noisy).all()


def test_no_chamber_is_painted_into_structureless_speckle():
    test = nulls.NullTest("speckle", "", sets.speckle(8), is_speckle=True)
    records, _ = nulls.null_records(test, Method("fast", lambda frames: denoise("fast", frames)))
    assert np.median([r.values["gain"] for r in records]) >= 0.95


@pytest.mark.parametrize(
    ("frames", "most"), [(sets.chamberless, 0.03), (sets.buried, 0.04), (sets.other_speckle, 0.01)]
)
def test_nothing_is_darkened_that_neither_oracle_nor_truth_shows_dark(frames, most):
    test = nulls.NullTest("null", "", frames(12, seed=31_337))
    records, _ = nulls.null_records(test, Method("fast", lambda given: denoise("fast", given)))
    assert np.mean([r.values["untrue"] for r in records]) < most


def test_clean_frames_come_out_nearly_as_they_went_in():
    data = sets.held_out(8, frames=1, seed=77)
    result = stills("fast", data.clean)
    assert np.median([psnr(c, r, s) for c, r, s in zip(data.clean, result, data.sector, strict=True)]) >= 34.0


def test_still_tissue_hardly_flickers_more_than_in_the_original(realdata):
    loop = read(realdata / "a4c" / "loop_1.gif")
    frames = loop.frames[:16]
    assert flicker(frames, denoise("fast", frames)).ratio <= 1.15


def test_speckle_of_another_make_stays_as_it_is():
    """Not the phantom's: Rayleigh speckle drawn on the pixels of a sector, with another grain and display."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[0:256, 0:256] - np.array([4.0, 127.5])[:, None, None]
    inside = (np.hypot(x, y) < 245) & (np.abs(np.arctan2(x, y)) < 0.65) & (y > 0)
    frames = []
    for grain, level in ((1.0, 150), (1.5, 110), (2.0, 130), (2.5, 90)):
        field = [
            cv2.GaussianBlur(rng.normal(size=inside.shape), (0, 0), sigmaX=1.5 * grain, sigmaY=grain) for _ in "ri"
        ]
        db = 20 * np.log10(np.hypot(*field) + 1e-9)
        frames.append(np.where(inside, np.clip(level + 4 * (db - np.median(db)), 0, 255), 0).astype(np.uint8))
    for frame, result in zip(frames, stills("fast", np.stack(frames)), strict=True):
        assert nulls.darkest_gain(frame, result, inside) >= 0.84


def test_a_published_hazy_frame_clears_and_its_walls_stay(realdata):
    loop = read(realdata / "a4c" / "hazy_1.png")
    lv, muscle = load_regions(realdata / "a4c" / "hazy_1.roi.json").masks(loop.size)
    before = loop.frames[0]
    after = denoise("fast", loop.frames)[0]
    assert gcnr(before, lv, muscle) == pytest.approx(0.600, abs=0.003)
    assert gcnr(after, lv, muscle) >= 0.85
    assert after[muscle].mean() > 0.7 * before[muscle].mean()
    near_field = (slice(25, 60), slice(110, 146))  # buried in haze: dimmed to 0.54 today, no chamber may appear there
    assert after[near_field].mean() > 0.5 * before[near_field].mean()
    assert psnr(before, after) < 40
