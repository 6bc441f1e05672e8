"""The left ventricle's own long axis, from the shape of its mask.

The base is the flat, wide end closed by the annulus line, the apex the narrow one. Which end is which is decided by,
in this order: the sector, since in an apical view the apex lies nearer the probe, wherever one end lies clearly
nearer (an apical view tilts the heart by far less than that); the shape, wherever one end is clearly narrower; and
else the top of the sector or, without one, of the picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from echoq_models.errors import RegionError

Mask = NDArray[np.bool_]
Point = tuple[float, float]
Floats = NDArray[np.float64]
CLEARLY_NEARER = 0.25  # of the ventricle's length: how much nearer the probe an end lies to be the apex by that alone
CLEARLY_NARROWER = 0.05  # how much of the pixels at both ends one end lacks to be the apex by its shape
END = 0.2  # of the length: the stretch at an end whose pixels tell how wide it is
TIP = 0.04  # of the length: the stretch whose middle is the apex
STRIP = 0.1  # of the width: the strip along the axis whose last pixel is the base
ROUND = 1.2  # a ventricle shorter than this times its width takes the beam for its axis at first
TURNS = 3  # times that the axis is laid anew from the apex to the middle of the annulus
TINY = 1e-6  # pixels; ties are broken the same way in every direction


def long_axis(mask: Mask, sector: Mask | None = None) -> tuple[Point, Point]:
    """Apex and base, x and y in pixels, of a left ventricle `mask` bool (H, W) of square pixels.

    Both lie on the mask's border. The base is where the axis, from the apex to the middle of the annulus, leaves
    the mask.  sector: bool (H, W) of the ultrasound picture, where known. Raises RegionError for an empty mask.
    """
    apex, base = axis_of(mask, None if sector is None else probe_of(sector))
    return (float(apex[0]), float(apex[1])), (float(base[0]), float(base[1]))


def probe_of(sector: Mask) -> Floats | None:
    """x, y of the sector's top, where the probe stands; None for an empty sector."""
    rows = np.flatnonzero(sector.any(axis=1))
    return np.array([np.flatnonzero(sector[rows[0]]).mean(), float(rows[0])]) if rows.size else None


def axis_of(mask: Mask, probe: Floats | None) -> tuple[Floats, Floats]:
    """Apex and base as `long_axis` gives them, with the probe's place x, y."""
    points = _places(mask)
    if not len(points):
        raise RegionError("There is no left ventricle in this frame.")
    middle = points.mean(axis=0)
    axis = _down(points, middle, _first(points - middle, middle, probe), probe)
    border = _places(mask & ~_inner(mask))  # far fewer, and all that the ends depend on
    for _ in range(TURNS):
        apex, annulus = _ends(border, middle, axis)
        axis = _unit(annulus - apex, axis)
    along, aside = (border - apex) @ axis, (border - apex) @ _across(axis)
    near = np.abs(aside) <= max(0.5, STRIP * float(np.ptp(aside)) / 2) + TINY
    # Half a pixel more at both ends: the border runs outside the outermost centres.
    low, high = float(along.min()) - 0.5, float(along[near].max()) + 0.5
    return apex + low * axis, apex + high * axis


def _places(mask: Mask) -> Floats:
    y, x = np.nonzero(mask)
    return np.stack([x, y], axis=1).astype(np.float64)


def _inner(mask: Mask) -> Mask:
    """The pixels whose four neighbours belong to the mask too."""
    out = np.zeros_like(mask)
    out[1:-1, 1:-1] = mask[1:-1, :-2] & mask[1:-1, 2:] & mask[:-2, 1:-1] & mask[2:, 1:-1]
    return out


def _across(axis: Floats) -> Floats:
    return np.array([-axis[1], axis[0]])


def _unit(vector: Floats, otherwise: Floats) -> Floats:
    length = float(np.hypot(*vector))
    return vector / length if length > TINY else otherwise


def _first(centred: Floats, middle: Floats, probe: Floats | None) -> Floats:
    """The direction in which the mask is longest; for a round one that of the beam, where the probe is known."""
    xx, yy, xy = (centred[:, 0] ** 2).mean(), (centred[:, 1] ** 2).mean(), centred.prod(axis=1).mean()
    spread = float(np.hypot(xx - yy, 2.0 * xy))
    if probe is not None and xx + yy + spread < ROUND**2 * (xx + yy - spread):
        return _unit(middle - probe, np.array([0.0, 1.0]))
    angle = 0.5 * np.arctan2(2.0 * xy, xx - yy)
    return np.array([np.cos(angle), np.sin(angle)])


def _down(points: Floats, middle: Floats, axis: Floats, probe: Floats | None) -> Floats:
    """`axis`, turned round if need be so that it leads from the apex to the base."""
    along = (points - middle) @ axis
    low, high = float(along.min()), float(along.max())
    length = high - low
    start, end = middle + low * axis, middle + high * axis
    nearer = 0.0 if probe is None else float(np.hypot(*(end - probe)) - np.hypot(*(start - probe)))
    at_start = np.count_nonzero(along < low + END * length + TINY)
    at_end = np.count_nonzero(along > high - END * length - TINY)
    narrower = (at_end - at_start) / (at_end + at_start)
    if abs(nearer) > CLEARLY_NEARER * length:
        return axis if nearer > 0 else -axis
    if abs(narrower) > CLEARLY_NARROWER:
        return axis if narrower > 0 else -axis
    if probe is not None:
        return axis if nearer >= 0 else -axis
    return axis if axis[1] >= 0 else -axis


def _ends(points: Floats, middle: Floats, axis: Floats) -> tuple[Floats, Floats]:
    """The apex, in the middle of the narrow end, and the middle of the annulus, between the base's two corners."""
    across = _across(axis)
    along, aside = (points - middle) @ axis, (points - middle) @ across
    low, length = float(along.min()), float(np.ptp(along))
    tip = along <= low + TIP * length + TINY
    apex = middle + low * axis + float(aside[tip].mean()) * across
    corners = []
    for side in (1.0, -1.0):
        reach = along + side * aside  # farthest at a corner, whichever way the annulus is tilted up to 45 degrees
        corners.append(points[reach >= reach.max() - 1e-3].mean(axis=0))
    return apex, (corners[0] + corners[1]) / 2.0
