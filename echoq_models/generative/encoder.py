"""The encoder: an echo frame -> w_plus, from which the generator draws it again; and `build()`.

    frame (N, 1 or 3, side, side) --IR-SE body--> features at side / 4, / 8 and / 16
    w_plus (N, num_ws, w_dim) = latent_avg + w0 + delta_i,  delta_0 = 0

w0 comes from the deepest features, and so do the first deltas; those of later rows see finer features (Tov et al. 2021,
"Designing an encoder for StyleGAN image manipulation", arXiv:2102.02766, "e4e"). The nearer the rows lie together, the
better w_plus can be edited: training adds the deltas one after the other. Parameters have the names of the released
encoder's, less their prefix `encoder.`, so that its weights are these.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from echoq_models.errors import WeightsError
from echoq_models.generative.irse import Unit
from echoq_models.generative.layers import Linear

MIDDLE, FINE = 3, 7  # the first rows that see features at side / 8, and at side / 4


@dataclass(frozen=True)
class EncoderConfig:
    """side: of the frames it looks at, a power of 2 of 32-1024.  image_channels: 1, or 3 equal ones.

    num_ws, w_dim: of the generator.  widths, depths: channels and units of the body's four stages, each of which halves
    the side.  style_width: channels of the convolutions that lead from features to one row.
    """

    side: int = 256
    image_channels: int = 1
    num_ws: int = 14
    w_dim: int = 512
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    depths: tuple[int, int, int, int] = (3, 4, 14, 3)
    style_width: int = 512

    def __post_init__(self) -> None:
        if self.side not in (32, 64, 128, 256, 512, 1024):
            raise ValueError(f"side is {self.side}, not a power of 2 from 32 to 1024")
        if self.image_channels not in (1, 3):
            raise ValueError(f"image_channels is {self.image_channels}, not 1 or 3")
        if len(self.widths) != 4 or len(self.depths) != 4:
            raise ValueError("widths and depths must have four numbers each")
        if min(*self.widths, *self.depths, self.num_ws, self.w_dim, self.style_width) < 1:
            raise ValueError("there are layers without channels or stages without units")


# The encoder that the authors of EchoNet-Quality released (it sees 1 or 3 channels)
RELEASED = EncoderConfig()


class StyleBlock(nn.Module):
    """Features (N, n_in, side, side) -> one row (N, w_dim): convolutions that halve down to one pixel, then linear."""

    def __init__(self, n_in: int, width: int, w_dim: int, side: int) -> None:
        super().__init__()
        halvings = side.bit_length() - 1
        layers: list[nn.Module] = []
        for i in range(halvings):
            layers += [nn.Conv2d(n_in if i == 0 else width, width, 3, stride=2, padding=1), nn.LeakyReLU(0.01)]
        self.convs = nn.Sequential(*layers)
        self.linear = Linear(width, w_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.convs(x).flatten(1))


class Encoder(nn.Module):
    """Frames -> w_plus."""

    latent_avg: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        self.input_layer = nn.Sequential(
            nn.Conv2d(config.image_channels, widths[0], 3, padding=1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.PReLU(widths[0]),
        )
        units, before = [], widths[0]
        for width, depth in zip(widths, config.depths, strict=True):
            for i in range(depth):
                units.append(Unit(before, width, stride=2 if i == 0 else 1))
                before = width
        self.body = nn.Sequential(*units)
        sides = [config.side // (16 if i < MIDDLE else 8 if i < FINE else 4) for i in range(config.num_ws)]
        self.styles = nn.ModuleList(StyleBlock(widths[3], config.style_width, config.w_dim, side) for side in sides)
        self.latlayer1 = nn.Conv2d(widths[2], widths[3], 1)
        self.latlayer2 = nn.Conv2d(widths[1], widths[3], 1)
        self.register_buffer("latent_avg", torch.zeros(config.num_ws, config.w_dim))

    def forward(self, frame: Tensor, deltas: int | None = None) -> Tensor:
        """w_plus, float32 (N, num_ws, w_dim), of frames (N, 1 or 3, H, W) of -1 to 1.

        Frames of another size than (side, side) are resized to it, sides of their own (bilinear, smoothed where it
        shrinks); grey is repeated or channels are averaged to fit image_channels.
        deltas: how many rows after the first differ from it (progressive training begins with 0); None for all.
        """
        fine, middle, deep = self.features(self.fitted(frame))
        count = self.config.num_ws - 1 if deltas is None else deltas
        w0 = self.styles[0](deep)
        rows = [torch.zeros_like(w0)]
        seen = deep
        for i in range(1, min(count + 1, self.config.num_ws)):
            if i == MIDDLE:
                seen = _enlarged(seen, middle) + self.latlayer1(middle)
            elif i == FINE:
                seen = _enlarged(seen, fine) + self.latlayer2(fine)
            rows.append(self.styles[i](seen))
        rows += [rows[0]] * (self.config.num_ws - len(rows))
        return (w0[:, None] + torch.stack(rows, dim=1)).float() + self.latent_avg

    def fitted(self, frame: Tensor) -> Tensor:
        """The frame as the body takes it: (N, image_channels, side, side)."""
        side, channels = self.config.side, self.config.image_channels
        if frame.shape[1] != channels:
            frame = frame.mean(1, keepdim=True).expand(-1, channels, -1, -1)
        if frame.shape[2:] == (side, side):
            return frame
        return F.interpolate(frame, size=(side, side), mode="bilinear", align_corners=False, antialias=True)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The body's outputs at side / 4, side / 8 and side / 16."""
        x, found, end = self.input_layer(x), [], 0
        for depth in self.config.depths:
            x = self.body[end : end + depth](x)
            found.append(x)
            end += depth
        return found[1], found[2], found[3]


def _enlarged(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=True)


def build(architecture: dict[str, Any]) -> Encoder:
    """The untrained encoder that a card's `architecture` describes: {"family": "encoder", EncoderConfig's fields}.

    Raises WeightsError for an unknown family or options that do not fit it.
    """
    options: dict[str, Any] = {name: value for name, value in architecture.items() if name != "family"}
    options |= {name: tuple(value) for name, value in options.items() if isinstance(value, list)}
    if architecture.get("family") != "encoder":
        family = architecture.get("family")
        raise WeightsError(f"The model card asks for the architecture {family!r}; known is encoder.")
    try:
        return Encoder(EncoderConfig(**options))
    except (TypeError, ValueError) as error:
        raise WeightsError(f"The model card's options do not fit the architecture 'encoder': {error}.") from None


def describe(config: EncoderConfig) -> dict[str, Any]:
    """What `build` takes, for a model card."""
    options = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(config).items()}
    return {"family": "encoder", **options}
