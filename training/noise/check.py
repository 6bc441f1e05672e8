"""Verification by intervention: turn a component up on pictures that the search did not see, and look what happens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from echoq_models.generative.stylespace import edited
from echoq_models.metrics.gcnr import gcnr
from echoq_models.segment.architecture import LvNetwork
from training.evaluation import fd_echo
from training.noise.codes import Inverter
from training.noise.haze_model import HazeModel, pooled, strongest_reading
from training.noise.search import OTHERS, WALL

DICE = 0.90  # of the left ventricle, at least
FURTHEST = 20.0  # standard deviations: no channel is turned further
STEPS = 20
LEAST_PIXELS = 40  # of the network's grid: no smaller left ventricle is compared
LEAST_FOUND = 4  # pictures: the Dice of fewer says nothing


@dataclass(frozen=True)
class Intervention:
    """What happened when a component was turned to `strength` standard deviations; means over the pictures.

    own: its reading, 1 as the phantom's strong level.  others: the readings of the other two, by their share of own.
    wall: relative change of the wall's grey where haze would not change it, None where there is no such wall.
    dice: of the left ventricle before and after, None where it is not found before.
    """

    strength: float
    own: float
    others: tuple[float, float]
    wall: float | None
    dice: float | None

    @property
    def other(self) -> float:
        """The one of the others that changes most."""
        return max(self.others, key=abs)

    @property
    def holds(self) -> bool:
        """Whether the component rises, no other changes by OTHERS of it, and wall and anatomy stay."""
        wall_stays = self.wall is None or abs(self.wall) < WALL
        return self.own > 0 and abs(self.other) < OTHERS and wall_stays and (self.dice is None or self.dice >= DICE)

    def shortfall(self, component: int) -> float:
        """How far off the worst of the demands it is: below 1 when it holds and the component rises to half of the
        phantom's strongest level."""
        off = [abs(self.other) / OTHERS, strongest_reading(component) / 2 / max(self.own, 1e-6)]
        off += [] if self.wall is None else [abs(self.wall) / WALL]
        off += [] if self.dice is None else [(1 - self.dice) / (1 - DICE)]
        return max(off)


@dataclass(frozen=True)
class Examiner:
    """Looks at interventions on the pictures of `s` (N, S). lv: the left-ventricle network, None to leave it out."""

    inverter: Inverter
    model: HazeModel
    s: Tensor
    lv: LvNetwork | None = None

    def turned(self, changes: Mapping[str, float]) -> Tensor:
        """The pictures with these channels moved."""
        return self.inverter.drawn(edited(self.inverter.generator, self.s, changes))

    def look(self, component: int, weights: Mapping[str, float], strength: float) -> Intervention:
        """Turn the component (its number) to `strength` along these channels' weights."""
        before = self.turned({})
        after = self.turned({name: strength * weight for name, weight in weights.items()})
        reading = self.model.reading(before, after).mean(0)
        own = float(reading[component])
        first, second = (float(r) / max(abs(own), 1e-6) for i, r in enumerate(reading) if i != component)
        dice = None if self.lv is None else lv_dice(self.lv, before, after)
        return Intervention(strength, own, (first, second), self._wall(before, after, component), dice)

    def _wall(self, before: Tensor, after: Tensor, component: int) -> float | None:
        where = self.model.wall(before, component)
        enough = where.sum(1) >= 3
        if not enough.any():
            return None
        was, now = (((pooled(x) * where).sum(1) / where.sum(1).clamp_min(1))[enough] for x in (before, after))
        return float((now / was - 1).mean())

    def limit(self, component: int, weights: Mapping[str, float]) -> float:
        """How far the component can be turned: until it reads as the phantom's strongest level, or rises no more, or a
        channel is at FURTHEST; standard deviations."""
        goal, before, last, reached = strongest_reading(component), self.turned({}), 0.0, 0.0
        furthest = FURTHEST / max(abs(weight) for weight in weights.values())
        for strength in np.linspace(0, furthest, STEPS + 1)[1:].tolist():
            after = self.turned({name: strength * weight for name, weight in weights.items()})
            own = float(self.model.reading(before, after)[:, component].mean())
            if own >= goal:
                return reached + (strength - reached) * (goal - last) / (own - last)
            if own <= last:
                return reached
            last, reached = own, strength
        return furthest


@torch.no_grad()
def lv_dice(network: LvNetwork, before: Tensor, after: Tensor) -> float | None:
    """Dice of the left ventricles in pictures (N, 1, side, side), mean over those in which one is found before; None
    where it is found in fewer than LEAST_FOUND."""
    masks = []
    for grey in (before, after):
        masks.append(torch.cat([network(part)[0] > 0 for part in fd_echo.for_lv(grey).split(32)]).flatten(1))
    a, b = masks
    found = a.sum(1) >= LEAST_PIXELS
    if found.sum() < LEAST_FOUND:
        return None
    return float((2 * (a & b).sum(1) / (a.sum(1) + b.sum(1)).clamp_min(1))[found].mean())


def gcnr_curve(
    turned: Callable[[float], Tensor], strengths: list[float], lv: Tensor, myocardium: Tensor
) -> list[float]:
    """Median gCNR of pictures (N, 1, side, side) at each strength. lv, myocardium: masks like them, bool; pictures in
    which one is nearly empty are left out."""
    some = [i for i in range(len(lv)) if min(int(lv[i].sum()), int(myocardium[i].sum())) >= LEAST_PIXELS]
    curve = []
    for strength in strengths:
        grey = turned(strength).mul(255).round().to(torch.uint8).cpu().numpy()
        values = [gcnr(grey[i, 0], lv[i, 0].cpu().numpy(), myocardium[i, 0].cpu().numpy(), bins=64) for i in some]
        curve.append(float(np.median(values)) if values else float("nan"))
    return curve
