"""BM3D, the published baseline: our own implementation of Dabov, Foi, Katkovnik and Egiazarian, IEEE TIP 16(8), 2007.

`bm3d(image, sigma)` is the plain function, `denoiser` the one of the registry. torch is imported when they run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from echoq_models.cine import sector as sectors
from echoq_models.cine.loop import CineLoop
from echoq_models.cine.sector import Sector
from echoq_models.denoise import carry
from echoq_models.denoise.base import Cancel, Prepared, Settings, never
from echoq_models.denoise.bm3d_noise import SPECKLE, NoiseModel, estimate_sigma
from echoq_models.denoise.bm3d_profile import NORMAL, Profile
from echoq_models.errors import EchoQError
from echoq_models.runtime import batching
from echoq_models.runtime import device as devices

if TYPE_CHECKING:
    import torch

__all__ = ["Bm3dDenoiser", "bm3d", "denoiser", "estimate_sigma"]

_MOST_AT_ONCE = 6  # frames filtered side by side on the CPU; each holds about 0.25 GiB at 256 x 256


def bm3d(
    image: ArrayLike,
    sigma: float,
    profile: Profile = NORMAL,
    *,
    mask: NDArray[np.bool_] | None = None,
    device: str = "cpu",
) -> NDArray[np.float32]:
    """Denoise a grey image or a stack, each frame on its own.

    image: float (H, W) or (N, H, W) with full scale 1; values outside [0, 1] are accepted and not clipped.
    sigma: standard deviation of the noise in the same unit; 0 gives the image back.
    mask: bool (H, W), filter only blocks that touch it.  device: "auto", "cpu" or "cuda".
    Returns float32 of the same shape. Raises ValueError for an empty, complex or non-finite image or a bad sigma.
    """
    given = np.asarray(image)
    if given.ndim not in (2, 3) or given.size == 0:
        raise ValueError(f"the image must be (H, W) or (N, H, W) and not empty, not {given.shape}")
    if given.dtype.kind not in "fiub":
        raise ValueError(f"the image must hold real numbers, not {given.dtype}")
    frames = np.ascontiguousarray(given, dtype=np.float32)
    if not np.isfinite(frames).all():
        raise ValueError("the image has values that are not finite numbers")
    if not (np.isfinite(sigma) and sigma >= 0):
        raise ValueError(f"sigma must be a finite number of at least 0, not {sigma}")
    if mask is not None and mask.shape != frames.shape[-2:]:
        raise ValueError(f"the mask is {mask.shape} where the image is {frames.shape[-2:]}")
    if sigma == 0:
        return frames.copy()
    stack = frames.reshape(-1, *frames.shape[-2:])
    return _stack(stack, float(sigma), profile, mask, devices.choose(device)).reshape(frames.shape)


def _stack(
    frames: NDArray[np.float32], sigma: float, profile: Profile, mask: NDArray[np.bool_] | None, place: torch.device
) -> NDArray[np.float32]:
    """`bm3d` on checked frames (N, H, W), in one batch on CUDA and side by side on the CPU."""
    import torch

    from echoq_models.denoise.bm3d_steps import denoise

    where = None if mask is None else torch.as_tensor(mask, device=place)

    def some(part: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return denoise(torch.from_numpy(part).to(place), sigma, profile, where).cpu().numpy()

    if place.type != "cpu":
        return some(frames)
    # A core for each frame: the many small operations of one frame share badly between cores, above all
    # when another process wants these too.
    with devices.one_thread_each(), ThreadPoolExecutor(min(_workers(), len(frames))) as pool:
        return np.concatenate(list(pool.map(some, frames[:, None])))


def _workers() -> int:
    return min(devices.cpu_count(), _MOST_AT_ONCE)


@dataclass(frozen=True)
class Bm3dState:
    """What `prepare` fixes. patch_mask: bool (256, 256), the sector there.  sigma: in units of full scale."""

    sector: Sector
    patch_mask: NDArray[np.bool_]
    sigma: float
    device: torch.device
    batch: int


class Bm3dDenoiser:
    """BM3D on the sector at 256 x 256, as the published comparison does; its change is carried to native size."""

    name = "bm3d"
    title = "BM3D"

    def __init__(self, profile: Profile = NORMAL, noise: NoiseModel = SPECKLE) -> None:
        self.profile = profile
        self.noise = noise

    def available(self) -> str | None:
        """None: it needs no weights."""
        return None

    def preload(self) -> None:
        """Import torch and filter something small."""
        bm3d(np.zeros((16, 16), dtype=np.float32), 0.1, self.profile)

    def prepare(self, loop: CineLoop, settings: Settings) -> Prepared:
        """Fix the sector and the noise level: what the settings say, else the estimate from a sample of frames."""
        carry.check_strength(settings)
        sector = sectors.fit(loop)
        patch_mask = sectors.patches((sector.mask * np.uint8(255))[None], sector)[0, 0] > 0
        sigma = self._sigma(loop, settings, sector, patch_mask)
        place = devices.choose(settings.device)
        size = settings.batch or (_workers() if place.type == "cpu" else batching.batch_size(place, gmac_per_frame=1.0))
        facts: dict[str, str | float | int | None] = {
            "sigma": round(255 * sigma, 2),
            "sigma_from": "the loop" if settings.sigma is None else "the settings",
            "profile": self.profile.name,
            "device": devices.describe(place),
            "strength": settings.strength,
        }
        return Prepared(self.name, settings, facts, Bm3dState(sector, patch_mask, sigma, place, size))

    def _sigma(self, loop: CineLoop, settings: Settings, sector: Sector, mask: NDArray[np.bool_]) -> float:
        if settings.sigma is None:
            sample = self.noise.sample(len(loop))
            patches = carry.take(loop, sample, sector)[1]
            return estimate_sigma(patches, mask & ~carry.coloured_patches(loop, sample, sector), self.noise)
        if not 0 <= settings.sigma <= 255:
            raise EchoQError(f"The noise level is {settings.sigma:g}: choose a value from 0 to 255 grey levels.")
        return settings.sigma / 255

    def run(
        self, loop: CineLoop, prepared: Prepared, indices: Iterable[int], cancel: Cancel = never
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield (index, uint8 (H, W)) for each index, in that order (see `Denoiser.run`)."""
        state: Bm3dState = prepared.state

        def work(part: list[int]) -> list[NDArray[np.uint8]]:
            frames, patches = carry.take(loop, part, state.sector)
            images = patches
            if state.sigma > 0:
                images = _stack(patches, state.sigma, self.profile, state.patch_mask, state.device)
            strength = prepared.settings.strength
            return list(carry.give_image(loop, part, frames, patches, images, state.sector, strength))

        return batching.in_batches(work, indices, state.batch, cancel)


denoiser = Bm3dDenoiser()
