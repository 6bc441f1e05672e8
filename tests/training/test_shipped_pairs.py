"""What the shipped `pairs` weights promise: less than `fast`, and no heart where there is none."""

import numpy as np
import pytest

from echoq_models.cine import read
from echoq_models.metrics.gcnr import gcnr
from echoq_models.regions import load as load_regions
from echoq_models.weights import store
from training.evaluation import nulls, sets
from training.evaluation.fidelity import held_out_records
from training.evaluation.methods import Method, denoise, stills


@pytest.fixture(autouse=True)
def shipped_only(monkeypatch, tmp_path):
    monkeypatch.setenv("ECHOQ_WEIGHTS", str(tmp_path))


def test_the_card_tells_where_it_comes_from_and_where_it_ends():
    card, _ = store.load("pairs")
    assert card.output == "gain" and "generator" in card.data and "pairs of pictures" in card.limits
    assert card.figures["pairs gCNR median"] < store.load("fast")[0].figures["fast gCNR median"]
    assert store.find("pairs").path.stat().st_size < 4 * 2**20


def test_some_haze_goes_and_the_clean_twin_comes_nearer():
    data = sets.held_out(16, frames=1, seed=4_242_424)
    result = stills("pairs", data.noisy)
    assert (result <= data.noisy).all()
    before = [r.values for r in held_out_records(data, "original", data.noisy)]
    after = [r.values for r in held_out_records(data, "pairs", result)]
    assert np.median([a["gcnr"] - b["gcnr"] for a, b in zip(after, before, strict=True)]) > 0.03
    assert np.median([b["psnr_db"] - a["psnr_db"] for a, b in zip(before, after, strict=True)]) > 1.5


@pytest.mark.parametrize(
    ("frames", "most"),
    [(sets.speckle, 0.04), (sets.other_speckle, 0.04), (sets.chamberless, 0.08), (sets.buried, 0.02)],
)
def test_no_heart_is_painted_where_there_is_none(frames, most):
    test = nulls.NullTest("null", "", frames(12, seed=31_337), is_speckle=frames in (sets.speckle, sets.other_speckle))
    records, _ = nulls.null_records(test, Method("pairs", lambda given: denoise("pairs", given)))
    assert np.mean([r.values["untrue"] for r in records]) < most
    if test.is_speckle:
        assert np.median([r.values["gain"] for r in records]) > 0.85


def test_a_published_hazy_frame_clears(realdata):
    loop = read(realdata / "a4c" / "hazy_1.png")
    lv, muscle = load_regions(realdata / "a4c" / "hazy_1.roi.json").masks(loop.size)
    after = denoise("pairs", loop.frames)[0]
    assert gcnr(after, lv, muscle) >= 0.85
    assert after[muscle].mean() > 0.6 * loop.frames[0][muscle].mean()
