"""The two regions a person compares, left ventricle and myocardium, over a whole loop."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echoq_models.errors import RegionError
from echoq_models.regions.contour import Contour
from echoq_models.regions.raster import polygons_mask
from echoq_models.regions.review import Findings, Marks, Review

Masks = tuple[NDArray[np.bool_], NDArray[np.bool_]]
CACHED_BYTES = 128 * 2**20  # masks of some 140 frames of 600 x 800; undo keeps many regions, so they share one cache


def _contours(given: Iterable[Any]) -> tuple[Contour, ...]:
    """Contours as they are; anything else is the points of a polygon."""
    return tuple(each if isinstance(each, Contour) else Contour(each) for each in given)


@dataclass(frozen=True, eq=False)
class FrameRegions:
    """The contours of one frame; several of one kind are united. Plain points (n, 2) are taken as a polygon.

    In a key frame an empty tuple means "as before". Raises RegionError for points that are not finite pairs.
    """

    lv: tuple[Contour, ...] = ()
    myocardium: tuple[Contour, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "lv", _contours(self.lv))
        object.__setattr__(self, "myocardium", _contours(self.myocardium))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FrameRegions):
            return NotImplemented
        return self is other or (self.lv == other.lv and self.myocardium == other.myocardium)

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return bool(self.lv or self.myocardium)

    def masks(self, size: tuple[int, int]) -> Masks:
        """Left ventricle and myocardium to measure: two read-only masks bool (H, W), cached.

        A pixel that contours of both cover is in neither.
        """
        return _CACHE.masks(self, (int(size[0]), int(size[1])))[0]

    def shared(self, size: tuple[int, int]) -> int:
        """How many pixels of a frame of `size` (H, W) contours of both cover."""
        return _CACHE.masks(self, (int(size[0]), int(size[1])))[1]


NOTHING = FrameRegions()


class _Cache:
    """The masks used last, up to CACHED_BYTES, for whoever holds the frame's regions; how many pixels both had."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, tuple[int, int]], tuple[FrameRegions, tuple[Masks, int]]] = OrderedDict()
        self._lock = Lock()

    def masks(self, shown: FrameRegions, size: tuple[int, int]) -> tuple[Masks, int]:
        key = (id(shown), size)  # no other object can take the number: what is kept here stays alive
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][1]
        lv, myocardium = (polygons_mask((c.outline for c in kind), size) for kind in (shown.lv, shown.myocardium))
        both = lv & myocardium
        shared = int(np.count_nonzero(both))
        for mask in (lv, myocardium):
            mask[both] = False
            mask.setflags(write=False)
        with self._lock:
            self._kept[key] = shown, ((lv, myocardium), shared)
            while len(self._kept) > 1 and sum(2 * h * w for _, (h, w) in self._kept) > CACHED_BYTES:
                self._kept.popitem(last=False)
            return self._kept[key][1]


_CACHE = _Cache()


