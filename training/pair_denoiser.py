"""Stage `denoiser` of the generative pipeline: train a denoiser on the pairs that the generator drew.

In the paper's form the network gives the clean picture (`unet` with the head "image"); in ours a change in grey that
can only darken. Loop, losses and weights are those of the denoisers that are trained on the phantom.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from echoq_models.denoise.architectures import ReleasedUNet, build
from echoq_models.errors import InputError
from training import distributed
from training import recipe as recipes
from training.curves import Curves
from training.data import pairs_pool
from training.data.archive_loops import ARCHIVES
from training.data.phantom_pool import PoolConfig, TrainingBatch
from training.denoiser import DenoiserConfig, LossConfig, gain_loss
from training.loop import Loss, Trainer, begin
from training.publish import publish as publish_weights
from training.sheets import write_picture

if TYPE_CHECKING:
    from training.pipeline import PipelineConfig


@dataclass(frozen=True)
class PairDenoiserConfig:
    """name, title: of the weights.  architecture: see `denoise.architectures.build`.  side: of the pictures it is
    trained on; networks in use work on 256.  grain, clouds, empty: see `pairs_pool.Variety`.  gamma: see
    `phantom_pool.PoolConfig`."""

    name: str = "pairs"
    title: str = "Fast network, trained on generated pairs"
    architecture: dict[str, Any] = field(default_factory=lambda: {"family": "fast", "context": True})
    side: int = pairs_pool.SIDE
    grain: float = 1.4
    clouds: float = 0.3
    empty: float = 0.3
    gamma: float = 1.6

    @property
    def output(self) -> str:
        """ "image" or "gain", as in a card: what the architecture gives."""
        image = self.architecture.get("family") == "unet" and self.architecture.get("head", "image") == "image"
        return "image" if image else "gain"


def image_loss(config: LossConfig) -> Loss[TrainingBatch]:
    """The loss of a network that gives the picture, averaged over the sector: `LossConfig`'s cost of the unclipped
    output."""

    def loss(model: nn.Module, batch: TrainingBatch) -> tuple[Tensor, dict[str, float]]:
        assert isinstance(model, ReleasedUNet)
        picture = model.raw(batch.noisy).float()

        def cost(error: Tensor) -> Tensor:
            each = config.absolute * error.abs() + config.square * error**2
            return (each * batch.sector).sum() / batch.sector.sum()

        total, left = cost(picture - batch.target), cost(batch.noisy - batch.target)
        return total, {"loss": float(total.detach()), "untouched": float(left)}

    return loss


def settings(recipe: PipelineConfig) -> DenoiserConfig:
    """The denoiser's part of the recipe, as the phantom's denoisers have it."""
    own = recipe.denoiser
    data = PoolConfig(gamma=own.gamma)
    return DenoiserConfig(own.name, own.title, own.architecture, recipe.denoiser_train, data, recipe.denoiser_loss)


def train(
    recipe: PipelineConfig,
    folder: Path,
    device: torch.device,
    say: Callable[[str], None] = print,
    start: str | None = None,
) -> nn.Module:
    """Train (or continue) in `folder`/denoiser on `folder`/pairs; returns the network with averaged weights, in eval
    mode, on the CPU.

    start: name of weights to begin a new run from. Raises InputError when there are no pairs, or a checkpoint is of
    another recipe; WeightsError for `start`.
    """
    config, own = settings(recipe), folder / "denoiser"
    pool = pairs_pool.open_pool(folder / "pairs" / "stills", config.data)
    recipes.note(recipe, own)
    torch.manual_seed(config.train.seed)
    device = distributed.join(device)
    network = begin(build(config.architecture), start)
    try:
        trainer = Trainer(network, own, config.train, device)
    except RuntimeError:
        raise InputError(f"{own / 'checkpoint.safetensors'} is of another recipe: remove it first.") from None
    # a resumed run goes on with other pairs, and every process sees its own
    seed = config.train.seed + 1 + trainer.step + 1_000_003 * distributed.rank()
    share = config.train.batch // distributed.world()
    denoiser = recipe.denoiser
    output = denoiser.output
    variety = pairs_pool.Variety(denoiser.grain, denoiser.clouds, denoiser.empty)
    batches = pairs_pool.batches(pool, share, seed, device, config.data, output, denoiser.side, variety)
    loss = (image_loss if output == "image" else gain_loss)(config.loss)
    curves = Curves(own / "curves")
    trainer.run(batches, loss, say, lambda entry: curves.add(entry, entry["step"]))
    shown = next(batches)
    distributed.leave()
    model = build(config.architecture)
    model.load_state_dict(trainer.average.module.state_dict())
    model.cpu().eval()
    if distributed.rank() == 0:
        _sheet(own / "results.png", model, shown, output)
    return model


@torch.no_grad()
def _sheet(path: Path, model: nn.Module, batch: TrainingBatch, output: str, count: int = 8) -> None:
    """Rows of noisy pictures, what the network makes of them, and what was asked for."""
    noisy, target, sector = (x[:count].cpu() for x in (batch.noisy, batch.target, batch.sector))
    out, _ = model(noisy)
    result = (out if output == "image" else noisy + out).clamp(0, 1) * sector
    rows = [x[:, 0].mul(255).round().to(torch.uint8).numpy() for x in (noisy, result, target)]
    write_picture(path, np.vstack([np.hstack(list(row)) for row in rows]))


def publish(
    model: nn.Module, recipe: PipelineConfig, folder: Path, recipe_path: Path, start: str | None = None
) -> Path:
    """Write `folder`/denoiser/NAME.safetensors (fp16) and its card; returns the path of the weights."""
    count, side = recipe.pairs.count, recipe.generator.resolution
    pairs = f"{count} pairs of {side} x {side} pixels, drawn by the generator of {recipe_path.name} ({recipe.title})"
    return publish_weights(
        model,
        settings(recipe),
        folder / "denoiser",
        recipe_path,
        start,
        output=recipe.denoiser.output,
        archive=ARCHIVES.get(recipe.frames.source),
        pairs=pairs,
    )
