"""The stage `encoder`: its losses, training that goes on exactly, and the command that makes weights that load."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from echoq_models.errors import InputError
from echoq_models.generative import encoder as encoders
from echoq_models.generative import stylegan2
from echoq_models.generative.stylegan2 import GeneratorConfig, to_grey
from echoq_models.weights import store as weights
from tests.shared import ROOT, fan_frames
from training import encoder, products
from training.data.frames import FrameStore, write_shard
from training.data.phantom_frames import COMPONENTS
from training.discriminator import Discriminator, DiscriminatorConfig
from training.encoder import EncoderStageConfig
from training.encoder_losses import EncoderBatch, EncoderLossConfig, Frozen, Learner, encoder_loss, feature_distance
from training.evaluation import fd_echo
from training.loop import TrainConfig
from training.pipeline import PipelineConfig, read_recipe

CPU = torch.device("cpu")
SMALL = GeneratorConfig(resolution=32, channel_base=256, channel_max=16, z_dim=8, w_dim=16)
CRITIC = DiscriminatorConfig(channel_base=256, channel_max=16)
STAGE = EncoderStageConfig((8, 8, 16, 16), (1, 1, 1, 1), 16, sheet_every=50, judged=4)
TRAIN = TrainConfig(batch=8, steps=4, lr=5e-3, warmup=1, ema=0.5, bfloat16=False, log_every=1)


def quiet(message: str) -> None:
    pass


def recipe(**changes: object) -> PipelineConfig:
    plain = PipelineConfig("", "")
    loss = EncoderLossConfig(blurs=(1.0, 2.0), lv=0.0)  # the network for it takes the longest; the command asks it
    return dataclasses.replace(
        plain,
        name="small",
        title="Small",
        frames=dataclasses.replace(plain.frames, side=32),
        generator=SMALL,
        discriminator=CRITIC,
        encoder=STAGE,
        encoder_loss=loss,
        encoder_train=dataclasses.replace(TRAIN, **changes),
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A run folder with 128 frames of 32 x 32, a generator that draws pictures that differ, and its discriminator."""
    run = tmp_path_factory.mktemp("run")
    torch.manual_seed(3)
    generator = stylegan2.Generator(SMALL)
    generator.measure()
    card = weights.Card("generator", "Small", stylegan2.describe(SMALL), "generator", data="a test", licence="none")
    weights.save(run / "gan" / "generator.safetensors", generator.state_dict(), card, half=True)
    critic = {f"discriminator.{k}": v.contiguous() for k, v in Discriminator(SMALL, CRITIC).state_dict().items()}
    save_file(critic, run / "gan" / "checkpoint.safetensors")
    (run / "frames").mkdir()
    names = [f"patient {i}" for i in range(128)]
    frames = np.concatenate([fan_frames(1, 32, 32, seed) for seed in range(128)])
    levels = {f"{name}_db": np.linspace(-120, 0, 128, dtype=np.float32) for name in COMPONENTS}
    write_shard(run / "frames", 0, frames, {"patient": names, "loop": names, "frame": [0] * 128, **levels})
    return run


@pytest.fixture
def run(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.fixture(scope="module")
def frozen(made) -> Frozen:
    _, generator = products.generator(made, CPU)
    return Frozen(generator, products.discriminator(made, SMALL, CRITIC, CPU), fd_echo.network(CPU))


def log_of(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "encoder" / "log.jsonl").read_text().splitlines()]


