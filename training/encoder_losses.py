"""The terms of the encoder's training, and the frozen networks they ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from echoq_models.generative import likeness
from echoq_models.generative.encoder import Encoder
from echoq_models.generative.stylegan2 import Generator
from echoq_models.segment.architecture import LvNetwork
from training.data.phantom_frames import COMPONENTS
from training.discriminator import Discriminator
from training.evaluation import fd_echo


@dataclass(frozen=True)
class EncoderLossConfig:
    """Weights of the terms. pyramid: squared error under blurs, whose widths `blurs` are pixels.  structure: 1 -
    SSIM at several scales.  discriminator, lv: distance of features.  w: error of w on generated frames, in variances
    of w.  haze: see `HazeReader`.  deltas: length of what the rows differ by from the first.  far: see
    `Frozen.farness`."""

    pyramid: float = 1.0
    structure: float = 0.5
    discriminator: float = 0.8
    lv: float = 0.5
    w: float = 0.5
    haze: float = 0.5
    deltas: float = 2e-4
    far: float = 0.02
    blurs: tuple[float, ...] = (2.0, 4.0, 8.0)

    def __post_init__(self) -> None:
        if not self.blurs or min(self.blurs) <= 0:
            raise ValueError("blurs must be one or more widths above 0")


@dataclass(frozen=True)
class EncoderBatch:
    """pictures: float32 (N, C, side, side) of -1 to 1, frames and then generated ones.  w: float32 (M, w_dim), of the
    M generated ones.  haze_db: float32 (N - M, 3), levels of the frames' components, None where they are unknown."""

    pictures: Tensor
    w: Tensor
    haze_db: Tensor | None


class HazeReader(nn.Module):
    """Reads the levels of the haze components off pictures, float32 (N, 3) in units of 30 dB above `FLOOR_DB`.

    It learns on frames of known levels while the encoder does; the encoder is asked for codes whose picture reads as
    its frame does. So the haze has to be in the picture: a linear map from the code could find it where the generator
    does not look.
    """

    FLOOR_DB = -30.0  # what is weaker cannot be seen

    def __init__(self, channels: int, width: int = 16) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(3):
            n_in = channels if i == 0 else width * 2 ** (i - 1)
            layers += [nn.Conv2d(n_in, width * 2**i, 3, stride=2, padding=1), nn.SiLU()]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten())
        self.last = nn.Linear(16 * 4 * width, len(COMPONENTS))

    def forward(self, pictures: Tensor) -> Tensor:
        return self.last(self.body(pictures)).float()

    @classmethod
    def target(cls, level_db: Tensor) -> Tensor:
        """Levels as they are read."""
        return (level_db - cls.FLOOR_DB).clamp_min(0) / -cls.FLOOR_DB


class Learner(nn.Module):
    """What is trained: the encoder, and beside it the haze reader."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.reader = HazeReader(encoder.config.image_channels)


class Frozen:
    """The networks that stay as they are, all on one device. discriminator: None where there is none."""

    def __init__(self, generator: Generator, discriminator: Discriminator | None, lv: LvNetwork) -> None:
        self.generator, self.discriminator, self.lv = generator, discriminator, lv
        w = self.some_w(10_000, seed=0)
        self.w_mean, self.w_variance = w.mean(0), float(w.var(0).mean())
        # A ridge, since w hardly varies in some directions, where any error would count as far away
        spread = torch.cov(w.T) + 0.1 * self.w_variance * torch.eye(w.shape[1], device=w.device)
        self._inverse = torch.linalg.inv(torch.linalg.cholesky(spread))

    @torch.no_grad()
    def some_w(self, count: int, seed: int) -> Tensor:
        """Random w, (count, w_dim)."""
        place = torch.Generator().manual_seed(seed)
        z = torch.randn(count, self.generator.config.z_dim, generator=place)
        return self.generator.mapping(z.to(self.generator.s_mean.device))

    def draw(self, w_plus: Tensor) -> Tensor:
        """Pictures with the constant noise with which frames are edited."""
        return self.generator.from_s(self.generator.to_s(w_plus), "constant")

    def farness(self, w_plus: Tensor) -> Tensor:
        """How far rows lie outside the cloud of random w: mean over the rows of max(0, d - 1), where d is the squared
        Mahalanobis distance from the mean over the number of dimensions, at most about 1 for a random w."""
        with torch.autocast(w_plus.device.type, enabled=False):
            distance = ((w_plus - self.w_mean) @ self._inverse.T).square().mean(2)
        return (distance - 1).clamp_min(0).mean()

    def critic_features(self, pictures: Tensor) -> list[Tensor]:
        """What the discriminator's blocks see."""
        assert self.discriminator is not None
        return self.discriminator.features(pictures)

    def lv_features(self, pictures: Tensor) -> list[Tensor]:
        """What the left-ventricle network's levels see."""
        x = for_lv(pictures)
        deepest, skips = self.lv.encoded(x)
        return [*skips, deepest]


