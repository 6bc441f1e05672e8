"""Stage `evaluate`: is what a denoiser does true? Held-out phantom frames, through the same door as a person's loop.

Besides gCNR and PSNR it looks for inventions (darkening where there is nothing to remove) and at the confidence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from echoq_models.cine import CineLoop, read
from echoq_models.cine import sector as sectors
from echoq_models.denoise import registry
from echoq_models.denoise.base import Settings
from echoq_models.denoise.network import NetworkDenoiser
from echoq_models.metrics.fidelity import psnr
from echoq_models.metrics.gcnr import gcnr
from echoq_models.regions import load as load_regions
from training.phantom.config import NOISY_LEVEL_DB
from training.phantom.report import measurable, pixels, textbook_config
from training.phantom.simulate import PhantomBatch, seeded, simulate, simulate_structureless

HELD_OUT_SEED = 7_000_000  # far from the pool's seeds, which count up from 1000
BM3D_SIGMAS = (5.0, 10.0, 20.0, 30.0, 40.0, 60.0, 80.0)  # grey levels
Frames = NDArray[np.uint8]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Sizes:
    """How many frames of each kind: noisy (of which `bm3d` for BM3D, which is slow), structureless, clean."""

    noisy: int = 200
    bm3d: int = 24
    structureless: int = 64
    clean: int = 32


QUICK = Sizes(noisy=8, bm3d=2, structureless=4, clean=4)


def still(frame: Frames) -> CineLoop:
    """One frame (H, W) as a loop."""
    return CineLoop(frame[None], np.zeros(1), kind="phantom")


def denoise(method: str, frames: Frames, settings: Settings | None = None) -> Frames:
    """Each of (N, H, W) as a loop of its own through a denoiser, as a person's still would go."""
    denoiser, settings = registry.get(method), settings or Settings()
    out = []
    for frame in frames:
        loop = still(frame)
        out.append(next(iter(denoiser.run(loop, denoiser.prepare(loop, settings), [0])))[1])
    return np.stack(out)


@dataclass(frozen=True)
class HeldOut:
    """Measurable held-out frames: uint8 (N, 256, 256) pictures and bool masks."""

    noisy: Frames
    clean: Frames
    target: Frames
    sector: NDArray[np.bool_]
    lv: NDArray[np.bool_]
    myocardium: NDArray[np.bool_]

    def gcnr(self, images: Frames) -> NDArray[np.float64]:
        """(N,) of the images between the phantom's own regions."""
        part = range(len(images))
        return np.array([gcnr(images[i], self.lv[i], self.myocardium[i]) for i in part])

    def psnr(self, images: Frames) -> NDArray[np.float64]:
        """(N,) dB inside the sector to the clean twin."""
        return np.array([psnr(self.clean[i], images[i], self.sector[i]) for i in range(len(images))])


def held_out(count: int, seed: int = HELD_OUT_SEED) -> HeldOut:
    """`count` textbook frames of the default noisy range."""
    generator, config = seeded(seed), textbook_config()
    batches: list[PhantomBatch] = []
    found = 0
    while found < count:
        batch = simulate(8, generator, config, level_db=NOISY_LEVEL_DB)
        keep = torch.tensor(list(measurable(batch)), dtype=torch.long)
        batches.append(batch[keep])
        found += len(keep)

    def masks(name: str) -> NDArray[np.bool_]:
        return np.concatenate([getattr(b, name)[:, 0].numpy() for b in batches])[:count]

    def pictures(name: str) -> Frames:
        return np.concatenate([pixels(getattr(b, name)) for b in batches])[:count]

    return HeldOut(
        pictures("noisy"), pictures("clean"), pictures("target"), masks("sector"), masks("lv"), masks("myocardium")
    )


def _medians(name: str, data: HeldOut, images: Frames) -> dict[str, float]:
    g = data.gcnr(images)
    return {
        f"{name} gCNR median": round(float(np.median(g)), 3),
        f"{name} PSNR median dB": round(float(np.median(data.psnr(images))), 2),
    }


def fidelity_figures(method: str, sizes: Sizes, say: Say) -> dict[str, float]:
    """gCNR and PSNR of noisy, oracle, the network and BM3D at its best noise level (best mean PSNR)."""
    data = held_out(sizes.noisy)
    figures = _medians("noisy", data, data.noisy) | _medians("oracle", data, data.target)
    figures["clean gCNR median"] = round(float(np.median(data.gcnr(data.clean))), 3)
    result = denoise(method, data.noisy)
    figures |= _medians(method, data, result)
    say(f"{method}: {figures}")
    part = replace(data, **{k: getattr(data, k)[: sizes.bm3d] for k in vars(data)})
    tried = {s: denoise("bm3d", part.noisy, Settings(sigma=s)) for s in BM3D_SIGMAS}
    best = max(tried, key=lambda s: float(part.psnr(tried[s]).mean()))
    figures |= _medians("bm3d", part, tried[best]) | {"bm3d best sigma": best}
    gain = part.psnr(result[: sizes.bm3d]).mean() - part.psnr(tried[best]).mean()
    figures[f"{method} over bm3d dB"] = round(float(gain), 2)
    return figures


