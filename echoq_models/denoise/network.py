"""The denoisers that are networks: `fast` for machines without a GPU, `unet` of the published shape.

Loop -> square patches of the sector -> network -> change in grey (or picture) -> carried back to native pixels.
torch is imported when a network is loaded, not before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from echoq_models.cine import sector as sectors
from echoq_models.cine.loop import CineLoop
from echoq_models.cine.sector import Sector
from echoq_models.denoise import carry
from echoq_models.denoise.base import Cancel, Prepared, Settings, never
from echoq_models.errors import WeightsError
from echoq_models.runtime import batching, device
from echoq_models.weights import store
from echoq_models.weights.store import Card, Entry

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

# Work of one 256 x 256 frame in 10^9 multiply-accumulates, for the size of a batch.
_GMAC = {"unet": 42.3, "fast": 1.2}

# Frames through a network at once on CUDA, always exactly as many; fills a large GPU, fits a small one.
_CUDA_BATCH = 8


@dataclass(frozen=True)
class NetworkState:
    """What `prepare` fixes: the sector, the network on its device, its card and the frames a batch."""

    sector: Sector
    network: nn.Module
    card: Card
    device: torch.device
    batch: int


class NetworkDenoiser:
    """A `Denoiser` that runs the weights called `name` (see `weights.store`).

    name: of the denoiser and of its weights.  title: for menus.
    """

    def __init__(self, name: str, title: str) -> None:
        self.name = name
        self.title = title

    def available(self) -> str | None:
        """None when there are weights, else the sentence to show. Does not import torch."""
        try:
            store.find(self.name)
        except WeightsError as error:
            return str(error)
        return None

    def preload(self) -> None:
        """Load the network and run it once, so that the first real frame is not the slow one."""
        entry = store.find(self.name)
        place = device.choose("auto")
        network, _ = _network(entry, place)
        _forward(network, np.zeros((1, 256, 256), dtype=np.float32), place)

    def prepare(self, loop: CineLoop, settings: Settings) -> Prepared:
        """Fix sector and network. Raises WeightsError when there are no weights or they are damaged."""
        carry.check_strength(settings)
        entry = store.find(self.name)
        place = device.choose(settings.device)
        network, card = _network(entry, place)
        work = _GMAC.get(str(card.architecture["family"]), 1.0)
        size = batching.batch_size(place, settings.batch, gmac_per_frame=work)
        facts: dict[str, str | float | int | None] = {
            "weights": card.title,
            "sha256": card.sha256,
            "architecture": str(card.architecture["family"]),
            "output": card.output,
            "recipe": card.recipe,
            "device": device.describe(place),
            "strength": settings.strength,
        }
        state = NetworkState(sectors.fit(loop), network, card, place, size)
        return Prepared(self.name, settings, facts, state)

    def run(
        self, loop: CineLoop, prepared: Prepared, indices: Iterable[int], cancel: Cancel = never
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield (index, uint8 (H, W)) for each index, in that order (see `Denoiser.run`)."""
        state: NetworkState = prepared.state

        def work(part: list[int]) -> list[NDArray[np.uint8]]:
            return list(_denoise(loop, state, part, prepared.settings.strength))

        return batching.in_batches(work, indices, state.batch, cancel)

    def confidence(self, loop: CineLoop, prepared: Prepared, index: int) -> NDArray[np.float32] | None:
        """How sure the network is of its change, float32 (256, 256) in [0, 1] on the sector's square.

        None for networks without such an output.
        """
        state: NetworkState = prepared.state
        _, patches = carry.take(loop, [index], state.sector)
        _, confidence = _forward(state.network, patches, state.device)
        return None if confidence is None else confidence[0]


def _denoise(loop: CineLoop, state: NetworkState, part: list[int], strength: float) -> NDArray[np.uint8]:
    """Frames `part` of the loop, denoised: uint8 (len(part), H, W)."""
    frames, patches = carry.take(loop, part, state.sector)
    out, _ = _forward(state.network, patches, state.device)
    if state.card.output == "gain":
        return carry.give_change(loop, part, frames, out, state.sector, strength)
    return carry.give_image(loop, part, frames, patches, out, state.sector, strength)


def _forward(
    network: nn.Module, patches: NDArray[np.float32], place: torch.device
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Run patches (N, 256, 256): out (N, 256, 256), and confidence (N, 256, 256) or None.

    A convolution may choose another algorithm, and so round otherwise, for another batch size. So that a frame's
    result never depends on its batch, frames go one by one on the CPU (where batches are no faster) and in
    batches filled up to one fixed size on CUDA.
    """
    import torch

    x = torch.from_numpy(patches)[:, None]
    if place.type != "cuda":
        return _run(network, x, place, 1)
    # No TF32: its 10-bit mantissa would leave the one grey level that CUDA may differ from the CPU.
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        try:
            return _run(network, x, place, _CUDA_BATCH)
        except Exception as error:
            if not batching.is_out_of_memory(error):
                raise
        torch.cuda.empty_cache()
        return _run(network, x, place, 1)


def _run(
    network: nn.Module, x: Tensor, place: torch.device, size: int
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """`_forward` in chunks of exactly `size` frames, the last one filled up with black."""
    import torch

    outs, confidences = [], []
    with torch.inference_mode():
        for chunk in x.split(size):
            full = torch.zeros(size, *x.shape[1:])
            full[: len(chunk)] = chunk
            out, confidence = network(full.to(place, memory_format=torch.channels_last))
            outs.append(out[: len(chunk), 0].float().cpu())
            if confidence is not None:
                confidences.append(confidence[: len(chunk), 0].float().cpu())
    return torch.cat(outs).numpy(), torch.cat(confidences).numpy() if confidences else None


def _network(entry: Entry, place: torch.device) -> tuple[Any, Card]:
    """The network of `entry` on `place`, in evaluation mode, and its card; kept for the next loop."""
    if entry.card is None:
        raise WeightsError(entry.problem or f"{entry.path} has no model card.")
    return _build(entry.path, entry.card.sha256, str(place))


@lru_cache(maxsize=4)
def _build(path: Any, sha256: str, place: str) -> tuple[nn.Module, Card]:
    """Kept by content: weights imported anew under the same name have another sha256."""
    import torch

    from echoq_models.denoise import architectures

    card, tensors = store.load(store.find(path.stem))
    network = architectures.build(dict(card.architecture))
    network.load_state_dict(tensors)
    network.requires_grad_(False).eval()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's types lack this form
    return network.to(place), card


fast = NetworkDenoiser("fast", "Fast network")
unet = NetworkDenoiser("unet", "U-Net")