def for_lv(pictures: Tensor) -> Tensor:
    """Pictures (N, C, H, W) of -1 to 1 as the left-ventricle network takes them."""
    return fd_echo.for_lv(likeness.grey(pictures))


def feature_distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Squared distance of the directions of feature vectors, mean over the places and over the levels (as LPIPS without
    its learned weights, Zhang et al. 2018, arXiv 1801.03924): 0 to 4."""
    pairs = [(F.normalize(x.float(), dim=1), F.normalize(y.float(), dim=1)) for x, y in zip(a, b, strict=True)]
    return torch.stack([(x - y).square().sum(1).mean() for x, y in pairs]).mean()


def encoder_loss(
    frozen: Frozen, config: EncoderLossConfig, rows: Callable[[], int]
) -> Callable[[nn.Module, EncoderBatch], tuple[Tensor, dict[str, float]]]:
    """The loss of a `Learner` on a batch. rows: how many rows of w_plus may differ from the first by now."""

    def loss(model: nn.Module, batch: EncoderBatch) -> tuple[Tensor, dict[str, float]]:
        assert isinstance(model, Learner)
        w_plus = model.encoder(batch.pictures, rows())
        drawn = frozen.draw(w_plus)
        terms = _picture_terms(frozen, config, drawn, batch.pictures)
        if len(batch.w):
            error = w_plus[-len(batch.w) :] - batch.w[:, None]
            terms["w"] = config.w * error.square().mean() / frozen.w_variance
        if batch.haze_db is not None and config.haze:
            terms |= _haze_terms(config, model.reader, drawn, batch)
        terms["deltas"] = config.deltas * (w_plus[:, 1:] - w_plus[:, :1]).norm(dim=2).sum(1).mean()
        terms["far"] = config.far * frozen.farness(w_plus)
        total = torch.stack([term.float() for term in terms.values()]).sum()
        return total, {name: float(value.detach()) for name, value in {"loss": total, **terms}.items()}

    return loss


def _picture_terms(frozen: Frozen, config: EncoderLossConfig, drawn: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    """What the drawn pictures cost beside the wanted ones."""
    with torch.autocast(drawn.device.type, enabled=False):
        terms = {
            "pyramid": config.pyramid * likeness.pyramid(drawn, wanted, config.blurs),
            "structure": config.structure * likeness.structure(drawn, wanted),
        }
    for name, weight, features in (
        ("discriminator", config.discriminator, frozen.critic_features if frozen.discriminator else None),
        ("lv", config.lv, frozen.lv_features),
    ):
        if weight and features is not None:
            with torch.no_grad():
                known = features(wanted)
            terms[name] = weight * feature_distance(features(drawn), known)
    return terms


def _haze_terms(config: EncoderLossConfig, reader: HazeReader, drawn: Tensor, batch: EncoderBatch) -> dict[str, Tensor]:
    """haze: the drawn picture reads as its frame does, without a change to the reader.  reader: what that one has to
    learn itself."""
    assert batch.haze_db is not None
    read = reader(batch.pictures)
    fixed = {name: value.detach() for name, value in reader.named_parameters()}
    again = functional_call(reader, fixed, (drawn,))
    return {
        "haze": config.haze * F.smooth_l1_loss(again, read.detach()),
        "reader": F.smooth_l1_loss(read[: len(batch.haze_db)], HazeReader.target(batch.haze_db)),
    }
