"""The outline of an ultrasound picture in one bright still: a wedge with round ends where it is one, else its hull."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

FLAT_BORDER = 0.12  # share of the frame's rim that must be of one grey level for it to be a background
ABOVE_BACKGROUND = 10  # grey levels; JPEG leaves up to about 8 around text
ABOVE_EXACT = (3, 1)  # the same where nothing was lossy: dark pictures have whole walls below 10
SMALLEST_SHARE = 0.05  # a sector takes at least this share of the frame
SMALLEST_PIECE = 0.005  # of the frame, for a piece beside the largest one
BOXY = 0.85  # a hull that fills more of its box than this is a linear probe's rectangle
SOLID = 0.35  # and content fills at least this share of its hull
LEAN = np.deg2rad(np.arange(8.0, 75.1, 0.25))  # angles from the vertical that a sector's side may have
MARGIN = 0.75  # pixels that the wedge reaches beyond what was fitted: its edge pixels belong to it
STRETCHES = np.arange(0.7, 1.41, 0.025)
CLEAR_ARC = 0.35  # of a far end that lies on one arc leaves little doubt
FULL_ARC = 0.8  # and from here on nothing is missing
SOME_ARC = 0.15  # less is no arc: what lies at the lowest levels must have at least that
WEAK_SIDE = 0.25  # a side that touches its content over less than this share of the height takes the other's lean


@dataclass(frozen=True)
class _Outline:
    """mask: bool (H, W).  arc: the share of the picture's far end that is one arc, -1 where it is no wedge."""

    mask: Mask
    arc: float = -1.0


def sector_mask(
    brightest: NDArray[np.uint8], change: NDArray[np.uint8], allowed: Mask | None = None, exact: bool = False
) -> Mask | None:
    """The ultrasound picture in `brightest`, uint8 (H, W), the maximum over time of a loop.

    change: uint8 (H, W), by how much each pixel differs between frames; all 0 for a still.
    allowed: bool (H, W), where it may lie (from a file's header); ignored when it holds nothing like a sector.
    exact: whether the pixels never went through lossy compression, so that a few grey levels tell a dark picture
    from the background.
    Returns bool (H, W) with dark chambers and dim edges filled in, or None when nothing like a sector is seen.
    """
    background = _background(brightest)
    if background is None:
        return None
    off = np.abs(brightest.astype(np.int16) - background)
    found = _at_level(off, change, allowed, ABOVE_BACKGROUND)
    for above in ABOVE_EXACT if exact else ():
        if found is not None and found.arc >= FULL_ARC:
            break
        dim = _at_level(off, change, allowed, above)
        # A wedge whose end is rounder shows more of the picture; a hull of a few dim pixels shows nothing.
        if dim is not None and dim.arc > max(SOME_ARC, found.arc if found is not None else 0.0):
            found = dim
    return None if found is None else found.mask


def _at_level(off: NDArray[np.int16], change: NDArray[np.uint8], allowed: Mask | None, above: int) -> _Outline | None:
    """The picture among the pixels whose grey level is more than `above` away from the background's."""
    content, changing = off > above, change > above
    if allowed is not None:
        found = _outline(content & allowed, changing, allowed)
        if found is not None:
            return _Outline(found.mask & allowed, found.arc)
    return _outline(content, changing, None)


