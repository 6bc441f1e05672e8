"""What of a frame's regions lies under the mouse: a handle, a corner of the box around a contour, or the contour."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echoq_models.regions import Contour, FrameRegions

Point = tuple[float, float]
TITLES = {"lv": "left ventricle", "myocardium": "myocardium"}


@dataclass(frozen=True)
class Handle:
    """A contour of the frame shown, one of its handles (`vertex`), or a corner of the box around it."""

    kind: str
    polygon: int
    vertex: int | None = None
    corner: int | None = None

    @property
    def whole(self) -> bool:
        """Whether it is the contour itself."""
        return self.vertex is None and self.corner is None


def contours(shown: FrameRegions, kind: str) -> tuple[Contour, ...]:
    """The contours of a kind."""
    return shown.lv if kind == "lv" else shown.myocardium


def every(shown: FrameRegions) -> Iterator[tuple[Handle, Contour]]:
    """Each contour with the handle that stands for it."""
    for kind in TITLES:
        for number, contour in enumerate(contours(shown, kind)):
            yield Handle(kind, number), contour


def of(shown: FrameRegions, handle: Handle) -> Contour | None:
    """The contour that a handle belongs to; None when it is gone, or has no such vertex any more."""
    there = contours(shown, handle.kind)
    contour = there[handle.polygon] if handle.polygon < len(there) else None
    return None if contour is None or (handle.vertex or 0) >= len(contour) else contour


def corners(contour: Contour) -> NDArray[np.float64]:
    """The corners (4, 2) of the box around a contour, clockwise from the top left."""
    (left, top), (right, bottom) = contour.outline.min(axis=0), contour.outline.max(axis=0)
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def find(shown: FrameRegions, at: Point, radius: float, selected: Handle | None) -> Handle | None:
    """What lies within `radius` of a point: a corner of the selected contour, a handle, a contour; else around it."""
    found = _corner(shown, at, radius, selected) or _vertex(shown, at, radius)
    return found or edge(shown, at, radius, whole=True) or _around(shown, at)


def edge(shown: FrameRegions, at: Point, radius: float, whole: bool = False) -> Handle | None:
    """The contour whose outline passes within `radius`; with the handle its stretch starts at, unless `whole`."""
    best, found = radius, None
    for handle, contour in every(shown):
        start, distance = contour.edge(at)
        if distance <= best:
            best, found = distance, handle if whole else Handle(handle.kind, handle.polygon, start)
    return found


def _corner(shown: FrameRegions, at: Point, radius: float, selected: Handle | None) -> Handle | None:
    contour = of(shown, selected) if selected is not None and selected.vertex is None else None
    if contour is None or selected is None:
        return None
    distances = np.hypot(*(corners(contour) - at).T)
    nearest = int(distances.argmin())
    return Handle(selected.kind, selected.polygon, corner=nearest) if distances[nearest] <= radius else None


def _vertex(shown: FrameRegions, at: Point, radius: float) -> Handle | None:
    best, found = radius, None
    for handle, contour in every(shown):
        distances = np.hypot(*(contour.points - at).T)
        vertex = int(distances.argmin())
        if distances[vertex] <= best:
            best, found = float(distances[vertex]), Handle(handle.kind, handle.polygon, vertex)
    return found


def _around(shown: FrameRegions, at: Point) -> Handle | None:
    return next((handle for handle, contour in every(shown) if contour.contains(at)), None)
