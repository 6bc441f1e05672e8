"""The denoising networks, and `build()`, which makes one from a model card's `architecture` entry.

Every network maps float32 (N, 1, 256, 256) in [0, 1] to a pair (out, confidence):
out (N, 1, 256, 256) is a change in grey, never above 0, in units of the full grey scale (`output: gain`), or an
image in [0, 1] (`output: image`); confidence (N, 1, 256, 256) in [0, 1], or None where the network has none.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from echoq_models.errors import WeightsError


def _gain_head(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Two raw channels (N, 2, H, W) -> change <= 0 (N, 1, H, W) and confidence in [0, 1] (N, 1, H, W).

    The change is -softplus: at most 0, so that a wall can be kept or dimmed but never painted.
    """
    return -F.softplus(raw[:, :1].float()), torch.sigmoid(raw[:, 1:2].float())


def _start_gently(last: nn.Conv2d) -> None:
    """Begin as "little to remove, fairly sure", so that the first steps do not black the picture out."""
    if last.weight.is_meta:  # only its shape is wanted, and drawing there would load torch's compiler: a second
        return
    nn.init.normal_(last.weight, std=1e-2)
    with torch.no_grad():
        assert last.bias is not None
        last.bias.copy_(torch.tensor([-3.0, 1.0]))


def _double_conv(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, 3, padding=1), nn.Mish(), nn.Conv2d(n_out, n_out, 3, padding=1), nn.Mish()
    )


class ReleasedUNet(nn.Module):
    """The U-Net of EchoNet-Quality: same layers and parameter names, so that its released file loads as it is.

    No normalisation, no residual; 7.78 M parameters, 42.3 GMAC per 256 x 256 frame.
    head: "image" clips the single output to [0, 1]; "gain" gives change and confidence from two outputs.
    """

    def __init__(self, channels_out: int = 1, head: str = "image") -> None:
        super().__init__()
        if (channels_out, head) not in ((1, "image"), (2, "gain")):
            raise ValueError(f"a {head} head does not go with {channels_out} outputs")
        self.head = head
        self.dconv_down1 = _double_conv(1, 64)
        self.dconv_down2 = _double_conv(64, 128)
        self.dconv_down3 = _double_conv(128, 256)
        self.dconv_down4 = _double_conv(256, 512)
        self.dconv_up3 = _double_conv(256 + 512, 256)
        self.dconv_up2 = _double_conv(128 + 256, 128)
        self.dconv_up1 = _double_conv(64 + 128, 64)
        self.conv_last = nn.Conv2d(64, channels_out, 1)
        if head == "gain":
            _start_gently(self.conv_last)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        y = self.raw(x)
        return _gain_head(y) if self.head == "gain" else (y.float().clamp(0, 1), None)

    def raw(self, x: Tensor) -> Tensor:
        """The outputs (N, channels_out, H, W) before the head; a clipped picture has no gradient to be trained by."""
        d1 = self.dconv_down1(x)
        d2 = self.dconv_down2(F.max_pool2d(d1, 2))
        d3 = self.dconv_down3(F.max_pool2d(d2, 2))
        y = self.dconv_down4(F.max_pool2d(d3, 2))
        for skip, block in ((d3, self.dconv_up3), (d2, self.dconv_up2), (d1, self.dconv_up1)):
            y = F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=True)
            y = block(torch.cat([y, skip], dim=1))
        return self.conv_last(y)


class Residual(nn.Module):
    """x + conv(act(conv(x))), each conv batch-normalised (a fixed affine map once trained)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        nn.init.zeros_(self.norm2.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x + self.norm2(self.conv2(F.silu(self.norm1(self.conv1(x))))))


class Context(nn.Module):
    """Tells every place about the whole frame: x + f(mean, standard deviation over the frame). Starts as x."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Conv2d(2 * width, width, 1)
        self.outer = nn.Conv2d(width, width, 1)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3), keepdim=True)
        spread = (x - mean).square().mean((2, 3), keepdim=True).add(1e-6).sqrt()
        return x + self.outer(F.silu(self.inner(torch.cat([mean, spread], dim=1))))


class ResidualUNet(nn.Module):
    """A small residual U-Net behind a pixel-unshuffle; what it gives is predicted at half resolution and upsampled.

    (N, channels_in, H, W) in, (N, channels_out, H, W) out.  widths: channels at 1/2, 1/4, 1/8 and 1/16 of the input's
    resolution.  deep_blocks: residual blocks at the coarsest level.  context: let that level see the whole frame's
    statistics.
    """

    def __init__(
        self, channels_in: int, channels_out: int, widths: tuple[int, ...], deep_blocks: int, context: bool
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(4 * channels_in, widths[0], 3, padding=1)
        self.encoders = nn.ModuleList(Residual(w) for w in widths[:-1])
        self.downs = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths))
        self.context = Context(widths[-1]) if context else nn.Identity()
        self.deep = nn.Sequential(*(Residual(widths[-1]) for _ in range(deep_blocks)))
        self.ups = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.decoders = nn.ModuleList(Residual(w) for w in widths[:-1])
        self.last = nn.Conv2d(widths[0], channels_out, 1)

    def encoded(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The coarsest level, and what the finer ones keep for the way back."""
        y = self.stem(F.pixel_unshuffle(x, 2))
        skips = []
        for encode, down in zip(self.encoders, self.downs, strict=True):
            y = encode(y)
            skips.append(y)
            y = F.silu(down(y))
        return self.deep(self.context(y)), skips

    def decoded(self, y: Tensor, skips: list[Tensor]) -> Tensor:
        """float32 (N, channels_out, H, W) from what `encoded` gave."""
        for i in reversed(range(len(skips))):
            y = F.interpolate(self.ups[i](y), scale_factor=2, mode="bilinear", align_corners=False)
            y = self.decoders[i](y + skips[i])
        return F.interpolate(self.last(y).float(), scale_factor=2, mode="bilinear", align_corners=False)


class FastNet(ResidualUNet):
    """The denoiser for machines without a GPU.

    The change is smooth by nature, so half resolution loses nothing and saves three quarters of the work. With
    `context`, display curve and haze level can be told from the whole frame.
    """

    def __init__(
        self, widths: tuple[int, ...] = (16, 48, 96, 144), deep_blocks: int = 2, context: bool = False
    ) -> None:
        super().__init__(1, 2, widths, deep_blocks, context)
        _start_gently(self.last)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return _gain_head(self.decoded(*self.encoded(x)))


def build(architecture: dict[str, Any]) -> nn.Module:
    """The untrained network that a card's `architecture` describes: {"family": "unet" | "fast", options}.

    Raises WeightsError for an unknown family or options that do not fit it.
    """
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in architecture.items() if k != "family"}
    families: dict[str, type[nn.Module]] = {"unet": ReleasedUNet, "fast": FastNet}
    family = architecture.get("family")
    if family not in families:
        known = ", ".join(sorted(families))
        raise WeightsError(f"The model card asks for the architecture {family!r}; known are {known}.")
    try:
        return families[family](**options)
    except (TypeError, ValueError) as error:
        raise WeightsError(f"The model card's options do not fit the architecture {family!r}: {error}.") from None