def _background(image: NDArray[np.uint8]) -> int | None:
    """Grey level around the picture, from the frame's rim; None where the rim is not of one level."""
    rim = max(2, min(image.shape) // 40)
    edge = np.ones(image.shape, dtype=bool)
    edge[rim:-rim, rim:-rim] = False
    counts = np.bincount(image[edge], minlength=256)
    level = int(counts.argmax())
    share = counts[max(level - 2, 0) : level + 3].sum() / counts.sum()
    return level if share >= FLAT_BORDER else None


def _outline(content: Mask, changing: Mask, allowed: Mask | None) -> _Outline | None:
    """The picture whose pixels above background are `content`, bool (H, W)."""
    height, width = content.shape
    # A majority vote fills speckle and, with the opening, removes strokes of text, traces and ticks.
    kernel = max(3, min(height, width) // 60 | 1)
    solid = cv2.medianBlur(content.astype(np.uint8), kernel)
    solid = cv2.morphologyEx(solid, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (kernel, kernel)))
    pictures = _pictures(solid, changing)
    for guess, picture in enumerate(reversed(pictures), start=1):
        wedge = _wedge(picture, content, arc=0.0 if guess == len(pictures) else CLEAR_ARC)
        if wedge is not None:
            return wedge
    hull = _hull(pictures[0]) if pictures else np.zeros_like(content)
    if hull.sum() < SMALLEST_SHARE * hull.size or pictures[0].sum() < SOLID * hull.sum():
        return None
    if allowed is not None:
        return _Outline(allowed)  # a linear probe: its box is the picture
    rows, columns = np.flatnonzero(hull.any(axis=1)), np.flatnonzero(hull.any(axis=0))
    box = np.zeros_like(hull)
    box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return _Outline(box if hull.sum() > BOXY * box.sum() else hull)


def _pictures(solid: NDArray[np.uint8], changing: Mask) -> list[Mask]:
    """What of `solid`, uint8 (H, W) of 0/1, may be the picture: a first guess and, for some, a second one.

    A sector may be cut into pieces by dark bands. First come the largest piece and every other sizeable one that
    mostly changes in time: bars, buttons and logos stand still. In a still all do, so all sizeable pieces are the
    second guess, to be believed only if they make a wedge with a round end.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(solid, connectivity=4)
    if count < 2:
        return []
    area = stats[:, cv2.CC_STAT_AREA]
    sizeable = area > SMALLEST_PIECE * solid.size
    sizeable[0] = False
    largest = np.arange(count) == 1 + int(area[1:].argmax())
    keep = (sizeable & (np.bincount(labels[changing], minlength=count) > 0.5 * area)) | largest
    if changing.any() or not (sizeable & ~keep).any():
        return [keep[labels]]
    return [keep[labels], (sizeable | keep)[labels]]


def _hull(mask: Mask) -> Mask:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    out = np.zeros(mask.shape, dtype=np.uint8)
    cv2.fillConvexPoly(out, cv2.convexHull(np.concatenate(contours)), 1)
    return out.astype(bool)


def _side(x: Floats, y: Floats, free: Mask, near: float) -> tuple[float, float, float]:
    """The straight right side of a shape: lean, reach and the share of the shape's height that touches it.

    x, y: the rightmost pixel of each row.  free: rows where it is not cut by the frame.  near: pixels.
    The side is the line x cos(lean) - y sin(lean) = reach; hardly anything lies beyond it.
    """
    across = np.cos(LEAN)[:, None] * x - np.sin(LEAN)[:, None] * y
    reach = across.max(axis=1)
    share = ((across > reach[:, None] - near) & free).mean(axis=1)
    best = int(share.argmax())
    touching = (across[best] > reach[best] - near) & free
    lean = LEAN[best]
    for _ in range(2):
        if np.count_nonzero(touching) < 8:
            break
        slope, start = np.polyfit(y[touching], x[touching], 1)
        lean = np.arctan(slope)
        beyond = (x - start - slope * y) * np.cos(lean)
        touching = (np.abs(beyond) < near) & free
    return float(lean), _reach(x, y, touching, lean), float(share[best])


def _reach(x: Floats, y: Floats, touching: Mask, lean: float) -> float:
    """Reach of the side with this lean that nine in ten of the touching rows stay within."""
    across = x * np.cos(lean) - y * np.sin(lean)
    return float(np.quantile(across[touching], 0.9) if touching.any() else across.max())


def _wedge(picture: Mask, content: Mask, arc: float) -> _Outline | None:
    """The wedge with round ends that fits `picture`, or None when its sides are not two straight leaning lines.

    content: bool (H, W), all pixels above background, also those too thin or lone to be part of `picture`.
    arc: the share of the far end that must lie on the arc.
    """
    height, width = picture.shape
    rows = np.flatnonzero(picture.any(axis=1))
    y = rows.astype(np.float64)
    left = picture[rows].argmax(axis=1).astype(np.float64)
    right = width - 1.0 - picture[rows, ::-1].argmax(axis=1)
    near = max(1.5, len(rows) / 150)
    lean_r, reach_r, share_r = _side(right, y, right < width - 2, near)
    lean_l, reach_l, share_l = _side(-left, y, left > 1, near)
    if max(share_l, share_r) < WEAK_SIDE:
        return None
    # A side that fades into the dark takes the lean of the other: sectors are symmetric.
    nowhere = np.zeros(len(rows), dtype=bool)
    if share_l < WEAK_SIDE:
        lean_l, reach_l = lean_r, _reach(-left, y, nowhere, lean_r)
    if share_r < WEAK_SIDE:
        lean_r, reach_r = lean_l, _reach(right, y, nowhere, lean_l)
    sides = np.array([[np.cos(lean_r), -np.sin(lean_r)], [-np.cos(lean_l), -np.sin(lean_l)]])
    apex = np.linalg.solve(sides, [reach_r, reach_l])
    if apex[1] > rows[0] + 0.1 * len(rows):
        return None

    grid_y, grid_x = np.ogrid[:height, :width]
    wedge = (sides[0, 0] * grid_x + sides[0, 1] * grid_y <= reach_r + MARGIN) & (
        sides[1, 0] * grid_x + sides[1, 1] * grid_y <= reach_l + MARGIN
    )
    inside = content & wedge
    stretch, share = _stretch(picture, apex, near)
    if share < arc:
        return None
    radius = np.hypot((grid_x - apex[0]) * stretch, grid_y - apex[1])
    deepest, nearest = _ends(picture, inside, radius, apex, stretch)
    wedge &= (radius <= deepest + MARGIN) & (radius >= nearest - MARGIN)
    wedge[: int(inside.any(axis=1).argmax())] = False  # flat tops and bottoms exist
    wedge[rows[-1] + 2 :] = False
    fits = np.count_nonzero(picture & wedge) > 0.97 * picture.sum() and wedge.sum() < 1.4 * _hull(picture).sum()
    return _Outline(wedge, share) if fits else None


def _lower_edge(picture: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """x and y of the picture's outline, without what the frame cuts off."""
    height, width = picture.shape
    contours, _ = cv2.findContours(picture.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    x, y = np.concatenate(contours)[:, 0].T.astype(np.int64)
    free = (x > 1) & (x < width - 2) & (y < height - 2)
    return x[free], y[free]


def _far(x: Floats, y: Floats) -> Floats:
    """Largest distance from the apex within each degree, for points x, y measured from the apex."""
    angle = np.round(np.rad2deg(np.arctan2(x, y))).astype(int)
    far = np.zeros(np.ptp(angle) + 1)
    np.maximum.at(far, angle - angle.min(), np.hypot(x, y))
    return far[far > 0]


def _stretch(picture: Mask, apex: Floats, near: float) -> tuple[float, float]:
    """By how much x must be stretched for the far end to be a circle, and the share of the end that then is one.

    Pictures squeezed to a square are common.
    """
    x, y = _lower_edge(picture)
    best, most = 1.0, -1.0
    if x.size == 0:
        return best, 0.0
    for stretch in STRETCHES:
        far = _far((x - apex[0]) * stretch, y - apex[1])
        arc = np.count_nonzero(far > np.quantile(far, 0.9) - near) / len(far) - abs(stretch - 1.0)
        if arc > most:
            best, most = float(stretch), arc
    return best, most


def _ends(picture: Mask, inside: Mask, radius: Floats, apex: Floats, stretch: float) -> tuple[float, float]:
    """Radii, in the unit of `radius`, where the picture ends and where it begins."""
    x, y = _lower_edge(picture)
    deepest = float(np.quantile(radius[picture], 0.998))
    if x.size:
        # The arc is where many beams end; what sticks out on a few of them is a trace or a tick.
        deepest = max(deepest, float(np.quantile(_far((x - apex[0]) * stretch, y - apex[1]), 0.9)))
    nearest = float(np.quantile(radius[inside], 0.0005))
    return deepest, nearest if nearest > 0.1 * deepest else 0.0
