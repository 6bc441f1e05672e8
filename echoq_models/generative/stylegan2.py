"""The generator of echo frames: StyleGAN2 (Karras et al. 2020, arXiv 1912.04958) in plain torch, and `build()`.

    z (N, z_dim) --mapping--> w (N, w_dim) --for each layer--> w_plus (N, num_ws, w_dim)
    w_plus --each layer's affine--> s (N, S) --synthesis--> picture (N, image_channels, side, side), about -1 to 1

s is the StyleSpace code (Wu et al. 2021, arXiv 2011.12799): the raw output of the affines, one number for each channel
that enters a convolution; `synthesis` draws from it alone. Parameters have the names and meaning of the reference
implementation's, so that its weights are these; modulation is not fused into the weights but done on the activations,
which gives the same numbers and keeps the convolutions plain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from echoq_models.errors import WeightsError
from echoq_models.generative.layers import SQRT2, Linear, blur, leaky, normal, upsampled

Noise = Literal["random", "constant", "none"]


@dataclass(frozen=True)
class StyleLayer:
    """A convolution with a style. name: of its module, e.g. "b64.conv1".  side: of its output.  channels: that it
    modulates, so many entries of s.  w: which row of w_plus it hears."""

    name: str
    side: int
    channels: int
    w: int


@dataclass(frozen=True)
class GeneratorConfig:
    """resolution: side of the picture, a power of 2 of 8-1024.  Channels at a side: channel_base / side, at most
    channel_max.  image_channels: 1, or 3 equal ones.  clamp: activations are kept within +-clamp, 0 for no limit."""

    resolution: int = 256
    channel_base: int = 16384
    channel_max: int = 512
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 2
    image_channels: int = 1
    clamp: float = 0.0

    def __post_init__(self) -> None:
        if self.resolution not in (8, 16, 32, 64, 128, 256, 512, 1024):
            raise ValueError(f"resolution is {self.resolution}, not a power of 2 from 8 to 1024")
        if self.image_channels not in (1, 3):
            raise ValueError(f"image_channels is {self.image_channels}, not 1 or 3")
        if self.channel_base < self.resolution or min(self.channel_max, self.z_dim, self.w_dim) < 1:
            raise ValueError("there are layers without channels")
        if self.mapping_layers < 1:
            raise ValueError("the mapping has no layers")

    @property
    def sides(self) -> tuple[int, ...]:
        """4, 8, ... resolution."""
        return tuple(2**k for k in range(2, self.resolution.bit_length()))

    def channels(self, side: int) -> int:
        """Channels of the activations at this side."""
        return min(self.channel_base // side, self.channel_max)

    @property
    def layers(self) -> tuple[StyleLayer, ...]:
        """All layers with a style, in the order of the synthesis; ToRGB layers count."""
        found, w = [], 0
        for side in self.sides:
            if side > 4:
                found.append(StyleLayer(f"b{side}.conv0", side, self.channels(side // 2), w))
                w += 1
            found.append(StyleLayer(f"b{side}.conv1", side, self.channels(side), w))
            w += 1
            found.append(StyleLayer(f"b{side}.torgb", side, self.channels(side), w))
        return tuple(found)

    @property
    def num_ws(self) -> int:
        """Rows of w_plus; a ToRGB layer shares its row with the convolution that follows."""
        return self.layers[-1].w + 1


# The generator that the authors of EchoNet-Quality released (its older form; the newer one has three image channels)
RELEASED = GeneratorConfig(clamp=256.0)


class Mapping(nn.Module):
    """z -> w: z scaled to unit mean square, then `layers` linear maps that learn at a hundredth of the pace."""

    w_avg: Tensor

    def __init__(self, z_dim: int, w_dim: int, layers: int) -> None:
        super().__init__()
        for i in range(layers):
            self.add_module(f"fc{i}", Linear(z_dim if i == 0 else w_dim, w_dim, lr=0.01, active=True))
        self.depth = layers
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor, truncation: float = 1.0) -> Tensor:
        """float32 (N, w_dim). truncation: how far from the mean w, 1 for as far as it lies."""
        w = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        for i in range(self.depth):
            w = self.get_submodule(f"fc{i}")(w)
        return w.float() if truncation == 1.0 else torch.lerp(self.w_avg, w.float(), truncation)


def _limit(x: Tensor, clamp: float) -> Tensor:
    return x.clamp(-clamp, clamp) if clamp else x


class StyleConv(nn.Module):
    """3 x 3 convolution whose inputs are scaled by s and whose outputs are scaled back to unit variance
    (demodulation), then noise, bias and sqrt 2 leaky. up: doubles the side first."""

    noise_const: Tensor

    def __init__(self, n_in: int, n_out: int, w_dim: int, side: int, *, up: bool, clamp: float) -> None:
        super().__init__()
        self.affine = Linear(w_dim, n_in, bias=1.0)
        self.weight = nn.Parameter(normal(n_out, n_in, 3, 3))
        self.bias = nn.Parameter(torch.zeros(n_out))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", normal(side, side))
        self.up, self.clamp = up, clamp

    def forward(self, x: Tensor, s: Tensor, noise: Noise) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            power = s.square() @ self.weight.square().sum((2, 3)).T  # (N, n_out)
            scale = torch.rsqrt(power + 1e-8) * SQRT2
        x = x * s[:, :, None, None].to(x.dtype)
        if self.up:
            x = blur(F.conv_transpose2d(x, self.weight.transpose(0, 1), stride=2), gain=4.0)
        else:
            x = F.conv2d(x, self.weight, padding=1)
        x = x * scale[:, :, None, None].to(x.dtype)
        offset = (self.bias * SQRT2)[None, :, None, None]
        if noise == "random":
            x = x + (torch.randn_like(x[:, :1]) * (self.noise_strength * SQRT2).to(x.dtype))
        elif noise == "constant":
            x = x + (self.noise_const * self.noise_strength * SQRT2).to(x.dtype)
        return _limit(leaky(x + offset.to(x.dtype)), self.clamp)


class ToRGB(nn.Module):
    """1 x 1 convolution to the picture, its inputs scaled by s / sqrt(inputs)."""

    def __init__(self, n_in: int, n_out: int, w_dim: int, *, clamp: float) -> None:
        super().__init__()
        self.affine = Linear(w_dim, n_in, bias=1.0)
        self.weight = nn.Parameter(normal(n_out, n_in, 1, 1))
        self.bias = nn.Parameter(torch.zeros(n_out))
        self.gain, self.clamp = 1 / math.sqrt(n_in), clamp

    def forward(self, x: Tensor, s: Tensor) -> Tensor:
        y = F.conv2d(x * (s * self.gain)[:, :, None, None].to(x.dtype), self.weight)
        return _limit(y.float() + self.bias[None, :, None, None], self.clamp)


class Block(nn.Module):
    """One side: convolutions, and what it adds to the picture. The first begins with a learned constant."""

    def __init__(self, config: GeneratorConfig, side: int) -> None:
        super().__init__()
        width, w_dim, clamp = config.channels(side), config.w_dim, config.clamp
        if side == 4:
            self.const = nn.Parameter(normal(width, 4, 4))
        else:
            self.conv0 = StyleConv(config.channels(side // 2), width, w_dim, side, up=True, clamp=clamp)
        self.conv1 = StyleConv(width, width, w_dim, side, up=False, clamp=clamp)
        self.torgb = ToRGB(width, config.image_channels, w_dim, clamp=clamp)


class Synthesis(nn.Module):
    """Styles -> picture."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.layers = config.layers
        for side in config.sides:
            self.add_module(f"b{side}", Block(config, side))

    def affine(self, layer: StyleLayer) -> Linear:
        """What makes the layer's style from w."""
        return self.get_submodule(f"{layer.name}.affine")  # type: ignore[return-value]

    def forward(self, styles: Sequence[Tensor], noise: Noise = "random") -> Tensor:
        """styles: (N, channels) for each layer. Returns float32 (N, image_channels, side, side)."""
        const: Tensor = self.get_submodule("b4").const  # type: ignore[assignment]
        x = const.expand(len(styles[0]), -1, -1, -1).contiguous(memory_format=torch.channels_last)
        picture: Tensor | None = None
        for layer, s in zip(self.layers, styles, strict=True):
            module = self.get_submodule(layer.name)
            if isinstance(module, StyleConv):
                x = module(x, s, noise)
            else:
                added = module(x, s)
                picture = added if picture is None else upsampled(picture) + added
        assert picture is not None
        return picture


