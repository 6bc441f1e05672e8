"""Where the tissue is: an apical four-chamber heart of irregular shape, or something that is no such heart.

Lengths in mm, levels in dB re myocardium. LV: truncated ellipsoid with a thick wall (Rabben et al. 2003), here drawn
as a bullet in its own long-axis coordinates and then bent by smooth warps, since no real contour is an ellipse.
Everything is defined at end diastole; a later moment is the same drawing looked up through `motion.material`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from training.phantom.config import AnatomyConfig, EchoConfig
from training.phantom.draw import Draw, Grid, sigmoid_step
from training.phantom.motion import Heart

NOWHERE = -100.0  # signed distance of a thing that is absent, mm


@dataclass(frozen=True)
class Anatomy:
    """tissue_db: (B, R, T) backscatter re myocardium, blood and surroundings included.
    could_be_db: (B, R, T) what ordinary tissue would send back here: the level against which haze buries things.
    blood: (B, R, T) share of blood in what is there, 0-1.
    lv, myocardium, rv, la, ra: (B, R, T) signed distances in mm at end diastole, positive inside.
    along: (B, R, T) position along the LV's long axis, 0 at the apex, 1 at the annulus.
    across: (B, R, T) position across it in mm, negative on the side of the septum.
    textbook: (B,) bool, true where the frame is an A4C with all its chambers.
    """

    tissue_db: Tensor
    could_be_db: Tensor
    blood: Tensor
    lv: Tensor
    myocardium: Tensor
    rv: Tensor
    la: Tensor
    ra: Tensor
    along: Tensor
    across: Tensor
    textbook: Tensor


def _bullet(along: Tensor, across: Tensor, length: Tensor, half_width: Tensor, knee: float, base: Tensor) -> Tensor:
    """Signed distance (mm, approximate) of a bullet: round apex at along = 0, cut flat at along = 1."""
    s = along.clamp(0, 1)
    rise = torch.sqrt((1 - (1 - (s / knee).clamp(0, 1)) ** 2).clamp_min(1e-6))
    fall = 1 - (1 - base) * ((s - knee) / (1 - knee)).clamp(0, 1) ** 2
    side = half_width * rise * fall - across.abs()
    return torch.minimum(side, torch.minimum(along, 1 - along) * length)


def _ellipse(x: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Signed distance (mm, approximate) of an ellipse around the origin."""
    return (1 - torch.sqrt((x / a) ** 2 + (y / b) ** 2 + 1e-9)) * torch.minimum(a, b)


def _warped(draw: Draw, grid: Grid, heart: Heart, config: AnatomyConfig) -> tuple[Tensor, Tensor]:
    """Positions (mm) after a smooth elastic warp in four octaves, mirrored in some frames."""
    size = draw.uniform(config.contour_mm)
    octaves = ((4, 1.0), (9, 0.5), (20, 0.25), (36, 0.14))
    shift = [sum(size * share * draw.smooth(knots, grid) for knots, share in octaves) for _ in "xy"]
    return (grid.x + shift[0]) * heart.sign, grid.y + shift[1]


def _choose(absent: Tensor, distance: Tensor) -> Tensor:
    return torch.where(absent, torch.full_like(distance, NOWHERE), distance)


