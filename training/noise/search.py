"""Which style channels make noise: the paper's statistics, and signed sets that do to pictures what haze does.

The paper's: delta_n = (S_n - mu_c) / sigma_c for noisy codes, mu_c and sigma_c over clean ones, theta_n = |mu_n| /
sigma_n with mean and deviation of delta_n. On codes of any noisy frames it mixes the components of the noise; on
same-seed pairs that differ in one component, delta_n is (noisy - clean) / sigma_c of one heart, and it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from echoq_models.generative.likeness import grey as grey_of
from echoq_models.generative.stylegan2 import Generator, to_grey
from training.noise.codes import BATCH, Inverter
from training.noise.haze_model import HazeModel, pooled

OTHERS, WALL = 0.30, 0.05  # how much of a component's rise may show in another, and by how much walls may change

STEP = 2.0  # standard deviations: channels are tried out by this much, either way


@dataclass(frozen=True)
class Statistics:
    """theta, mean: float32 (S,), theta_n and the mean of delta_n; 0 for channels that never move."""

    theta: Tensor
    mean: Tensor

    def top(self, count: int) -> list[int]:
        """Channels with the largest theta, best first."""
        return self.theta.argsort(descending=True)[:count].tolist()


def unpaired(clean: Tensor, noisy: Tensor) -> Statistics:
    """The paper's statistics of codes (N, S) and (M, S)."""
    spread = clean.std(0)
    return _of((noisy - clean.mean(0)) / spread.clamp_min(1e-8), spread)


def paired(clean: Tensor, noisy: Tensor) -> Statistics:
    """The same of pairs: (N, S) each, row by row of one heart."""
    spread = clean.std(0)
    return _of((noisy - clean) / spread.clamp_min(1e-8), spread)


def _of(delta: Tensor, spread: Tensor) -> Statistics:
    alive = spread > 1e-6
    mean, deviation = delta.mean(0), delta.std(0)
    theta = mean.abs() / deviation.clamp_min(1e-8)
    return Statistics(theta * alive, mean * alive)


def pulls(generator: Generator, model: HazeModel, s: Tensor, component: int) -> Tensor:
    """How much more like the component's haze the pictures of s (N, S) become when one channel moves by a standard
    deviation: the gradient of <change in the cells, what haze would add>, mean over the pictures, (S,)."""
    total = torch.zeros_like(s[0])
    for part in s.split(BATCH):
        place = part.clone().requires_grad_(True)
        grey = grey_of(generator.from_s(place, "constant"))
        wanted = model.expected(grey.detach().clamp(0, 1))[component]
        (gradient,) = torch.autograd.grad((pooled(grey) * wanted).sum(), place)
        total += gradient.sum(0)
    return total / len(s) * generator.s_std


@torch.no_grad()
def effects(inverter: Inverter, s: Tensor, channels: Sequence[int]) -> Tensor:
    """What a standard deviation of each channel changes in the cells of the pictures of s (N, S), from STEP either
    way: (channels, N, CELLS^2)."""
    generator = inverter.generator
    found = []
    for channel in channels:
        moved = []
        for step in (STEP, -STEP):
            code = s.clone()
            code[:, channel] += step * generator.s_std[channel]
            moved.append(torch.cat([pooled(to_grey(generator.from_s(part, "constant"))) for part in code.split(BATCH)]))
        found.append((moved[0] - moved[1]) / (2 * STEP))
    return torch.stack(found)


def likeness(effect: Tensor, wanted: Tensor) -> Tensor:
    """Cosine between what channels do (C, N, cells) and what haze would do (N, cells), with the sign of the
    direction in which they make it: (C,)."""
    flat, target = effect.flatten(1), wanted.flatten()
    return flat @ target / (flat.norm(dim=1) * target.norm()).clamp_min(1e-12)


def demands(
    model: HazeModel, before: Tensor, effect: Tensor, component: int, weight: float = 1.0
) -> tuple[Tensor, Tensor]:
    """What channels do (C, N, cells) to pictures `before` (N, 1, side, side), and what the component's strong level
    should do, as vectors (C, D) and (D,) for `sets`.

    The cells' changes, by the length of the wanted one; and by `weight`, what an intervention is judged by, in units of
    what is allowed: the readings of all components, and the wall's change.
    """
    expected, where = model.expected(before), model.wall(before, component)
    wanted = expected[component]
    goal = torch.zeros(len(wanted), len(expected), device=wanted.device)
    goal[:, component] = 1.0
    wall = pooled(before).mul(where).sum(1).clamp_min(1e-3)
    share = weight / len(wanted) ** 0.5

    def parts(change: Tensor, reading: Tensor) -> Tensor:
        walls = (change * where).sum(-1) / wall
        found = [change.flatten(-2) / wanted.norm(), reading.flatten(-2) * (share / OTHERS), walls * (share / WALL)]
        return torch.cat(found, dim=-1)

    free = wanted * ~where  # the wall's own small change is not asked for
    return parts(effect, model.read(expected, effect)), parts(free, goal)


def sets(effect: Tensor, target: Tensor, most: int, reach: float) -> list[Tensor]:
    """Weights (C,) of length 1 of the channels, of effects (C, D), that together do what is wanted (D,): the best one,
    two, ... `most`.

    Each set has one channel more than the one before, that which fits best to what is still missing, and all its
    weights anew by least squares (orthogonal matching pursuit; Pati et al. 1993). A weight of `reach` standard
    deviations costs as much as all missing: turned far, a channel leads out of what the generator knows. A small reach
    prefers channels that do much to channels that fit well.
    """
    cost = (target.norm() / reach) ** 2
    norms = (effect.square().sum(1) + cost).sqrt()
    missing, chosen, found = target, list[int](), list[Tensor]()
    for _ in range(min(most, len(effect))):
        fit = (effect @ missing).abs() / norms
        fit[chosen] = -1
        chosen.append(int(fit.argmax()))
        part = effect[chosen]
        gram = part @ part.T + cost * torch.eye(len(chosen), device=part.device)
        weights = torch.linalg.solve(gram, part @ target)
        missing = target - weights @ part
        full = torch.zeros(len(effect), device=effect.device)
        full[chosen] = weights / weights.norm()
        found.append(full)
    return found
