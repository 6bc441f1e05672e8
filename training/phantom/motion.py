"""How the heart moves: a beat, and where each piece of tissue was at end diastole.

A backward map: `material(heart, x, y, squeeze)` tells for every place of a frame where its tissue lay at end
diastole, when `squeeze` was 0. Tissue, masks and scatterers are defined at end diastole and looked up through it, so
that they move together. In the LV's long-axis coordinates (shape: Rabben et al. 2003, sizes: Lang et al. 2015):
    length     L(t) = L (1 - shortening squeeze); the annulus descends towards the apex, which stays
    half width W(t) from the volume, W(t)^2 L(t) = W^2 L (1 - EF squeeze)
    wall       incompressible: (rho_ref^2 - W^2) L = (rho^2 - W(t)^2) L(t), so that it thickens as its volume demands
Outside the outer wall the motion fades within a few centimetres. Lengths in mm.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.phantom.config import AnatomyConfig, MotionConfig
from training.phantom.draw import Draw

ATRIA_MM = 55.0  # below the annulus: over this length its descent fades out
FADE_MM = 18.0  # outside the wall
RV_MM = 42.0  # from the LV's outer wall to the far side of the RV
_KNEE, _BASE = 0.55, 0.82  # of the kinematic profile: where the apex has reached full width, width of the annulus


@dataclass(frozen=True)
class Heart:
    """A batch of hearts at end diastole, and how far they move. (B, 1, 1) each; mm, rad, shares of 1."""

    half_width: Tensor
    length: Tensor
    wall: Tensor
    apex_x: Tensor
    apex_y: Tensor
    tilt: Tensor
    sign: Tensor  # -1 where mirrored, else 1
    ejection: Tensor  # ejection fraction
    shortening: Tensor  # of the length, at end systole
    rv_inward_mm: Tensor  # of the RV's free wall, at end systole
    weak_at: Tensor  # regional hypokinesia: centre along the long axis,
    weak_side: Tensor  # and on which side of it (-1 septal, 1 lateral),
    weak: Tensor  # and what share of the inward motion is lost there
    systole: Tensor  # share of the beat
    beat_ms: Tensor


def draw_heart(draw: Draw, anatomy: AnatomyConfig, motion: MotionConfig) -> Heart:
    """Hearts of random size, place and vigour."""
    beat = 60_000 / draw.uniform(motion.heart_rate)
    # Systole takes 0.30 s at any rate, roughly: a share that grows with the rate
    systole = (draw.uniform(motion.systole_ms) / beat).clamp(0.25, 0.5)
    return Heart(
        half_width=draw.uniform(anatomy.width_ed_mm) / 2,
        length=draw.uniform(anatomy.length_ed_mm) * (1 - draw.uniform(anatomy.foreshortening)),
        wall=draw.uniform(anatomy.wall_mm),
        apex_x=draw.uniform(anatomy.apex_offset_mm),
        apex_y=draw.uniform(anatomy.apex_depth_mm),
        tilt=torch.deg2rad(draw.uniform(anatomy.tilt_deg)),
        sign=torch.where(draw.chance(anatomy.mirrored), -1.0, 1.0),
        ejection=draw.uniform(anatomy.ejection_fraction),
        shortening=draw.uniform(anatomy.shortening),
        rv_inward_mm=draw.uniform(motion.rv_inward_mm),
        weak_at=draw.uniform((0.1, 0.8)),
        weak_side=torch.where(draw.chance(0.5), -1.0, 1.0),
        weak=draw.chance(motion.hypokinesia) * draw.uniform((0.3, 1.0)),
        systole=systole,
        beat_ms=beat,
    )


def squeeze(heart: Heart, phase: Tensor) -> Tensor:
    """How far the heart has contracted, 0 at end diastole to 1 at end systole, at `phase` of the beat (any real
    number, whole beats repeat; both (B, 1, 1)): ejection, fast filling, diastasis, atrial kick."""
    end = heart.systole
    fast = end + 0.06 + 0.35 * (0.94 - end)
    return _through(phase % 1.0, [0.0 * end, end, end + 0.06, fast, 0.0 * end + 0.86, 0.0 * end + 1], _SQUEEZE)


def opening(heart: Heart, phase: Tensor) -> Tensor:
    """Of the atrioventricular valves at `phase`: -0.2 closed (domed towards the atria) to about 1 open; (B, 1, 1)."""
    end = heart.systole
    early = end + 0.06 + 0.12 * (0.94 - end)
    later = end + 0.06 + 0.45 * (0.94 - end)
    knots = [0.0 * end, end + 0.04, early, later, 0.0 * end + 0.90, 0.0 * end + 1]
    return _through(phase % 1.0, knots, _OPENING)


_SQUEEZE = (0.0, 1.0, 0.97, 0.27, 0.2, 0.0)
_OPENING = (-0.2, -0.2, 1.0, 0.4, 0.8, -0.2)


def _through(u: Tensor, knots: list[Tensor], values: tuple[float, ...]) -> Tensor:
    """A smooth curve through (knots, values), level at every knot."""
    out = torch.full_like(u, values[0])
    for left, right, a, b in zip(knots, knots[1:], values, values[1:], strict=False):
        z = ((u - left) / (right - left).clamp_min(1e-3)).clamp(0, 1)
        out = torch.where(u >= left, a + (b - a) * z * z * (3 - 2 * z), out)
    return out


def _profile(along: Tensor) -> Tensor:
    """Half width of the ventricle re its largest, at 0 (apex) to 1 (annulus) of its length."""
    s = along.clamp(0, 1)
    rise = torch.sqrt((1 - (1 - (s / _KNEE).clamp(0, 1)) ** 2).clamp_min(1e-6))
    return rise * (1 - (1 - _BASE) * ((s - _KNEE) / (1 - _KNEE)).clamp(0, 1) ** 2)


def _fade(z: Tensor) -> Tensor:
    """1 to 0 for z from 0 to 1, level at both ends."""
    z = z.clamp(0, 1)
    return 1 - z * z * (3 - 2 * z)


def _down_at_rest(heart: Heart, down: Tensor, across: Tensor, squeezed: Tensor) -> Tensor:
    """Position along the long axis at end diastole, of what is `down` now."""
    shorter = 1 - heart.shortening * squeezed
    annulus = heart.length * shorter
    descent = heart.length - annulus
    moved = torch.where(
        down < annulus, down.clamp_min(0) * (1 / shorter - 1), descent * _fade((down - annulus) / ATRIA_MM)
    )
    reach = heart.half_width + heart.wall + torch.where(across < 0, RV_MM, 4.0)
    beside = torch.exp(-(((across.abs() - reach).clamp_min(0) / 25.0) ** 2))
    return down + moved * beside


def _across_at_rest(heart: Heart, down_rest: Tensor, across: Tensor, squeezed: Tensor) -> Tensor:
    """Position across the long axis at end diastole. See the head of this file for the wall."""
    along = down_rest / heart.length
    shorter = 1 - heart.shortening * squeezed
    narrower = torch.sqrt((1 - heart.ejection * squeezed) / shorter)
    lame = heart.weak * torch.exp(-(((along - heart.weak_at) / 0.25) ** 2)) * (across * heart.weak_side > 0)
    narrower = 1 - (1 - narrower) * (1 - lame)
    profile = _profile(along) * _fade((down_rest - heart.length) / ATRIA_MM)
    rest = (heart.half_width * profile).clamp_min(1e-3)
    now = rest * narrower
    rho = across.abs()
    shell = torch.sqrt((rest**2 + (rho**2 - now**2) * shorter).clamp_min(1e-6))
    outer_rest = rest + heart.wall
    outer_now = torch.sqrt(now**2 + (outer_rest**2 - rest**2) / shorter)
    beyond = rho + (outer_rest - outer_now) * torch.exp(-(rho - outer_now).clamp_min(0) / FADE_MM)
    out = torch.where(rho < now, rho / narrower, torch.where(rho < outer_now, shell, beyond)) * across.sign()
    # The RV's free wall moves in; the LV does not
    free_wall = -(heart.half_width + heart.wall + 0.6 * RV_MM)
    window = torch.exp(-(((across - free_wall) / 12.0) ** 2)) * _fade((along - 1).clamp_min(0) / 0.4) * (along > 0)
    window = window * (along / 0.2).clamp(0, 1)
    return out - heart.rv_inward_mm * squeezed * window


def material(heart: Heart, x: Tensor, y: Tensor, squeezed: Tensor) -> tuple[Tensor, Tensor]:
    """Where the tissue that is at (x, y) now lay at end diastole: mm, broadcast to (B, H, W).

    squeezed: (B, 1, 1), 0-1, see `squeeze`. 0 gives back x and y.
    """
    cos, sin = torch.cos(heart.tilt), torch.sin(heart.tilt)
    dx, dy = x * heart.sign - heart.apex_x, y - heart.apex_y
    down, across = dx * sin + dy * cos, dx * cos - dy * sin
    down_rest = _down_at_rest(heart, down, across, squeezed)
    across_rest = _across_at_rest(heart, down_rest, across, squeezed)
    x_rest = heart.apex_x + down_rest * sin + across_rest * cos
    return x_rest * heart.sign, heart.apex_y + down_rest * cos - across_rest * sin


def displacement(heart: Heart, x: Tensor, y: Tensor, now: Tensor, then: Tensor) -> tuple[Tensor, Tensor]:
    """How far (mm, x and y) the tissue at (x, y) moves while the squeeze goes from `now` to `then`.

    Solves material(x + u, then) = material(x, now) for u by damped fixed-point steps, whose error falls to a third
    or less each time.
    """
    rest_x, rest_y = material(heart, x, y, now)
    new_x, new_y = x.expand_as(rest_x).clone(), y.expand_as(rest_y).clone()
    for _ in range(12):
        back_x, back_y = material(heart, new_x, new_y, then)
        new_x = new_x + 0.7 * (rest_x - back_x)
        new_y = new_y + 0.7 * (rest_y - back_y)
    return new_x - x, new_y - y
