"""The scanner's display chain: log compression, speckle reduction, scan conversion, 8 bit, JPEG."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from training.phantom.config import DisplayConfig
from training.phantom.draw import Draw, Grid


def compress(db: Tensor, dynamic_range_db: Tensor, gain_db: Tensor, gamma: Tensor) -> Tensor:
    """I = clip((L + G + DR) / DR, 0, 1) ^ gamma for a level L in dB."""
    return ((db + gain_db + dynamic_range_db) / dynamic_range_db).clamp(0, 1) ** gamma


@dataclass(frozen=True)
class View:
    """How the sector lies in its square, (B, 1, 1) each: side of the square in mm, where the probe's centre is below
    its upper edge and right of its middle (mm), width re height of a pixel, nearest shown range in mm."""

    side_mm: Tensor
    top_mm: Tensor
    right_mm: Tensor
    stretch: Tensor
    dead_mm: Tensor


def draw_view(draw: Draw, grid: Grid, config: DisplayConfig) -> View:
    """The whole sector in its square, or, in some frames, a square that cuts its sides off."""
    wide = torch.maximum(2 * torch.sin(grid.half_angle), torch.ones_like(grid.depth_mm))
    cut = draw.chance(config.cropped) * draw.uniform((0.0, 1.0))
    wide = 1 + (wide - 1) * (1 - cut)
    return View(
        side_mm=wide * draw.uniform(config.zoom) * grid.depth_mm,
        top_mm=draw.uniform(config.top) * grid.depth_mm,
        right_mm=draw.uniform((-0.03, 0.03)) * grid.depth_mm,
        stretch=draw.uniform(config.stretch),
        dead_mm=draw.uniform(config.dead_zone_mm),
    )


def scan_grid(grid: Grid, view: View, side: int) -> tuple[Tensor, Tensor]:
    """Sampling grid (B, side, side, 2) for `F.grid_sample` and the sector mask bool (B, 1, side, side), apex up."""
    pixel = (torch.arange(side, device=grid.r.device) + 0.5) / side
    y = pixel[None, :, None] * view.side_mm - view.top_mm
    x = (pixel[None, None, :] - 0.5) * view.side_mm / view.stretch - view.right_mm
    r, theta = torch.sqrt(x * x + y * y), torch.atan2(x, y)
    rows, columns = grid.x.shape[-2:]
    config = grid.config
    # grid_sample without aligned corners: -1 and 1 are the outer edges of the first and last sample
    u = ((theta / grid.half_angle + 1) / 2 * config.beams + config.margin) / columns * 2 - 1
    v = r / grid.depth_mm * config.samples / rows * 2 - 1
    inside = (r < grid.depth_mm) & (r > view.dead_mm) & (theta.abs() < grid.half_angle) & (y > 0)
    return torch.stack([u.expand_as(r), v.expand_as(r)], dim=-1), inside[:, None]


def scan_convert(maps: Tensor, where: Tensor, inside: Tensor) -> Tensor:
    """Polar maps (B, C, R, T) -> pixels (B, C, size, size), 0 outside the sector."""
    return F.grid_sample(maps, where, mode="bilinear", padding_mode="border", align_corners=False) * inside


def to_side(image: Tensor, side: int) -> Tensor:
    """Resize (B, C, n, n) to `side`: by area when shrinking, linearly when growing, as the app's sector does."""
    n = image.shape[-1]
    if n == side:
        return image
    if n > side and n % side == 0:
        return F.avg_pool2d(image, n // side)
    if n > side:
        return F.interpolate(image, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
    return F.interpolate(image, size=(side, side), mode="bilinear", align_corners=False)


def jpeg(image: Tensor, quality: int) -> Tensor:
    """Each of (B, 1, H, W) in [0, 1] through 8-bit grey JPEG, on the CPU."""
    out = []
    for frame in (image[:, 0] * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy():
        data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        out.append(np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)))
    return (torch.from_numpy(np.stack(out)).to(image.device).float() / 255)[:, None]


def quantise(image: Tensor) -> Tensor:
    """To the 256 levels of an 8-bit picture."""
    return (image.clamp(0, 1) * 255).round() / 255


def rayleigh_mean_db() -> float:
    """Mean of 20 log10 of a Rayleigh envelope of unit power, -2.51 dB: -10 gamma_E / ln 10."""
    return -10 * 0.5772156649 / math.log(10)
