"""From scatterers to complex echo: a stationary, separable point spread over random scatterers on the polar grid
(the COLE family; Storve & Torp 2017), propagation, and the haze that is added before the envelope.

Fields are complex64 (B, R, T) on the grid with its margin; powers are float32 of the same shape.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from training.phantom.anatomy import Anatomy
from training.phantom.config import EchoConfig, HazeConfig
from training.phantom.draw import Draw, Grid, db_to_power, power_to_db, sigmoid_step

FWHM_TO_SIGMA = 1 / (2 * math.sqrt(2 * math.log(2)))


@dataclass(frozen=True)
class PointSpread:
    """Gaussian point spread of the amplitude. axial_mm, angular_rad: (B, 1, 1) full widths at half maximum."""

    axial_mm: Tensor
    angular_rad: Tensor

    def sigmas(self, grid: Grid) -> tuple[Tensor, Tensor]:
        """Standard deviations in samples and in beams, (B, 1, 1)."""
        return (
            self.axial_mm * FWHM_TO_SIGMA / grid.mm_per_sample,
            self.angular_rad * FWHM_TO_SIGMA / grid.rad_per_beam,
        )


def blur(field: Tensor, sigma_axial: Tensor, sigma_lateral: Tensor) -> Tensor:
    """Convolve real or complex (B, R, T) with a Gaussian of unit sum, by FFT; sigmas (B, 1, 1) in grid steps."""
    rows, columns = field.shape[-2:]
    f_axial = torch.fft.fftfreq(rows, device=field.device)[None, :, None]
    real = not field.is_complex()
    frequencies = torch.fft.rfftfreq if real else torch.fft.fftfreq
    f_lateral = frequencies(columns, device=field.device)[None, None, :]
    transfer = torch.exp(-2 * math.pi**2 * (sigma_axial * f_axial) ** 2) * torch.exp(
        -2 * math.pi**2 * (sigma_lateral * f_lateral) ** 2
    )
    if real:
        return torch.fft.irfft2(torch.fft.rfft2(field) * transfer, s=(rows, columns))
    return torch.fft.ifft2(torch.fft.fft2(field) * transfer)


def speckle(scatterers: Tensor, psf: PointSpread, grid: Grid, smooth: float = 0.0) -> Tensor:
    """Scatterers (complex amplitudes) seen through the point spread, of unit energy: E|out|^2 = E|in|^2 where
    the level is uniform.

    smooth: standard deviation in grid steps of a Gaussian that the scatterers went through already (see
    `scatterers`); the blur here is finer by as much.
    """
    axial, lateral = psf.sigmas(grid)
    if smooth == 0.0:
        # A unit-sum Gaussian of sigma s has energy 1 / (2 sqrt(pi) s) along each axis
        return blur(scatterers, axial, lateral) * torch.sqrt(4 * math.pi * axial * lateral)
    rest = [torch.sqrt((s**2 - smooth**2).clamp_min(0.01)) for s in (axial, lateral)]
    whole = [torch.sqrt(s**2 + smooth**2) for s in rest]
    return blur(scatterers, *rest) * torch.sqrt(whole[0] * whole[1]) / smooth


def mean_power(power: Tensor, psf: PointSpread, grid: Grid) -> Tensor:
    """E|speckle|^2 for scatterers of this power: the power seen through the squared point spread."""
    axial, lateral = psf.sigmas(grid)
    return blur(power, axial / math.sqrt(2), lateral / math.sqrt(2)).clamp_min(1e-12)


def draw_point_spread(draw: Draw, config: EchoConfig) -> PointSpread:
    """One point spread a frame."""
    return PointSpread(draw.uniform(config.axial_fwhm_mm), torch.deg2rad(draw.uniform(config.angular_fwhm_deg)))


def draw_path_db(draw: Draw, grid: Grid, config: EchoConfig) -> tuple[Tensor, Tensor]:
    """(residual gain, blockage) in dB, (B, R, T) each: what the depth compensation leaves over (it acts on
    everything), and drop-out and rib shadows (they act on what comes from behind them)."""
    rows, columns = grid.x.shape[-2:]
    residual = draw.along(5, rows, dim=1) * draw.uniform(config.residual_tgc_db) * 0.6
    curve = draw.along(8, columns, dim=2)
    edge = (grid.theta / grid.half_angle).abs()
    blocked = (curve - 0.3).clamp_min(0) * draw.uniform(config.dropout_db)
    blocked = blocked + ((edge - 0.55) / 0.45).clamp(0, 1.5) * draw.uniform(config.dropout_db)
    blocked = blocked * sigmoid_step(grid.r - draw.uniform((5.0, 40.0)), 6.0)
    where, half = draw.uniform((-1.0, 1.0)) * grid.half_angle, torch.deg2rad(draw.uniform((2.0, 7.0)))
    rib = sigmoid_step(half - (grid.theta - where).abs(), 0.015) * sigmoid_step(grid.r - draw.uniform((5.0, 18.0)), 2.0)
    rib = rib * torch.where(draw.chance(config.shadow), draw.uniform(config.shadow_db), torch.zeros_like(half))
    return residual.expand(-1, -1, columns), -(blocked + rib)


@dataclass(frozen=True)
class Haze:
    """power: (B, R, T) expected haze power re myocardium, still over a loop.  psf: its point spread."""

    power: Tensor
    psf: PointSpread


def _components(draw: Draw, grid: Grid, config: HazeConfig) -> list[Tensor]:
    """Envelopes (power, (B, R, T)) of the global, near-field and centre-field component, each of mean about 1."""
    depth = grid.r / grid.depth_mm
    near = torch.exp(-grid.r / draw.uniform(config.near_length_mm))
    centre, width = draw.uniform(config.band_depth), draw.uniform(config.band_width)
    across = draw.uniform((-0.7, 0.7)) * grid.half_angle
    band = torch.exp(-(((depth - centre) / width) ** 2) - ((grid.theta - across) / draw.uniform((0.3, 1.5))) ** 2)
    fall = db_to_power(-draw.uniform((0.0, 12.0)) * depth)
    parts = []
    for shape in (fall.expand_as(grid.x), near.expand_as(grid.x), band):
        texture = draw.smooth(4, grid) + 0.5 * draw.smooth(10, grid)
        part = shape * db_to_power(texture * draw.uniform(config.texture_db))
        part = part / part.mean((1, 2), keepdim=True) * db_to_power(draw.uniform(config.balance_db))
        parts.append(part * ~draw.chance(config.off))
    return parts


def draw_haze(
    draw: Draw, grid: Grid, config: HazeConfig, psf: PointSpread, clean: Tensor, anatomy: Anatomy, level_db: Tensor
) -> Haze:
    """Haze of the asked total level (B, 1, 1), dB: its power in the LV region re clean power in the myocardium.

    In a frame without these regions the whole sector stands for them. No place exceeds `peak_db`. In some frames the
    near field is drowned besides, whatever the level.
    """
    total = torch.stack(_components(draw, grid, config)).sum(0)
    lv = region_mean(total, anatomy.lv > 0)
    muscle = reference_power(clean, anatomy)
    scale = db_to_power(level_db) * muscle / lv.clamp_min(1e-9)
    scale = scale * ~draw.chance(config.clean)
    drowning = torch.exp(-grid.r / draw.uniform(config.drowned_length_mm)) * db_to_power(2.0 * draw.smooth(5, grid))
    drowning = drowning * db_to_power(draw.uniform(config.drowned_db)) * muscle * draw.chance(config.drowned)
    power = total * scale + drowning
    ceiling = muscle * db_to_power(torch.full_like(scale, config.peak_db))
    power = power / (1 + power / ceiling)
    wide = PointSpread(
        psf.axial_mm * draw.uniform(config.widen_axial), psf.angular_rad * draw.uniform(config.widen_lateral)
    )
    return Haze(power, wide)


def haze_level(power: Tensor, clean: Tensor, anatomy: Anatomy) -> Tensor:
    """(B,) total haze level in dB: mean haze power in the LV re mean clean power in the myocardium; -120 for none."""
    return power_to_db(region_mean(power, anatomy.lv > 0) / reference_power(clean, anatomy)).flatten()


def region_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of (B, R, T) within a mask, (B, 1, 1); over everything in frames where the mask is empty."""
    weight = torch.where(mask.any(2).any(1)[:, None, None], mask, torch.ones_like(mask)).to(values.dtype)
    return (values * weight).sum((1, 2), keepdim=True) / weight.sum((1, 2), keepdim=True)


