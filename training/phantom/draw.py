"""Seeded random draws for a batch of frames, and the polar grid that they live on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from training.phantom.config import GridConfig, Range


@dataclass(frozen=True)
class Grid:
    """A batch of polar grids. r: (B, R, 1) in mm; theta: (B, 1, T) in rad, 0 along the axis; x, y: (B, R, T) in mm,
    y pointing away from the probe. depth_mm and half_angle: (B, 1, 1). The last `margin` samples lie below the
    depth and beyond the sector's edges on both sides; they are cut away by the scan conversion.
    """

    r: Tensor
    theta: Tensor
    x: Tensor
    y: Tensor
    depth_mm: Tensor
    half_angle: Tensor
    config: GridConfig

    @property
    def mm_per_sample(self) -> Tensor:
        """(B, 1, 1) axial pitch in mm."""
        return self.depth_mm / self.config.samples

    @property
    def rad_per_beam(self) -> Tensor:
        """(B, 1, 1) angular pitch in rad."""
        return 2 * self.half_angle / self.config.beams


class Draw:
    """Random draws for `batch` frames from one generator, so that a seed gives the same frames again."""

    def __init__(self, batch: int, generator: torch.Generator) -> None:
        self.batch = batch
        self.generator = generator
        self.device = generator.device

    def uniform(self, limits: Range) -> Tensor:
        """(B, 1, 1), uniform within `limits`."""
        low, high = limits
        return torch.rand(self.batch, 1, 1, generator=self.generator, device=self.device) * (high - low) + low

    def chance(self, share: float) -> Tensor:
        """(B, 1, 1) bool, true for about `share` of the frames."""
        return self.uniform((0.0, 1.0)) < share

    def scalar(self, limits: Range) -> float:
        """One number for the whole batch."""
        low, high = limits
        return low + (high - low) * float(torch.rand((), generator=self.generator, device=self.device))

    def seed(self) -> int:
        """A seed for draws that must be repeated."""
        return int(torch.randint(2**31, (), generator=self.generator, device=self.device))

    def normal(self, *shape: int) -> Tensor:
        """Standard normal of (B, *shape)."""
        return torch.randn(self.batch, *shape, generator=self.generator, device=self.device)

    def complex_normal(self, *shape: int) -> Tensor:
        """Circular complex normal of unit power, complex64 (B, *shape)."""
        return torch.complex(self.normal(*shape), self.normal(*shape)) * math.sqrt(0.5)

    def smooth(self, knots: int, grid: Grid) -> Tensor:
        """A smooth field over space, about standard normal: `knots` per depth, bicubic between. (B, R, T)"""
        lattice = self.normal(1, knots + 3, knots + 3)
        # read off every second grid point and interpolated between: at most 30 knots stand against 400 samples
        x, y = (v[:, ::2, ::2] / grid.depth_mm for v in (grid.x, grid.y))
        where = torch.stack([x, y * 2 - 1], dim=-1)
        field = F.grid_sample(lattice, where, mode="bicubic", padding_mode="reflection", align_corners=True)
        field = F.interpolate(field, size=grid.x.shape[-2:], mode="bilinear", align_corners=False)
        return field[:, 0] * 1.25  # bicubic interpolation loses variance between the knots

    def arcs(self, down: int, across: int, grid: Grid) -> Tensor:
        """A smooth field of arcs of equal range, about standard normal: `down` knots per depth, `across` per sector."""
        rows, columns = grid.x.shape[-2:]
        field = F.interpolate(self.normal(1, down, across), (rows, columns), mode="bicubic", align_corners=True)
        return field[:, 0] * 1.25

    def along(self, knots: int, n: int, dim: int) -> Tensor:
        """A smooth curve, about standard normal, along beams (dim 2: (B, 1, n)) or depth (dim 1: (B, n, 1))."""
        curve = F.interpolate(self.normal(1, knots), n, mode="linear", align_corners=True)
        return curve if dim == 2 else curve.transpose(1, 2)


def draw_grid(draw: Draw, config: GridConfig, depth_mm: Tensor) -> Grid:
    """Polar grids of the drawn half angles and the given depths (B, 1, 1) in mm."""
    half = torch.deg2rad(draw.uniform(config.half_angle_deg))
    rows = torch.arange(config.samples + config.margin, device=draw.device)[None, :, None] + 0.5
    columns = torch.arange(config.beams + 2 * config.margin, device=draw.device)[None, None, :] + 0.5
    r = rows / config.samples * depth_mm
    theta = ((columns - config.margin) / config.beams * 2 - 1) * half
    return Grid(r, theta, r * torch.sin(theta), r * torch.cos(theta), depth_mm, half, config)


def sigmoid_step(distance: Tensor, width: float = 0.5) -> Tensor:
    """0 to 1 across `distance` = 0; width in the unit of distance."""
    return torch.sigmoid(distance / width)


def db_to_power(db: Tensor) -> Tensor:
    """Power ratio of a level in dB."""
    return torch.pow(10.0, db / 10.0)


def power_to_db(power: Tensor) -> Tensor:
    """Level in dB of a power ratio, floored at -120 dB."""
    return 10.0 * torch.log10(power.clamp_min(1e-12))