def test_training_falls_and_leaves_what_a_person_looks_at(run):
    encoder.train(recipe(steps=40), run, CPU, quiet)
    log = log_of(run)
    assert [entry["step"] for entry in log] == list(range(1, 41))
    for name in ("loss", "structure", "discriminator", "reader"):
        first, last = (np.mean([entry[name] for entry in part]) for part in (log[:5], log[-5:]))
        assert last < 0.97 * first, name
    assert log[0]["deltas"] == 0 < log[-1]["deltas"]
    sheet = cv2.imread(str(run / "encoder" / "reconstructions_000040.png"))
    assert sheet.shape[1] == 8 * 128 and sheet.shape[0] in (2 * 128, 4 * 128)
    assert list((run / "encoder" / "curves").iterdir())
    assert json.loads((run / "encoder" / "config.json").read_text())["encoder"]["style_width"] == 16


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(run, monkeypatch):
    other = Path(shutil.copytree(run, run.parent / "other"))
    encoder.train(recipe(), run, CPU, quiet)
    step = encoder.Trainer._step

    def stopping(trainer, *given):
        if trainer.step == 2:
            trainer.save()
            raise KeyboardInterrupt
        return step(trainer, *given)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(encoder.Trainer, "_step", stopping)
        encoder.train(recipe(), other, CPU, quiet)
    encoder.train(recipe(), other, CPU, quiet)
    whole, parts = (load_file(folder / "encoder" / "checkpoint.safetensors") for folder in (run, other))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    wider = dataclasses.replace(recipe(), encoder=dataclasses.replace(STAGE, style_width=8))
    with pytest.raises(InputError, match="another recipe"):
        encoder.train(wider, run, CPU, quiet)


def learner(frozen: Frozen) -> Learner:
    torch.manual_seed(0)
    return Learner(encoders.Encoder(STAGE.network(SMALL)))


def batch(frozen: Frozen, generated: int = 2) -> EncoderBatch:
    w = frozen.some_w(4, seed=1)
    pictures = frozen.draw(frozen.generator.w_plus(w))
    return EncoderBatch(pictures, w[4 - generated :], torch.full((4 - generated, 3), -10.0))


def test_a_frame_drawn_again_exactly_costs_nothing_but_what_the_reader_has_to_learn(frozen):
    w_plus = frozen.generator.w_plus(frozen.some_w(4, seed=1))

    class Perfect(Learner):
        def __init__(self) -> None:
            super().__init__(encoders.Encoder(STAGE.network(SMALL)))
            self.encoder.forward = lambda pictures, deltas=None: w_plus

    total, terms = encoder_loss(frozen, EncoderLossConfig(blurs=(1.0,)), lambda: 0)(Perfect(), batch(frozen))
    assert float(total.detach()) == pytest.approx(terms["reader"] + terms["far"], abs=1e-5)
    assert terms["reader"] > 0
    for name in ("pyramid", "structure", "discriminator", "lv", "w", "haze", "deltas"):
        assert terms[name] == pytest.approx(0, abs=1e-5), name


def test_the_reader_learns_from_known_levels_alone_and_the_encoder_from_the_reader(frozen):
    model, given = learner(frozen), batch(frozen, generated=0)
    only = EncoderLossConfig(0, 0, 0, 0, 0, 1.0, 0, 0)
    encoder_loss(frozen, only, lambda: 5)(model, given)[0].backward()
    found = [p.grad.clone() for p in model.reader.parameters()]
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.encoder.parameters())
    read = model.reader(given.pictures)
    wanted = torch.nn.functional.smooth_l1_loss(read, torch.full_like(read, 20 / 30))
    expected = torch.autograd.grad(wanted, list(model.reader.parameters()))
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found, expected, strict=True))


def test_terms_without_their_network_or_labels_are_left_out(frozen):
    bare = Frozen(frozen.generator, None, frozen.lv)
    given = dataclasses.replace(batch(frozen), haze_db=None)
    _, terms = encoder_loss(bare, EncoderLossConfig(), lambda: 5)(learner(frozen), given)
    assert "lv" in terms and not {"discriminator", "haze", "reader"} & terms.keys()


def test_codes_far_from_random_ones_cost(frozen):
    w = frozen.some_w(500, seed=2)
    usual = frozen.farness(frozen.generator.w_plus(w))
    mean = frozen.w_mean[None, None]
    assert frozen.farness(mean) == 0
    assert frozen.farness(mean + 3 * (w[:, None] - mean)) > 20 * usual


