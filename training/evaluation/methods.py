"""Denoisers as the evaluation sees them: frames of one loop in, frames out, through a person's own door."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from echoq_models.cine import CineLoop
from echoq_models.cine import sector as sectors
from echoq_models.denoise import registry
from echoq_models.denoise.base import Settings
from echoq_models.denoise.network import NetworkDenoiser
from echoq_models.errors import WeightsError
from echoq_models.metrics.fidelity import psnr

Frames = NDArray[np.uint8]
Masks = NDArray[np.bool_]

NETWORKS = ("fast", "unet", "pairs")
BM3D_SIGMAS = (10.0, 20.0, 30.0, 45.0, 70.0, 100.0, 140.0)  # grey levels
SLOW_S = 0.2  # of processor time: a method that needs more for a frame sees a part of the frames only


@dataclass(frozen=True)
class Method:
    """A denoiser under test. run: uint8 (T, H, W) of one loop to the same shape.  slow: see `SLOW_S`."""

    name: str
    run: Callable[[Frames], Frames]
    slow: bool = False

    def stills(self, frames: Frames) -> Frames:
        """Each of (N, H, W) as a loop of its own."""
        return np.concatenate([self.run(frame[None]) for frame in frames])


def as_loop(frames: Frames) -> CineLoop:
    """Frames (T, H, W) as a loop at 25 frames a second."""
    return CineLoop(frames, np.arange(len(frames), dtype=np.float64) * 40.0, kind="phantom")


def denoise(method: str, frames: Frames, settings: Settings | None = None) -> Frames:
    """One loop (T, H, W) through the denoiser of that name. Raises WeightsError when it has no weights."""
    denoiser, loop = registry.get(method), as_loop(frames)
    prepared = denoiser.prepare(loop, settings or Settings())
    return np.stack([out for _, out in denoiser.run(loop, prepared, range(len(loop)))])


def stills(method: str, frames: Frames, settings: Settings | None = None) -> Frames:
    """Each of (N, H, W) as a loop of its own through the denoiser of that name."""
    return np.concatenate([denoise(method, frame[None], settings) for frame in frames])


def frame_ms(method: str, frames: Frames) -> NDArray[np.float64]:
    """Milliseconds of each frame of one loop (T, H, W), crop and paste included, after a warm-up frame: (T,)."""
    denoiser, loop = registry.get(method), as_loop(frames)
    prepared = denoiser.prepare(loop, Settings())
    list(denoiser.run(loop, prepared, [0]))
    spent = []
    for t in range(len(loop)):
        start = time.perf_counter()
        list(denoiser.run(loop, prepared, [t]))
        spent.append(1000.0 * (time.perf_counter() - start))
    return np.array(spent)


def names_of(wanted: Sequence[str]) -> list[str]:
    """The networks called `wanted`, or for none of them those of `NETWORKS` that have weights.

    Raises WeightsError for a wanted one without weights, and when there is none at all.
    """
    names = list(dict.fromkeys(wanted)) or [n for n in NETWORKS if registry.get(n).available() is None]
    if not names:
        raise WeightsError("There are no weights to evaluate: train some, or name their folder.")
    for name in names:
        if (sentence := registry.get(name).available()) is not None:
            raise WeightsError(sentence)
    return names


def network(name: str, probe: Frames) -> Method:
    """The denoiser of that name as a method. probe: a frame (1, H, W) that tells whether it is slow.

    It is by processor time, so that other work on the machine does not decide how much is looked at.
    """
    denoise(name, probe)  # loads the weights
    start = time.process_time()
    denoise(name, probe)
    return Method(name, lambda frames: denoise(name, frames), time.process_time() - start > SLOW_S)


def best_bm3d(frames: Sequence[tuple[Frames, Frames, Masks]]) -> tuple[Method, float]:
    """BM3D at the noise level, of `BM3D_SIGMAS`, whose mean PSNR to the clean frames is best, and that level.

    frames: stills as (noisy uint8 (H, W), clean uint8 (H, W), sector bool (H, W), where the PSNR counts).
    """

    def quality(sigma: float) -> float:
        settings = Settings(sigma=sigma)
        return float(np.mean([psnr(c, stills("bm3d", n[None], settings)[0], s) for n, c, s in frames]))

    best = max(BM3D_SIGMAS, key=quality)
    return Method("bm3d", lambda f: denoise("bm3d", f, Settings(sigma=best)), slow=True), best


def confidence(method: str, frame: Frames) -> NDArray[np.float64] | None:
    """The network's confidence on the pixels of a still (H, W): float64 in [0, 1], nan outside the sector's square.

    None for a denoiser that gives none.
    """
    denoiser, loop = registry.get(method), as_loop(frame[None])
    if not isinstance(denoiser, NetworkDenoiser):
        return None
    patch = denoiser.confidence(loop, denoiser.prepare(loop, Settings()), 0)
    return None if patch is None else _to_frame(patch, loop)


def _to_frame(patch: NDArray[np.float32], loop: CineLoop) -> NDArray[np.float64]:
    """A map on the sector's square (256, 256) back on the frame's pixels, nan outside the square."""
    square = sectors.fit(loop)
    height, width = loop.size
    whole = np.full((height, width), np.nan)
    large = cv2.resize(patch, (square.side, square.side), interpolation=cv2.INTER_LINEAR)
    y0, x0 = max(square.y0, 0), max(square.x0, 0)
    y1, x1 = min(square.y0 + square.side, height), min(square.x0 + square.side, width)
    whole[y0:y1, x0:x1] = large[y0 - square.y0 : y1 - square.y0, x0 - square.x0 : x1 - square.x0]
    return whole
