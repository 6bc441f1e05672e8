"""StyleSpace codes: the same pictures as from w, single channels moved alone, names and files."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from echoq_models.errors import InputError, OutputError
from echoq_models.generative import stylespace
from echoq_models.generative.stylegan2 import Generator, GeneratorConfig
from echoq_models.generative.stylespace import StyleSpace, edited

CONFIG = GeneratorConfig(resolution=16, channel_base=128, channel_max=12, z_dim=8, w_dim=10)
SPACE = StyleSpace(CONFIG)


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    made = Generator(CONFIG).eval().requires_grad_(False)
    made.measure(1000)
    return made


@pytest.fixture(scope="module")
def s(generator) -> torch.Tensor:
    return generator.to_s(torch.randn(4, CONFIG.num_ws, CONFIG.w_dim))


def test_a_code_draws_what_its_w_draws(generator):
    z = torch.randn(4, CONFIG.z_dim)
    w = generator.mapping(z)
    code = generator.to_s(generator.w_plus(w))
    assert code.shape == (4, SPACE.size)
    assert torch.equal(generator.from_s(code, "constant"), generator(z, "constant"))


def test_each_row_of_w_plus_acts_on_its_own_layers(generator, s):
    w_plus = torch.randn(1, CONFIG.num_ws, CONFIG.w_dim)
    other = w_plus.clone()
    other[:, 1] += 1.0
    before, after = (SPACE.split(generator.to_s(w)) for w in (w_plus, other))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"b4.torgb", "b8.conv0"}


def test_channels_are_named_by_layer_and_channel():
    assert len(set(SPACE.names)) == SPACE.size == len(SPACE.names)
    assert SPACE.names[0] == "b4.conv1:0"
    for name in ("b4.conv1:11", "b8.conv0:3", "b16.torgb:7"):
        layer, channel = name.split(":")
        code = torch.zeros(1, SPACE.size)
        code[0, SPACE.index(name)] = 1.0
        parts = SPACE.split(code)
        assert parts[layer][0, int(channel)] == 1.0
        assert sum(float(part.sum()) for part in parts.values()) == 1.0
        assert torch.equal(SPACE.join(parts), code)
    for unknown in ("b16.torgb:8", "b32.conv0:0", "247"):
        with pytest.raises(InputError, match="no style channel"):
            SPACE.index(unknown)


@pytest.mark.parametrize("name", ["b4.conv1:5", "b8.conv1:0", "b16.torgb:2"])
def test_an_edit_moves_one_channel_by_its_deviation_and_nothing_else(generator, s, name):
    place, before = SPACE.index(name), s.clone()
    moved = edited(generator, s, {name: -2.5})
    rest = torch.arange(SPACE.size) != place
    assert torch.equal(moved[:, rest], s[:, rest])
    assert torch.allclose(moved[:, place], s[:, place] - 2.5 * generator.s_std[place])
    assert torch.equal(s, before)
    assert not torch.equal(generator.from_s(moved), generator.from_s(s))
    assert torch.allclose(edited(generator, moved, {name: 2.5}), s, atol=1e-5)


def test_several_channels_at_once_are_one_after_the_other(generator, s):
    both = edited(generator, s, {"b4.conv1:5": 1.0, "b16.conv0:2": -3.0})
    one = edited(generator, edited(generator, s, {"b16.conv0:2": -3.0}), {"b4.conv1:5": 1.0})
    assert torch.equal(both, one)


def test_codes_survive_a_file(generator, s, tmp_path):
    path = tmp_path / "frame.safetensors"
    stylespace.save(path, s, CONFIG)
    kept = stylespace.load(path, CONFIG)
    assert torch.equal(kept, s)
    assert torch.equal(generator.from_s(kept), generator.from_s(s))
    with pytest.raises(OutputError):
        stylespace.save(tmp_path / "nowhere" / "frame.safetensors", s, CONFIG)


def test_files_that_are_no_code_of_this_generator_are_refused(s, tmp_path):
    path = tmp_path / "frame.safetensors"
    stylespace.save(path, s, CONFIG)
    with pytest.raises(InputError, match="another generator"):
        stylespace.load(path, GeneratorConfig(resolution=8, channel_base=128, channel_max=12))
    save_file({"s": s}, path)
    with pytest.raises(InputError, match="another generator"):
        stylespace.load(path, CONFIG)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="not a style code"):
        stylespace.load(path, CONFIG)
    with pytest.raises(InputError, match="missing"):
        stylespace.load(tmp_path / "none", CONFIG)
