"""One closed contour of a region: straight between its points, or a spline through a few handles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from echoq_models.errors import RegionError
from echoq_models.regions.raster import Polygon
from echoq_models.regions.spline import Ints, curve, fitted

LEAST_POINTS = 3
# How near a fitted curve stays: everywhere, so many pixels or such a share of the contour's size; on average, a share
# of its width beyond what the staircase of a mask's border makes.
NEAR_PIXELS, NEAR_SIZE = 1.0, 0.015
STAIRS, NEAR_WIDTH = 0.15, 0.012


@dataclass(frozen=True, eq=False)
class Contour:
    """A closed contour.

    points: float64 (n, 2) of x, y in source pixels, read-only, at least three: the vertices of a polygon, or with
    `smooth` the handles that a closed spline runs through. Two handles on one place make a corner.
    Raises RegionError for points that are not finite pairs, or for fewer than three.
    """

    points: Polygon
    smooth: bool = False

    def __post_init__(self) -> None:
        try:
            points = np.array(self.points, dtype=np.float64)  # a copy: nobody can change it behind the caches
        except (TypeError, ValueError):
            points = np.empty(0)
        if points.ndim != 2 or points.shape[1] != 2 or len(points) < LEAST_POINTS or not np.isfinite(points).all():
            raise RegionError("A contour must be a list of at least three finite [x, y] points.")
        points.setflags(write=False)
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "smooth", bool(self.smooth))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Contour):
            return NotImplemented
        return self.smooth == other.smooth and np.array_equal(self.points, other.points)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return Contour, (self.points, self.smooth)

    def __len__(self) -> int:
        return len(self.points)

    @classmethod
    def through(cls, polygon: Polygon, handles: int | None = None) -> Contour:
        """A spline with few handles that follows a dense polygon, float64 (m, 2), such as a mask's border.

        handles: how many; None for 8 to 64, as few as stay within a pixel or 1.5 % of the contour's size (the square
        root of its area) and cover the same area but for some 3 %: a long thin band needs the most. The first lies near
        the polygon's first vertex.
        """
        dense = cls(polygon)
        length = float(np.hypot(*(np.roll(dense.points, -1, axis=0) - dense.points).T).sum())
        if length < 1e-6:
            raise RegionError("A contour must have some extent.")
        area = abs(dense.area)
        most = max(NEAR_PIXELS, NEAR_SIZE * area**0.5)
        return cls(fitted(dense.points, handles, most, STAIRS + NEAR_WIDTH * 2.0 * area / length), smooth=True)

    # what it looks like

    @property
    def outline(self) -> Polygon:
        """Polygon float64 (m, 2), read-only, that is drawn and measured: the points themselves, or the spline.

        The spline is the closed centripetal Catmull-Rom curve; this polygon lies within 0.05 pixels of it.
        """
        return self._curve[0]

    @property
    def starts(self) -> Ints:
        """Where in `outline` each point lies: int64 (n,)."""
        return self._curve[1]

    @cached_property
    def _curve(self) -> tuple[Polygon, Ints]:
        if not self.smooth:
            return self.points, np.arange(len(self.points))
        outline, starts = curve(self.points)
        outline.setflags(write=False)
        return outline, starts

    @property
    def area(self) -> float:
        """Area in pixels (shoelace formula), positive when the points run clockwise on the screen."""
        x, y = (self.outline - self.outline[0]).T
        return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2.0

    @property
    def centroid(self) -> tuple[float, float]:
        """Centre of gravity x, y of the area; of the points, for a contour without area."""
        first = self.outline[0]
        here = self.outline - first
        after = np.roll(here, -1, axis=0)
        cross = here[:, 0] * after[:, 1] - here[:, 1] * after[:, 0]
        if abs(cross.sum()) < 1e-6:
            x, y = self.points.mean(axis=0)
        else:
            x, y = ((here + after) * cross[:, None]).sum(axis=0) / (3.0 * cross.sum()) + first
        return float(x), float(y)

    def edge(self, at: Sequence[float]) -> tuple[int, float]:
        """The stretch of the outline nearest to x, y: the index of the point it starts at, and the distance."""
        start = self.outline
        along = np.roll(start, -1, axis=0) - start
        length = np.maximum((along**2).sum(axis=1), 1e-12)
        share = np.clip(((np.asarray(at) - start) * along).sum(axis=1) / length, 0.0, 1.0)
        distance = np.hypot(*(start + share[:, None] * along - at).T)
        nearest = int(distance.argmin())
        return int(np.searchsorted(self.starts, nearest, side="right")) - 1, float(distance[nearest])

    def contains(self, at: Sequence[float]) -> bool:
        """Whether x, y lies inside the outline (even-odd rule)."""
        x, y = self.outline.T
        x2, y2 = np.roll(self.outline, -1, axis=0).T
        crossing = (y > at[1]) != (y2 > at[1])
        rise = np.where(crossing, y2 - y, 1.0)
        return bool((crossing & (at[0] < x + (at[1] - y) / rise * (x2 - x))).sum() % 2)

    # small edits; each gives a new contour

    def moved(self, dx: float, dy: float) -> Contour:
        """Shifted by dx, dy pixels."""
        return replace(self, points=self.points + np.array((dx, dy), dtype=np.float64))

    def scaled(self, factor: float, about: Sequence[float] | None = None) -> Contour:
        """Grown by `factor` around a point x, y; without one around its own centroid."""
        centre = np.asarray(self.centroid if about is None else about, dtype=np.float64)
        return replace(self, points=(self.points - centre) * factor + centre)

    def with_point(self, after_index: int, at: Sequence[float]) -> Contour:
        """With one more point at x, y behind the one with this index."""
        return replace(self, points=np.insert(self.points, after_index + 1, at, axis=0))

    def without_point(self, i: int) -> Contour:
        """With one point less; RegionError when only three are left."""
        return replace(self, points=np.delete(self.points, i, axis=0))

    def at_handle(self, i: int, at: Sequence[float]) -> Contour:
        """With point `i` put to x, y."""
        points = self.points.copy()
        points[i] = at
        return replace(self, points=points)
