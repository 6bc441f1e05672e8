"""gCNR of a loop in its regions: each frame, each method, median with confidence interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from echoq_models.cine.loop import CineLoop
from echoq_models.denoise.base import Cancel, Settings, never
from echoq_models.errors import Cancelled
from echoq_models.runtime.export import ORIGINAL, Progress, check_methods, silent

if TYPE_CHECKING:
    from echoq_models.regions import Regions

Mask = NDArray[np.bool_]


def measure(
    loop: CineLoop,
    regions: Regions,
    methods: Sequence[str],
    settings: Settings,
    progress: Progress = silent,
    cancel: Cancel = never,
) -> dict[str, Any]:
    """gCNR between left ventricle and myocardium of every frame, for "original" and each of `methods`.

    Computed on arrays in memory, never on a written video. Returns plain data, ready for JSON: "frames",
    "times_ms", "lv_pixels" and "myocardium_pixels" (the fewest of any frame), "null_gcnr" (what two equal
    distributions of that size would read), "small_regions", "methods": name -> {"gcnr", "median", "low",
    "high", "facts"}, "lossy", "warnings". Raises RegionError, WeightsError, Cancelled.
    """
    from echoq_models.denoise import registry
    from echoq_models.metrics.gcnr import SMALL_REGION_PIXELS, null_gcnr

    wanted = [ORIGINAL, *(name for name in dict.fromkeys(methods) if name != ORIGINAL)]
    check_methods(wanted)
    regions.check(loop.size)
    masks = _masks(regions, loop.size)
    pixels = [tuple(int(mask.sum()) for mask in masks(t)) for t in (range(len(loop)) if regions.frames else (0,))]
    lv, myocardium = (min(counts) for counts in zip(*pixels, strict=True))
    results: dict[str, Any] = {}
    for name in wanted:
        facts: dict[str, Any] = {}
        frames: Iterable[tuple[int, NDArray[np.uint8]]] = enumerate(loop.frames)
        if name != ORIGINAL:
            denoiser = registry.get(name)
            prepared = denoiser.prepare(loop, settings)
            facts = dict(prepared.facts)
            frames = denoiser.run(loop, prepared, range(len(loop)), cancel)
        values = _values(frames, masks, len(loop), partial(_tell, progress, len(loop), name), cancel)
        results[name] = {**_summary(values), "facts": facts}
    return {
        "frames": len(loop),
        "times_ms": [round(float(t), 3) for t in loop.times_ms],
        "lv_pixels": lv,
        "myocardium_pixels": myocardium,
        "null_gcnr": round(float(null_gcnr(lv, myocardium)), 4),
        "small_regions": min(lv, myocardium) < SMALL_REGION_PIXELS,
        "methods": results,
        "lossy": list(loop.lossy),
        "warnings": list(loop.warnings),
    }


def _tell(progress: Progress, total: int, name: str, done: int) -> None:
    progress(done, total, f"measuring {name}")


def _masks(regions: Regions, size: tuple[int, int]) -> Callable[[int], tuple[Mask, Mask]]:
    """Masks of frame t, drawn once where one region serves all frames."""
    if not regions.frames:
        both = regions.masks(size)
        return lambda t: both
    return cache(lambda t: regions.masks(size, t))


def _values(
    frames: Iterable[tuple[int, NDArray[np.uint8]]],
    masks: Callable[[int], tuple[Mask, Mask]],
    total: int,
    progress: Callable[[int], None],
    cancel: Cancel,
) -> NDArray[np.float64]:
    from echoq_models.metrics.gcnr import gcnr

    values = np.full(total, np.nan)
    for done, (t, frame) in enumerate(frames, start=1):
        if cancel():
            break
        values[t] = gcnr(frame, *masks(t))
        progress(done)
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
