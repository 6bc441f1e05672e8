"""Regions through a loop: what the network gave, corrected on key frames, and the frames between that follow.

A frame that a person edited is a key frame. A frame between two of them shows what the network gave there, plus
their corrections, blended linearly in time: the network follows the beat, the person sets it right. Where the network
gave nothing, contours are blended between the frames that have some. Beyond the first and last key frame the
correction, or without a network the contour, is held. So every frame follows from `generated` and the key frames
alone: editing one twice never adds up. A frame left out shows nothing and is not measured; its neighbours stay as they
were.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from echoq_models.regions.contour import Contour
from echoq_models.regions.matching import Correction, corrected, interpolate
from echoq_models.regions.recipe import whole_contour
from echoq_models.regions.regions import FrameRegions, Regions

Contours = tuple[Contour, ...]
KINDS = ("lv", "myocardium")


def generated(
    shapes: Mapping[int, FrameRegions],
    whole: Mapping[int, Contour | NDArray[np.bool_]],
    total: int,
    source: str = "",
) -> Regions:
    """Regions of a whole loop from what the network gave.

    shapes: the regions of the frames where it found a ventricle (see `recipe.frame_regions`).  whole: the ventricle
    itself in these frames, a contour or a mask bool (H, W).  total: frames of the loop; those without a shape are
    blended between their neighbours, or held at the ends.  source: the network's name and checksum.
    Frames with few handles get as many as most frames have, so that a correction fits them all.
    """
    contours = {t: w if isinstance(w, Contour) else whole_contour(w) for t, w in whole.items()}
    return taken_in(Regions(), Regions(generated=shapes, lv_whole=contours, source=source), total)


def taken_in(regions: Regions, given: Regions, total: int, one_by_one: bool = False) -> Regions:
    """`regions` with what a network gave now: the `generated`, `lv_whole` and `source` of `given`.

    It replaces what a network gave before; with `one_by_one` only where it gave something, and these frames then show
    just that, though a person had set them or their neighbours. Other key frames that a person edited stay as they
    are, and so do frames left out; corrections reach the new contours between them. What was drawn for all frames goes.
    """
    replaced = frozenset(given.generated if one_by_one else ())
    shapes, whole = dict(given.generated), dict(given.lv_whole)
    if one_by_one:
        shapes, whole = {**regions.generated, **shapes}, {**regions.lv_whole, **whole}
    shapes = _alike(shapes)
    keys = {t: regions.under(t) for t in regions.edited - replaced}
    if keys:  # else no correction can move the new ones
        keys |= {t: shapes[t] for t in replaced}
    made = replace(
        regions,
        lv=(),
        myocardium=(),
        frames=keys,
        edited=frozenset(keys),
        left_out=regions.left_out - replaced,
        generated=shapes,
        lv_whole=whole,
        source=given.source,
    )
    return _all_follow(made, total)


def _alike(shapes: Mapping[int, FrameRegions]) -> dict[int, FrameRegions]:
    """The same shapes, no spline with fewer handles than the same piece has in most frames."""
    counts: dict[tuple[str, int], list[int]] = {}
    for shown in shapes.values():
        for kind in KINDS:
            for i, contour in enumerate(getattr(shown, kind)):
                counts.setdefault((kind, i), []).append(len(contour))
    usual = {piece: sorted(found)[len(found) // 2] for piece, found in counts.items()}

    def refined(shown: FrameRegions, kind: str) -> Contours:
        pieces: Contours = getattr(shown, kind)
        few = [c.smooth and len(c) < usual[kind, i] for i, c in enumerate(pieces)]
        return tuple(Contour.through(c.outline, usual[kind, i]) if few[i] else c for i, c in enumerate(pieces))

    return {t: FrameRegions(refined(shown, "lv"), refined(shown, "myocardium")) for t, shown in shapes.items()}


def edit(regions: Regions, t: int, kind: str, contours: Iterable[Contour], total: int) -> Regions:
    """Regions in which frame `t` shows these contours of `kind`, "lv" or "myocardium", and its neighbours follow.

    Frame `t` becomes a key frame, its other region as it is, and is not left out any more. What was drawn for all
    frames follows too, unless there are other key frames: then it becomes one at frame 0. Without contours frame `t`
    gets those that its neighbours ask for. An edit that changes nothing gives the same regions. 100 frames take 10 to
    30 ms.
    """
    shown, contours = regions.under(t), tuple(contours)
    if getattr(shown, kind) == contours and t not in regions.left_out:
        return regions
    return _follow(_with_key(regions, t, replace(shown, **{kind: contours})), kind, t, total)


def set_frame(regions: Regions, t: int, shown: FrameRegions, total: int) -> Regions:
    """Regions in which frame `t` shows both regions of `shown`, as a key frame, and its neighbours follow.

    With what the frame shows already it becomes a key frame: a person accepted it.
    """
    if t in regions.edited and regions.at(t) == shown:
        return regions
    made = _with_key(regions, t, shown)
    for kind in KINDS:
        made = _follow(made, kind, t, total)
    return made


def copy_to(regions: Regions, t: int, t2: int, total: int) -> Regions:
    """Regions in which frame `t2` shows what frame `t` shows, as a key frame, and its neighbours follow."""
    return set_frame(regions, t2, regions.at(t), total)


def leave_out(regions: Regions, t: int, out: bool = True) -> Regions:
    """Regions in which frame `t` is left out, or taken in again with what it had; its neighbours stay as they are."""
    return replace(regions, left_out=regions.left_out | {t} if out else regions.left_out - {t})


def follow(regions: Regions, t: int, total: int) -> Regions:
    """Regions in which frame `t` is neither edited nor left out, but follows the network and the other key frames.

    Where it is the only frame that has a region, there is nothing to follow: it keeps what it has.
    """
    if t in regions.left_out:
        regions = leave_out(regions, t, out=False)
    others = [*regions.generated.values(), *(regions.frames[k] for k in regions.edited - {t})]
    lonely = any(getattr(regions.at(t), kind) and not any(getattr(o, kind) for o in others) for kind in KINDS)
    if t not in regions.edited or lonely:
        return regions
    freed = replace(regions, edited=regions.edited - {t})
    for kind in KINDS:
        freed = _follow(freed, kind, t, total)
    return freed


def one_shape(regions: Regions, kind: str) -> bool:
    """Whether a person drew the contours of a kind once, for all frames."""
    drawn = [regions, *regions.frames.values()]
    return not regions.generated and sum(bool(getattr(shown, kind)) for shown in drawn) == 1


def without(regions: Regions, kind: str) -> Regions:
    """Regions without any contour of a kind that a person drew."""
    frames = {t: replace(shown, **{kind: ()}) for t, shown in regions.frames.items()}
    frames = {t: shown for t, shown in frames.items() if shown}
    return replace(regions, lv=(), frames=frames) if kind == "lv" else replace(regions, myocardium=(), frames=frames)


def _with_key(regions: Regions, t: int, shown: FrameRegions) -> Regions:
    """With frame `t` as a key frame, and what was drawn for all frames as one at the start if there are others."""
    frames, edited = dict(regions.frames), regions.edited | {t}
    if (regions.lv or regions.myocardium) and len(edited) > 1:
        frames[0] = regions.under(0)
        edited |= {0}
    frames[t] = shown
    return replace(regions, lv=(), myocardium=(), frames=frames, edited=edited, left_out=regions.left_out - {t})


def _all_follow(regions: Regions, total: int) -> Regions:
    """Every frame that is no key frame made anew."""
    for kind in KINDS:
        regions = _follow(regions, kind, None, total)
    return regions


def _follow(regions: Regions, kind: str, t: int | None, total: int) -> Regions:
    """The regions of one kind made anew around frame `t`, up to the next key frames; without `t` in all frames."""
    frames = dict(regions.frames)
    keys = {k: getattr(frames[k], kind) for k in sorted(regions.edited) if getattr(frames[k], kind)}
    given = {k: getattr(shown, kind) for k, shown in regions.generated.items() if getattr(shown, kind)}
    track = _Track(keys, given)
    first, last = 0, max(total, 1)
    if t is not None:
        first = max((k for k in keys if k < t), default=-1) + 1
        last = min((k for k in keys if k > t), default=max(total, t + 1))
    for s in range(first, last):
        if s not in keys:
            frames[s] = replace(frames.get(s, FrameRegions()), **{kind: track.at(s)})
    return replace(regions, frames={s: shown for s, shown in frames.items() if shown})


@dataclass(frozen=True)
class _Track:
    """One kind of contours through a loop: key frames set by hand, and what the network gave, in order of time."""

    keys: Mapping[int, Contours]
    given: Mapping[int, Contours]
    _corrections: dict[int, list[Correction | None]] = field(default_factory=dict)

    def at(self, t: int) -> Contours:
        """What frame `t`, which is no key frame, shows; nothing where a key frame is held."""
        base, keys = _blend(self.given, t), _around(self.keys, t)
        if not keys:
            return base
        if not base:
            return _blend(self.keys, t) if len(keys) > 1 else ()
        made = [(self._correction(k), weight) for k, weight in keys]
        if any(len(corrections) != len(base) for corrections, _ in made):
            return _blend(self.keys, t)  # pieces came or went: there is nothing to correct
        out = []
        for i, piece in enumerate(base):
            own = [(corrections[i], weight) for corrections, weight in made]
            out.append(corrected(piece, [(correction, weight) for correction, weight in own if correction]))
        return tuple(out)

    def _correction(self, k: int) -> list[Correction | None]:
        """How each contour of key frame `k` was corrected, None where it was not; empty when pieces came or went."""
        if k not in self._corrections:
            base, drawn = _blend(self.given, k), self.keys[k]
            pairs = zip(base, drawn, strict=True) if len(base) == len(drawn) else ()
            self._corrections[k] = [None if a == b else Correction.between(a, b) for a, b in pairs]
        return self._corrections[k]


def _around(frames: Mapping[int, Contours], t: int) -> list[tuple[int, float]]:
    """The frames next to `t` in time, two or one or none, with their weights in a linear blend."""
    known = list(frames)
    place = bisect_left(known, t)
    near = known[place : place + 1] if t in frames else known[max(place - 1, 0) : place + 1]
    if len(near) < 2:
        return [(k, 1.0) for k in near]
    share = (t - near[0]) / (near[1] - near[0])
    return [(near[0], 1.0 - share), (near[1], share)]


def _blend(frames: Mapping[int, Contours], t: int) -> Contours:
    """Contours blended linearly in time and held at the ends; those of the nearer frame when their number differs."""
    around = _around(frames, t)
    if not around:
        return ()
    (first, _), (last, share) = around[0], around[-1]
    a, b = frames[first], frames[last]
    if len(a) != len(b):
        return a if share < 0.5 else b
    return tuple(interpolate(p, q, share) for p, q in zip(a, b, strict=True))
