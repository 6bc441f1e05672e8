"""The generator: its sizes, and each layer against the definition it is a faster form of."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from echoq_models.errors import WeightsError
from echoq_models.generative.layers import blur, halved, upsampled
from echoq_models.generative.stylegan2 import RELEASED, Generator, GeneratorConfig, StyleConv, build, describe, to_grey
from echoq_models.generative.stylespace import StyleSpace
from tests.shared import ROOT

SMALL = GeneratorConfig(resolution=16, channel_base=128, channel_max=12, z_dim=8, w_dim=10)
TAPS = torch.outer(torch.tensor([1.0, 3.0, 3.0, 1.0]), torch.tensor([1.0, 3.0, 3.0, 1.0])) / 64


def small(**changes) -> Generator:
    torch.manual_seed(0)
    generator = Generator(replace(SMALL, **changes)).eval()
    for name, value in generator.named_parameters():
        if name.endswith(("noise_strength", "bias")) and "affine" not in name:
            torch.nn.init.normal_(value, std=0.3)
    return generator


@pytest.mark.parametrize(
    ("config", "size", "rows"),
    [
        (RELEASED, 7424, 14),
        (GeneratorConfig(resolution=1024, channel_base=32768), 9088, 18),
        (GeneratorConfig(channel_base=32768), 8704, 14),
    ],
)
def test_the_style_space_follows_from_the_channel_table(config, size, rows):
    space = StyleSpace(config)
    assert (space.size, config.num_ws) == (size, rows)
    with torch.device("meta"):
        generator = Generator(config)
    assert generator.s_std.shape == (size,)
    assert sum(p.numel() for name, p in generator.named_parameters() if name.endswith("affine.bias")) == size


def test_the_released_channels_lie_where_the_release_says():
    layers = RELEASED.layers
    assert [layers[i].name for i in (0, 1, 2, 9, 12)] == ["b4.conv1", "b4.torgb", "b8.conv0", "b32.conv1", "b64.conv1"]
    assert (layers[9].channels, layers[12].channels) == (512, 256)
    assert sum(layer.channels for layer in layers if not layer.name.endswith("torgb")) == 4928


def test_to_rgb_shares_its_row_with_the_next_convolution():
    rows = {layer.name: layer.w for layer in SMALL.layers}
    assert rows["b4.torgb"] == rows["b8.conv0"] == 1
    assert rows["b16.torgb"] == SMALL.num_ws - 1 == 5


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("noise", ["random", "constant", "none"])
def test_pictures(channels, noise):
    generator = small(image_channels=channels)
    z = torch.randn(3, 8)
    with torch.no_grad():
        picture, again = generator(z, noise), generator(z, noise)
    assert picture.shape == (3, channels, 16, 16)
    assert picture.dtype == torch.float32
    assert torch.equal(picture, again) == (noise != "random")
    grey = to_grey(picture)
    assert grey.shape == (3, 1, 16, 16)
    assert 0 <= grey.min() <= grey.max() <= 1


def test_bfloat16_draws_nearly_the_same():
    generator = small()
    z = torch.randn(8, 8)
    with torch.no_grad():
        exact = generator(z, "constant")
        with torch.autocast("cpu", torch.bfloat16):
            rough = generator(z, "constant")
    assert rough.dtype == torch.float32
    assert float((exact - rough).abs().mean()) < 0.03 * float(exact.std())


def filtered(x: torch.Tensor, pad: tuple[int, int, int, int], gain: float = 1.0) -> torch.Tensor:
    """[1, 3, 3, 1] on each channel, as defined: padded, then slid over."""
    n, c, h, w = x.shape
    padded = F.pad(x, pad).reshape(n * c, 1, h + pad[2] + pad[3], w + pad[0] + pad[1])
    y = F.conv2d(padded, TAPS[None, None] * gain)
    return y.reshape(n, c, *y.shape[-2:])


def with_zeros(x: torch.Tensor) -> torch.Tensor:
    """A zero after each value, both ways."""
    n, c, h, w = x.shape
    spread = torch.zeros(n, c, 2 * h, 2 * w)
    spread[:, :, ::2, ::2] = x
    return spread


def test_resampling_is_zeros_between_and_the_filter():
    x = torch.randn(2, 3, 8, 8)
    assert torch.allclose(upsampled(x), filtered(with_zeros(x), (2, 1, 2, 1), 4.0), atol=1e-5)
    assert torch.allclose(halved(x), filtered(x, (1, 1, 1, 1))[:, :, ::2, ::2], atol=1e-5)
    assert torch.allclose(blur(x, 4.0, padding=2), filtered(x, (2, 2, 2, 2), 4.0), atol=1e-5)


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("clamp", [0.0, 1.5])
def test_a_layer_is_the_modulated_convolution_of_the_paper(up, clamp):
    torch.manual_seed(1)
    layer = StyleConv(5, 4, w_dim=6, side=16 if up else 8, up=up, clamp=clamp)
    torch.nn.init.normal_(layer.bias)
    torch.nn.init.constant_(layer.noise_strength, 0.7)
    x, s = torch.randn(3, 5, 8, 8), torch.randn(3, 5)
    rows = []
    for one, style in zip(x, s, strict=True):
        weight = layer.weight * style[None, :, None, None]
        weight = weight * torch.rsqrt(weight.square().sum((1, 2, 3), keepdim=True) + 1e-8)
        if up:  # zeros between, a convolution with the turned kernel, the filter
            y = F.conv2d(F.pad(with_zeros(one[None]), (2, 1, 2, 1)), weight.flip(2, 3))
            y = filtered(y, (1, 1, 1, 1), 4.0)
        else:
            y = F.conv2d(one[None], weight, padding=1)
        y = y + layer.noise_const * layer.noise_strength + layer.bias[None, :, None, None]
        y = F.leaky_relu(y, 0.2) * math.sqrt(2)
        rows.append(y.clamp(-clamp, clamp) if clamp else y)
    with torch.no_grad():
        assert torch.allclose(layer(x, s, "constant"), torch.cat(rows), atol=1e-4)


def test_measuring_takes_mean_and_deviation_over_random_w():
    generator = small()
    generator.measure(2000, seed=3)
    z = torch.randn(4000, 8, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        w = generator.mapping(z)
        s = generator.to_s(generator.w_plus(w))
        assert torch.equal(generator.mapping(z, truncation=0.0), generator.mapping.w_avg.expand(4000, -1))
    assert torch.allclose(generator.s_std, s.std(0), rtol=0.15)
    assert float(((generator.s_mean - s.mean(0)) / s.std(0)).abs().max()) < 0.15
    assert torch.allclose(generator.mapping.w_avg, w.mean(0), atol=0.1)


def test_a_card_builds_the_generator_again():
    assert build(describe(SMALL)).config == SMALL
    for wrong in ({"resolution": 48}, {"image_channels": 2}, {"width": 3}, {"channel_base": 4}):
        with pytest.raises(WeightsError, match="do not fit"):
            build({**describe(SMALL), **wrong})
    with pytest.raises(WeightsError, match="stylegan2"):
        build({"family": "stylegan3"})


def test_its_shape_is_known_without_torchs_compiler():
    """Cards are checked on the meta device, also in installers, which lack the compiler and what it needs."""
    code = (
        "import sys, torch\nfrom echoq_models.generative.stylegan2 import RELEASED, Generator\n"
        "with torch.device('meta'):\n    Generator(RELEASED)\n"
        "sys.exit(len({'torch._dynamo', 'sympy'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
