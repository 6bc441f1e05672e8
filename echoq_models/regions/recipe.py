"""The two measured regions from a mask of the whole left ventricle.

As in the paper: the measured left ventricle is the mask shrunk, without its lower part towards the mitral plane; the
measured myocardium is the mask enlarged minus the original, inside the sector. "Lower" is meant along the ventricle's
own long axis (`axis`), so a tilted or mirrored heart gets tilted or mirrored regions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from echoq_models.errors import RegionError
from echoq_models.regions.axis import TINY, axis_of, probe_of
from echoq_models.regions.contour import Contour
from echoq_models.regions.raster import Polygon
from echoq_models.regions.regions import FrameRegions

if TYPE_CHECKING:
    from echoq_models.cine.sector import Spacing

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]
SLIVER = 12  # pixels; what is left of a half band beside the axis and has fewer is dropped
TIE = 1e-4  # of a smoothed mask's level: a border half way counts as inside, whichever way a heart is turned


@dataclass(frozen=True)
class RecipeSettings:
    """How the measured regions are made. Shares are parts of the ventricle's length from apex to base, 0-1.

    ease_mm: the ventricle's border is smoothed over this distance first (standard deviation): a network's is rougher
    than any wall.
    shrink_mm: the measured left ventricle keeps this far from the ventricle's border.
    base_share: the part at the base that the measured left ventricle leaves out.
    gap_mm: the myocardium begins this far outside the border, which no tracing hits exactly.
    enlarge_mm: it ends this far outside the border.
    mitral_share: the part at the base beside which there is no myocardium, nor beyond it, where the mitral valve and
    the left atrium are; None keeps the whole ring.
    edge_mm: no region comes nearer to the sector's edge, where the picture fades to black, than this.
    typical_mm: square root of a ventricle's area that stands in for the pixel size where that is not known, so that
    every distance is then a share of the ventricle's own size.
    least_pixels: a ventricle or a measured region with fewer pixels is refused.
    """

    ease_mm: float = 2.5
    shrink_mm: float = 3.0
    base_share: float = 0.3
    gap_mm: float = 1.5
    enlarge_mm: float = 8.0
    mitral_share: float | None = 0.15
    edge_mm: float = 1.5
    typical_mm: float = 50.0
    least_pixels: int = 40


DEFAULT = RecipeSettings()
PAPER = RecipeSettings(ease_mm=0.0, gap_mm=0.0, mitral_share=None, edge_mm=0.0)
PRESETS = {"default": DEFAULT, "paper": PAPER}


@dataclass(frozen=True)
class _Made:
    """Both regions in a box around the ventricle: the left ventricle's mask, and one of each piece of myocardium.

    box: rows and columns of the frame.  apex, base: ends of the long axis, x and y in pixels of the box.
    """

    lv: Mask
    myocardium: list[Mask]
    box: tuple[slice, slice]
    apex: Floats
    base: Floats


def regions_from_lv(
    mask: Mask, sector: Mask | None = None, spacing: Spacing | None = None, settings: RecipeSettings = DEFAULT
) -> tuple[Mask, Mask]:
    """Measured left ventricle and myocardium, both bool (H, W), that share no pixel.

    mask: bool (H, W), the whole left ventricle; of several pieces the largest counts, and holes are filled.
    sector: bool (H, W) of the ultrasound picture, or None where unknown.  spacing: mm per pixel, or None.
    Raises RegionError when the ventricle is too small, or nothing of a region is left.
    """
    made = _make(mask, sector, spacing, settings)
    lv, myocardium = np.zeros_like(mask, dtype=bool), np.zeros_like(mask, dtype=bool)
    lv[made.box] = made.lv
    myocardium[made.box] = np.logical_or.reduce(made.myocardium)
    return lv, myocardium


def frame_regions(
    mask: Mask, sector: Mask | None = None, spacing: Spacing | None = None, settings: RecipeSettings = DEFAULT
) -> FrameRegions:
    """The regions of `regions_from_lv` as splines with few handles; their masks differ in some border pixels only.

    The myocardium is one band, open at the base, or several where the sector cuts it; a whole ring is two half bands.
    """
    made = _make(mask, sector, spacing, settings)
    axis = made.base - made.apex
    y, x = np.ogrid[: made.lv.shape[0], : made.lv.shape[1]]
    left = axis[0] * (y - made.apex[1]) - axis[1] * (x - made.apex[0]) > 0
    parts = made.myocardium
    if settings.mitral_share is None:
        parts = [part for piece in parts for half in (piece & left, piece & ~left) for part in _pieces(half, SLIVER)]
    corner = np.array((made.box[1].start, made.box[0].start), dtype=np.float64)
    muscle = tuple(_smooth(part, made.apex, corner) for part in parts)
    return FrameRegions((_smooth(made.lv, made.apex, corner),), muscle)


def whole_contour(mask: Mask, sector: Mask | None = None) -> Contour:
    """The whole left ventricle of `mask`, bool (H, W), as a spline with few handles, the first near the apex.

    Raises RegionError when it is too small.
    """
    ventricle = _filled(mask)
    _enough(ventricle, "whole left ventricle", DEFAULT)
    box = _box(ventricle, margin=1)
    corner = np.array((box[1].start, box[0].start), dtype=np.float64)
    probe = None if sector is None else probe_of(sector)
    apex, _ = axis_of(ventricle[box], None if probe is None else probe - corner)
    return _smooth(ventricle[box], apex, corner)


def _make(mask: Mask, sector: Mask | None, spacing: Spacing | None, settings: RecipeSettings) -> _Made:
    ventricle = _filled(mask)
    _enough(ventricle, "whole left ventricle", settings)
    sides = np.array((1.0, 1.0) if spacing is None else (spacing.mm_per_pixel_x, spacing.mm_per_pixel_y))
    mm = settings.typical_mm / np.count_nonzero(ventricle) ** 0.5 if spacing is None else float(sides.min())
    box = _box(ventricle, margin=int(np.ceil((settings.enlarge_mm + settings.edge_mm) / mm)) + 2)
    part = _eased(_square(ventricle[box], sides), settings.ease_mm / mm)
    grown = np.array(part.shape[::-1]) / ventricle[box].shape[::-1]  # square pixels a pixel, in x and y
    probe = None if sector is None else probe_of(sector)
    if probe is not None:
        probe = (probe - (box[1].start, box[0].start) + 0.5) * grown - 0.5
    apex, base = axis_of(part, probe)
    lv, muscle = (_resized(m, ventricle[box].shape) for m in _measured(part, apex, base, mm, settings))
    if sector is not None:
        inside = _distance(sector[box]) - 0.5 > settings.edge_mm / mm  # the frame's own border is no edge
        lv, muscle = lv & inside, muscle & inside
    lv, pieces = _filled(lv), _pieces(muscle, settings.least_pixels)
    _enough(lv, "measured left ventricle", settings)
    if not pieces:
        raise RegionError("Too little myocardium around the left ventricle lies inside the picture to measure in.")
    return _Made(lv, pieces, box, *((end + 0.5) / grown - 0.5 for end in (apex, base)))


def _measured(part: Mask, apex: Floats, base: Floats, mm: float, settings: RecipeSettings) -> tuple[Mask, Mask]:
    """Both regions of a ventricle in square pixels of `mm`, wherever the sector lies."""
    # Distances between centres; the border runs half a pixel off them, also where the frame cuts the ventricle.
    inside = _distance(np.pad(part, 1))[1:-1, 1:-1] - 0.5
    outside = _distance(~part) - 0.5
    axis = base - apex
    y, x = np.ogrid[: part.shape[0], : part.shape[1]]
    along = ((x - apex[0]) * axis[0] + (y - apex[1]) * axis[1]) / max(float(axis @ axis), TINY)
    lv = (inside > settings.shrink_mm / mm) & (along < 1.0 - settings.base_share - TINY)
    muscle = ~part & (outside > settings.gap_mm / mm) & (outside <= settings.enlarge_mm / mm)
    if settings.mitral_share is not None:
        muscle &= along < 1.0 - settings.mitral_share - TINY
    return lv, muscle


def _distance(mask: Mask) -> NDArray[np.float32]:
    """Distance of each pixel of `mask` from the nearest one outside it, in pixels."""
    return np.asarray(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE))


def _eased(mask: Mask, pixels: float) -> Mask:
    """The largest piece of a mask with its border smoothed by a Gaussian of so many pixels."""
    if pixels <= 0:
        return mask
    blurred = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), pixels, borderType=cv2.BORDER_REPLICATE)
    return _filled(np.asarray(blurred > 0.5 - TIE))


def _square(mask: Mask, sides: Floats) -> Mask:
    """`mask` in square pixels as large as the shorter of the pixel's `sides`, x and y."""
    width, height = np.round(mask.shape[::-1] * sides / sides.min()).astype(int)
    return _resized(mask, (int(height), int(width)))


