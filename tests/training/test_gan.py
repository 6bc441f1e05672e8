"""The stage `gan`: its losses, training that goes on exactly, and the command from frames to weights that load."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from echoq_models.errors import InputError
from echoq_models.generative.stylegan2 import GeneratorConfig, build, to_grey
from echoq_models.weights import store as weights
from tests.shared import ROOT
from training import gan, gan_losses
from training.data.frames import FrameStore, write_shard
from training.discriminator import Discriminator, DiscriminatorConfig
from training.gan import GanConfig, GanTrainer
from training.pipeline import PipelineConfig, read_recipe

CPU = torch.device("cpu")
SMALL = GeneratorConfig(resolution=16, channel_base=256, channel_max=16, z_dim=8, w_dim=16)
CRITIC = DiscriminatorConfig(channel_base=256, channel_max=16)
CONFIG = GanConfig(batch=16, kimg=0.096, r1_every=2, path_every=2, bfloat16=False, log_every=1, ema_kimg=0.1, judged=8)


def quiet(message: str) -> None:
    pass


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> FrameStore:
    """128 frames of 16 x 16: a bright disc with a dark hole, of random place and brightness."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16]
    frames = np.zeros((128, 16, 16), dtype=np.uint8)
    for frame in frames:
        distance = np.hypot(x - rng.uniform(6, 9), y - rng.uniform(6, 9))
        frame[(distance < 6) & (distance > 2.5)] = rng.integers(150, 250)
    folder = tmp_path_factory.mktemp("run") / "frames"
    folder.mkdir()
    names = [f"patient {i}" for i in range(128)]
    write_shard(folder, 0, frames, {"patient": names, "loop": names, "frame": [0] * 128})
    return FrameStore(folder)


def trainer(folder: Path, config: GanConfig = CONFIG) -> GanTrainer:
    folder.mkdir(exist_ok=True)
    return GanTrainer(SMALL, CRITIC, config, folder, CPU)


def test_losses_are_those_of_the_paper():
    even = torch.zeros(4)
    assert float(gan_losses.generator_loss(even)) == pytest.approx(math.log(2))
    assert float(gan_losses.discriminator_loss(even, even)) == pytest.approx(2 * math.log(2))
    assert gan_losses.discriminator_loss(even + 3, even - 3) < 0.1 < gan_losses.generator_loss(even - 3)
    plane = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 1))
    expected = 0.5 * float(plane[1].weight.detach().square().sum())
    assert float(gan_losses.gradient_penalty(plane, torch.randn(5, 1, 4, 4)).detach()) == pytest.approx(
        expected, rel=1e-5
    )


def test_path_lengths_are_those_of_a_linear_generator():
    class Line(torch.nn.Module):
        """Picture = A w, so that |J^T y| = |A^T y|."""

        config = dataclasses.replace(SMALL, resolution=8)
        matrix = torch.randn(64, 5)

        def to_s(self, w_plus):
            return w_plus[:, 0]

        def from_s(self, s, noise):
            return (s @ self.matrix.T).reshape(-1, 1, 8, 8)

    w_plus = torch.randn(3, 1, 5, requires_grad=True)
    torch.manual_seed(4)
    lengths = gan_losses.path_lengths(Line(), w_plus)
    torch.manual_seed(4)
    y = torch.randn(3, 1, 8, 8).flatten(1) / 8
    assert torch.allclose(lengths, (y @ Line.matrix).norm(dim=1), rtol=1e-4)


@pytest.mark.parametrize("mixing", [0.0, 1.0])
def test_styles_are_mixed_at_a_random_row(mixing):
    torch.manual_seed(0)
    generator = build({"family": "stylegan2", **dataclasses.asdict(SMALL)})
    rows = gan_losses.mixed_w_plus(generator, 32, mixing)
    steps = (rows[:, 1:] != rows[:, :-1]).any(2).sum(1)
    assert set(steps.tolist()) == {round(mixing)}


def test_the_discriminator_tells_a_group_that_is_all_the_same():
    torch.manual_seed(0)
    critic = Discriminator(SMALL, CRITIC)
    same = torch.randn(1, 1, 16, 16).expand(8, -1, -1, -1)
    varied = torch.cat([same[:1], torch.randn(7, 1, 16, 16)])
    with torch.no_grad():
        assert critic(same).shape == (8,)
        assert not torch.isclose(critic(same)[0], critic(varied)[0])
        assert [f.shape[-1] for f in critic.features(same)] == [8, 4]


