"""The one training loop: precision, averaged weights, checkpoints, exact schedule across resumes, a JSONL log."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from echoq_models.errors import WeightsError
from echoq_models.weights import store
from training import checkpoint, distributed

Batch = TypeVar("Batch")
Loss = Callable[[nn.Module, Batch], tuple[Tensor, dict[str, float]]]


@dataclass(frozen=True)
class TrainConfig:
    """batch: frames a step, over all processes together.  steps: length of the schedule; minutes: ends it earlier
    when set (0: no limit), the schedule then follows the clock.  lr: peak of a cosine after `warmup` steps.  ema: decay
    of the averaged weights.  seed: of initial weights and of the order of frames.  bfloat16: autocast.
    save_every_s: checkpoint interval."""

    batch: int = 16
    steps: int = 12000
    minutes: float = 0.0
    lr: float = 2e-3
    weight_decay: float = 1e-4
    warmup: int = 200
    ema: float = 0.998
    seed: int = 0
    bfloat16: bool = True
    clip: float = 1.0
    save_every_s: float = 60.0
    log_every: int = 50


def begin(network: nn.Module, start: str | None) -> nn.Module:
    """`network`, untrained or, where given, from the weights called `start`; layers that these lack begin anew.

    Raises WeightsError for weights that do not exist or whose tensors do not fit the network.
    """
    if start is None:
        return network
    card, tensors = store.load(start)
    own = network.state_dict()
    if any(name not in own or own[name].shape != value.shape for name, value in tensors.items()):
        raise WeightsError(f"The weights {start!r} ({card.title}) are of another architecture than the recipe's.")
    network.load_state_dict({name: tensors.get(name, value).to(value.dtype) for name, value in own.items()})
    return network


class Trainer:
    """Trains `model` in `folder`, from the last checkpoint when there is one."""

    def __init__(self, model: nn.Module, folder: Path, config: TrainConfig, device: torch.device) -> None:
        self.model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.folder, self.config, self.device = folder, config, device
        self.average = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(config.ema), use_buffers=True)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=config.lr, weight_decay=config.weight_decay, betas=(0.9, 0.99)
        )
        self.step, self.seconds = 0, 0.0
        folder.mkdir(parents=True, exist_ok=True)
        self._resume()

    def progress(self) -> float:
        """Share of the schedule that is done, 0-1."""
        by_steps = self.step / self.config.steps
        by_clock = self.seconds / (60 * self.config.minutes) if self.config.minutes else 0.0
        return min(1.0, max(by_steps, by_clock))

    def learning_rate(self) -> float:
        """Warm-up, then half a cosine down to nothing."""
        warm = min(1.0, (self.step + 1) / self.config.warmup)
        return self.config.lr * warm * 0.5 * (1 + math.cos(math.pi * self.progress()))

    def run(
        self,
        batches: Iterator[Batch],
        loss: Loss[Batch],
        say: Callable[[str], None] = print,
        after: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        """Train until the schedule ends. loss: (model, batch) -> (scalar, figures to log).  after: told each entry of
        the log, in the process that writes it."""
        saved = time.monotonic()
        window: list[dict[str, float]] = []
        self.model.train()
        while self.progress() < 1.0:
            window.append(self._step(batches, loss))
            if self.step % self.config.log_every == 0:
                self._log(window, say, after)
                window = []
            if distributed.rank() == 0 and time.monotonic() - saved > self.config.save_every_s:
                self.save()
                saved = time.monotonic()
        if window:  # so that a run of a few steps has an entry too
            self._log(window, say, after)
        distributed.average_buffers(self.average.buffers())
        if distributed.rank() == 0:
            self.save()
        distributed.wait()

    def _step(self, batches: Iterator[Batch], loss: Loss[Batch]) -> dict[str, float]:
        start = time.monotonic()
        batch = next(batches)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bfloat16):
            value, figures = loss(self.model, batch)
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()
        # The clock too is the mean of all, so that every process follows the same schedule and ends at the same step
        spent = distributed.average(self.model.parameters(), time.monotonic() - start)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.optimizer.step()
        self.average.update_parameters(self.model)
        self.step += 1
        self.seconds += spent
        return figures

    def _log(
        self,
        window: list[dict[str, float]],
        say: Callable[[str], None],
        after: Callable[[dict[str, Any]], None] | None,
    ) -> None:
        """One line of means over the steps since the last one; of the first process, if there are several."""
        if distributed.rank() > 0:
            return
        rate = self.step * self.config.batch / max(self.seconds, 1e-9)
        entry: dict[str, Any] = {
            "step": self.step,
            "progress": round(self.progress(), 4),
            "samples_per_s": round(rate, 1),
        }
        entry |= {name: round(sum(w[name] for w in window) / len(window), 5) for name in window[0]}
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(entry) + "\n")
        say(" ".join(f"{k}={v}" for k, v in entry.items()))
        if after is not None:
            after(entry)

    def save(self) -> None:
        """Checkpoint: weights, averaged weights and optimiser moments as safetensors, counters as JSON beside it."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        tensors |= checkpoint.moments(self.optimizer, "optimizer.")
        checkpoint.write(self.folder, tensors, self.step, self.seconds)

    def _resume(self) -> None:
        found = checkpoint.read(self.folder, self.device)
        if found is None:
            return
        tensors, self.step, self.seconds = found
        self.model.load_state_dict(checkpoint.below(tensors, "model."))
        self.average.load_state_dict(checkpoint.below(tensors, "average."))
        checkpoint.restore(self.optimizer, tensors, "optimizer.")
