"""gCNR of a loop in its regions: each frame, each method, median with confidence interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from echoq_models.cine.loop import CineLoop
from echoq_models.denoise.base import Cancel, Settings, never
from echoq_models.errors import Cancelled, RegionError
from echoq_models.runtime.export import ORIGINAL, Progress, check_methods, silent

if TYPE_CHECKING:
    from echoq_models.regions import Regions


def measure(
    loop: CineLoop,
    regions: Regions,
    methods: Sequence[str],
    settings: Settings,
    progress: Progress = silent,
    cancel: Cancel = never,
    indices: Sequence[int] | None = None,
) -> dict[str, Any]:
    """gCNR between left ventricle and myocardium, for "original" and each of `methods`.

    indices: the frames to measure, all when None; those that a person left out are not.  Returns what
    `measure_frames` returns, each method with its "facts". Raises RegionError, WeightsError, Cancelled.
    """
    from echoq_models.denoise import registry

    which = kept(regions, range(len(loop)) if indices is None else indices)
    regions.check(loop.size, which)
    check_methods(methods)
    facts: dict[str, dict[str, Any]] = {}
    streams: dict[str, Iterable[NDArray[np.uint8]]] = {ORIGINAL: (loop.frames[t] for t in which)}
    for name in methods:
        if name not in streams:
            denoiser = registry.get(name)
            prepared = denoiser.prepare(loop, settings)
            facts[name] = dict(prepared.facts)
            streams[name] = (frame for _, frame in denoiser.run(loop, prepared, which, cancel))
    found = measure_frames(loop, regions, streams, progress, cancel, which)
    for name, result in found["methods"].items():
        result["facts"] = facts.get(name, {})
    return found


def measure_frames(
    loop: CineLoop,
    regions: Regions,
    frames: Mapping[str, Iterable[NDArray[np.uint8]]],
    progress: Progress = silent,
    cancel: Cancel = never,
    indices: Sequence[int] | None = None,
) -> dict[str, Any]:
    """gCNR of every frame of what is already denoised, or is while it is asked for.

    frames: name -> the frames `indices` of the loop (all when None) in that order, each uint8 (H, W). Computed on
    arrays in memory, never on a written video. Returns plain data, ready for JSON: "frames" (how many), "indices",
    "times_ms", "lv_pixels" and "myocardium_pixels" (the fewest of any of them), "null_gcnr" (what two equal
    distributions of that size would read), "small_regions", "methods": name -> {"gcnr", "median", "low", "high"},
    "lossy", "warnings".
    Raises RegionError, Cancelled.
    """
    which = range(len(loop)) if indices is None else indices
    regions.check(loop.size, which)
    values: dict[str, NDArray[np.float64]] = {}
    for name, stream in frames.items():
        tell = partial(_tell, progress, len(which), name)
        values[name] = _values(stream, regions, loop, which, tell, cancel)
    return report(loop, regions, values, which)


def report(
    loop: CineLoop, regions: Regions, values: Mapping[str, NDArray[np.float64]], which: Sequence[int]
) -> dict[str, Any]:
    """What `measure_frames` returns, of gCNR float64 (n,) of each method in the n frames `which`."""
    from echoq_models.metrics.gcnr import SMALL_REGION_PIXELS, null_gcnr

    shown = {regions.key(t): t for t in which}  # one frame of each key frame
    pixels = [[int(mask.sum()) for mask in regions.masks(loop.size, t)] for t in shown.values()]
    lv, myocardium = (min(counts) for counts in zip(*pixels, strict=True))
    return {
        "frames": len(which),
        "indices": list(which),
        "times_ms": [round(float(loop.times_ms[t]), 3) for t in which],
        "lv_pixels": lv,
        "myocardium_pixels": myocardium,
        "null_gcnr": round(float(null_gcnr(lv, myocardium)), 4),
        "small_regions": min(lv, myocardium) < SMALL_REGION_PIXELS,
        "methods": {name: _summary(each) for name, each in values.items()},
        "lossy": list(loop.lossy),
        "warnings": [*loop.warnings, *_notes(loop, regions, which)],
    }


def kept(regions: Regions, which: Sequence[int]) -> list[int]:
    """The frames that a person did not leave out."""
    left = [t for t in which if t not in regions.left_out]
    if not left:
        raise RegionError("Every frame is left out in these regions: there is nothing to measure.")
    return left


def _notes(loop: CineLoop, regions: Regions, which: Sequence[int]) -> list[str]:
    """What to know of the regions: frames left out by hand, pixels that count in neither."""
    left_out = len([t for t in regions.left_out if t < len(loop)])
    shared = sum(regions.at(t).shared(loop.size) > 0 for t in which)
    notes = [f"{left_out} of {len(loop)} frames were left out by hand"] if left_out else []
    if shared:
        notes.append(f"both regions cover some pixels in {shared} of {len(which)} frames: these count in neither")
    return notes


def _tell(progress: Progress, total: int, name: str, done: int) -> None:
    progress(done, total, f"measuring {name}")


def _values(
    frames: Iterable[NDArray[np.uint8]],
    regions: Regions,
    loop: CineLoop,
    which: Sequence[int],
    progress: Callable[[int], None],
    cancel: Cancel,
) -> NDArray[np.float64]:
    from echoq_models.metrics.gcnr import gcnr

    values = np.full(len(which), np.nan)
    for i, (t, frame) in enumerate(zip(which, frames, strict=False)):  # ends early only when cancelled
        if cancel():
            break
        values[i] = gcnr(frame, *regions.masks(loop.size, t))
        progress(i + 1)
    if np.isnan(values).any():
        raise Cancelled("Cancelled while measuring.")
    return values


def _summary(values: NDArray[np.float64]) -> dict[str, Any]:
    from echoq_models.metrics.gcnr import median_ci

    found = median_ci(values)
    return {
        "gcnr": [round(float(value), 4) for value in values],
        "median": _plain(found.median),
        "low": _plain(found.low),
        "high": _plain(found.high),
    }


def _plain(value: float) -> float | None:
    """JSON has no NaN: a still has no interval."""
    return round(float(value), 4) if math.isfinite(value) else None
