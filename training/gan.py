"""Stage `gan`: train the generator of echo frames against a discriminator, and write it as weights with a card.

All random numbers of a step follow from the seed, the process and the step, so a run that was interrupted goes on as
if it had not been.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from echoq_models.errors import InputError
from echoq_models.generative.stylegan2 import Generator, GeneratorConfig
from training import checkpoint, distributed, gan_losses
from training import recipe as recipes
from training.curves import Curves
from training.data.frames import FrameStore
from training.discriminator import Discriminator, DiscriminatorConfig
from training.sheets import write_grid

if TYPE_CHECKING:
    from training.pipeline import PipelineConfig


@dataclass(frozen=True)
class GanConfig:
    """batch: pictures a step, over all processes together.  kimg: thousands of real pictures shown until the end;
    minutes: ends it earlier when set.  lr, beta2: of Adam, whose first moment is off.  r1_gamma, r1_every: weight of
    the gradient penalty, and each how many steps.  path_weight, path_every, path_share: the same for path lengths, on
    that share of a batch.  ema_kimg: half-life of the averaged generator; at first `ema_rampup` of what was shown, if
    that is less.  mixing: share of pictures with two styles.  bfloat16: autocast.  save_every_s: checkpoint interval.
    log_every: steps.  sheet_kimg: between pictures of samples.  judged: pictures that FD-echo is measured on."""

    batch: int = 64
    kimg: float = 2000.0
    minutes: float = 0.0
    lr: float = 0.0025
    beta2: float = 0.99
    r1_gamma: float = 0.5
    r1_every: int = 16
    path_weight: float = 2.0
    path_every: int = 8
    path_share: float = 0.5
    path_decay: float = 0.01
    ema_kimg: float = 10.0
    ema_rampup: float = 0.05
    mixing: float = 0.5
    bfloat16: bool = True
    seed: int = 0
    save_every_s: float = 120.0
    log_every: int = 50
    sheet_kimg: float = 20.0
    judged: int = 2000


def _adam(parameters: Iterable[nn.Parameter], config: GanConfig, every: int) -> torch.optim.Adam:
    """Adam, slowed by as much as the extra step for a penalty every so many steps hastens it."""
    share = every / (every + 1)
    return torch.optim.Adam(parameters, lr=config.lr * share, betas=(0.0, config.beta2**share))


class GanTrainer:
    """Trains a generator in `folder`, from the last checkpoint when there is one."""

    def __init__(
        self,
        generator: GeneratorConfig,
        discriminator: DiscriminatorConfig,
        config: GanConfig,
        folder: Path,
        device: torch.device,
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.folder, self.device = config, folder, device
        form: dict[str, Any] = {"device": device, "memory_format": torch.channels_last}
        self.generator = Generator(generator).to(**form)
        self.discriminator = Discriminator(generator, discriminator).to(**form)
        self.average = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.optimizers = {
            "generator": _adam(self.generator.parameters(), config, config.path_every),
            "discriminator": _adam(self.discriminator.parameters(), config, config.r1_every),
        }
        self.path_mean = torch.zeros([], device=device)
        self.step, self.seconds = 0, 0.0
        self.share = config.batch // distributed.world()
        self._resume()

    @property
    def kimg(self) -> float:
        """Thousands of real pictures shown so far."""
        return self.step * self.config.batch / 1000

    def progress(self) -> float:
        """Share of the training that is done, 0-1."""
        by_clock = self.seconds / (60 * self.config.minutes) if self.config.minutes else 0.0
        return min(1.0, max(self.kimg / self.config.kimg, by_clock))

    def run(self, store: FrameStore, say: Callable[[str], None] = print) -> None:
        """Train until the end, on the store's "train" split."""
        frames = store.of("train")
        first = distributed.rank() == 0
        saved = time.monotonic()
        log = _Log(self.folder, self, say) if first else None
        while self.progress() < 1.0:
            rng = np.random.default_rng([self.config.seed, distributed.rank(), self.step])
            torch.manual_seed(int(rng.integers(2**62)))
            figures = self._step(self._real(store, rng.choice(frames, self.share)))
            if log is None:
                continue
            log.add(figures, last=self.progress() >= 1.0)
            if time.monotonic() - saved > self.config.save_every_s:
                self.save()
                saved = time.monotonic()
        if first:
            self.save()
        distributed.wait()

    def _real(self, store: FrameStore, numbers: NDArray[np.int64]) -> Tensor:
        frames = torch.from_numpy(store.frames(numbers))[:, None].to(self.device, non_blocking=True)
        return (frames.float() / 127.5 - 1).expand(-1, self.generator.config.image_channels, -1, -1)

    def _step(self, real: Tensor) -> dict[str, float]:
        start, config = time.monotonic(), self.config
        figures: dict[str, Tensor] = {}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.bfloat16):
            fake = gan_losses.draw(self.generator, gan_losses.mixed_w_plus(self.generator, self.share, config.mixing))
            self.discriminator.requires_grad_(False)
            figures["generator"] = gan_losses.generator_loss(self.discriminator(fake))
            self._update("generator", figures["generator"])
            if self.step % config.path_every == 0:
                figures |= self._keep_paths_even()
            self.discriminator.requires_grad_(True)
            real_logits, fake_logits = self.discriminator(real), self.discriminator(fake.detach())
            figures["discriminator"] = gan_losses.discriminator_loss(real_logits, fake_logits)
            self._update("discriminator", figures["discriminator"])
            if self.step % config.r1_every == 0:
                figures["r1"] = gan_losses.gradient_penalty(self.discriminator, real)
                self._update("discriminator", figures["r1"] * (config.r1_gamma * config.r1_every))
        figures["real_logit"], figures["fake_logit"] = real_logits.mean(), fake_logits.mean()
        self.step += 1
        self._follow()
        # The clock is the mean of all, so that every process ends at the same step
        self.seconds += distributed.mean(time.monotonic() - start, self.device)
        return {name: float(value.detach()) for name, value in figures.items()}

    def _keep_paths_even(self) -> dict[str, Tensor]:
        """A step towards a generator that answers a step in w by a step of the same length everywhere."""
        config = self.config
        size = max(1, round(self.share * config.path_share))
        lengths = gan_losses.path_lengths(self.generator, gan_losses.mixed_w_plus(self.generator, size, config.mixing))
        self.path_mean = torch.lerp(self.path_mean, lengths.detach().mean(), config.path_decay)
        distributed.average_buffers([self.path_mean])
        penalty = (lengths - self.path_mean).square().mean()
        self._update("generator", penalty * (config.path_weight * config.path_every))
        return {"path": penalty, "path_length": self.path_mean}

    def _update(self, which: str, loss: Tensor) -> None:
        optimizer = self.optimizers[which]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        distributed.average(getattr(self, which).parameters(), 0.0)
        optimizer.step()

    @torch.no_grad()
    def _follow(self) -> None:
        """Let the averaged generator come after the trained one."""
        half_life = min(self.config.ema_kimg, self.kimg * self.config.ema_rampup)
        keep = 0.5 ** (self.config.batch / max(1000 * half_life, 1e-8))
        for mean, now in zip(self.average.parameters(), self.generator.parameters(), strict=True):
            mean.lerp_(now, 1 - keep)

    def _networks(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "average": self.average, "discriminator": self.discriminator}

    def save(self) -> None:
        """Checkpoint: networks, optimiser moments and the mean path length, counters in the metadata."""
        tensors = {f"{name}.{k}": v for name, net in self._networks().items() for k, v in net.state_dict().items()}
        for name, optimizer in self.optimizers.items():
            tensors |= checkpoint.moments(optimizer, f"adam.{name}.")
        tensors["path_mean"] = self.path_mean
        checkpoint.write(self.folder, tensors, self.step, self.seconds)

    def _resume(self) -> None:
        found = checkpoint.read(self.folder, self.device)
        if found is None:
            return
        tensors, step, seconds = found
        try:
            for name, network in self._networks().items():
                network.load_state_dict(checkpoint.below(tensors, f"{name}."))
        except RuntimeError:
            path = self.folder / checkpoint.NAME
            raise InputError(f"{path} is of another recipe: remove it or choose another folder.") from None
        for name, optimizer in self.optimizers.items():
            checkpoint.restore(optimizer, tensors, f"adam.{name}.")
        self.path_mean = tensors["path_mean"]
        self.step, self.seconds = step, seconds


