"""What a region file says, checked: each door gives the value or one sentence about what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echoq_models.errors import InputError, RegionError
from echoq_models.regions.contour import LEAST_POINTS, Contour
from echoq_models.regions.raster import Polygon
from echoq_models.regions.regions import FrameRegions
from echoq_models.regions.review import Findings, Marks, Review
from echoq_models.regions.spline import DECIMALS

FARTHEST = 1e6  # pixels: no picture is as large
SAME = 1.5 * 10.0**-DECIMALS  # pixels by which an outline may differ from its handles' spline and still be it


@dataclass(frozen=True)
class Fields:
    """One object of a region file.  data: as JSON gave it.  path: named in every InputError."""

    data: dict[str, Any]
    path: Path

    def within(self, data: dict[str, Any]) -> Fields:
        """An object further inside the same file."""
        return replace(self, data=data)

    def wrong(self, what: str) -> InputError:
        """The error that says so."""
        return InputError(f"{self.path}: {what}")

    def text(self, name: str) -> str:
        """A text, "" when there is none."""
        value = self.data.get(name, "")
        if not isinstance(value, str):
            raise self.wrong(f'"{name}" must be text.')
        return value

    def flag(self, name: str) -> bool:
        """True or false, false when there is none."""
        value = self.data.get(name, False)
        if not isinstance(value, bool):
            raise self.wrong(f'"{name}" must be true or false.')
        return value

    def frame_numbers(self, name: str) -> tuple[int, ...]:
        """A list of frame numbers, empty when there is none."""
        value = self.data.get(name, [])
        if not isinstance(value, list) or any(type(t) is not int or not 0 <= t < 10**9 for t in value):
            raise self.wrong(f'"{name}" must be a list of frame numbers.')
        return tuple(value)

    def by_frame(self, name: str, absent: Container[int] = ()) -> dict[int, Any]:
        """Objects by frame number; `absent` are the numbers that may have null instead of one."""
        return self._numbered(name, "polygons", lambda t, value: type(value) is dict or (value is None and t in absent))

    def _numbered(self, name: str, what: str, fits: Callable[[int, Any], bool]) -> dict[int, Any]:
        """Values by frame number, all of which fit; `what` they are."""
        frames = self.data.get(name, {})
        if not isinstance(frames, dict):
            raise self.wrong(f'"{name}" must map frame numbers to {what}.')
        out = {}
        for key, value in frames.items():
            if not (key.isascii() and key.isdigit() and len(key) < 10 and fits(int(key), value)):
                raise self.wrong(f'"{name}" must map frame numbers to {what}: see {key[:40]!r}.')
            out[int(key)] = value
        return out

    def points(self, value: Any, what: str) -> Polygon:
        """float64 (n, 2) of at least three [x, y]."""
        wrong = self.wrong(f"{what} must be a list of at least three [x, y] numbers.")
        if not isinstance(value, list) or len(value) < LEAST_POINTS:
            raise wrong
        if any(not isinstance(p, list) or len(p) != 2 or any(type(v) not in (int, float) for v in p) for p in value):
            raise wrong
        try:
            polygon: NDArray[np.float64] = np.array(value, dtype=np.float64)
        except OverflowError:
            raise wrong from None
        if not (np.isfinite(polygon).all() and np.abs(polygon).max() < FARTHEST):
            raise wrong
        return polygon

    def contour(self, name: str) -> Contour:
        """A contour kept by its "points" and "smooth"."""
        return Contour(self.points(self.data.get("points"), f'"{name}" points'), self.flag("smooth"))

    def frame_regions(self) -> FrameRegions:
        """The contours of "lv" and "myocardium", with handles where "handles" has those of the same outline."""
        handles = self.data.get("handles", {})
        if not isinstance(handles, dict):
            raise self.wrong('"handles" must map "lv" and "myocardium" to handles.')
        return FrameRegions(*(self._contours(kind, handles.get(kind, [])) for kind in ("lv", "myocardium")))

    def _contours(self, kind: str, handles: Any) -> tuple[Contour, ...]:
        polygons = self.data.get(kind, [])
        if not isinstance(polygons, list):
            raise self.wrong(f'"{kind}" must be a list of polygons.')
        if not isinstance(handles, list):
            raise self.wrong(f'"handles" of "{kind}" must be a list.')
        out = []
        for i, value in enumerate(polygons):
            contour = Contour(self.points(value, f'"{kind}" polygon {i + 1}'))
            if i < len(handles) and handles[i] is not None:
                spline = Contour(self.points(handles[i], f'"{kind}" handles {i + 1}'), smooth=True)
                # Another program may have changed the polygon and left the handles: the polygon is what counts.
                contour = spline if _same(spline.outline, contour.points) else contour
            out.append(contour)
        return tuple(out)

    def findings(self) -> Findings:
        """What the network said of the frames."""
        block = self._block("findings")
        sure = block._numbered(
            "confidence", "numbers from 0 to 1", lambda _, v: type(v) in (int, float) and 0 <= v <= 1
        )
        why = block._numbered("reasons", "text", lambda _, value: isinstance(value, str))
        try:
            return Findings(sure, why)
        except RegionError as error:
            raise self.wrong(str(error)) from None

    def marks(self) -> Marks:
        """The marks of the beat."""
        block = self._block("marks")
        return Marks(block.frame_numbers("ed"), block.frame_numbers("es"), block.flag("by_hand"))

    def review(self) -> Review | None:
        """The verdict, None when there is none."""
        if self.data.get("review") is None:
            return None
        block = self._block("review")
        try:
            return Review(*(block.text(name) for name in ("decision", "who", "when", "note")))
        except RegionError as error:
            raise self.wrong(str(error)) from None

    def _block(self, name: str) -> Fields:
        value = self.data.get(name, {})
        if not isinstance(value, dict):
            raise self.wrong(f'"{name}" must be an object.')
        return self.within(value)


def _same(a: Polygon, b: Polygon) -> bool:
    return a.shape == b.shape and bool(np.abs(a - b).max() <= SAME)
