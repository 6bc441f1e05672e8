"""How fast this machine makes training material and trains: phantom frames and training samples a second."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from echoq_models.denoise.architectures import build
from tests.benchmarks.timing import Budget, Times, gmac, synchronize
from tests.shared import ROOT
from training.data.phantom_pool import TrainingBatch, live_batches
from training.denoiser import DenoiserConfig, gain_loss, read_recipe
from training.loop import Trainer
from training.phantom import report

RECIPE = ROOT / "training" / "recipes" / "fast.toml"


@dataclass(frozen=True)
class Training:
    """Steps of a recipe on one batch: forward, backward and optimiser, in channels_last.

    samples_per_second: steps a second times the batch.  ms_median, ms_p99: of one step.  gmac_per_sample: 10^9
    multiply-accumulates forward and backward.  gflops, share_of_peak: as for inference.
    """

    recipe: str
    device: str
    precision: str
    batch: int
    steps: int
    samples_per_second: float
    ms_median: float
    ms_p99: float
    gmac_per_sample: float
    gflops: float
    share_of_peak: float | None = None


@dataclass(frozen=True)
class Phantom:
    """Phantom frames of 256 x 256 a second, drawn `batch` at a time."""

    device: str
    batch: int
    frames_per_second: float


def phantom(place: torch.device, batch: int) -> Phantom:
    """Measured by the phantom's own report (some seconds)."""
    return Phantom(place.type, batch, report.speed(place.type, batch))


def training(place: torch.device, budget: Budget, batch: int = 16) -> Training:
    """The real loop on the recipe's network with bfloat16 autocast, on one batch of phantom frames over again."""
    recipe = read_recipe(RECIPE)
    config = replace(recipe.train, batch=batch, bfloat16=True, minutes=budget.seconds / 60, save_every_s=1e9)
    one = next(live_batches(batch, 0, place, recipe.data))
    work = step_work(recipe, one, place) / batch
    marks: list[float] = []

    def batches() -> Iterator[TrainingBatch]:
        for _ in itertools.count():  # the loop asks once a step
            synchronize(place)
            marks.append(time.perf_counter())
            yield one

    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(build(recipe.architecture), Path(folder), config, place)
        for _ in range(2):  # the first run warms up
            marks.clear()
            trainer.seconds = 0.0
            trainer.run(batches(), gain_loss(recipe.loss), say=lambda line: None)
            synchronize(place)
            marks.append(time.perf_counter())
    # The last step's end includes the checkpoint, so it is left out where there are others.
    steps = [b - a for a, b in itertools.pairwise(marks)]
    times = Times(tuple(steps[:-1] or steps))
    rate = times.rate * batch
    return Training(
        recipe.name,
        place.type,
        "bfloat16",
        batch,
        len(times.seconds),
        rate,
        times.ms(50),
        times.ms(99),
        work,
        2 * work * rate,
    )


def step_work(recipe: DenoiserConfig, batch: TrainingBatch, place: torch.device) -> float:
    """10^9 multiply-accumulates of one step on the batch, forward and backward."""
    network: Any = build(recipe.architecture)
    network.to(place, memory_format=torch.channels_last)
    loss = gain_loss(recipe.loss)
    return gmac(lambda: loss(network, batch)[0].backward())
