"""The encoder's shapes, its stages and what it does with frames of other sizes."""

from __future__ import annotations

import time

import pytest
import torch
from torch.nn import functional as F

from echoq_models.errors import WeightsError
from echoq_models.generative import encoder
from echoq_models.generative.encoder import Encoder, EncoderConfig
from echoq_models.generative.stylegan2 import GeneratorConfig

# What could ship for a generator of 64 x 64
SMALL = EncoderConfig(side=64, num_ws=10, w_dim=128, widths=(24, 48, 96, 128), depths=(1, 2, 2, 2), style_width=64)


def made(config: EncoderConfig, seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    return Encoder(config).eval()


def frames(n: int, channels: int, side: int) -> torch.Tensor:
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_rows_differ_one_after_the_other_in_progressive_training() -> None:
    network, x = made(SMALL), frames(2, 1, 64)
    with torch.inference_mode():
        whole = network(x)
        assert whole.shape == (2, 10, 128) and whole.dtype == torch.float32
        for stage in range(10):
            w_plus = network(x, deltas=stage)
            assert torch.equal(w_plus[:, : stage + 1], whole[:, : stage + 1])
            assert all(torch.equal(w_plus[:, i], whole[:, 0]) for i in range(stage + 1, 10))
        assert torch.equal(network(x, deltas=9), whole) and torch.equal(network(x, deltas=99), whole)
    assert all((whole[:, i] - whole[:, 0]).abs().max() > 1e-3 for i in range(1, 10))
    assert (whole[0] - whole[1]).abs().max() > 1e-5  # another frame, another code


def test_the_mean_is_added_to_every_row() -> None:
    network, x = made(SMALL), frames(1, 1, 64)
    mean = torch.randn(10, 128)
    with torch.inference_mode():
        before = network(x)
        network.latent_avg.copy_(mean)
        torch.testing.assert_close(network(x), before + mean)


def test_only_what_a_stage_uses_learns() -> None:
    network = made(SMALL).train()
    network(frames(2, 1, 64), deltas=2).square().sum().backward()
    learned = {name for name, p in network.named_parameters() if p.grad is not None}
    assert any(name.startswith("styles.2.") for name in learned)
    assert not any(name.startswith(("styles.3.", "latlayer")) for name in learned)
    network(frames(2, 1, 64)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_frames_of_other_sizes_and_channels_are_fitted() -> None:
    network, large = made(SMALL), frames(1, 1, 256)
    small = F.interpolate(large, size=(64, 64), mode="bilinear", antialias=True)
    with torch.inference_mode():
        torch.testing.assert_close(network(large), network(small))
        torch.testing.assert_close(network(small.expand(-1, 3, -1, -1)), network(small))
        assert network(frames(1, 1, 64)[:, :, :50, :60]).shape == (1, 10, 128)
        coloured = made(EncoderConfig(**{**vars(SMALL), "image_channels": 3}))
        torch.testing.assert_close(coloured(small), coloured(small.repeat(1, 3, 1, 1)))
        checked = (torch.arange(256)[:, None] + torch.arange(256)) % 2 * 2.0 - 1  # finer than 64 pixels can show
        assert network.fitted(checked[None, None]).abs().max() < 0.05


@pytest.mark.parametrize("resolution", [8, 64, 256])
def test_rows_fit_any_generator(resolution: int) -> None:
    rows = GeneratorConfig(resolution=resolution).num_ws
    config = EncoderConfig(side=32, num_ws=rows, w_dim=16, widths=(4, 4, 6, 8), depths=(1, 1, 1, 1), style_width=8)
    with torch.inference_mode():
        assert made(config)(frames(1, 1, 32)).shape == (1, rows, 16)


def test_it_is_built_from_its_card() -> None:
    architecture = encoder.describe(SMALL)
    assert architecture["family"] == "encoder" and architecture["widths"] == [24, 48, 96, 128]
    assert encoder.build(architecture).config == SMALL
    for changed, sentence in (
        ({"family": "stylegan2"}, "asks for the architecture 'stylegan2'"),
        ({"side": 100}, "side is 100"),
        ({"image_channels": 2}, "image_channels is 2"),
        ({"depths": [1, 2]}, "four numbers each"),
        ({"style_width": 0}, "without channels"),
        ({"unknown": 1}, "unknown"),
    ):
        with pytest.raises(WeightsError, match=sentence):
            encoder.build(architecture | changed)


def test_the_released_size_is_the_default() -> None:
    with torch.device("meta"):
        network = Encoder(encoder.RELEASED)
    fine, middle, deep = network.features(torch.zeros(1, 1, 256, 256, device="meta"))
    assert (fine.shape, middle.shape, deep.shape) == ((1, 128, 64, 64), (1, 256, 32, 32), (1, 512, 16, 16))
    assert len(network.body) == 24 and len(network.styles) == 14
    assert network(torch.zeros(2, 1, 256, 256, device="meta")).shape == (2, 14, 512)


def test_the_small_size_is_small_and_quick(one_thread: None) -> None:
    network, x = made(SMALL), frames(1, 1, 256)
    assert 2 * sum(p.numel() for p in network.parameters()) < 6 * 2**20  # bytes in fp16
    with torch.inference_mode():
        network(x)
        times = []
        for _ in range(5):
            begun = time.process_time()
            network(x)
            times.append(time.process_time() - begun)
    assert min(times) < 0.1
