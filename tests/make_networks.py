"""Networks of known effect: real architectures with weights set by hand, as weights on disk too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from echoq_models.cine.loop import CineLoop
from echoq_models.generative import encoder as encoders
from echoq_models.generative import stylegan2
from echoq_models.generative.encoder import Encoder, EncoderConfig
from echoq_models.generative.stylegan2 import Generator, GeneratorConfig
from echoq_models.segment import architecture
from echoq_models.weights import store

SMALLEST = {"family": "lv", "widths": [2, 2, 2, 2], "deep_blocks": 1}


def bright_is_lv(present: float = 6.0) -> nn.Module:
    """An `LvNetwork` that takes whatever is brighter than about 150 of 255 in frame t for the left ventricle.

    present: its logit of "there is one".
    """
    network = architecture.build(dict(SMALLEST))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if not name.startswith("encoders") and not name.startswith("decoders"):
                parameter.zero_()
        network.stem.weight[:, 4:8, 1, 1] = 2.5  # ten times the mean over 2 x 2 pixels of the middle frame
        network.stem.bias.fill_(-3.5)
        network.last.weight.fill_(2.0)
        network.last.bias.fill_(-8.0)
        network.present[-1].bias.fill_(present)
    return network.eval()


def save_bright(folder: Path, name: str = "lv", present: float = 6.0) -> store.Entry:
    """The same as weights in `folder`."""
    card = store.Card(name, "Bright", SMALLEST, "lv", recipe="set by hand")
    return store.save(folder / f"{name}.safetensors", bright_is_lv(present).state_dict(), card)


def ellipse(size: tuple[int, int], centre: tuple[float, float], axes: tuple[float, float]) -> np.ndarray:
    """bool (H, W) of an upright ellipse: centre (x, y) and half axes (x, y) in pixels."""
    y, x = np.mgrid[: size[0], : size[1]]
    return ((x - centre[0]) / axes[0]) ** 2 + ((y - centre[1]) / axes[1]) ** 2 <= 1


def bright_loop(
    frames: int = 6, size: tuple[int, int] = (240, 320), without: tuple[int, ...] = ()
) -> tuple[CineLoop, np.ndarray]:
    """A grey fan in which a bright ellipse beats, and the ellipse, bool (T, H, W); none in the frames `without`."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    dy, dx = y - 0.03 * height, x - 0.5 * width
    fan = (np.hypot(dx, dy) < 0.94 * height) & (np.abs(np.arctan2(dx, dy)) < np.deg2rad(38))
    shades = np.random.default_rng(5).integers(40, 90, (frames, height, width))
    truth = np.zeros((frames, height, width), dtype=bool)
    for t in range(frames):
        if t not in without:
            wide = 0.09 + 0.02 * np.cos(2 * np.pi * t / 6)
            truth[t] = ellipse(size, (0.5 * width, 0.45 * height), (wide * height, 2 * wide * height))
    pixels = np.where(truth, 230, shades) * fan
    return CineLoop(pixels.astype(np.uint8), 33.0 * np.arange(frames), "npz"), truth


GENERATOR = GeneratorConfig(resolution=32, channel_base=256, channel_max=8, z_dim=8, w_dim=8, mapping_layers=1)
ENCODER = EncoderConfig(side=32, num_ws=8, w_dim=8, widths=(4, 4, 6, 8), depths=(1, 1, 1, 1), style_width=8)
GLOBAL, NEAR, LEVEL = "b32.torgb:0", "b4.torgb:0", "b32.torgb:2"  # channels planted in it
PRESETS = {"global": {GLOBAL: 1.0}, "near field": {NEAR: -1.0}}
STEP = 0.05  # of the grey scale: what a standard deviation of "global" adds everywhere


def noise_generator() -> Generator:
    """A generator that draws one dark grey, in which three channels act and no other.

    GLOBAL brightens all of it by STEP per standard deviation, NEAR darkens its top, LEVEL makes the grey depend on w.
    """
    generator = Generator(GENERATOR)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in generator.synthesis.named_parameters():
            if not name.endswith("affine.bias"):
                parameter.zero_()
        first, last = generator.synthesis.get_submodule("b4"), generator.synthesis.get_submodule("b32")
        first.const[0, 0] = 1.0  # type: ignore[index]
        first.conv1.weight[0, 0, 1, 1] = 1.0  # type: ignore[union-attr, index]
        first.torgb.weight[0, 0] = -4 * STEP  # type: ignore[union-attr, index]
        for channel, weight in ((0, 4 * STEP), (2, 8 * STEP)):
            last.conv1.bias[channel] = 1.0  # type: ignore[union-attr, index]
            last.torgb.weight[0, channel] = weight  # type: ignore[union-attr, index]
        last.torgb.affine.weight[2] = torch.randn(8)  # type: ignore[union-attr, index]
        last.torgb.bias.fill_(-0.8)  # type: ignore[union-attr, operator]
    return generator.requires_grad_(False).eval()


def noise_encoder() -> Encoder:
    """An untrained encoder for it: some w_plus for any frame."""
    torch.manual_seed(1)
    return Encoder(ENCODER).requires_grad_(False).eval()


def save_noise_networks(folder: Path, generator: str = "generator", made_for: str = "generator") -> store.Entry:
    """Both as weights in `folder`, the generator with PRESETS; gives back the generator's. made_for: encoder's card."""
    card = store.Card("encoder", "Untrained", encoders.describe(ENCODER), "encoder", generator=made_for)
    store.save(folder / "encoder.safetensors", noise_encoder().state_dict(), card)
    card = store.Card(generator, "Planted", stylegan2.describe(GENERATOR), "generator", noise_channels=PRESETS)
    return store.save(folder / f"{generator}.safetensors", noise_generator().state_dict(), card)
