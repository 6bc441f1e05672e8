"""Stage `denoiser`: train a network to predict the phantom's oracle gain, and write it as weights with a card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from echoq_models.denoise.architectures import build
from training import distributed
from training import recipe as recipes
from training.data.phantom_pool import PoolConfig, TrainingBatch, batches, live_batches, open_pool
from training.loop import TrainConfig, Trainer, begin


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms: picture (error of the clipped result in grey), change (error of the unclipped change,
    which still has a gradient where the picture clips at black), confidence (binary cross entropy).

    An error e costs absolute |e| + square e^2. |e| asks for the median: where a frame does not tell whether there is
    haze, nothing changes. e^2 asks for the mean: it learns far sooner (|e| alone left phantom frames nearly untouched
    after 1,600 steps), but alone it would dim every place that might hold haze. So darkening a picture by more than
    `invention_margin` (full grey scales) below its target costs `invention` times the excess squared on top.
    """

    picture: float = 1.0
    change: float = 0.3
    confidence: float = 0.03
    absolute: float = 1.0
    square: float = 4.0
    invention: float = 0.0
    invention_margin: float = 0.05


@dataclass(frozen=True)
class DenoiserConfig:
    """A recipe: what `training/recipes/NAME.toml` fills."""

    name: str
    title: str
    architecture: dict[str, Any]
    train: TrainConfig = field(default_factory=TrainConfig)
    data: PoolConfig = field(default_factory=PoolConfig)
    loss: LossConfig = field(default_factory=LossConfig)


def read_recipe(path: Path) -> DenoiserConfig:
    """The recipe in a TOML file (see `recipe.read`)."""
    return recipes.read(path, DenoiserConfig, {"train": TrainConfig, "data": PoolConfig, "loss": LossConfig})


def gain_loss(config: LossConfig) -> Callable[[nn.Module, TrainingBatch], tuple[Tensor, dict[str, float]]]:
    """The loss of a gain network on a batch, averaged over the sector."""

    def loss(model: nn.Module, batch: TrainingBatch) -> tuple[Tensor, dict[str, float]]:
        change, confidence = model(batch.noisy)
        with torch.autocast(batch.noisy.device.type, enabled=False):
            change, confidence = change.float(), confidence.float()
            pixels = batch.sector.sum()

            def mean(x: Tensor) -> Tensor:
                return (x * batch.sector).sum() / pixels

            def cost(error: Tensor) -> Tensor:
                return mean(config.absolute * error.abs() + config.square * error**2)

            error = (batch.noisy + change).clamp(0, 1) - batch.target
            invented = mean((-error - config.invention_margin).clamp_min(0) ** 2)
            picture = cost(error) + config.invention * invented
            flat = cost(change - batch.change)
            sure = mean(F.binary_cross_entropy(confidence.clamp(1e-4, 1 - 1e-4), batch.confidence, reduction="none"))
            total = config.picture * picture + config.change * flat + config.confidence * sure
            left = cost(batch.noisy - batch.target)
        figures = {"loss": total, "picture": picture, "untouched": left, "change": flat, "confidence": sure}
        return total, {name: float(value.detach()) for name, value in figures.items()}

    return loss


def train(
    config: DenoiserConfig,
    folder: Path,
    device: torch.device,
    say: Callable[[str], None] = print,
    start: str | None = None,
) -> nn.Module:
    """Train (or continue) in `folder`; returns the network with averaged weights, in eval mode, on the CPU.

    start: name of weights to begin a new run from.
    """
    recipes.note(config, folder)
    torch.manual_seed(config.train.seed)
    device = distributed.join(device)
    trainer = Trainer(begin(build(config.architecture), start), folder, config.train, device)
    # a resumed run goes on with other frames, and every process sees its own
    seed = config.train.seed + 1 + trainer.step + 1_000_003 * distributed.rank()
    share = config.train.batch // distributed.world()
    if config.data.draws_live(device):
        trainer.run(live_batches(share, seed, device, config.data), gain_loss(config.loss), say)
    else:
        pool = open_pool(folder / "pool", config.data, draws=distributed.rank() == 0)
        try:
            pool.wait_for(8 * config.data.shard)
            trainer.run(batches(pool, share, seed, device, config.data), gain_loss(config.loss), say)
        finally:
            pool.close()
    distributed.leave()
    model = build(config.architecture)
    model.load_state_dict(trainer.average.module.state_dict())
    return model.cpu().eval()