def reference_power(clean: Tensor, anatomy: Anatomy) -> Tensor:
    """Mean clean power in the myocardium (B, 1, 1); in the whole frame where there is none."""
    return region_mean(clean, (anatomy.myocardium > 0) & (anatomy.along < 0.9)).clamp_min(1e-6)


@dataclass(frozen=True)
class Artefacts:
    """taps: (B, R, 1) complex amplitudes of the axial copies, decay: their expected power; lobes: (B, 1, 1) power of
    the side lobes, tail: their point spread."""

    taps: Tensor
    decay: Tensor
    lobes: Tensor
    tail: PointSpread


def draw_artefacts(draw: Draw, grid: Grid, config: HazeConfig) -> Artefacts:
    """Reverberation: delayed axial copies of random phase, exponential, mean 5 mm. Side lobes: a wide angular tail."""
    rows = grid.x.shape[1]
    delay = torch.arange(rows, device=draw.device)[None, :, None] * grid.mm_per_sample
    decay = torch.exp(-delay / config.reverberation_mm) * (delay > 1.0)
    decay = decay / decay.sum(1, keepdim=True).clamp_min(1e-9) * db_to_power(draw.uniform(config.reverberation_db))
    tail = PointSpread(grid.mm_per_sample, torch.deg2rad(draw.uniform(config.side_lobe_deg)))
    taps = torch.sqrt(decay) * draw.complex_normal(rows, 1)
    return Artefacts(taps, decay, db_to_power(draw.uniform(config.side_lobe_db)), tail)


