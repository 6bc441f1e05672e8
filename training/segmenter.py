"""Stage `segmenter`: train the left-ventricle network on the phantom, or on an archive with tracings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from echoq_models.segment.architecture import build
from training import distributed
from training import recipe as recipes
from training.data import archive_lv
from training.data.labelled import Archive
from training.data.phantom_lv import LvBatch, LvPoolConfig, batches, live_batches, open_pool
from training.loop import TrainConfig, Trainer, begin


@dataclass(frozen=True)
class LvLossConfig:
    """Weights of the terms: cross entropy of each pixel; overlap (1 - soft Dice, of frames with an LV); seen (cross
    entropy of the network's own word on its frame).  absent: weight of the cross entropy in frames without LV.

    That word is not "there is a heart" but "what I outline is right": it is held against whether the outline reaches a
    Dice of `good`, so that it tells which frames of a hazy loop can be trusted.
    """

    cross_entropy: float = 1.0
    overlap: float = 0.7
    seen: float = 0.15
    absent: float = 0.3
    good: float = 0.88


@dataclass(frozen=True)
class SegmenterConfig:
    """A recipe: what `training/recipes/NAME.toml` fills.  archive_share: of each batch, when there is an archive; the
    rest comes from the phantom, which alone has frames without a left ventricle."""

    name: str
    title: str
    architecture: dict[str, Any]
    archive_share: float = 0.75
    train: TrainConfig = field(default_factory=TrainConfig)
    data: LvPoolConfig = field(default_factory=LvPoolConfig)
    loss: LvLossConfig = field(default_factory=LvLossConfig)


def read_recipe(path: Path) -> SegmenterConfig:
    """The recipe in a TOML file (see `recipe.read`)."""
    return recipes.read(path, SegmenterConfig, {"train": TrainConfig, "data": LvPoolConfig, "loss": LvLossConfig})


def dice(a: Tensor, b: Tensor) -> Tensor:
    """Dice of masks or soft masks (B, 1, H, W): (B,), 1 where both are empty. 2 |A B| / (|A| + |B|)."""
    return (2 * (a * b).sum((1, 2, 3)) + 1) / (a.sum((1, 2, 3)) + b.sum((1, 2, 3)) + 1)


def lv_loss(config: LvLossConfig) -> Callable[[nn.Module, LvBatch], tuple[Tensor, dict[str, float]]]:
    """The loss of a segmenter on a batch."""

    def loss(model: nn.Module, batch: LvBatch) -> tuple[Tensor, dict[str, float]]:
        logit, seen = model(batch.frames)
        with torch.autocast(batch.frames.device.type, enabled=False):
            logit, seen = logit.float(), seen.float()
            weight = torch.where(batch.present > 0, 1.0, config.absent)
            crossed = F.binary_cross_entropy_with_logits(logit, batch.lv, reduction="none").mean((1, 2, 3))
            crossed = (crossed * weight).mean()
            there = batch.present.sum().clamp_min(1)
            soft = (dice(torch.sigmoid(logit), batch.lv) * batch.present).sum() / there
            hard = dice((logit > 0).float(), batch.lv).detach()
            right = batch.present * (hard > config.good)
            known = F.binary_cross_entropy_with_logits(seen, right)
            total = config.cross_entropy * crossed + config.overlap * (1 - soft) + config.seen * known
        figures = {"loss": total, "cross_entropy": crossed, "seen": known, "dice": (hard * batch.present).sum() / there}
        return total, {name: float(value.detach()) for name, value in figures.items()}

    return loss


def _joined(first: Iterator[LvBatch], second: Iterator[LvBatch]) -> Iterator[LvBatch]:
    for pair in zip(first, second, strict=False):
        yield LvBatch(*(torch.cat([getattr(b, f.name) for b in pair]) for f in dataclasses.fields(LvBatch)))


def train(
    config: SegmenterConfig,
    folder: Path,
    device: torch.device,
    say: Callable[[str], None] = print,
    start: str | None = None,
    archive: Archive | None = None,
) -> nn.Module:
    """Train (or continue) in `folder`; returns the network with averaged weights, in eval mode, on the CPU.

    start: name of weights to begin a new run from.  archive: whose "train" split joins the phantom.
    """
    recipes.note(config, folder)
    torch.manual_seed(config.train.seed)
    device = distributed.join(device)
    trainer = Trainer(begin(build(config.architecture), start), folder, config.train, device)
    seed = config.train.seed + 1 + trainer.step + 1_000_003 * distributed.rank()  # see `denoiser.train`
    share = config.train.batch // distributed.world()
    traced = round(share * config.archive_share) if archive is not None else 0
    pool = None
    try:
        if config.data.draws_live(device):
            source = live_batches(share - traced, seed, device, config.data)
        else:
            pool = open_pool(folder / "pool", config.data, draws=distributed.rank() == 0)
            pool.wait_for(8 * config.data.shard)
            source = batches(pool, share - traced, seed, device, config.data)
        if archive is not None:
            if distributed.rank() == 0:
                archive_lv.keep(archive, "train", folder / "archive", say)
            distributed.wait()
            tracings = archive_lv.open_kept(folder / "archive")
            source = _joined(batches(tracings, traced, seed + 1, device, config.data), source)
        trainer.run(source, lv_loss(config.loss), say)
    finally:
        if pool is not None:
            pool.close()
    distributed.leave()
    model = build(config.architecture)
    model.load_state_dict(trainer.average.module.state_dict())
    return model.cpu().eval()