@dataclass(frozen=True, eq=False)
class Regions:
    """Left ventricle and myocardium of a loop.

    lv, myocardium: contours for all frames.  frames: key frames {frame index: FrameRegions}; a key frame holds
    until the next one. Frames before the first key frame use `lv` and `myocardium`, or, where those are empty, the
    first key frame that has contours of that kind.

    edited: the key frames that a person set or accepted; the others came from the network or follow an edited one.
    left_out: frames that a person left out: they show nothing, whatever their key frame holds for their neighbours.
    generated: what the network gave, {frame index: FrameRegions}: corrections are kept apart from it.
    lv_whole: the whole ventricle, from which the recipe made both regions, {frame index: Contour}; empty for regions
    drawn by hand.  findings: how sure the network was, and why it found none.  marks: end diastole and systole.
    review: a person's verdict, or None.  source: name and checksum of the segmentation network; "" for regions drawn
    by hand.
    """

    lv: tuple[Contour, ...] = ()
    myocardium: tuple[Contour, ...] = ()
    frames: Mapping[int, FrameRegions] = field(default_factory=dict)
    edited: frozenset[int] = frozenset()
    generated: Mapping[int, FrameRegions] = field(default_factory=dict)
    lv_whole: Mapping[int, Contour] = field(default_factory=dict)
    marks: Marks = field(default_factory=Marks)
    review: Review | None = None
    source: str = ""
    left_out: frozenset[int] = frozenset()
    findings: Findings = field(default_factory=Findings)
    _shown: dict[int, FrameRegions] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lv", _contours(self.lv))
        object.__setattr__(self, "myocardium", _contours(self.myocardium))
        for name in ("frames", "generated", "lv_whole"):
            given: Mapping[int, Any] = getattr(self, name)
            if any(t < 0 for t in given):
                raise RegionError("A key frame cannot have a negative frame number.")
            object.__setattr__(self, name, {int(t): given[t] for t in sorted(given)})
        whole = {t: _contours((contour,))[0] for t, contour in self.lv_whole.items()}
        object.__setattr__(self, "lv_whole", whole)
        object.__setattr__(self, "edited", frozenset(t for t in self.frames if t in self.edited))
        object.__setattr__(self, "left_out", frozenset(int(t) for t in self.left_out))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Regions):
            return NotImplemented
        return all(getattr(self, f.name) == getattr(other, f.name) for f in fields(self) if f.init)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return Regions, tuple(getattr(self, f.name) for f in fields(self) if f.init)

    def __bool__(self) -> bool:
        """Whether anything is drawn at all."""
        return bool(self.lv or self.myocardium or any(self.frames.values()))

    def key(self, t: int) -> int:
        """The key frame that frame `t` shows; -1 when it shows the contours for all frames."""
        return max((k for k in self.frames if k <= t), default=-1)

    def at(self, t: int) -> FrameRegions:
        """The contours that frame `t` shows; the same object for all frames that show the same key frame."""
        return NOTHING if t in self.left_out else self.under(t)

    def under(self, t: int) -> FrameRegions:
        """The contours that frame `t` shows once it is not left out."""
        key = self.key(t)
        if key not in self._shown:
            own = self.frames.get(key)
            self._shown[key] = own if own is not None and own.lv and own.myocardium else self._search(key)
        return self._shown[key]

    def _search(self, key: int) -> FrameRegions:
        lv, myocardium = self.lv, self.myocardium
        for k, shown in self.frames.items():
            if k <= key or not lv:
                lv = shown.lv or lv
            if k <= key or not myocardium:
                myocardium = shown.myocardium or myocardium
        return FrameRegions(lv, myocardium)

    def masks(self, size: tuple[int, int], t: int = 0) -> Masks:
        """Left ventricle and myocardium of frame `t`, to be measured: two read-only masks bool (H, W), cached.

        Pixels that contours of both cover are in neither; `check` says where that is not to be.
        """
        return self.at(t).masks(size)

    def check(self, size: tuple[int, int], frames: Iterable[int] | None = None) -> None:
        """Raise RegionError when, for a loop of `size` (H, W), a region is empty or the two share a pixel.

        frames: which are measured; None: the first one and the key frames. Those left out are passed over.
        Regions of a network may share pixels: a correction of one reaches frames that nobody looked at, and measuring
        goes on without these pixels. Where a person drew both, it is a slip of the hand.
        """
        for t in sorted(set({0, *self.frames} if frames is None else frames) - self.left_out):
            lv, myocardium = self.masks(size, t)
            shared = 0 if self.generated else self.at(t).shared(size)
            where = f" in frame {t + 1}" if self.frames else ""
            if shared:
                raise RegionError(
                    f"The left ventricle and myocardium regions{where} share {shared} pixels: move them apart."
                )
            for name, mask in (("left ventricle", lv), ("myocardium", myocardium)):
                if not mask.any():
                    raise RegionError(
                        f"The {name} region{where} holds no pixel of the {size[1]} x {size[0]} picture: "
                        "draw it inside the picture."
                    )
