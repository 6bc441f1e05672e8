"""Polygons to pixel masks and back.

Convention: pixel (x, y) is the point at its centre, and centres lie at integers. A pixel belongs to a polygon when
its centre lies inside or when the outline, a line one pixel wide, passes over it: what the eye sees drawn is what is
measured, and it is what OpenCV's and Pillow's polygon fill give.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

Polygon = NDArray[np.float64]  # (n, 2): x, y in source pixels
Points = NDArray[np.float64]


def polygon_mask(polygon: Polygon, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Mask bool (H, W) of one closed polygon, float64 (n, 2) of x, y; parts outside the frame are cut off.

    A contour that crosses itself is filled wherever it winds around (non-zero winding rule), so that a slip of the
    hand leaves no hole. Fewer than three points give an empty mask.
    """
    return polygons_mask((polygon,), size)


def _steps(low: Points, high: Points, limit: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each edge i the integers v with low[i] <= v < high[i] and 0 <= v < limit: arrays of i and of v."""
    first = np.clip(np.ceil(low), 0, limit).astype(np.int64)
    count = np.maximum(np.clip(np.ceil(high), 0, limit).astype(np.int64) - first, 0)
    edge = np.repeat(np.arange(len(count)), count)
    return edge, np.arange(edge.size) - np.repeat(np.cumsum(count) - count, count) + first[edge]


def _fill(mask: NDArray[np.bool_], start: Points, end: Points) -> None:
    """Set the pixels whose centre lies inside; a centre exactly on an edge may be set or not."""
    height, width = mask.shape
    down = end[:, 1] >= start[:, 1]
    upper, lower = np.where(down[:, None], (start, end), (end, start))
    # Half-open rows: a vertex between two edges counts once.
    edge, row = _steps(upper[:, 1], lower[:, 1], height)
    if edge.size == 0:
        return
    part = (row - upper[edge, 1]) / (lower[edge, 1] - upper[edge, 1])
    crossing = upper[edge, 0] + part * (lower[edge, 0] - upper[edge, 0])
    column = np.clip(np.ceil(crossing), 0, width).astype(np.int64)
    top, left = int(row.min()), int(column.min())
    winding = np.zeros((int(row.max()) + 1 - top, int(column.max()) + 1 - left), dtype=np.int32)
    np.add.at(winding, (row - top, column - left), np.where(down[edge], 1, -1))
    inside = np.cumsum(winding, axis=1, dtype=winding.dtype)[:, :-1] != 0  # else numpy widens it, many times slower
    mask[top : top + inside.shape[0], left : left + inside.shape[1]] |= inside


def _outline(mask: NDArray[np.bool_], start: Points, end: Points) -> None:
    """Set the pixels of the outline: one a column of an edge nearer the horizontal, one a row of the others."""
    flat = np.abs(end[:, 0] - start[:, 0]) >= np.abs(end[:, 1] - start[:, 1])
    for axis, chosen in ((0, flat), (1, ~flat)):
        a, b = start[chosen], end[chosen]
        low, high = np.minimum(a, b)[:, axis], np.maximum(a, b)[:, axis]
        edge, step = _steps(low, high, mask.shape[1 - axis])
        part = (step - a[edge, axis]) / (b[edge, axis] - a[edge, axis])
        across = a[edge, 1 - axis] + part * (b[edge, 1 - axis] - a[edge, 1 - axis])
        _set(mask, np.stack([step, across], axis=1)[:, :: 1 - 2 * axis])
    _set(mask, start)


def _set(mask: NDArray[np.bool_], points: Points) -> None:
    """Set the pixels nearest to points (n, 2) of x, y, those outside the frame left out."""
    x, y = np.ceil(points - 0.5).T
    inside = (x >= 0) & (x < mask.shape[1]) & (y >= 0) & (y < mask.shape[0])
    mask[y[inside].astype(np.int64), x[inside].astype(np.int64)] = True


def polygons_mask(polygons: Iterable[Polygon], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Mask bool (H, W) of the union of several polygons."""
    mask = np.zeros(size, dtype=bool)
    for polygon in polygons:
        if len(polygon) >= 3:
            start, end = polygon, np.roll(polygon, -1, axis=0)
            _fill(mask, start, end)
            _outline(mask, start, end)
    return mask


def mask_polygons(mask: NDArray[np.bool_], tolerance: float = 0.0) -> tuple[Polygon, ...]:
    """Outer contours of a mask bool (H, W), largest first, as polygons float64 (n, 2) of x, y in pixels.

    tolerance: how far, in pixels, a contour may be simplified (Douglas-Peucker). At 0 `polygons_mask` gives the
    very same mask back, except that holes are filled: a region has no holes.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        return ()
    top, left = int(rows[0]), int(columns[0])
    part = mask[top : rows[-1] + 1, left : columns[-1] + 1].astype(np.uint8)
    # Traced at three times the size the contour runs a third of a pixel outside the outermost centres.
    fine = cv2.copyMakeBorder(part.repeat(3, axis=0).repeat(3, axis=1), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    contours, _ = cv2.findContours(fine, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if tolerance > 0:
        contours = [cv2.approxPolyDP(c, 3.0 * tolerance, closed=True) for c in contours]
    contours = sorted((c for c in contours if len(c) >= 3), key=cv2.contourArea, reverse=True)
    return tuple((c[:, 0, :].astype(np.float64) - 2.0) / 3.0 + (left, top) for c in contours)
