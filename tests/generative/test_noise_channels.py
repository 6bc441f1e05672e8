"""Noise channels: from strengths to changes of single channels, names, limits, files."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from echoq_models.errors import InputError, OutputError
from echoq_models.generative import noise_channels
from echoq_models.generative.noise_channels import LIMITS_KEY, STRONGEST, NoiseChannels
from echoq_models.generative.stylegan2 import Generator, GeneratorConfig
from echoq_models.generative.stylespace import StyleSpace, edited
from echoq_models.weights.store import Card

CONFIG = GeneratorConfig(resolution=16, channel_base=128, channel_max=12, z_dim=8, w_dim=10)
CHANNELS = NoiseChannels(
    {"global": {"b16.conv1:3": -1.0}, "near field": {"b8.conv0:7": 0.6, "b16.conv1:3": 0.8}}, {"global": 4.0}
)


def test_strengths_move_channels_the_way_that_makes_noise():
    assert CHANNELS.changes({"global": 2.0}) == {"b16.conv1:3": -2.0}
    assert CHANNELS.changes({"global": 2.0, "near field": 5.0}) == pytest.approx(
        {"b16.conv1:3": 2.0, "b8.conv0:7": 3.0}
    )
    assert CHANNELS.changes({}) == {}
    with pytest.raises(InputError, match=r"no noise channels for 'fog'.*global, near field"):
        CHANNELS.changes({"fog": 1.0})


def test_changes_are_what_the_generator_moves():
    torch.manual_seed(0)
    generator = Generator(CONFIG).eval().requires_grad_(False)
    generator.measure(200)
    s = generator.to_s(torch.randn(2, CONFIG.num_ws, CONFIG.w_dim))
    place = StyleSpace(CONFIG).index("b16.conv1:3")
    moved = edited(generator, s, CHANNELS.changes({"global": 3.0})) - s
    assert torch.allclose(moved[:, place], -3 * generator.s_std[place])
    moved[:, place] = 0
    assert not moved.any()


def test_a_person_names_channels_and_takes_them_away():
    more = CHANNELS.named("side lobes", {"b8.conv1:1": 3.0, "b8.conv1:2": -4.0}, 6.0)
    assert more.components["side lobes"] == pytest.approx({"b8.conv1:1": 0.6, "b8.conv1:2": -0.8})
    assert (more.limit("side lobes"), more.limit("global"), more.limit("near field")) == (6.0, 4.0, STRONGEST)
    assert more.without("side lobes") == CHANNELS
    with pytest.raises(InputError, match="'nothing' has no channels"):
        CHANNELS.named("nothing", {"b8.conv1:1": 0.0})


def test_channels_of_another_generator_are_refused():
    CHANNELS.check(StyleSpace(CONFIG))
    with pytest.raises(InputError, match=r"'near field' are of another generator.*b16.conv1:3"):
        CHANNELS.without("global").check(StyleSpace(replace(CONFIG, channel_base=32)))


def test_a_card_brings_its_presets():
    card = Card("heart", "", {}, "generator", figures={LIMITS_KEY: {"global": 4.0}}, noise_channels=CHANNELS.components)
    assert NoiseChannels.of_card(card) == replace(CHANNELS, generator="heart")
    assert NoiseChannels.of_card(Card("heart", "", {}, "generator")).components == {}


def test_files_bring_back_what_was_saved(tmp_path):
    CHANNELS.save(tmp_path / "set.json")
    assert noise_channels.load(tmp_path / "set.json") == CHANNELS
    with pytest.raises(OutputError, match="cannot be written"):
        CHANNELS.save(tmp_path / "nowhere" / "set.json")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "does not hold noise channels"),
        ("[]", "no 'components'"),
        ('{"components": {"global": [1]}}', "'global' is not a list of numbers"),
        ('{"components": {"global": {"b8.conv1:1": "much"}}}', "the number of 'b8.conv1:1' in 'global' is 'much'"),
        ('{"components": {"global": {"b8.conv1:1": NaN}}}', "is nan"),
        ('{"components": {"global": {"b8.conv1:1": 1' + "0" * 400 + "}}}", "the number of"),
        ('{"components": {"global": {}}}', "'global' has no channels"),
        ('{"components": {}, "limits": 3}', "'limits' is not"),
        ('{"components": {}, "generator": 3}', "'generator' is not a name"),
        ("[" * 100_000, "does not hold noise channels"),
    ],
)
def test_a_damaged_file_is_refused_in_a_sentence(tmp_path, content, problem):
    path = tmp_path / "set.json"
    path.write_text(content)
    with pytest.raises(InputError, match=problem):
        noise_channels.load(path)
    with pytest.raises(InputError, match="cannot be read"):
        noise_channels.load(tmp_path / "missing.json")


def test_the_window_may_read_them_without_torch(tmp_path):
    CHANNELS.save(tmp_path / "set.json")
    code = (
        "import sys; from pathlib import Path; from echoq_models.generative import noise_channels as n;"
        "n.load(Path(sys.argv[1])); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "set.json")], check=True, timeout=60)
    assert json.loads((tmp_path / "set.json").read_text())["components"]["global"] == {"b16.conv1:3": -1.0}
