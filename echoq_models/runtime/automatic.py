"""Jobs around the left-ventricle network: masks into a file, and gCNR in regions made from them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from echoq_models.cine.loop import CineLoop
from echoq_models.denoise.base import Cancel, Settings, never
from echoq_models.errors import OutputError, RegionError
from echoq_models.files import replacing
from echoq_models.runtime.export import Progress, check_methods, reading, silent
from echoq_models.runtime.measure import measure

if TYPE_CHECKING:
    from echoq_models.regions import FrameRegions, Regions
    from echoq_models.segment import Segmentation

MASKS = ".npz"


@dataclass(frozen=True)
class AutoOptions:
    """How regions are made. network: name of its weights.  preset: of the recipe (`regions.recipe.PRESETS`).

    settings: of the denoisers; the network runs on their device.
    """

    network: str = "lv"
    preset: str = "default"
    settings: Settings = field(default_factory=Settings)


def segment_file(
    source: Path,
    output: Path,
    network: str = "lv",
    device: str = "auto",
    progress: Progress = silent,
    cancel: Cancel = never,
) -> dict[str, Any]:
    """Find the left ventricle in the loop `source` and write the masks to `output` (.npz).

    It holds `lv` uint8 (T, H, W) of 0 and 1, `confidence` float32 (T,) and `times_ms` float64 (T,). Returns the facts,
    ready for JSON: "input", "output", "frames", "found" (how many frames have one), "reasons" (sentence -> how many
    frames), "confidence" (median over the frames that have one, None for none), "network" facts, "seconds",
    "warnings". Raises InputError, WeightsError, OutputError, Cancelled.
    """
    from echoq_models import cine, segment

    if output.resolve() == source.resolve():
        raise OutputError(f"{output}: this is the input itself; choose another output")
    check_network(network)
    loop = cine.read(source, progress=reading(progress, cancel))
    started = time.monotonic()
    found = segment.segment(loop, network=network, device=device, progress=progress, cancel=cancel)
    try:
        with replacing(output) as new, new.open("wb") as file:
            masks = found.lv.view(np.uint8)
            np.savez_compressed(file, lv=masks, confidence=found.confidence, times_ms=loop.times_ms)
    except OSError as error:
        raise OutputError(f"{output}: the masks cannot be written ({error.strerror or error})") from error
    return {
        "input": str(source),
        "output": str(output),
        **_summary(found),
        "seconds": round(time.monotonic() - started, 3),
        "warnings": list(loop.warnings),
    }


def check_network(network: str) -> None:
    """Raise WeightsError before any work when the network cannot run."""
    from echoq_models import segment
    from echoq_models.errors import WeightsError

    if missing := segment.available(network):
        raise WeightsError(f"{network} cannot run: {missing}")


def _summary(found: Segmentation) -> dict[str, Any]:
    said = [reason for reason in found.reasons if reason]
    sure = found.confidence[found.found]
    return {
        "frames": len(found.lv),
        "found": int(found.found.sum()),
        "reasons": {reason: said.count(reason) for reason in sorted(set(said), key=said.count, reverse=True)},
        "confidence": round(float(np.median(sure)), 4) if sure.size else None,
        "network": dict(found.facts),
    }


def measure_automatically(
    loop: CineLoop,
    methods: Sequence[str],
    options: AutoOptions,
    progress: Progress = silent,
    cancel: Cancel = never,
) -> dict[str, Any]:
    """gCNR between left ventricle and myocardium, both made by network and recipe, frame by frame.

    Returns "lv": "frames", "found", "reasons", "confidence", "network" as `segment_file` does, and "preset"; where
    any frame has both regions also what `measure` returns, over those frames alone. Raises WeightsError, EchoQError
    for an unknown method, Cancelled.
    """
    from echoq_models import segment

    check_network(options.network)
    check_methods(methods)
    device = options.settings.device
    found = segment.segment(loop, network=options.network, device=device, progress=progress, cancel=cancel)
    drawn, failed = make_regions(loop, found, options.preset)
    summary = _summary(found)
    for reason in failed.values():
        summary["found"] -= 1
        summary["reasons"][reason] = summary["reasons"].get(reason, 0) + 1
    facts = {"lv": {**summary, "preset": options.preset}}
    if not drawn.frames:
        return facts
    return {**facts, **measure(loop, drawn, methods, options.settings, progress, cancel, list(drawn.frames))}


def make_regions(loop: CineLoop, found: Segmentation, preset: str = "default") -> tuple[Regions, dict[int, str]]:
    """Measured regions of each frame in which the left ventricle was found, as key frames.

    Frames in which the recipe leaves nothing to measure are left out: frame -> sentence.
    """
    from echoq_models.cine import sector as sectors
    from echoq_models.regions import Regions
    from echoq_models.regions.recipe import PRESETS, frame_regions

    sector = sectors.fit(loop)
    spacing = sectors.usable_spacing(loop, sector)
    made: dict[int, FrameRegions] = {}
    failed: dict[int, str] = {}
    for t in np.flatnonzero(found.found).tolist():
        try:
            shown = frame_regions(found.lv[t], sector.mask, spacing, PRESETS[preset])
            Regions(shown.lv, shown.myocardium).check(loop.size)
        except RegionError as error:
            failed[t] = str(error)
        else:
            made[t] = shown
    return Regions(frames=made), failed
