"""Wide sets of channels, learned by descent through the generator.

Where a component of the noise is spread over many channels, the few that `search.sets` takes separate it badly, and
what they do at a standard deviation says little about what they do turned far. Here all weights are learned together,
on pictures turned by any part of the way: the cells should change as haze changes them and speckle grow with it, walls
and all outside the sector stay, and the left ventricle be found where it was. Then the channels that matter least are
left out, step by step, and the others learn on. What leaving one out would cost is estimated as its squared weight
times its mean squared gradient, which stands in for the curvature (Optimal Brain Damage, LeCun et al. 1989).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from echoq_models.generative import likeness
from echoq_models.generative.stylegan2 import Generator, to_grey
from echoq_models.segment.architecture import LvNetwork
from training.evaluation import fd_echo
from training.noise.haze_model import HazeModel, Pairs, pooled, slope_of, strongest_reading
from training.noise.search import WALL


@dataclass(frozen=True)
class LearnConfig:
    """sizes: channels in the sets, falling; none for no such sets.  steps: with all channels; again: each time that
    some were left out.  batch: pictures a step.  rate: of Adam, standard deviations; it falls to a tenth.  goal: what
    the component should read at the end of the way, by the phantom's strongest reading.  reading, lv, wall, grain:
    weights of these terms beside that of the cells.  many, far: cost of the weights' sum and of their squares, which
    keeps sets small and near to what the generator knows."""

    sizes: tuple[int, ...] = (256, 128, 64, 32)
    steps: int = 250
    again: int = 100
    batch: int = 12
    rate: float = 0.2
    goal: float = 1.0
    reading: float = 1.0
    lv: float = 2.0
    wall: float = 0.1
    grain: float = 0.3
    many: float = 3e-5
    far: float = 3e-6

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(self.sizes))  # TOML gives lists
        if list(self.sizes) != sorted(set(self.sizes), reverse=True) or min(self.sizes, default=1) < 1:
            raise ValueError("sizes must fall, down to 1 at most")


@dataclass(frozen=True)
class Learner:
    """Learns the sets of a generator. model: what haze does.  lv: network that finds the left ventricle.  pairs:
    phantom frames, for the grain that haze brings."""

    generator: Generator
    model: HazeModel
    lv: LvNetwork
    pairs: Pairs
    config: LearnConfig

    def sets(self, s: Tensor, component: int, start: Tensor, seed: int) -> Iterator[Tensor]:
        """For each of the sizes the weights (S,), in standard deviations, that raise the component to its goal in
        pictures of s (N, S). start: weights to begin with, (S,)."""
        config, added = self.config, _grain_of_haze(self.pairs, component)
        draw = torch.Generator().manual_seed(seed)
        weights = start.clone().requires_grad_(True)
        alive, squares = torch.ones_like(start), torch.ones_like(start)
        sizes = [size for size in config.sizes if size < len(start)]
        for size in (len(start), *sizes) if sizes else ():
            if size < len(start):
                matters = (weights.detach() * alive).square() * squares
                alive[matters.argsort(descending=True)[size:]] = 0.0
            optimizer = torch.optim.Adam([weights], betas=(0.8, 0.95))
            steps = config.steps if size == len(start) else config.again
            for step in range(steps):
                optimizer.param_groups[0]["lr"] = config.rate * (1 - 0.9 * step / steps)
                some = s[torch.randint(len(s), (config.batch,), generator=draw)]
                part = torch.rand(config.batch, 1, generator=draw).clamp_min(0.1).to(s.device)
                optimizer.zero_grad()
                self._cost(some, part, weights * alive, component, added).backward()
                optimizer.step()
            squares = optimizer.state[weights]["exp_avg_sq"]
            if size < len(start):
                yield (weights * alive).detach().clone()

    def _cost(self, s: Tensor, part: Tensor, weights: Tensor, component: int, added: tuple[Tensor, Tensor]) -> Tensor:
        """What is wrong with pictures of s (B, S) that are turned by `part` (B, 1) of the weights (S,)."""
        generator, model, config = self.generator, self.model, self.config
        with torch.no_grad():
            before = to_grey(generator.from_s(s, "constant"))
            cells, known, expected = pooled(before), self.lv(fd_echo.for_lv(before))[0], model.expected(before)
            goal = part * config.goal * strongest_reading(component)
            wanted = expected[component] * goal
            speckle = (added[0] + added[1] * _blocks(before)).clamp_min(0) * part
            wall = model.wall(before, component)
        # not clipped: what is clipped has no slope
        after = likeness.grey(generator.from_s(s + part * weights * generator.s_std, "constant"))
        change = pooled(after) - cells
        found = F.binary_cross_entropy_with_logits(self.lv(fd_echo.for_lv(after))[0], (known > 0).float())
        read = model.read(expected, change)
        off = torch.cat([read[:, component, None] - goal, read[:, :component], read[:, component + 1 :]], dim=1)
        grainier = _grain(after) - _grain(before) - speckle
        brighter = (change * wall).sum(1) / (cells * wall).sum(1).clamp_min(0.1)
        return (
            (change - wanted).square().sum() / wanted.square().sum().clamp_min(1e-6)
            + config.reading * off.square().sum(1).mean()
            + config.lv * found
            + config.grain * grainier.square().sum() / speckle.square().sum().clamp_min(1e-6)
            + config.wall * ((brighter / part[:, 0]).mean() / WALL) ** 2
            + config.many * weights.abs().sum()
            + config.far * weights.square().sum()
        )


def _blocks(grey: Tensor) -> Tensor:
    """Means of blocks of 4 x 4 pixels of pictures (N, 1, side, side): (N, blocks)."""
    return F.avg_pool2d(grey, 4).flatten(1)


def _grain(grey: Tensor) -> Tensor:
    """Speckle's contrast in blocks of 4 x 4 pixels: what is left of grey pictures (N, 1, side, side) beside their mean
    over 3 x 3, root mean square, (N, blocks)."""
    rest = grey - F.avg_pool2d(grey, 3, 1, 1)
    return _blocks(rest.square()).clamp_min(1e-6).sqrt()


def _grain_of_haze(pairs: Pairs, component: int) -> tuple[Tensor, Tensor]:
    """Offset and slope, (blocks,) each: in a block of grey g the component brings about offset + slope g of grain."""
    added, grey = _grain(pairs.hazed[component]) - _grain(pairs.clean), _blocks(pairs.clean)
    slope = slope_of(added, grey)
    return added.mean(0) - slope * grey.mean(0), slope
