"""A generator made by hand, in which one style channel makes each component of the noise; and a run folder with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from echoq_models.generative.stylegan2 import Generator, GeneratorConfig, Noise, describe
from echoq_models.weights import store
from training import products
from training.data.frames import FramesConfig, draw
from training.noise.haze_model import HazeModel, Pairs, phantom_pairs

CONFIG = GeneratorConfig(resolution=32, channel_base=512, channel_max=16, z_dim=256, w_dim=256)
FRAMES = FramesConfig(side=32, frames=256, shard=64, workers=0, seed=9_100_000)
PLANTED = {"global": "b32.torgb:3", "centre field": "b16.conv1:5", "near field": "b32.conv0:8"}


class Planted(Generator):
    """The mean clean phantom frame, varied a little by all channels, under haze that the planted channels alone set:
    none below the mean of such a channel, then half of the strong level for each standard deviation."""

    def __init__(self, model: HazeModel, pairs: Pairs, seed: int = 0) -> None:
        torch.manual_seed(seed)
        super().__init__(CONFIG)
        self.eval().requires_grad_(False)
        self.haze, self.frame = model, pairs.clean.mean(0, keepdim=True)
        self.inside = model.inside.reshape(1, 1, 32, 32)
        names = [f"{layer.name}:{channel}" for layer in CONFIG.layers for channel in range(layer.channels)]
        self.places = [names.index(name) for name in PLANTED.values()]
        self.measure(2000)

    def from_s(self, s: Tensor, noise: Noise = "constant") -> Tensor:
        amount = F.softplus((s - self.s_mean) / self.s_std * 4)[:, self.places] / 8
        anatomy = s.clone()
        anatomy[:, self.places] = self.s_mean[self.places]
        grey = (self.frame + 0.04 * torch.tanh(super().from_s(anatomy, "none"))).clamp_min(0.02) * self.inside
        added = (self.haze.expected(grey) * amount.T[:, :, None]).sum(0).reshape(-1, 1, 32, 32)
        return (grey + added) * 2 - 1


def planted() -> Planted:
    """The generator, with haze as the phantom's."""
    pairs = phantom_pairs(48, 32, "a4c", 9_200_000, torch.device("cpu"))
    return Planted(HazeModel.fit(pairs), pairs)


def run_folder(folder: Path, made: Generator) -> Path:
    """Frames and the generator's card, as the stages before `channels` leave them. The file of weights is of a plain
    generator: only its network is made by hand."""
    draw(FRAMES, folder / "frames", torch.device("cpu"), lambda _: None)
    card = store.Card("generator", "Planted", describe(CONFIG), "generator")
    (folder / "gan").mkdir(parents=True)
    store.save(folder / "gan" / "generator.safetensors", made.state_dict(), card)
    return folder


def load_instead(patch: pytest.MonkeyPatch, made: Generator) -> None:
    """Let the stages find this generator in the run folder."""
    kept = products.generator
    patch.setattr(products, "generator", lambda folder, device: (kept(folder, device)[0], made))
