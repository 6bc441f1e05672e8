"""Stage `encoder`: train the encoder that brings a frame into the frozen generator's w_plus.

All random numbers of a step follow from the seed, the process and the step, so a run that was interrupted goes on as
if it had not been (one that ends by the clock as near as clocks are).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from torch import Tensor

from echoq_models.errors import InputError
from echoq_models.generative.encoder import Encoder, EncoderConfig
from echoq_models.generative.stylegan2 import GeneratorConfig
from training import distributed, products
from training import recipe as recipes
from training.curves import Curves
from training.data.frames import FrameStore
from training.data.phantom_frames import COMPONENTS
from training.encoder_losses import EncoderBatch, Frozen, Learner, encoder_loss, for_lv
from training.evaluation import fd_echo
from training.loop import Trainer
from training.sheets import write_picture

if TYPE_CHECKING:
    from training.pipeline import PipelineConfig


@dataclass(frozen=True)
class EncoderStageConfig:
    """widths, depths, style_width: of the network, see `EncoderConfig`.  generated: share of a batch that the generator
    draws.  deltas_from, deltas_until: shares of the training between which the rows, one after the other, begin to
    differ from the first.  sheet_every: steps between pictures.  judged: held-out frames that are measured."""

    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    depths: tuple[int, int, int, int] = (3, 4, 14, 3)
    style_width: int = 512
    generated: float = 0.25
    deltas_from: float = 0.1
    deltas_until: float = 0.5
    sheet_every: int = 1000
    judged: int = 256

    def __post_init__(self) -> None:
        for name in ("widths", "depths"):  # TOML gives lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not 0 <= self.generated < 1:
            raise ValueError(f"generated is {self.generated}, not a share below 1")
        if not 0 <= self.deltas_from < self.deltas_until <= 1:
            raise ValueError("deltas_from and deltas_until must be shares, one after the other")

    def network(self, generator: GeneratorConfig) -> EncoderConfig:
        """The encoder for this generator. Raises ValueError for what cannot be built."""
        return EncoderConfig(
            side=generator.resolution,
            image_channels=generator.image_channels,
            num_ws=generator.num_ws,
            w_dim=generator.w_dim,
            widths=self.widths,
            depths=self.depths,
            style_width=self.style_width,
        )

    def rows(self, progress: float, num_ws: int) -> int:
        """How many rows may differ from the first when this share of the training is done."""
        share = (progress - self.deltas_from) / (self.deltas_until - self.deltas_from)
        return round(min(max(share, 0.0), 1.0) * (num_ws - 1))


def as_pictures(frames: np.ndarray, channels: int, device: torch.device) -> Tensor:
    """Frames uint8 (N, side, side) as networks take them: float32 (N, channels, side, side), -1 to 1."""
    pictures = torch.from_numpy(frames)[:, None].to(device, non_blocking=True)
    return (pictures.float() / 127.5 - 1).expand(-1, channels, -1, -1)


def batches(store: FrameStore, frozen: Frozen, trainer: Trainer, config: EncoderStageConfig) -> Iterator[EncoderBatch]:
    """Frames of the "train" split and generated ones without end, this process's share of each step."""
    numbers, generator = store.of("train"), frozen.generator
    share = trainer.config.batch // distributed.world()
    made = round(share * config.generated)
    levels = None
    if all(f"{name}_db" in store.index for name in COMPONENTS):
        levels = np.stack([store.index[f"{name}_db"] for name in COMPONENTS], axis=1).astype(np.float32)
    while True:
        rng = np.random.default_rng([trainer.config.seed, distributed.rank(), trainer.step])
        torch.manual_seed(int(rng.integers(2**62)))
        chosen = rng.choice(numbers, share - made)
        w = frozen.some_w(made, seed=int(rng.integers(2**62)))
        with torch.no_grad():
            drawn = generator.from_s(generator.to_s(generator.w_plus(w)), "random").clamp(-1, 1)
        frames = as_pictures(store.frames(chosen), generator.config.image_channels, trainer.device)
        haze = None if levels is None else torch.from_numpy(levels[chosen]).to(trainer.device)
        yield EncoderBatch(torch.cat([frames, drawn]), w, haze)