def test_feature_distance_is_that_of_directions():
    a, b = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1), torch.tensor([0.0, 5.0]).view(1, 2, 1, 1)
    assert float(feature_distance([a, a], [7 * a, b])) == pytest.approx(1.0)
    assert float(feature_distance([a], [-a])) == pytest.approx(4.0)


def test_rows_begin_to_differ_one_after_the_other():
    stage = EncoderStageConfig(deltas_from=0.2, deltas_until=0.6)
    assert [stage.rows(p, 14) for p in (0.0, 0.2, 0.3, 0.6, 1.0)] == [0, 0, 3, 13, 13]
    with pytest.raises(ValueError, match="one after the other"):
        EncoderStageConfig(deltas_from=0.5, deltas_until=0.5)


@pytest.mark.parametrize("name", ["tiny", "default", "paper"])
def test_the_recipes_describe_encoders_that_fit(name):
    recipe = read_recipe(ROOT / "training" / "recipes" / f"{name}.toml")
    with torch.device("meta"):
        networks = encoders.Encoder(recipe.encoder.network(recipe.generator)), stylegan2.Generator(recipe.generator)
    size = sum(2 * t.numel() for network in networks for t in network.state_dict().values())
    assert (size < 24 * 2**20) == (name != "paper")


RECIPE = """
name = "small"
title = "Small"
[frames]
side = 32
[generator]
resolution = 32
channel_base = 256
channel_max = 16
z_dim = 8
w_dim = 16
[discriminator]
channel_base = 256
channel_max = 16
[encoder]
widths = [8, 8, 16, 16]
depths = [1, 1, 1, 1]
style_width = 16
judged = 4
[encoder_train]
batch = 4
log_every = 1
"""


def command(*arguments: object, processes: int = 1) -> subprocess.CompletedProcess[str]:
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return subprocess.run(
        [*start, "-m", "training", *map(str, arguments), "--device", "cpu"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_the_command_makes_weights_that_encode_in_two_processes(run):
    path = run / "small.toml"
    path.write_text(RECIPE)
    done = command("encoder", "--config", path, "-o", run, "--steps", 2, processes=2)
    assert done.returncode == 0, done.stderr
    log = log_of(run)
    assert [entry["step"] for entry in log] == [1, 2, 2]  # one of the two keeps the log; the last has the figures
    folder = run / "encoder"
    entry = weights.Entry("encoder", folder / "encoder.safetensors", False, weights.read_card(folder / "encoder.json"))
    card, tensors = weights.load(entry)
    assert (card.output, card.generator, card.recipe) == ("encoder", "generator", "training/recipes/small.toml")
    measured = {key: value for key, value in card.figures.items() if key in log[-1]}
    assert measured and all(log[-1][key] == value for key, value in measured.items())
    network = encoders.build(dict(card.architecture))
    network.load_state_dict(tensors)
    _, generator = products.generator(run, CPU)
    frames = FrameStore(run / "frames").frames([0, 1])
    with torch.no_grad():
        w_plus = network.eval()(encoder.as_pictures(frames, 1, CPU))
        drawn = to_grey(generator.from_s(generator.to_s(w_plus)))
    assert w_plus.shape == (2, SMALL.num_ws, 16) and drawn.shape == (2, 1, 32, 32)
    assert torch.isfinite(drawn).all()


def test_without_a_generator_one_sentence_says_what_to_do(run, capsys):
    from training import cli

    shutil.rmtree(run / "gan")
    (run / "small.toml").write_text(RECIPE)
    with pytest.raises(SystemExit) as left:
        cli.app(["encoder", "--config", str(run / "small.toml"), "-o", str(run), "--device", "cpu"])
    assert left.value.code == 3
    said = capsys.readouterr().err.strip()
    assert "run `python -m training gan`" in said and len(said.splitlines()) == 1