def local_ratio(before: Frames, after: Frames, sector: NDArray[np.bool_], scale: float = 6.0) -> NDArray[np.float64]:
    """Locally averaged brightness after over before, inside the sector shrunk by the scale; (n,) ratios."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (25, 25))
    inner = cv2.erode(sector.astype(np.uint8), kernel).astype(bool)
    a, b = (cv2.GaussianBlur(x.astype(np.float64), (0, 0), scale) for x in (after, before))
    return np.asarray((a[inner] + 0.5) / (b[inner] + 0.5))


def invention_figures(method: str, sizes: Sizes) -> dict[str, float]:
    """Structureless sectors: the darkest local gain (5th percentile within a frame; 1 = left alone)."""
    batch = simulate_structureless(sizes.structureless, seeded(HELD_OUT_SEED + 1))
    frames, sector = pixels(batch.noisy), batch.sector[:, 0].numpy()
    result = denoise(method, frames)
    darkest = [
        float(np.percentile(local_ratio(f, r, s), 5)) for f, r, s in zip(frames, result, sector, strict=True) if s.any()
    ]
    return {
        "structureless darkest gain median": round(float(np.median(darkest)), 3),
        "structureless darkest gain worst": round(min(darkest), 3),
    }


def clean_figures(method: str, sizes: Sizes) -> dict[str, float]:
    """Frames without haze must come out as they went in: mean change in grey levels, and PSNR to the input."""
    batch = simulate(sizes.clean, seeded(HELD_OUT_SEED + 2), textbook_config(), level_db=(-60.0, -60.0))
    frames, sector = pixels(batch.noisy), batch.sector[:, 0].numpy()
    result = denoise(method, frames)
    change = np.abs(frames.astype(float) - result)[sector].mean()
    return {"clean frames mean change": round(float(change), 2)}


def confidence_figures(method: str, sizes: Sizes) -> dict[str, float]:
    """Spearman correlation over pixels between confidence and minus the error of the result to the clean twin."""
    denoiser = registry.get(method)
    if not isinstance(denoiser, NetworkDenoiser):
        return {}
    batch = simulate(sizes.clean, seeded(HELD_OUT_SEED + 3))
    noisy, clean, inside = pixels(batch.noisy), pixels(batch.clean), batch.sector[:, 0].numpy()
    sure: list[NDArray[np.float64]] = []
    error: list[NDArray[np.float64]] = []
    for i, frame in enumerate(noisy):
        loop = still(frame)
        prepared = denoiser.prepare(loop, Settings())
        confidence = denoiser.confidence(loop, prepared, 0)
        if confidence is None:
            return {}
        back = _to_frame(confidence, loop)
        result = next(iter(denoiser.run(loop, prepared, [0])))[1]
        wrong = cv2.GaussianBlur(np.abs(result.astype(np.float64) - clean[i]), (0, 0), 3)
        pick = np.flatnonzero(inside[i])[::37]
        sure.append(back.ravel()[pick])
        error.append(wrong.ravel()[pick])
    return {"confidence rank correlation": round(_spearman(np.concatenate(sure), -np.concatenate(error)), 3)}


def _to_frame(patch: NDArray[np.float32], loop: CineLoop) -> NDArray[np.float64]:
    """A map on the sector's square (256, 256) back on the frame's pixels, 0 outside the square."""
    square = sectors.fit(loop)
    height, width = loop.size
    whole = np.zeros((height, width))
    large = cv2.resize(patch, (square.side, square.side), interpolation=cv2.INTER_LINEAR)
    y0, x0 = max(square.y0, 0), max(square.x0, 0)
    y1, x1 = min(square.y0 + square.side, height), min(square.x0 + square.side, width)
    whole[y0:y1, x0:x1] = large[y0 - square.y0 : y1 - square.y0, x0 - square.x0 : x1 - square.x0]
    return whole


def _spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    ranks = [np.argsort(np.argsort(x)).astype(float) for x in (a, b)]
    return float(np.corrcoef(np.stack(ranks))[0, 1])


def real_figures(method: str, folder: Path, output: Path | None) -> dict[str, float]:
    """gCNR of every still in `folder` that has a `NAME.roi.json` beside it, before and after; pictures to `output`."""
    figures: dict[str, float] = {}
    for roi in sorted(folder.rglob("*.roi.json")):
        source = roi.with_name(roi.name.removesuffix(".roi.json") + ".png")
        if not source.exists():
            continue
        loop = read(source)
        lv, muscle = load_regions(roi).masks(loop.size)
        results = {"original": loop.frames[0]}
        results |= {m: denoise(m, loop.frames[:1])[0] for m in (method, "bm3d")}
        for name, frame in results.items():
            figures[f"{source.stem} {name} gCNR"] = round(gcnr(frame, lv, muscle), 3)
        if output:
            cv2.imwrite(str(output / f"{source.stem}.png"), np.concatenate(list(results.values()), axis=1))
    return figures


def pictures(method: str, output: Path) -> None:
    """A sheet to look at: noisy, denoised, oracle and clean held-out frames, then structureless ones."""
    data = held_out(8)
    rows = [data.noisy, denoise(method, data.noisy), data.target, data.clean]
    flat = pixels(simulate_structureless(8, seeded(HELD_OUT_SEED + 1)).noisy)
    rows += [flat, denoise(method, flat)]
    sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)
    output.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(output / f"{method}_sheet.png"), sheet)


def evaluate(
    method: str, sizes: Sizes, real: Path | None = None, output: Path | None = None, say: Say = print
) -> dict[str, Any]:
    """All figures of one denoiser. real: a folder of stills with regions. output: a folder for pictures."""
    if output:
        pictures(method, output)
    figures: dict[str, Any] = dict(invention_figures(method, sizes))
    figures |= clean_figures(method, sizes) | confidence_figures(method, sizes)
    say(f"{method}: {figures}")
    figures |= fidelity_figures(method, sizes, say)
    if real:
        figures |= real_figures(method, real, output)
    return figures