def draw_anatomy(
    draw: Draw, grid: Grid, rest: Grid, heart: Heart, opening: Tensor, config: AnatomyConfig, echo: EchoConfig
) -> Anatomy:
    """Tissue levels and masks of a batch of frames.

    grid: the places.  rest: the same grid with x and y where its tissue lay at end diastole.  opening: (B, 1, 1) of
    the valves, see `motion.opening`.
    """
    x, y = _warped(draw, rest, heart, config)
    cos, sin = torch.cos(heart.tilt), torch.sin(heart.tilt)
    dx, dy = x - heart.apex_x, y - heart.apex_y
    down, across = dx * sin + dy * cos, dx * cos - dy * sin  # long-axis coordinates, mm; RV at negative across
    along = down / heart.length
    base = draw.uniform((0.65, 0.95))
    lv = _bullet(along, across, heart.length, heart.half_width, draw.scalar((0.45, 0.7)), base)
    outer_along = (down + heart.wall * draw.uniform((0.6, 1.0))) / (heart.length + heart.wall)
    outer = _bullet(outer_along, across, heart.length + heart.wall, heart.half_width + heart.wall, 0.6, base)
    outer = outer + heart.wall * draw.uniform((0.0, 0.35)) * draw.smooth(5, rest)  # no wall is equally thick all along
    outer = torch.maximum(outer, lv + 2.0)

    rv_half = draw.uniform((9.0, 20.0))
    rv_at = -(heart.half_width * base + heart.wall + rv_half)
    rv_top = draw.uniform((0.05, 0.35))
    lean = (1 - along.clamp(0, 1)) * draw.uniform((0.2, 0.9)) * heart.half_width
    rv_length = heart.length * (1 - rv_top)
    rv = _bullet((along - rv_top) / (1 - rv_top), across - rv_at - lean, rv_length, rv_half, 0.7, base)
    rv_wall = rv + draw.uniform((2.5, 5.0))

    low = down - heart.length
    la_half, la_high = heart.half_width * draw.uniform((0.7, 1.15)), draw.uniform((14.0, 28.0))
    la = _ellipse(across - draw.uniform((-4.0, 4.0)), low - la_high - 1.5, la_half, la_high)
    ra_half, ra_high = rv_half * draw.uniform((0.9, 1.4)), draw.uniform((13.0, 26.0))
    ra = _ellipse(across - rv_at, low - ra_high - 1.5, ra_half, ra_high)
    ra = torch.minimum(ra, -(la + 2.0))  # the atrial septum stays between them

    kind = draw.uniform((0.0, 1.0))
    edges = torch.tensor([config.empty, config.level_sets, config.single_chamber, config.two_chamber]).cumsum(0)
    empty, free = kind < edges[0], (kind >= edges[0]) & (kind < edges[1])
    single, two = (kind >= edges[1]) & (kind < edges[2]), (kind >= edges[2]) & (kind < edges[3])
    blobs = (draw.smooth(5, rest) - draw.uniform((0.2, 1.0))) * 9.0
    lv = torch.where(free, blobs, _choose(empty, lv))
    outer = torch.where(free, blobs + heart.wall, _choose(empty, outer))
    rv, la, ra = (
        _choose(empty | free | single | two, rv),
        _choose(empty | free | single, la),
        _choose(empty | free | single | two, ra),
    )
    rv = torch.minimum(rv, -outer)
    rv_wall = torch.where(rv.amax((1, 2), keepdim=True) > 0, rv_wall, NOWHERE)

    body = _Body(x, y, along, across, down, lv, outer, rv, rv_wall, la, ra, opening)
    surroundings = _surroundings(draw, grid, rest, echo)
    tissue, blood = _paint(draw, grid, rest, heart, body, surroundings, echo, config)
    tissue = torch.where(empty, _empty_scene(draw, rest, surroundings), tissue)
    tissue = _near_field(draw, grid, tissue)
    could_be = torch.zeros_like(tissue)  # myocardium: the ordinary tissue that a chamber is told from
    muscle = torch.minimum(outer, -lv)
    textbook = ~(empty | free | single | two).flatten()
    return Anatomy(tissue, could_be, blood * ~empty, lv, muscle, rv, la, ra, along, across, textbook)


@dataclass(frozen=True)
class _Body:
    x: Tensor
    y: Tensor
    along: Tensor
    across: Tensor
    down: Tensor
    lv: Tensor
    outer: Tensor
    rv: Tensor
    rv_wall: Tensor
    la: Tensor
    ra: Tensor
    opening: Tensor


