"""What haze does to a picture, learned from the phantom's same-seed pairs, and how much haze a change holds.

Pictures are looked at in CELLS x CELLS cells, whose means know nothing of speckle. In a cell of mean grey g the
component k at its strong level adds, over many hearts, about a_k + b_k g (haze fills what is dark and leaves bright
walls nearly as they are); a_k and b_k follow by least squares from frames drawn with and without it. The change D
between two pictures of one heart is then read as the c that minimises |D - sum c_k (a_k + b_k g)|^2 over the sector:
1 for as much as the strong level adds, 0 for none. Anatomy and display drop out, since both pictures share them, and
what c cannot explain is no haze.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from training.data.phantom_frames import BATCH, COMPONENTS, OFF_DB, ComponentConfig, draw_batch
from training.phantom.simulate import PhantomBatch

CELLS = 32
STRONG = 0.8  # of a component's range of levels
BLACK_DB = -30.0  # re the myocardium, which is shown at half grey on 60 dB: weaker haze is not seen


@dataclass(frozen=True)
class Pairs:
    """Phantom frames with haze and without, grey float32 in [0, 1].

    clean: (N, 1, side, side).  hazed: (3, N, 1, side, side), each component alone at its strong level.
    lv, myocardium: bool like clean, for measuring.
    """

    clean: Tensor
    hazed: Tensor
    lv: Tensor
    myocardium: Tensor


def strong_levels(config: ComponentConfig | None = None) -> tuple[float, ...]:
    """The strong level of each component, dB."""
    config = config or ComponentConfig()
    ranges = (config.global_db, config.center_field_db, config.near_field_db)
    return tuple(low + STRONG * (high - low) for low, high in ranges)


def strongest_reading(component: int, config: ComponentConfig | None = None) -> float:
    """What the strongest level that the phantom draws would read as, by its grey alone."""
    config = config or ComponentConfig()
    high = (config.global_db, config.center_field_db, config.near_field_db)[component][1]
    return (high - BLACK_DB) / (strong_levels(config)[component] - BLACK_DB)


def phantom_pairs(count: int, side: int, hearts: str, seed: int, device: torch.device) -> Pairs:
    """At least `count` same-seed pairs, BATCH at a time from `seed` on."""
    seeds = range(seed, seed + -(-count // BATCH))
    drawn = [list(_with_each(number, side, hearts, device)) for number in seeds]
    frames = [[batch.noisy for batch in versions] for versions in zip(*drawn, strict=True)]
    clean, *hazed = (torch.cat(parts) for parts in frames)
    return Pairs(
        clean,
        torch.stack(hazed),
        torch.cat([versions[0].lv for versions in drawn]),
        torch.cat([versions[0].myocardium for versions in drawn]),
    )


def _with_each(seed: int, side: int, hearts: str, device: torch.device) -> Iterator[PhantomBatch]:
    """The batch without haze, then with each component."""
    strong = strong_levels()
    for component in (None, *range(len(COMPONENTS))):
        levels = torch.full((BATCH, len(COMPONENTS)), OFF_DB, device=device)
        if component is not None:
            levels[:, component] = strong[component]
        yield draw_batch(seed, side, hearts, levels, device=device).frames


def pooled(grey: Tensor) -> Tensor:
    """Cell means (N, CELLS^2) of pictures (N, 1, side, side)."""
    return F.adaptive_avg_pool2d(grey.float(), CELLS).flatten(1)


def slope_of(added: Tensor, grey: Tensor) -> Tensor:
    """By least squares in each cell, how what is added (..., N, cells) goes with the grey (N, cells): (..., cells)."""
    spread = grey - grey.mean(0)
    # a little ridge, for cells of the same grey in all frames
    return (added * spread).mean(-2) / (spread.square().mean(0) + 1e-4)


@dataclass(frozen=True)
class HazeModel:
    """offset, slope: float32 (3, CELLS^2), a and b above.  inside: bool (CELLS^2,), cells of the sector."""

    offset: Tensor
    slope: Tensor
    inside: Tensor

    @classmethod
    def fit(cls, pairs: Pairs) -> HazeModel:
        """Least squares in each cell. A slope is kept within -1 to 0: haze never darkens, nor adds more than fills."""
        base = pooled(pairs.clean)
        added = torch.stack([pooled(hazed) - base for hazed in pairs.hazed])
        slope = slope_of(added, base).clamp(-1, 0)
        return cls(
            added.mean(1) - slope * base.mean(0), slope, torch.cat([base, pooled(pairs.hazed[0])]).mean(0) > 0.02
        )

    def to(self, device: torch.device) -> HazeModel:
        """On this device."""
        return HazeModel(self.offset.to(device), self.slope.to(device), self.inside.to(device))

    def expected(self, grey: Tensor) -> Tensor:
        """What each component at its strong level adds to the cells of pictures (N, 1, side, side): (3, N, CELLS^2)."""
        return (self.offset[:, None] + self.slope[:, None] * pooled(grey)).clamp_min(0) * self.inside

    def reading(self, before: Tensor, after: Tensor) -> Tensor:
        """How much of each component was added to pictures (N, 1, side, side): (N, 3)."""
        return self.read(self.expected(before), pooled(after) - pooled(before))

    def read(self, expected: Tensor, change: Tensor) -> Tensor:
        """The same of changes (..., N, CELLS^2) of pictures of which `expected` is (3, N, CELLS^2): (..., N, 3)."""
        columns = expected.permute(1, 2, 0)
        overlap = columns.mT @ columns
        overlap = overlap + 1e-6 * torch.eye(len(COMPONENTS), device=overlap.device)  # for pictures bright all over
        return torch.linalg.solve(overlap, columns.mT @ (change * self.inside)[..., None])[..., 0]

    def wall(self, before: Tensor, component: int, share: float = 0.25, least: float = 0.03) -> Tensor:
        """Where a wall stays as it is: the brightest `share` of the sector's cells to which the component, at its
        strong level, would add less than `least`. bool (N, CELLS^2), perhaps nowhere."""
        cells = pooled(before).masked_fill(~self.inside, 0)
        edge = torch.quantile(cells[:, self.inside], 1 - share, dim=1, keepdim=True)
        return (cells >= edge) & (self.expected(before)[component] < least)
