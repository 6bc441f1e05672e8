"""The pairs that a generator drew, as a denoiser's training examples.

Shards hold the same fields as the phantom's (see `phantom_pool`): target is the clean picture, change what takes the
noisy one nearer to it by darkening alone, min(0, max(clean - noisy, floor)), and confidence the share of the wanted
darkening that the change is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from echoq_models.errors import InputError
from training.data import phantom_pool
from training.data.phantom_pool import CHANGE_SCALE, PoolConfig, TrainingBatch
from training.data.pool import Pool, per_frame

SIDE = 256  # pixels: what denoising networks work on
LEAST_SEEN = 0.022  # full grey scales: a smooth deviation that nobody sees


@dataclass(frozen=True)
class Variety:
    """What the generator's pairs lack. grain: most fine speckle that both pictures are given, as a share of what a
    scanner shows: enlarged pictures have none, frames have.  clouds: how much haze varies over the picture beyond what
    the generator draws, as a standard deviation of its log.  empty: share of the pictures that `heartless` ones take
    the place of, to be left as they are; a generator of hearts draws none, and a network that has seen none finds a
    heart in everything."""

    grain: float = 0.0
    clouds: float = 0.0
    empty: float = 0.0


def sectors(grey: NDArray[np.uint8], least: int = 12, part: float = 0.01) -> NDArray[np.bool_]:
    """The sector of clean pictures uint8 (N, side, side): the convex hull of what is not black once speckle is smoothed
    away, specks smaller than `part` of the picture left out. bool, the same shape."""
    found = np.zeros(grey.shape, dtype=np.uint8)
    for picture, mask in zip(grey, found, strict=True):
        smooth = cv2.GaussianBlur(picture, (0, 0), len(picture) / 128)
        pieces, _ = cv2.findContours((smooth > least).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        large = [piece for piece in pieces if cv2.contourArea(piece) >= part * picture.size]
        if large:
            cv2.fillConvexPoly(mask, cv2.convexHull(np.concatenate(large)), 1)
    return found.astype(bool)


def as_arrays(clean: Tensor, noisy: Tensor, floor: float) -> dict[str, NDArray[np.uint8]]:
    """A shard of pairs, float32 (N, 1, side, side) in [0, 1] each.

    Whatever varies faster than haze does, such as speckle that moved, would ask for a change of its own: the
    difference is smoothed first, over a 64th of the side.
    """
    both = [p.mul(255).round().to(torch.uint8).numpy() for p in (clean, noisy)]
    sector = sectors(both[0][:, 0])[:, None]
    wanted = torch.from_numpy(_smooth((clean - noisy).numpy(), sector)).clamp_max(0)
    change = wanted.clamp_min(floor)
    sure = torch.where(wanted < 0, change / wanted.clamp_max(-1e-6), torch.ones_like(wanted)).clamp(0, 1)
    return {
        "noisy": both[1] * sector,
        "target": both[0] * sector,
        "change": (-CHANGE_SCALE * change).clamp(0, 255).round().to(torch.uint8).numpy() * sector,
        "confidence": sure.mul(255).round().to(torch.uint8).numpy() * sector,
        "sector": sector.astype(np.uint8),
    }


def _smooth(change: NDArray[np.float32], sector: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(N, 1, side, side) smoothed within the sector."""
    inside = sector.astype(np.float32)
    sigma = change.shape[-1] / 64
    out = np.empty_like(change)
    for i in range(len(change)):
        amount, share = (cv2.GaussianBlur(x, (0, 0), sigma) for x in (change[i, 0] * inside[i, 0], inside[i, 0]))
        out[i, 0] = amount / np.maximum(share, 1e-3)
    return out


def open_pool(folder: Path, config: PoolConfig) -> Pool:
    """The pairs in `folder` (RUN/pairs/stills). Raises InputError when there are none."""
    shards = sorted(folder.glob("shard_*"))
    if not shards:
        raise InputError(f"There are no pairs in {folder}: run `python -m training pairs` first.")
    size = len(np.load(shards[0] / "noisy.npy", mmap_mode="r"))
    pool = Pool(folder, dataclasses.replace(config, frames=size * len(shards), shard=size), draw=None)
    pool.refresh()
    return pool


def _noise(
    shape: tuple[int, int, int], sigmas: NDArray[np.float64], rng: np.random.Generator, place: torch.device
) -> Tensor:
    """Gaussian noise of variance 1, smoothed by `sigmas` pixels down and across: float32 (N, 1, H, W)."""
    seeded = torch.Generator(place).manual_seed(int(rng.integers(2**62)))
    field = torch.randn(shape[0], 1, *shape[1:], generator=seeded, device=place)
    for axis, sigma in enumerate(sigmas):
        reach = torch.arange(-int(3 * sigma) - 1, int(3 * sigma) + 2, device=place)
        kernel = torch.exp(-0.5 * (reach / sigma) ** 2)
        kernel = (kernel / kernel.norm()).reshape((1, 1, -1, 1) if axis == 0 else (1, 1, 1, -1))
        field = F.conv2d(field, kernel, padding="same")
    return field


def grain(size: int, side: int, rng: np.random.Generator, device: torch.device) -> Tensor:
    """Speckle as a display of 60 dB shows it, float32 (size, 1, side, side) around 0: the level of a complex Gaussian
    field (Goodman 1976), 1 as full scale, standard deviation 0.09. The grain's size is drawn anew each time."""
    sigmas = np.exp(rng.uniform(np.log((0.5, 0.7)), np.log((3.5, 7.0))))
    field = _noise((2 * size, side, side), sigmas, rng, device)
    level = 10 * torch.log10(field.square().reshape(2, size, 1, side, side).sum(0) / 2 + 1e-3)
    return (level - level.mean()) / 60