def test_training_learns_what_frames_look_like(store, tmp_path):
    config = dataclasses.replace(CONFIG, kimg=1.6, r1_every=16, path_every=8, r1_gamma=0.01, ema_kimg=0.2, sheet_kimg=1)
    run = trainer(tmp_path / "gan", config)
    real = torch.from_numpy(store.frames(range(64)))[:, None].float() / 255
    z = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))

    def off() -> float:
        with torch.no_grad():
            drawn = to_grey(run.average(z))
        return float((drawn.mean(0) - real.mean(0)).abs().mean())

    before = off()
    run.run(store, quiet)
    assert off() < 0.6 * before
    log = [json.loads(line) for line in (tmp_path / "gan" / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == list(range(1, 101))
    assert min(entry["s_per_kimg"] for entry in log) > 0
    assert np.mean([e["discriminator"] for e in log[5:20]]) < 2 * math.log(2)
    sheet = cv2.imread(str(tmp_path / "gan" / "samples_000002.png"), cv2.IMREAD_GRAYSCALE)
    assert sheet.shape == (8 * 16, 8 * 16)
    assert list((tmp_path / "gan" / "curves").iterdir())


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(store, tmp_path):
    trainer(tmp_path / "whole").run(store, quiet)
    trainer(tmp_path / "parts", dataclasses.replace(CONFIG, kimg=0.048)).run(store, quiet)
    second = trainer(tmp_path / "parts")
    assert second.step == 3
    second.run(store, quiet)
    whole, parts = (load_file(tmp_path / name / "checkpoint.safetensors") for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    other = dataclasses.replace(SMALL, channel_max=8)
    with pytest.raises(InputError, match="another recipe"):
        GanTrainer(other, CRITIC, CONFIG, tmp_path / "whole", CPU)


def test_the_clock_ends_a_training(store, tmp_path):
    run = trainer(tmp_path / "gan", dataclasses.replace(CONFIG, minutes=0.001, kimg=1000))
    run.run(store, quiet)
    assert 0 < run.step < 50


def test_frames_of_another_size_are_refused(store, tmp_path):
    config = dataclasses.replace(SMALL, resolution=32)
    recipe = PipelineConfig(
        "a", "A", dataclasses.replace(PipelineConfig("", "").frames, side=32), config, CRITIC, CONFIG
    )
    with pytest.raises(InputError, match="16 pixels"):
        gan.train(recipe, store.folder.parent, CPU, quiet)


@pytest.mark.parametrize("name", ["tiny", "default", "paper"])
def test_the_recipes_describe_generators(name):
    recipe = read_recipe(ROOT / "training" / "recipes" / f"{name}.toml")
    assert recipe.name == name
    assert recipe.frames.side == recipe.generator.resolution
    assert (recipe.generator.channel_base, recipe.generator.channel_max) == (
        recipe.discriminator.channel_base,
        recipe.discriminator.channel_max,
    )


RECIPE = """
name = "small"
title = "Small generator"
[frames]
side = 16
frames = 64
shard = 64
workers = 1
[generator]
resolution = 16
channel_base = 256
channel_max = 16
z_dim = 8
w_dim = 16
[discriminator]
channel_base = 256
channel_max = 16
[gan]
batch = 8
log_every = 1
judged = 64
"""


def command(*arguments: object, processes: int = 1) -> subprocess.CompletedProcess[str]:
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*start, "-m", "training", *map(str, arguments), "--device", "cpu"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_the_commands_make_weights_that_load_in_two_processes(tmp_path):
    recipe, run = tmp_path / "small.toml", tmp_path / "run"
    recipe.write_text(RECIPE)
    options = ("--config", recipe, "-o", run)
    early = command("gan", *options)
    assert early.returncode == 3
    assert "run `python -m training frames` first" in early.stderr
    assert len(early.stderr.strip().splitlines()) == 1
    drawn = command("frames", *options)
    assert drawn.returncode == 0, drawn.stderr
    trained = command("gan", *options, "--steps", 2, processes=2)
    assert trained.returncode == 0, trained.stderr
    log = [json.loads(line) for line in (run / "gan" / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == [1, 2]  # one of the two keeps the log
    entry = weights.Entry(
        "generator", run / "gan" / "generator.safetensors", False, weights.read_card(run / "gan" / "generator.json")
    )
    card, tensors = weights.load(entry)
    assert (card.output, card.recipe) == ("generator", "training/recipes/small.toml")
    assert card.figures["FD-echo"] > card.figures["FD-echo of training frames"] > 0
    generator = build(dict(card.architecture))
    generator.load_state_dict(tensors)
    assert float(generator.s_std.min()) > 0