def _surroundings(draw: Draw, grid: Grid, rest: Grid, echo: EchoConfig) -> Tensor:
    """Tissue around the heart: cloudy, with arcs along equal range (ribs, pleura), brighter in places and depths."""
    texture = draw.smooth(3, rest) + 0.7 * draw.smooth(7, rest) + 0.4 * draw.smooth(30, rest)
    arcs = draw.arcs(24, 5, grid) * draw.uniform(echo.arcs_db)
    level = draw.uniform(echo.surroundings_db) + texture * draw.uniform(echo.surroundings_texture_db) + arcs
    deep = grid.depth_mm * draw.uniform((0.6, 1.0))
    level = level + draw.uniform((0.0, 10.0)) * sigmoid_step(grid.y - deep, 6.0)
    beside = grid.half_angle * draw.uniform((-1.0, 1.0))  # lung or fat on one side
    edge = (grid.theta - beside) * beside.sign() / grid.half_angle
    return level + draw.uniform((-6.0, 7.0)) * sigmoid_step(edge, 0.1)


def _across_beam(grid: Grid, distance: Tensor) -> Tensor:
    """How far a wall lies across the beam, 0 (along it, where it fades) to 1: squared cosine between the beam and
    the normal of the surface whose signed distance (B, R, T) is given."""
    down = torch.gradient(distance, dim=1)[0] / grid.mm_per_sample
    along = torch.gradient(distance, dim=2)[0] / (grid.rad_per_beam * grid.r.clamp_min(5.0))
    return down**2 / (down**2 + along**2 + 1e-6)


def _paint(
    draw: Draw,
    grid: Grid,
    rest: Grid,
    heart: Heart,
    body: _Body,
    surroundings: Tensor,
    echo: EchoConfig,
    config: AnatomyConfig,
) -> tuple[Tensor, Tensor]:
    """Levels in dB re myocardium, painted from the outside in, and the share of blood."""
    edge = 0.6  # mm
    level = surroundings
    facing = _across_beam(grid, body.outer)
    # Pericardium: a bright line outside the muscle that comes and goes
    gate = sigmoid_step(draw.smooth(6, rest) + draw.uniform((-0.6, 0.8)), 0.4) * (0.4 + 0.6 * facing)
    for shape in (body.outer, torch.maximum(body.la, body.ra), body.rv_wall):
        line = torch.exp(-(((shape + 1.2) / draw.uniform((0.9, 3.0))) ** 2))
        level = level + line * gate * (draw.uniform(echo.bright_db) - level).clamp_min(0)
    wall = _wall(draw, rest, body, facing, echo, config)
    for shape, offset in ((body.rv_wall, draw.uniform((-8.0, 3.0))), (body.outer, torch.zeros_like(heart.wall))):
        inside = sigmoid_step(shape, edge)
        level = level * (1 - inside) + (wall + offset) * inside
    fluid = draw.uniform(echo.blood_db) + draw.smooth(6, rest)
    septum = torch.exp(-(((torch.minimum(body.la, body.ra) + 1.0) / 1.6) ** 2)) * sigmoid_step(body.down - heart.length)
    level = torch.maximum(level, draw.uniform((-8.0, 10.0)) * septum - 60 * (1 - septum))
    blood = torch.zeros_like(level)
    for chamber in (body.rv, body.la, body.ra, body.lv):
        inside = sigmoid_step(chamber, edge)
        level = level * (1 - inside) + fluid * inside
        blood = torch.maximum(blood, inside)
    level = _papillary(draw, rest, body, level, wall)
    level = _valves(draw, heart, body, level, echo)
    return level, blood * sigmoid_step(fluid + 6.0 - level, 2.0)  # what rises out of the blood is tissue


def _wall(draw: Draw, rest: Grid, body: _Body, facing: Tensor, echo: EchoConfig, config: AnatomyConfig) -> Tensor:
    """Level of the muscle: mottled, septum brighter than the lateral wall, fading where it runs along the beam, in
    some frames gone over part of its length."""
    muscle = draw.smooth(8, rest) + 0.5 * draw.smooth(22, rest) + 0.4 * draw.smooth(36, rest)
    muscle = muscle * draw.uniform(echo.myocardium_texture_db)
    side = sigmoid_step(body.across, 6.0)
    muscle = muscle + side * draw.uniform(echo.lateral_wall_db) + (1 - side) * draw.uniform(echo.septum_db)
    muscle = muscle - (1 - facing) * side * draw.uniform(echo.along_beam_db)
    fade = (draw.smooth(4, rest) - 0.3).clamp_min(0) * draw.uniform((8.0, 26.0))
    return muscle - torch.where(draw.chance(config.missing_wall), fade, torch.zeros_like(fade))