class _Report:
    """Curves for TensorBoard, and sheets: 16 held-out frames and below each what it is drawn as."""

    def __init__(self, folder: Path, trainer: Trainer, frozen: Frozen, store: FrameStore, every: int) -> None:
        self.folder, self.trainer, self.frozen, self.every = folder, trainer, frozen, every
        self.curves = Curves(folder / "curves")
        channels = frozen.generator.config.image_channels
        shown = held_out(store, 16)
        self.columns = min(8, len(shown))
        shown = shown[: len(shown) // self.columns * self.columns]
        self.frames = as_pictures(store.frames(shown), channels, trainer.device)
        self.due = trainer.step + every

    def add(self, entry: dict[str, Any]) -> None:
        """One entry of the log."""
        self.curves.add(entry, self.trainer.step)
        if self.trainer.step >= self.due or self.trainer.progress() >= 1.0:
            self.due = self.trainer.step + self.every
            self._sheet()

    @torch.no_grad()
    def _sheet(self) -> None:
        learner = self.trainer.average.module.eval()
        assert isinstance(learner, Learner)
        drawn = self.frozen.draw(learner.encoder(self.frames))
        pairs = zip(self.frames.split(self.columns), drawn.split(self.columns), strict=True)
        rows = [outlined(part, self.frozen) for pair in pairs for part in pair]
        write_picture(self.folder / f"reconstructions_{self.trainer.step:06d}.png", np.vstack(rows))


@torch.no_grad()
def outlined(pictures: Tensor, frozen: Frozen) -> np.ndarray:
    """Pictures in a row with the left ventricle as the network sees it: uint8 (128, 128 N, 3), BGR."""
    seen = for_lv(pictures)
    masks = (frozen.lv(seen)[0][:, 0] > 0).to(torch.uint8).cpu().numpy()
    cells = []
    for picture, mask in zip(seen[:, 0].mul(255).round().to(torch.uint8).cpu().numpy(), masks, strict=True):
        cell = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cells.append(cv2.drawContours(cell, contours, -1, (0, 200, 255), 1))
    return np.hstack(cells)


def held_out(store: FrameStore, count: int) -> np.ndarray:
    """Numbers of at most `count` frames of patients that were not trained on. Raises InputError when there are none."""
    found = np.concatenate([store.of("val"), store.of("test")])[:count]
    if not len(found):
        raise InputError(f"{store.folder} has no frames of patients that are held out: draw more frames.")
    return found


def train(recipe: PipelineConfig, folder: Path, device: torch.device, say: Callable[[str], None] = print) -> Encoder:
    """Train (or continue) in `folder`/encoder for the generator in `folder`/gan, on the frames in `folder`/frames;
    returns the encoder with averaged weights, in eval mode, on the CPU.

    Raises InputError when there is no generator, there are no such frames, or a checkpoint is of another recipe.
    """
    config, own = recipe.encoder, folder / "encoder"
    store = FrameStore(folder / "frames")
    device = distributed.join(device)
    _, generator = products.generator(folder, device)
    if store.side != generator.config.resolution:
        drawn = generator.config.resolution
        raise InputError(f"{store.folder} has frames of {store.side} pixels, and the run's generator draws {drawn}.")
    critic = products.discriminator(folder, generator.config, recipe.discriminator, device)
    if critic is None and distributed.rank() == 0:
        say(f"{folder / 'gan'} has no checkpoint: trained without the features of its discriminator")
    frozen = Frozen(generator, critic, fd_echo.network(device))
    recipes.note(recipe, own)
    torch.manual_seed(recipe.encoder_train.seed)
    try:
        encoder = Encoder(config.network(generator.config))
    except ValueError as error:
        raise InputError(f"The recipe's encoder does not fit the generator: {error}.") from None
    encoder.latent_avg.copy_(frozen.w_mean.expand_as(encoder.latent_avg))
    try:
        trainer = Trainer(Learner(encoder), own, recipe.encoder_train, device)
    except RuntimeError:
        raise InputError(f"{own / 'checkpoint.safetensors'} is of another recipe: remove it first.") from None

    def rows() -> int:
        return config.rows(trainer.progress(), generator.config.num_ws)

    report = _Report(own, trainer, frozen, store, config.sheet_every) if distributed.rank() == 0 else None
    loss = encoder_loss(frozen, recipe.encoder_loss, rows)
    trainer.run(batches(store, frozen, trainer, config), loss, say, report.add if report else None)
    distributed.leave()
    learner = trainer.average.module
    assert isinstance(learner, Learner)
    return learner.encoder.cpu().eval()
