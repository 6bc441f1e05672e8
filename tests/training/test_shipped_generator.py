"""What the shipped generator and encoder promise, on a few phantom frames that they were not trained on."""

import numpy as np
import pytest
import torch

from echoq_models.cine import read
from echoq_models.cine import sector as sectors
from echoq_models.generative import editor as editors
from echoq_models.generative.noise_channels import COMPONENTS
from echoq_models.weights import store
from tests.shared import ROOT
from training.encoder_weights import judge
from training.evaluation import fd_echo
from training.noise.check import Examiner, gcnr_curve
from training.noise.codes import Inverter
from training.noise.haze_model import HazeModel, phantom_pairs

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def editor(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ECHOQ_WEIGHTS", str(tmp_path_factory.mktemp("none")))
        return editors.load(where="cpu")


@pytest.fixture(scope="module")
def pairs():
    return phantom_pairs(32, 64, "a4c", 11_000_000, CPU)


def test_the_cards_are_whole():
    for name in ("generator", "encoder"):
        card = store.find(name).card
        for text in (card.recipe, card.data, card.trained, card.intended_use, card.limits, card.licence):
            assert text
    assert sum(store.find(name).path.stat().st_size for name in ("generator", "encoder")) < 24 * 2**20


def test_frames_come_back_with_the_same_anatomy(editor, pairs):
    frames = pairs.clean[:16, 0].mul(255).round().to(torch.uint8).numpy()
    found = judge(editor.encoder, editor.generator, frames)
    assert found["SSIM in the sector, blurred by 2.5 pixels"] >= 0.75
    assert found["frames with an LV"] >= 12 and found["LV Dice, frame and reconstruction"] >= 0.80


def test_each_slider_raises_its_own_noise_and_gcnr_falls(editor, pairs):
    inverter, noise = Inverter(editor.generator, editor.encoder), editor.channels
    s = inverter.codes(pairs.clean)
    examiner = Examiner(inverter, HazeModel.fit(pairs), s, fd_echo.network(CPU))
    for number, component in enumerate(COMPONENTS):
        channels, limit = noise.components[component], noise.limit(component)
        seen = examiner.look(number, channels, limit / 2)
        assert seen.own > 0.3 and abs(seen.other) < 0.3 and abs(seen.wall) < 0.08 and seen.dice >= 0.9

        def turned(strength, channels=channels):
            return examiner.turned({name: strength * weight for name, weight in channels.items()})

        curve = gcnr_curve(turned, [limit * i / 4 for i in range(5)], pairs.lv, pairs.myocardium)
        assert curve[0] >= 0.85 and curve[-1] <= 0.65
        assert max(np.diff(curve)) < 0.02  # it falls; hardly to begin with


def test_the_sample_loop_is_known_and_a_pattern_is_not(editor):
    loop = read(ROOT / "resources" / "sample" / "phantom_a4c.dcm")
    sector = sectors.fit(loop)
    inside = editors.sector_patch(sector)
    patch = sectors.patches(loop.frames[:1], sector)[0, 0]
    assert editor.encode(patch, inside).likeness.known
    stripes = (np.indices(patch.shape).sum(0) // 24 % 2).astype(np.float32)
    assert not editor.encode(stripes * inside, inside).likeness.known
