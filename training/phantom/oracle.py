"""The gain that a denoiser should learn, known only to the phantom.

Pc, Ph: expected clean and haze power; Pt: the power that tissue would return at that place.
    g = Pc / (Pc + Ph)                                        Wiener's gain for power
    c = smoothstep of 10 log10(Ph / Pt) from +6 dB to 0 dB    1 where tissue would outshine the haze
    gain in dB = max(10 c log10 g, -25), never above 0
Where the haze buries what could be there (c = 0) the gain is 0 dB: nothing is known, nothing is changed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.phantom.config import OracleConfig
from training.phantom.draw import Grid, power_to_db
from training.phantom.physics import FWHM_TO_SIGMA, blur


def oracle_gain(clean: Tensor, haze: Tensor, tissue: Tensor, grid: Grid, config: OracleConfig) -> tuple[Tensor, Tensor]:
    """(gain in dB <= 0, confidence 0-1), each (B, R, T), from powers (B, R, T) smoothed to the scale of the gain."""
    axial = torch.full_like(grid.depth_mm, config.smooth_axial_mm) * FWHM_TO_SIGMA / grid.mm_per_sample
    angular = torch.full_like(grid.depth_mm, config.smooth_angular_deg).deg2rad() * FWHM_TO_SIGMA / grid.rad_per_beam
    pc, ph, pt = (blur(p, axial, angular).clamp_min(1e-9) for p in (clean, haze, tissue))
    x = ((config.buried_db - power_to_db(ph / pt)) / (config.buried_db - config.visible_db)).clamp(0, 1)
    confidence = x * x * (3 - 2 * x)
    gain = (confidence * power_to_db(pc / (pc + ph))).clamp(config.floor_db, 0.0)
    return gain, confidence
