"""Random scatterers that move with the tissue and change from frame to frame.

Tissue scatterers are circular complex Gaussian in material coordinates (their place at end diastole), on a polar grid
twice as fine as the image's. They are smoothed there by half an image sample (SMOOTH), since white noise read off
between its grid points loses up to 6 dB and jumps as it moves; the point spread is made finer by as much in exchange.
Frame to frame n_t = rho n_(t-1) + sqrt(1 - rho^2) e. Blood scatterers stay in place and forget sooner.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from training.phantom.draw import Draw, Grid
from training.phantom.physics import PointSpread

FINE = 2
SMOOTH = 0.5  # standard deviation in image samples, both ways


class MovingScatterers:
    """For the frames of a loop, in order. rho: (B, 1, 1) correlation from one frame to the next.

    psf: the point spread through which they will be seen, so that their speckle has unit power wherever they moved.
    """

    smooth = SMOOTH

    def __init__(self, draw: Draw, grid: Grid, psf: PointSpread, tissue_rho: Tensor, blood_rho: Tensor) -> None:
        self._draw, self._grid, self._sigmas = draw, grid, psf.sigmas(grid)
        self._rho = (tissue_rho, blood_rho)
        self._fine = (FINE * grid.x.shape[1], FINE * grid.x.shape[2])
        self._tissue: Tensor | None = None
        self._blood: Tensor | None = None

    def next(self, rest: Grid, blood: Tensor) -> Tensor:
        """Complex (B, R, T) for the next frame, whose speckle has unit power.

        rest: where the tissue of each place lay at end diastole.  blood: (B, R, T) share of blood there.
        """
        self._tissue = remember(self._tissue, self._white(), self._rho[0])
        size = self._grid.x.shape[1:]
        coarse = _smoothed(self._draw.complex_normal(*size), SMOOTH)
        self._blood = remember(self._blood, coarse, self._rho[1])
        tissue = self._read(self._tissue, rest)
        return torch.sqrt(1 - blood) * tissue + torch.sqrt(blood) * self._blood

    def _white(self) -> Tensor:
        return _smoothed(self._draw.complex_normal(*self._fine), SMOOTH * FINE)

    def _read(self, field: Tensor, rest: Grid) -> Tensor:
        """The fine material field at the places `rest`; its speckle has unit power."""
        c = self._grid.config
        rows, columns = self._grid.x.shape[1:]
        r, theta = torch.hypot(rest.x, rest.y), torch.atan2(rest.x, rest.y)
        u = ((theta / rest.half_angle + 1) / 2 * c.beams + c.margin) / columns * 2 - 1
        v = r / rest.depth_mm * c.samples / rows * 2 - 1
        where = torch.stack([u, v], dim=-1)
        parts = torch.stack([field.real, field.imag], dim=1)
        read = F.grid_sample(parts, where, mode="bilinear", padding_mode="reflection", align_corners=False)
        return torch.complex(read[:, 0], read[:, 1]) / torch.sqrt(self._kept(where))

    def _kept(self, where: Tensor) -> Tensor:
        """Power (B, R, T) that the speckle keeps when the fine field is read at `where` (B, R, T, 2).

        Bilinear weights 1 - f and f are a blur of variance f (1 - f) more, in fine steps squared: the speckle of a
        point spread of variance s^2 keeps s / sqrt(s^2 + f (1 - f)) of its power along each axis.
        """
        kept = torch.ones_like(where[..., 0])
        for axis, n, sigma in ((0, self._fine[1], self._sigmas[1]), (1, self._fine[0], self._sigmas[0])):
            f = ((where[..., axis] + 1) / 2 * n - 0.5) % 1.0
            seen = (FINE * sigma).clamp_min(FINE * SMOOTH) ** 2
            kept = kept * torch.sqrt(seen / (seen + f * (1 - f)))
        return kept


def remember(last: Tensor | None, fresh: Tensor, rho: Tensor) -> Tensor:
    """One step of the process n = rho n + sqrt(1 - rho^2) e; the first step is e itself."""
    return fresh if last is None else rho * last + torch.sqrt(1 - rho**2) * fresh


def _smoothed(white: Tensor, sigma: float) -> Tensor:
    """White noise (B, H, W) after a Gaussian of `sigma` grid steps, at low frequencies as strong as a continuous one
    of unit power would be: that is what the point spread lets through."""
    reach = math.ceil(3 * sigma) if sigma > 0.7 else 1
    taps = torch.exp(-(torch.arange(-reach, reach + 1, device=white.device) ** 2) / (2 * sigma**2))
    if reach == 1:  # a Gaussian so narrow is sampled too coarsely: three taps of its variance
        taps = torch.tensor([sigma**2 / 2, 1 - sigma**2, sigma**2 / 2], device=white.device)
    taps = taps / taps.sum() * math.sqrt(2 * math.sqrt(math.pi) * sigma)
    parts = torch.stack([white.real, white.imag], dim=1)
    batch, _, height, width = parts.shape
    flat = parts.reshape(2 * batch, 1, height, width)
    flat = F.conv2d(flat, taps.view(1, 1, -1, 1), padding=(reach, 0))
    flat = F.conv2d(flat, taps.view(1, 1, 1, -1), padding=(0, reach)).reshape(batch, 2, height, width)
    return torch.complex(flat[:, 0], flat[:, 1])