def _resized(mask: Mask, size: tuple[int, ...]) -> Mask:
    if mask.shape == size:
        return mask
    resized = cv2.resize(mask.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized > 0.5)  # of two masks that share no pixel only one can be above a half


def _box(mask: Mask, margin: int) -> tuple[slice, slice]:
    """Rows and columns of a mask with a margin, inside the frame."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    y, x = (slice(max(int(v[0]) - margin, 0), int(v[-1]) + margin + 1) for v in (rows, columns))
    return y, x


def _enough(mask: Mask, name: str, settings: RecipeSettings) -> None:
    count = int(np.count_nonzero(mask))
    if count < settings.least_pixels:
        raise RegionError(f"The {name} has only {count} pixels: too small to measure in.")


def _borders(mask: Mask) -> list[NDArray[np.int32]]:
    """Outer borders of the pieces of a mask, through pixel centres, the one around the most first."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return sorted(found, key=lambda border: (cv2.contourArea(border), len(border)), reverse=True)


def _filled(mask: Mask) -> Mask:
    """The largest piece of a mask, its holes filled."""
    out = np.zeros(mask.shape, dtype=np.uint8)
    cv2.drawContours(out, _borders(mask)[:1], -1, 1, thickness=cv2.FILLED)
    return out.astype(bool)


def _pieces(mask: Mask, least: int) -> list[Mask]:
    """The pieces of a mask that have at least so many pixels, largest first."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    return [labels == 1 + i for i in np.argsort(-areas, kind="stable") if areas[i] >= least]


def _smooth(mask: Mask, apex: Floats, corner: Floats) -> Contour:
    """A spline along a mask's border, clockwise on the screen, from near the apex; `corner` is the mask's own place."""
    border: Polygon = _borders(mask)[0][:, 0].astype(np.float64)
    if Contour(border).area < 0:
        border = border[::-1]
    first = int(np.hypot(*(border - apex).T).argmin())
    return Contour.through(np.roll(border, -first, axis=0) + corner)
