"""From what a network says of a frame to a left ventricle one may measure in, or to a sentence why there is none.

All judging happens on one grid of `GRID` x `GRID` over the sector's square crop, so that it is the same for every
picture size; only the accepted shape is brought to source pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from echoq_models.cine import sector as sectors
from echoq_models.cine.sector import Sector

GRID = 128  # pixels: the side of the grid

Map = NDArray[np.float32]  # (GRID, GRID)
Mask = NDArray[np.bool_]

NO_LV = "No LV found: "


@dataclass(frozen=True)
class Rules:
    """What can be a left ventricle. Lengths in pixels of the grid, areas as shares of the sector's, (low, high).

    reach: frames before and after whose logits steady a frame's (see `segmenter`).
    border: logit at which the border is drawn. Above 0 the inner side of a border that the network is not sure of
    counts: on real loops the outlines were too wide, by a fifth of the area, where the wall is dim.
    smooth: sigma of the Gaussian over the probability, so that the border has no steps.  closing: radius, as a share of
    the root of the mask's area, of the disk that must fit into every bite of its border; narrower ones are filled.
    present: least belief of the network that it outlines a left ventricle, 0-1; on phantom tissue without a heart it
    stays below 0.2, on hearts under little haze it is above 0.5.  area: of the mask, of the sector's area.
    outside: largest share of the mask beyond the sector.  solidity: least area of the mask as a share of its convex
    hull's.  elongation: long by short axis of the ellipse with the same second moments.
    x, y: where the mask's centre may lie, as shares of the sector's width and height.
    certainty: least Dice that the network expects of its own mask, 2 sum(p m) / (sum(p) + sum(m)).
    witnesses: frames, evenly spread, by which a loop is judged as a whole.  seen: least share of them in which a
    left ventricle is found.  agreement: least intersection over union of a frame's mask and the place that most of
    the witnesses agree on; fits a ventricle that contracts, not one that jumps about.
    """

    reach: int = 2
    border: float = 0.5
    smooth: float = 1.0
    closing: float = 0.5
    present: float = 0.25
    area: tuple[float, float] = (0.02, 0.45)
    outside: float = 0.10
    solidity: float = 0.85
    elongation: tuple[float, float] = (1.05, 3.6)
    x: tuple[float, float] = (0.10, 0.90)
    y: tuple[float, float] = (0.08, 0.80)
    certainty: float = 0.82
    witnesses: int = 12
    seen: float = 0.3
    agreement: float = 0.3


RULES = Rules()


@dataclass(frozen=True)
class Judged:
    """What became of one frame.

    mask: bool (GRID, GRID), all False unless `reason` is "".  surface: float32 (GRID, GRID), what is cut at one half to
    get the mask at any size.  confidence: 0-1, see `Segmentation`.  reason: why it is no left ventricle.
    """

    mask: Mask
    surface: Map
    confidence: float
    reason: str


@dataclass(frozen=True)
class Field:
    """The sector on the grid. inside: bool (GRID, GRID).  box: left, top, width, height of it, in grid pixels."""

    inside: Mask
    box: tuple[float, float, float, float]

    @classmethod
    def of(cls, sector: Sector) -> Field:
        """The sector of a loop on the grid."""
        share = sectors.patches(np.full((1, *sector.mask.shape), 255, dtype=np.uint8), sector)[0, 0]
        inside = to_grid(share) >= 0.5
        if not inside.any():  # a sector thinner than a pixel
            inside = np.ones_like(inside)
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        width, height = columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]
        return cls(inside, (float(columns[0]), float(rows[0]), float(width), float(height)))


def to_grid(picture: Map) -> Map:
    """A square float32 picture on the grid: the mean over area where that is smaller, bilinear where it is larger."""
    if picture.shape[0] == GRID:
        return picture
    how = cv2.INTER_AREA if picture.shape[0] > GRID else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (GRID, GRID), interpolation=how), dtype=np.float32)


def judge(logit: Map, present: float, field: Field, rules: Rules) -> Judged:
    """Find the left ventricle in one frame and say whether it can be one.

    logit: float32 (GRID, GRID).  present: the network's belief that it outlines one, 1 where it does not say.
    """
    probability = np.asarray(1 / (1 + np.exp(-np.clip(logit - rules.border, -30, 30))), dtype=np.float32)
    smooth = _blurred(probability, rules)
    piece = _largest(smooth)
    total = float(probability[field.inside].sum()) + float(piece.sum())
    certainty = 2 * float(probability[piece & field.inside].sum()) / total if piece.any() else 0.0
    reason = _misfit(piece, certainty, present, field, rules)
    if reason:
        nothing = np.zeros((2, GRID, GRID))
        return Judged(nothing[0] > 0, nothing[1].astype(np.float32), certainty * present, f"{NO_LV}{reason}.")
    whole = _closed(piece, rules)
    return Judged(whole, _surface(smooth, piece, whole, rules), certainty * present, "")


def _blurred(picture: Map, rules: Rules) -> Map:
    blurred = cv2.GaussianBlur(picture, (0, 0), rules.smooth, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, dtype=np.float32)


def _largest(smooth: Map) -> Mask:
    """The largest piece above one half, its holes filled."""
    contours, _ = cv2.findContours((smooth > 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(smooth.shape, dtype=np.uint8)
    if contours:
        cv2.drawContours(filled, [max(contours, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    return filled.astype(bool)


def _closed(piece: Mask, rules: Rules) -> Mask:
    """A mask without bites narrower than twice `rules.closing`: the papillary muscles belong to the cavity."""
    radius = rules.closing * math.sqrt(float(piece.sum()))
    margin = math.ceil(radius) + 1
    grown = _distance(~np.pad(piece, margin)) <= radius
    return piece | (_distance(grown) > radius)[margin:-margin, margin:-margin]


def _distance(mask: Mask) -> Map:
    """Distance of each pixel of `mask` from the nearest one outside it, in pixels."""
    return np.asarray(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE))


def _surface(smooth: Map, piece: Mask, whole: Mask, rules: Rules) -> Map:
    """The probability, raised in what was closed and filled, and too low elsewhere for any other piece to show."""
    solid = _blurred(whole.astype(np.float32), rules)
    added = _wider(whole & ((smooth <= 0.5) | ~piece))
    surface = np.where(added, np.maximum(smooth, solid), smooth)
    return np.where(_wider(whole) & (whole | (smooth <= 0.5)), surface, np.minimum(surface, np.float32(0.4)))


def _wider(mask: Mask) -> Mask:
    """A mask and the pixels next to it."""
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)


def _misfit(mask: Mask, certainty: float, present: float, field: Field, rules: Rules) -> str:
    """Why this mask is no left ventricle, "" when it can be one."""
    if present < rules.present:
        return f"the network sees none that it would trust (probability {present:.2f})"
    if not mask.any():
        return "nothing in the frame looks like one"
    area = float(mask.sum()) / float(field.inside.sum())
    if not rules.area[0] <= area <= rules.area[1]:
        size = "small" if area < rules.area[0] else "large"
        return f"what was marked is too {size} ({100 * area:.1f} % of the sector)"
    outside = float((mask & ~field.inside).sum()) / float(mask.sum())
    if outside > rules.outside:
        return f"{100 * outside:.0f} % of what was marked lies outside the sector"
    solidity, elongation, centre = _shape(mask)
    if solidity < rules.solidity:
        return f"what was marked is too ragged (it fills {100 * solidity:.0f} % of its convex hull)"
    if not rules.elongation[0] <= elongation <= rules.elongation[1]:
        return f"what was marked has the wrong shape ({elongation:.1f} times as long as wide)"
    left, top, width, height = field.box
    x, y = (centre[0] - left) / width, (centre[1] - top) / height
    if not (rules.x[0] <= x <= rules.x[1] and rules.y[0] <= y <= rules.y[1]):
        return "what was marked lies where no left ventricle can be"
    if certainty < rules.certainty:
        return f"the network is not sure of its border (expected Dice {certainty:.2f})"
    return ""


def _shape(mask: Mask) -> tuple[float, float, tuple[float, float]]:
    """Solidity, elongation and centre (x, y) of the only piece of a mask."""
    y, x = np.nonzero(mask)
    hull = cv2.convexHull(np.column_stack([x, y]).astype(np.int32))
    filled = np.zeros(mask.shape, dtype=np.uint8)
    cv2.fillConvexPoly(filled, hull, 1)
    spread = np.cov(np.stack([x, y]).astype(np.float64), ddof=0) + np.eye(2) / 12  # a pixel has a width of its own
    low, high = np.linalg.eigvalsh(np.atleast_2d(spread))
    return len(x) / float(filled.sum()), math.sqrt(high / low), (float(x.mean()), float(y.mean()))


def witnesses(total: int, rules: Rules) -> list[int]:
    """The frames by which a loop of `total` is judged as a whole: at most `rules.witnesses`, evenly spread."""
    spread = np.linspace(0, total - 1, min(total, rules.witnesses))
    return sorted({round(float(t)) for t in spread})


@dataclass(frozen=True)
class Verdict:
    """What the witnesses say of a loop.

    place: bool (GRID, GRID), where most see the ventricle.  reason: why there is none in the loop, "" when there is.
    """

    place: Mask
    reason: str


def verdict(seen: Sequence[Judged], rules: Rules) -> Verdict:
    """Judge a loop by its witnesses: found often enough, and not jumping about."""
    masks = [each.mask for each in seen if not each.reason]
    nowhere = np.zeros((GRID, GRID), dtype=bool)
    if len(masks) < rules.seen * len(seen):
        share = 100 * len(masks) / len(seen)
        return Verdict(nowhere, f"{NO_LV}only {share:.0f} % of the loop's frames seem to have one.")
    place = np.mean(masks, axis=0) > 0.5 if len(masks) > 1 else masks[0]
    overlaps = [overlap(mask, place) for mask in masks]
    if float(np.median(overlaps)) < rules.agreement:
        return Verdict(nowhere, f"{NO_LV}what was marked jumps about from frame to frame.")
    return Verdict(place, "")


def settle(judged: Judged, loop: Verdict, rules: Rules) -> Judged:
    """A frame's judgement in the light of the loop's."""
    reason = judged.reason or loop.reason
    if not reason and overlap(judged.mask, loop.place) < rules.agreement:
        reason = f"{NO_LV}what was marked lies elsewhere than in the rest of the loop."
    if reason == judged.reason:
        return judged
    return Judged(np.zeros_like(judged.mask), judged.surface, judged.confidence, reason)


def overlap(a: Mask, b: Mask) -> float:
    """Intersection over union, 0 for two empty masks."""
    union = float((a | b).sum())
    return float((a & b).sum()) / union if union else 0.0