def clouds(
    size: int, side: int, rng: np.random.Generator, device: torch.device, widths: tuple[float, float] = (0.05, 0.125)
) -> Tensor:
    """Smooth random fields of variance 1, float32 (size, 1, side, side). widths: of the Gaussian that made them, as
    shares of the side, from and to; down and across are drawn each for itself."""
    coarse = side // 4
    low, high = np.log(widths)
    field = _noise((size, coarse, coarse), np.exp(rng.uniform(low, high, 2)) * coarse, rng, device)
    return F.interpolate(field, size=(side, side), mode="bicubic", align_corners=False)


def heartless(size: int, side: int, rng: np.random.Generator, device: torch.device) -> Tensor:
    """Pictures of speckle in which there is no heart, float32 (size, 1, side, side) in [0, 1]: tissue of any
    brightness, brighter or darker with depth, in clouds and layers and around the apex as haze would have it, and a
    rib's shadow in half of them."""

    half = torch.linspace(-0.5, 0.5, side, device=device)

    def drawn(low: float, high: float) -> Tensor:
        return per_frame(rng.uniform(low, high, size), half)

    down, across = half.reshape(1, 1, side, 1), half.reshape(1, 1, 1, side)
    level = drawn(0.08, 0.8) + drawn(-0.35, 0.35) * down
    level = level + drawn(0, 0.1) * clouds(size, side, rng, device)
    level = level + drawn(0, 0.1) * clouds(size, side, rng, device, (0.02, 0.3))
    near = torch.exp(-((down + 0.5) ** 2 + across**2) / drawn(0.1, 0.4) ** 2)
    angle = torch.atan2(across, down + drawn(0.5, 0.6)) - drawn(-0.6, 0.6)
    shadow = torch.exp(-0.5 * (angle / drawn(0.02, 0.2)) ** 2) * (drawn(-1, 1) > 0)
    level = level + drawn(0, 0.3) * near - drawn(0, 0.5) * shadow
    return (level + drawn(0.3, 1.6) * grain(size, side, rng, device)).clamp(0, 1)


def visible(clean: Tensor, noisy: Tensor, speckle: Tensor, sector: Tensor) -> Tensor:
    """How far what a clean picture shows can still be seen in the noisy one, 0-1: float32 like them all, (N, 1, side,
    side).

    In windows of a fifth of the side, the deviation of the noisy grey that goes with the clean one's is held against
    `LEAST_SEEN` and what is left of the speckle that both are given once it is averaged as an eye does. 0 up to there,
    1 from twice as much on, and so around it, as far as half a chamber is wide. Without it a network is asked to draw
    the usual heart into haze that shows none.
    """
    cell = max(1, sector.shape[-1] // 32)
    weight = F.avg_pool2d(sector, cell)

    def cells(x: Tensor) -> Tensor:
        return F.avg_pool2d(x * sector, cell) / weight.clamp_min(1e-3)

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x * weight, 7, 1, 3) / F.avg_pool2d(weight, 7, 1, 3).clamp_min(1e-3)

    a, b = cells(clean), cells(noisy)
    goes_along = (mean(a * b) - mean(a) * mean(b)) / (mean(a * a) - mean(a) ** 2).clamp_min(1e-4).sqrt()
    left = F.avg_pool2d(cells(speckle), 3, 1, 1).std((1, 2, 3), keepdim=True)
    seen = (goes_along / (LEAST_SEEN + left) - 1).clamp(0, 1) * (weight > 0)
    seen = F.avg_pool2d(F.max_pool2d(seen, 7, 1, 3), 5, 1, 2, count_include_pad=False)  # a wall tells of its chamber
    return F.interpolate(seen, size=sector.shape[-2:], mode="bilinear", align_corners=False)


def batches(
    pool: Pool,
    size: int,
    seed: int,
    device: torch.device,
    config: PoolConfig,
    output: str,
    side: int = SIDE,
    variety: Variety = Variety(),
) -> Iterator[TrainingBatch]:
    """Random batches without end, varied as the phantom's are and as `variety` says, and brought to `side` pixels.

    output: "image" asks for the clean picture, "gain" for the noisy one plus as much of the change as is `visible`.
    """
    rng = np.random.default_rng([seed, 1])
    for batch in phantom_pool.batches(pool, size, seed, device, config):
        maps = [getattr(batch, field.name) for field in dataclasses.fields(TrainingBatch)]
        if batch.noisy.shape[-1] != side:
            maps = [F.interpolate(m, size=(side, side), mode="bilinear", align_corners=False) for m in maps]
        noisy, target, change, confidence, sector = maps
        sector = (sector > 0.5).float()
        kept = noisy + change
        if variety.clouds:
            change = change * torch.exp(variety.clouds * clouds(size, side, rng, device))
            noisy = (kept - change).clamp(0, 1)
        speckle = torch.zeros_like(noisy)
        if variety.grain:
            share = per_frame(rng.uniform(0, variety.grain, size), noisy)
            speckle = share * grain(size, side, rng, device)
        seen = visible(kept, noisy, speckle, sector)
        change, confidence = change * seen, confidence * seen
        noisy, target = ((x + speckle * (x > 0)).clamp(0, 1) for x in (noisy, target))
        none = torch.from_numpy(rng.random(size) < variety.empty).to(device)
        if none.any():
            noisy[none] = target[none] = heartless(int(none.sum()), side, rng, device)
            change[none], confidence[none] = 0, 1
        if output == "gain":
            target = (noisy + change).clamp(0, 1)
        yield TrainingBatch(noisy * sector, target * sector, change * sector, confidence * sector, sector)