def artefacts(
    parts: Artefacts, tissue: Tensor, scatterers: Tensor, power: Tensor, grid: Grid, smooth: float
) -> tuple[Tensor, Tensor]:
    """Reverberation of `tissue` (complex echo) plus side lobes of `scatterers` (complex, before the point spread),
    and the expected power of both together, given the tissue's."""
    echo = _axial(tissue, parts.taps)
    echo_power = _axial(power.to(tissue.dtype), parts.decay.to(tissue.dtype)).real.clamp_min(0)
    lobes = speckle(scatterers, parts.tail, grid, smooth) * torch.sqrt(parts.lobes)
    return echo + lobes, echo_power + mean_power(power, parts.tail, grid) * parts.lobes


def _axial(field: Tensor, taps: Tensor) -> Tensor:
    """Causal convolution along the beam, by FFT with zero padding."""
    n = 2 * field.shape[1]
    return torch.fft.ifft(torch.fft.fft(field, n, dim=1) * torch.fft.fft(taps, n, dim=1), dim=1)[:, : field.shape[1]]


def draw_thermal_noise(draw: Draw, grid: Grid, level_db: Tensor, psf: PointSpread) -> Tensor:
    """Receiver noise of the given power (B, R, 1): white across beams, filtered along them."""
    white = draw.complex_normal(*grid.x.shape[1:])
    axial, _ = psf.sigmas(grid)
    none = torch.full_like(axial, 0.35)
    return blur(white, axial, none) * torch.sqrt(4 * math.pi * axial * none) * torch.sqrt(db_to_power(level_db))


def draw_thermal_level(draw: Draw, grid: Grid, config: EchoConfig) -> Tensor:
    """(B, R, 1) dB re myocardium: grows with depth as the compensation lifts it."""
    depth = grid.r / grid.depth_mm
    return draw.uniform(config.noise_db) - draw.uniform(config.noise_growth_db) * (1 - depth)