class _Log:
    """What a run leaves to be looked at: log.jsonl, curves for TensorBoard, sheets of samples."""

    def __init__(self, folder: Path, trainer: GanTrainer, say: Callable[[str], None]) -> None:
        self.folder, self.trainer, self.say = folder, trainer, say
        self.curves = Curves(folder / "curves")
        self.window: list[dict[str, float]] = []
        self.since, self.sheet = (trainer.kimg, trainer.seconds), trainer.kimg
        place = torch.Generator().manual_seed(1)
        self.z = torch.randn(64, trainer.generator.config.z_dim, generator=place).to(trainer.device)

    def add(self, figures: dict[str, float], last: bool) -> None:
        trainer = self.trainer
        self.window.append(figures)
        if last or trainer.step % trainer.config.log_every == 0:
            self._write()
        if last or trainer.kimg - self.sheet >= trainer.config.sheet_kimg:
            self.sheet = trainer.kimg
            with torch.no_grad():
                pictures = trainer.average(self.z, "constant")
            write_grid(self.folder / f"samples_{round(trainer.kimg):06d}.png", pictures)

    def _write(self) -> None:
        trainer, (kimg, seconds) = self.trainer, self.since
        names = sorted({name for figures in self.window for name in figures})
        means = {n: float(np.mean([figures[n] for figures in self.window if n in figures])) for n in names}
        pace = (trainer.seconds - seconds) / max(trainer.kimg - kimg, 1e-9)
        entry = {"step": trainer.step, "kimg": round(trainer.kimg, 3), "s_per_kimg": round(pace, 2)}
        entry |= {name: round(value, 5) for name, value in means.items()}
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(entry) + "\n")
        self.curves.add(entry, trainer.step)
        self.say(" ".join(f"{k}={v}" for k, v in entry.items()))
        self.window, self.since = [], (trainer.kimg, trainer.seconds)


def train(recipe: PipelineConfig, folder: Path, device: torch.device, say: Callable[[str], None] = print) -> GanTrainer:
    """Train (or continue) in `folder`/gan on the frames in `folder`/frames.

    Raises InputError when there are no such frames, or of another size, or a checkpoint of another recipe.
    """
    store = FrameStore(folder / "frames")
    if store.side != recipe.generator.resolution:
        wanted = recipe.generator.resolution
        raise InputError(
            f"{store.folder} has frames of {store.side} pixels, and the recipe's generator draws {wanted}."
        )
    own = folder / "gan"
    recipes.note(recipe, own)
    device = distributed.join(device)
    trainer = GanTrainer(recipe.generator, recipe.discriminator, recipe.gan, own, device)
    trainer.run(store, say)
    distributed.leave()
    return trainer
