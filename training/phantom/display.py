"""The scanner's display chain: log compression, speckle reduction, scan conversion, 8 bit, JPEG."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from training.phantom.config import DisplayConfig
from training.phantom.draw import Draw, Grid

Size = int | tuple[int, int]  # side of a square, or (height, width), pixels


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


def as_size(side: Size) -> tuple[int, int]:
    """(height, width) of a picture given by them or by the side of a square."""
    return (side, side) if isinstance(side, int) else side


def scan_points(view: View, side: Size) -> tuple[Tensor, Tensor]:
    """Where the pixels lie: x (B, 1, W) and y (B, H, 1) in mm, y away from the probe."""
    height, width = as_size(side)
    device = view.side_mm.device
    y = (torch.arange(height, device=device)[None, :, None] + 0.5) / height * view.side_mm - view.top_mm
    across = (torch.arange(width, device=device)[None, None, :] + 0.5 - width / 2) / height
    return across * view.side_mm / view.stretch - view.right_mm, y


def scan_grid(grid: Grid, view: View, side: Size) -> tuple[Tensor, Tensor]:
    """Sampling grid (B, H, W, 2) for `F.grid_sample` and the sector mask bool (B, 1, H, W), apex up.

    side: of a square, or (height, width): then the square fills the height and the width shows more or less.
    """
    x, y = scan_points(view, side)
    r, theta = torch.sqrt(x * x + y * y), torch.atan2(x, y)
    rows, columns = grid.x.shape[-2:]
    config = grid.config
    # grid_sample without aligned corners: -1 and 1 are the outer edges of the first and last sample
    u = ((theta / grid.half_angle + 1) / 2 * config.beams + config.margin) / columns * 2 - 1
    v = r / grid.depth_mm * config.samples / rows * 2 - 1
    inside = (r < grid.depth_mm) & (r > view.dead_mm) & (theta.abs() < grid.half_angle) & (y > 0)
    return torch.stack([u.expand_as(r), v.expand_as(r)], dim=-1), inside[:, None]


def scan_convert(maps: Tensor, where: Tensor, inside: Tensor) -> Tensor:
    """Polar maps (B, C, R, T) -> pixels (B, C, H, W), 0 outside the sector."""
    return F.grid_sample(maps, where, mode="bilinear", padding_mode="border", align_corners=False) * inside


def to_side(image: Tensor, side: Size) -> Tensor:
    """Resize (B, C, h, w) to `side`: by area when shrinking, linearly when growing, as the app's sector does."""
    size, (h, w) = as_size(side), image.shape[-2:]
    if size == (h, w):
        return image
    if h > size[0] and h % size[0] == 0 and (h // size[0]) * size[1] == w:
        return F.avg_pool2d(image, h // size[0])
    return F.interpolate(image, size=size, mode="bilinear", antialias=h > size[0], align_corners=False)


def jpeg(image: Tensor, quality: int) -> Tensor:
    """Each of (B, 1, H, W) in [0, 1] through 8-bit grey JPEG, on the CPU (in threads: OpenCV frees the interpreter)."""
    frames = (image[:, 0] * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()

    def through(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)

    with ThreadPoolExecutor() as pool:
        out = np.stack(list(pool.map(through, frames)))
    return (torch.from_numpy(out).to(image.device).float() / 255)[:, None]


def quantise(image: Tensor) -> Tensor:
    """To the 256 levels of an 8-bit picture."""
    return (image.clamp(0, 1) * 255).round() / 255


def rayleigh_mean_db() -> float:
    """Mean of 20 log10 of a Rayleigh envelope of unit power, -2.51 dB: -10 gamma_E / ln 10."""
    return -10 * 0.5772156649 / math.log(10)
