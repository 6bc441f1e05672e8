"""The denoiser stage: from the command to weights that load, resumable, with its recipe beside them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from echoq_models.denoise.architectures import build
from echoq_models.errors import WeightsError
from echoq_models.weights import store
from training.data.phantom_pool import TrainingBatch
from training.denoiser import LossConfig, gain_loss, read_recipe
from training.loop import TrainConfig, Trainer, begin
from training.phantom.simulate import seeded, simulate

ROOT = Path(__file__).parents[2]
RECIPES = [ROOT / "training" / "recipes" / f"{name}.toml" for name in ("fast", "unet")]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: p.stem)
def test_every_recipe_builds_a_network_that_can_only_darken(recipe):
    config = read_recipe(recipe)
    network = build(config.architecture).eval()
    with torch.inference_mode():
        change, confidence = network(torch.rand(1, 1, 256, 256))
    assert change.shape == confidence.shape == (1, 1, 256, 256)
    assert float(change.max()) <= 0.0
    assert 0.0 <= float(confidence.min()) <= float(confidence.max()) <= 1.0


def test_a_recipe_with_a_typing_slip_is_refused(tmp_path):
    slip = tmp_path / "slip.toml"
    slip.write_text(RECIPES[0].read_text().replace("batch =", "bach ="))
    with pytest.raises(TypeError, match="bach"):
        read_recipe(slip)
    ended = subprocess.run(
        [sys.executable, "-m", "training", "denoiser", "--config", str(slip)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 2
    assert "is not a recipe" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_command_makes_weights_that_load_and_goes_on_where_it_stopped(tmp_path):
    def run(steps):
        command = [sys.executable, "-m", "training", "denoiser", "--config", "training/recipes/fast.toml"]
        command += ["-o", str(tmp_path), "--steps", str(steps), "--frames", "8", "--device", "cpu"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(1)
    assert "step=1" not in run(2)  # the second run starts after the first one's last step
    entry = store.Entry("fast", tmp_path / "fast.safetensors", False, store.read_card(tmp_path / "fast.json"))
    card, tensors = store.load(entry)
    assert card.output == "gain"
    assert card.recipe == "training/recipes/fast.toml"
    assert "2 steps" in card.trained
    build(dict(card.architecture)).load_state_dict(tensors)
    assert json.loads((tmp_path / "config.json").read_text())["train"]["steps"] == 2


def test_fine_tuning_begins_as_the_weights_it_starts_from():
    config = read_recipe(ROOT / "training" / "recipes" / "fast.toml")
    card, tensors = store.load("fast")
    shipped = build(dict(card.architecture)).eval()
    shipped.load_state_dict(tensors)
    frame = torch.rand(1, 1, 256, 256, generator=seeded(0))
    with torch.inference_mode():
        assert torch.equal(begin(build(config.architecture), "fast").eval()(frame)[0], shipped(frame)[0])
        assert not torch.equal(begin(build(config.architecture), None).eval()(frame)[0], shipped(frame)[0])


def test_weights_of_another_architecture_are_refused():
    with pytest.raises(WeightsError, match="another architecture"):
        begin(build(read_recipe(ROOT / "training" / "recipes" / "unet.toml").architecture), "fast")


def test_darkening_below_the_target_costs_more_than_leaving_haze():
    batch = small_batch()
    target = batch.noisy * 0.5 + 0.25 * batch.sector
    batch = TrainingBatch(target, target, 0 * target, batch.confidence, batch.sector)

    class Off(torch.nn.Module):
        def __init__(self, by):
            super().__init__()
            self.by = by

        def forward(self, x):
            return torch.full_like(x, self.by), batch.confidence

    plain, strict = gain_loss(LossConfig()), gain_loss(LossConfig(invention=6.0))
    for by, dearer in ((-0.1, True), (-0.04, False), (0.1, False)):
        more = float(strict(Off(by), batch)[0]) - float(plain(Off(by), batch)[0])
        assert (more > 1e-4) is dearer, by


def small_batch() -> TrainingBatch:
    b = simulate(2, seeded(0), side=64)
    return TrainingBatch(b.noisy, b.target, b.change, b.confidence, b.sector.float())


def small_network() -> torch.nn.Module:
    torch.manual_seed(0)
    return build({"family": "fast", "widths": [8, 8, 8, 8], "deep_blocks": 1})


def test_training_lowers_the_loss(tmp_path):
    batch, loss = small_batch(), gain_loss(LossConfig())
    config = TrainConfig(batch=2, steps=60, warmup=5, lr=1e-2, log_every=1000, bfloat16=False)
    trainer = Trainer(small_network(), tmp_path, config, torch.device("cpu"))
    before = float(loss(trainer.model, batch)[0].detach())
    trainer.run(iter(lambda: batch, None), loss)
    assert float(loss(trainer.model, batch)[0].detach()) < 0.5 * before


def test_a_resumed_run_equals_an_undisturbed_one(tmp_path):
    batch, loss = small_batch(), gain_loss(LossConfig())

    def weights(folder, *stops):
        for steps in stops:
            config = TrainConfig(batch=2, steps=8, warmup=2, log_every=1000, bfloat16=False)
            trainer = Trainer(small_network(), folder, config, torch.device("cpu"))
            left = steps - trainer.step
            trainer.progress = lambda t=trainer, n=steps: 1.0 if t.step >= n else t.step / 8  # type: ignore[method-assign]
            assert left > 0
            trainer.run(iter(lambda: batch, None), loss)
        return trainer.average.module.state_dict()

    straight, resumed = weights(tmp_path / "a", 6), weights(tmp_path / "b", 3, 6)
    for name, value in straight.items():
        assert torch.allclose(value, resumed[name], atol=1e-6), name


def test_the_loss_knows_no_light_outside_the_sector():
    batch = small_batch()
    loss = gain_loss(LossConfig())

    class Perfect(torch.nn.Module):
        def forward(self, x):
            return batch.change, batch.confidence

    value, figures = loss(Perfect(), batch)
    assert figures["change"] == pytest.approx(0.0, abs=1e-6)
    assert figures["picture"] < figures["untouched"]
    outside = TrainingBatch(
        batch.noisy, batch.target + (1 - batch.sector), batch.change, batch.confidence, batch.sector
    )
    assert float(loss(Perfect(), outside)[0]) == pytest.approx(float(value))