def _papillary(draw: Draw, rest: Grid, body: _Body, level: Tensor, wall: Tensor) -> Tensor:
    """Papillary muscle and trabeculation: ragged tissue along the inside of the LV wall."""
    near_wall = torch.exp(-((body.lv / draw.uniform((1.5, 5.0))) ** 2))
    ragged = sigmoid_step(draw.smooth(26, rest) - draw.uniform((0.5, 2.0)), 0.2)
    part = near_wall * ragged * (body.lv > 0) * (body.along < 0.75)
    return torch.maximum(level, wall - draw.uniform((0.0, 6.0)) - 60 * (1 - part))


def _valves(draw: Draw, heart: Heart, body: _Body, level: Tensor, echo: EchoConfig) -> Tensor:
    """Two leaflets at each annulus, hinged at its ends, with uneven brightness."""
    opening = body.opening * draw.uniform((0.8, 1.2))
    for chamber, centre, half in (
        (body.lv, torch.zeros_like(heart.wall), heart.half_width * 0.8),
        (body.rv, -(heart.half_width + heart.wall + 14.0), torch.full_like(heart.wall, 12.0)),
    ):
        present = chamber.amax((1, 2), keepdim=True) > 0
        for side in (-1.0, 1.0):
            inward = (half - side * (body.across - centre)) / half  # 0 at the hinge, 1 at the middle
            lift = opening * half * 0.8 * torch.sin(inward.clamp(0, 1) * 1.57) * draw.uniform((0.7, 1.2))
            offset = body.down - (heart.length - lift)
            length = sigmoid_step(inward, 0.03) * sigmoid_step(1.0 - 0.35 * opening.clamp_min(0) - inward, 0.04)
            line = torch.exp(-((offset / draw.uniform((0.7, 1.5))) ** 2)) * length * present
            level = torch.maximum(level, draw.uniform(echo.bright_db) - 5.0 - 60 * (1 - line))
    return level


def _empty_scene(draw: Draw, rest: Grid, surroundings: Tensor) -> Tensor:
    """No chamber: texture alone, sometimes with bright layers and echo-poor bands, as lung or liver show them."""
    flat = draw.chance(0.5)
    layers = torch.sin(rest.y / draw.uniform((3.0, 15.0)) + 2.0 * draw.smooth(4, rest)) * draw.uniform((0.0, 8.0))
    uniform = draw.smooth(3, rest) * draw.uniform((0.0, 2.0)) + draw.uniform((-6.0, 4.0))
    return torch.where(flat, uniform, surroundings + torch.where(draw.chance(0.5), layers, torch.zeros_like(layers)))


def _near_field(draw: Draw, grid: Grid, level: Tensor) -> Tensor:
    """The chest wall under the probe: bright layers that end within 4 to 20 mm."""
    end = draw.uniform((4.0, 20.0))
    layers = torch.sin(grid.r / draw.uniform((0.7, 2.5)) + draw.smooth(4, grid)) * draw.uniform((0.0, 5.0))
    bright = draw.uniform((-4.0, 10.0)) + layers
    return torch.maximum(level, bright - 60 * sigmoid_step(grid.r - end - 2 * draw.smooth(8, grid), 1.5))


def uniform_anatomy(grid: Grid) -> Anatomy:
    """Nothing but tissue of one level: what a denoiser must leave alone."""
    flat = torch.zeros_like(grid.x)
    nowhere = torch.full_like(grid.x, NOWHERE)
    textbook = torch.zeros(len(flat), dtype=torch.bool, device=flat.device)
    return Anatomy(flat, flat, flat, nowhere, nowhere, nowhere, nowhere, nowhere, flat, flat, textbook)