class Generator(nn.Module):
    """Mapping, affines and synthesis; with the mean and standard deviation of s, in whose units channels are edited."""

    s_mean: Tensor
    s_std: Tensor

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.mapping = Mapping(config.z_dim, config.w_dim, config.mapping_layers)
        self.synthesis = Synthesis(config)
        self.widths = [layer.channels for layer in config.layers]
        self.register_buffer("s_mean", torch.zeros(sum(self.widths)))
        self.register_buffer("s_std", torch.ones(sum(self.widths)))

    def w_plus(self, w: Tensor) -> Tensor:
        """The same w for all layers: (N, w_dim) -> (N, num_ws, w_dim)."""
        return w[:, None].expand(-1, self.config.num_ws, -1)

    def to_s(self, w_plus: Tensor) -> Tensor:
        """The StyleSpace code float32 (N, S) of w_plus (N, num_ws, w_dim)."""
        layers = self.config.layers
        return torch.cat([self.synthesis.affine(layer)(w_plus[:, layer.w]) for layer in layers], dim=1).float()

    def from_s(self, s: Tensor, noise: Noise = "constant") -> Tensor:
        """The picture of a StyleSpace code (N, S): float32 (N, image_channels, side, side), about -1 to 1."""
        return self.synthesis(s.split(self.widths, dim=1), noise)

    def forward(self, z: Tensor, noise: Noise = "random", truncation: float = 1.0) -> Tensor:
        """The picture of a normal z (N, z_dim)."""
        return self.from_s(self.to_s(self.w_plus(self.mapping(z, truncation))), noise)

    @torch.no_grad()
    def measure(self, count: int = 10_000, seed: int = 0) -> None:
        """Take the mean of w, and mean and standard deviation of each channel of s, over `count` random w."""
        generator = torch.Generator().manual_seed(seed)
        z = torch.randn(count, self.config.z_dim, generator=generator).to(self.s_mean.device)
        w = self.mapping(z)
        self.mapping.w_avg.copy_(w.mean(0))
        total, square = torch.zeros_like(self.s_mean), torch.zeros_like(self.s_mean)
        for part in w.split(1000):
            s = self.to_s(self.w_plus(part)) - self.s_mean
            total, square = total + s.sum(0), square + s.square().sum(0)
        self.s_std.copy_((square / count - (total / count).square()).clamp_min(0).sqrt())
        self.s_mean.add_(total / count)


def to_grey(picture: Tensor) -> Tensor:
    """A picture (N, 1 or 3, H, W) of -1 to 1 as a grey frame (N, 1, H, W) in [0, 1]."""
    return (picture.mean(1, keepdim=True) * 0.5 + 0.5).clamp(0, 1)


def build(architecture: dict[str, Any]) -> Generator:
    """The untrained generator that a card's `architecture` describes: the family "stylegan2" and GeneratorConfig's
    fields.

    Raises WeightsError for an unknown family or options that do not fit it.
    """
    options = {name: value for name, value in architecture.items() if name != "family"}
    if architecture.get("family") != "stylegan2":
        family = architecture.get("family")
        raise WeightsError(f"The model card asks for the architecture {family!r}; known is stylegan2.")
    try:
        return Generator(GeneratorConfig(**options))
    except (TypeError, ValueError) as error:
        raise WeightsError(f"The model card's options do not fit the architecture 'stylegan2': {error}.") from None


def describe(config: GeneratorConfig) -> dict[str, Any]:
    """What `build` takes, for a model card."""
    return {"family": "stylegan2", **{f.name: getattr(config, f.name) for f in fields(config)}}
