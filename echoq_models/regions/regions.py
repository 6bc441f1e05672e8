"""The two regions a person compares, left ventricle and myocardium, over a whole loop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echoq_models.errors import RegionError
from echoq_models.regions.raster import Polygon, polygons_mask

Masks = tuple[NDArray[np.bool_], NDArray[np.bool_]]


def _polygons(polygons: Iterable[Any]) -> tuple[Polygon, ...]:
    """Read-only float64 copies (n, 2), so that nobody can change a region behind its cache."""
    out = []
    for points in polygons:
        polygon = np.array(points, dtype=np.float64)
        if polygon.ndim != 2 or polygon.shape[1] != 2 or not np.isfinite(polygon).all():
            raise RegionError("A polygon must be a list of finite [x, y] points.")
        polygon.setflags(write=False)
        out.append(polygon)
    return tuple(out)


def _same(a: tuple[Polygon, ...], b: tuple[Polygon, ...]) -> bool:
    return len(a) == len(b) and all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))


@dataclass(frozen=True, eq=False)
class FrameRegions:
    """The polygons of one frame, each float64 (n, 2) of x, y in source pixels; several of one kind are united.

    In a key frame an empty tuple means "as before". Raises RegionError for points that are not finite pairs.
    """

    lv: tuple[Polygon, ...] = ()
    myocardium: tuple[Polygon, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "lv", _polygons(self.lv))
        object.__setattr__(self, "myocardium", _polygons(self.myocardium))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FrameRegions):
            return NotImplemented
        return _same(self.lv, other.lv) and _same(self.myocardium, other.myocardium)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, eq=False)
class Regions:
    """Left ventricle and myocardium of a loop.

    lv, myocardium: polygons for all frames.  frames: key frames {frame index: FrameRegions}; a key frame holds
    until the next one. Frames before the first key frame use `lv` and `myocardium`, or, where those are empty, the
    first key frame that has polygons of that kind.
    """

    lv: tuple[Polygon, ...] = ()
    myocardium: tuple[Polygon, ...] = ()
    frames: Mapping[int, FrameRegions] = field(default_factory=dict)
    _cache: dict[Any, Masks] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lv", _polygons(self.lv))
        object.__setattr__(self, "myocardium", _polygons(self.myocardium))
        if any(t < 0 for t in self.frames):
            raise RegionError("A key frame cannot have a negative frame number.")
        object.__setattr__(self, "frames", {int(t): self.frames[t] for t in sorted(self.frames)})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Regions):
            return NotImplemented
        own, theirs = FrameRegions(self.lv, self.myocardium), FrameRegions(other.lv, other.myocardium)
        return own == theirs and self.frames == other.frames

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return Regions, (self.lv, self.myocardium, dict(self.frames))  # masks are not worth sending

    def __bool__(self) -> bool:
        """Whether anything is drawn at all."""
        return any(f.lv or f.myocardium for f in (FrameRegions(self.lv, self.myocardium), *self.frames.values()))

    def key(self, t: int) -> int:
        """The key frame that frame `t` shows; -1 when it shows the polygons for all frames."""
        return max((k for k in self.frames if k <= t), default=-1)

    def at(self, t: int) -> FrameRegions:
        """The polygons that frame `t` shows."""
        lv, myocardium = self.lv, self.myocardium
        for k, shown in self.frames.items():
            if k <= t or not lv:
                lv = shown.lv or lv
            if k <= t or not myocardium:
                myocardium = shown.myocardium or myocardium
        return FrameRegions(lv, myocardium)

    def masks(self, size: tuple[int, int], t: int = 0) -> Masks:
        """Left ventricle and myocardium of frame `t`: two read-only masks bool (H, W), cached per key frame."""
        key = (tuple(size), self.key(t))
        if key not in self._cache:
            shown = self.at(t)
            masks = polygons_mask(shown.lv, size), polygons_mask(shown.myocardium, size)
            for mask in masks:
                mask.setflags(write=False)
            self._cache[key] = masks
        return self._cache[key]

    def check(self, size: tuple[int, int]) -> None:
        """Raise RegionError when, for a loop of `size` (H, W), a region is empty or the two share a pixel."""
        for t in sorted({0, *self.frames}):
            lv, myocardium = self.masks(size, t)
            where = f" in frame {t + 1}" if self.frames else ""
            for name, mask in (("left ventricle", lv), ("myocardium", myocardium)):
                if not mask.any():
                    raise RegionError(
                        f"The {name} region{where} holds no pixel of the {size[1]} x {size[0]} picture: "
                        "draw it inside the picture."
                    )
            shared = int(np.count_nonzero(lv & myocardium))
            if shared:
                raise RegionError(
                    f"The left ventricle and myocardium regions{where} share {shared} pixels: move them apart."
                )
