"""Is a result true? Every held-out frame against its clean twin, and clean frames against themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from echoq_models.metrics.contrast import cnr, contrast
from echoq_models.metrics.fidelity import psnr, ssim
from echoq_models.metrics.gcnr import gcnr
from training.evaluation.methods import Method
from training.evaluation.records import Record
from training.evaluation.sets import FrameSet
from training.evaluation.statistics import ks_distance

Frames = NDArray[np.uint8]
Masks = NDArray[np.bool_]

SMALLEST_REGION = 100  # pixels; the distribution of fewer says nothing
MOST_PSNR_DB = 99.0  # stands for equal pictures, whose PSNR is infinite


def separation(frame: Frames, lv: Masks, myocardium: Masks) -> dict[str, float]:
    """gCNR, contrast (myocardium minus LV, grey levels) and CNR of one frame (H, W)."""
    return {
        "gcnr": gcnr(frame, lv, myocardium),
        "contrast": contrast(frame, lv, myocardium),
        "cnr": cnr(frame, lv, myocardium),
    }


def nearness(reference: Frames, frame: Frames, sector: Masks) -> dict[str, float]:
    """PSNR (dB, at most 99) and SSIM of one frame (H, W) to its reference, inside the sector."""
    return {
        "psnr_db": min(psnr(reference, frame, sector), MOST_PSNR_DB),
        "ssim": ssim(reference, frame, sector),
    }


def grey_levels(reference: Frames, frame: Frames, regions: Mapping[str, Masks]) -> dict[str, float]:
    """Kolmogorov-Smirnov distance of the grey levels to the reference's, `ks_NAME` for each region; nan if tiny."""
    return {
        f"ks_{name}": ks_distance(reference[mask], frame[mask]) if mask.sum() >= SMALLEST_REGION else math.nan
        for name, mask in regions.items()
    }


def held_out_records(data: FrameSet, method: str, images: Frames, part: str = "held-out") -> Iterator[Record]:
    """All figures of the images uint8 (N, H, W) that `method` made of the set's noisy frames."""
    seen: dict[int, int] = {}
    for i, frame in enumerate(images):
        loop = int(data.loop[i])
        index = seen[loop] = seen.get(loop, -1) + 1
        values = separation(frame, data.lv[i], data.myocardium[i])
        values |= nearness(data.clean[i], frame, data.sector[i])
        values |= grey_levels(data.clean[i], frame, {"septum": data.septum[i], "lv": data.lv[i]})
        values |= {"lv_pixels": float(data.lv[i].sum()), "myocardium_pixels": float(data.myocardium[i].sum())}
        yield Record(part, str(loop), index, method, values)


def through(method: Method, data: FrameSet) -> Frames:
    """The set's noisy frames through a method, loop by loop: uint8 (N, H, W) in the set's order."""
    out = np.empty_like(data.noisy)
    for number, loop in data.loops():
        out[data.loop == number] = method.run(loop.noisy)
    return out


def clean_records(data: FrameSet, method: Method) -> tuple[list[Record], Frames]:
    """Frames without haze should come out as they went in: PSNR and SSIM to the input, and the results (N, H, W)."""
    result = method.stills(data.clean)
    rows = []
    for i, (before, after) in enumerate(zip(data.clean, result, strict=True)):
        values = nearness(before, after, data.sector[i])
        values["change"] = float(np.abs(before.astype(float) - after)[data.sector[i]].mean())
        rows.append(Record("clean", str(data.loop[i]), 0, method.name, values))
    return rows, result
