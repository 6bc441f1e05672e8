"""The denoisers that are networks: `fast` for machines without a GPU, `unet` of the published shape.

Loop -> square patches of the sector -> network -> change in grey (or picture) -> carried back to native pixels.
torch is imported when a network is loaded, not before.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from echoq_models.cine import sector as sectors
from echoq_models.cine.loop import CineLoop
from echoq_models.cine.sector import Sector
from echoq_models.denoise import carry, steady
from echoq_models.denoise.base import Cancel, Prepared, Settings, never
from echoq_models.errors import WeightsError
from echoq_models.runtime import batching, device, forward
from echoq_models.weights import store
from echoq_models.weights.store import Card, Entry

if TYPE_CHECKING:
    import torch
    from torch import nn

# Work of one 256 x 256 frame in 10^9 multiply-accumulates, for the size of a batch.
_GMAC = {"unet": 42.3, "fast": 1.2}

Maps = tuple[NDArray[np.float32], NDArray[np.float32]]  # change and smoothed patch, (256, 256) each
Outputs = tuple[NDArray[np.float32], NDArray[np.float32] | None]


class Seen:
    """Changes of the frames worked on last, since each is needed for its neighbours too (see `steady`).

    What is kept saves work and never alters a result. May be used by several threads.
    """

    def __init__(self, most: int = 16) -> None:
        self._most = most  # 0.5 MiB each
        self._maps: OrderedDict[int, Maps] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, indices: Iterable[int]) -> dict[int, Maps]:
        """Those of `indices` that are kept."""
        with self._lock:
            found = {k: self._maps[k] for k in indices if k in self._maps}
            for k in found:
                self._maps.move_to_end(k)
        return found

    def put(self, new: dict[int, Maps]) -> None:
        """Keep these, and let the ones used longest ago go."""
        with self._lock:
            self._maps.update(new)
            while len(self._maps) > max(self._most, len(new)):
                self._maps.popitem(last=False)


@dataclass(frozen=True)
class NetworkState:
    """What `prepare` fixes: the sector, the network on its device, its card and the frames a batch."""

    sector: Sector
    network: nn.Module
    card: Card
    device: torch.device
    batch: int
    seen: Seen = field(default_factory=Seen)


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
            store.find(self.name, "denoise")
        except WeightsError as error:
            return str(error)
        return None

    def preload(self) -> None:
        """Load the network and run it once, so that the first real frame is not the slow one."""
        entry = store.find(self.name, "denoise")
        place = device.choose("auto")
        network, _ = _network(entry, place)
        _forward(network, np.zeros((1, 256, 256), dtype=np.float32), place)

    def prepare(self, loop: CineLoop, settings: Settings) -> Prepared:
        """Fix sector and network. Raises WeightsError when there are no weights or they are damaged."""
        carry.check_strength(settings)
        entry = store.find(self.name, "denoise")
        place = device.choose(settings.device)
        network, card = _network(entry, place)
        work = _GMAC.get(str(card.architecture["family"]), 1.0)
        size = forward.batch_of(place, work, frame_a_core=_frame_a_core(network), requested=settings.batch)
        facts: dict[str, str | float | int | None] = {
            "weights": card.title,
            "sha256": card.sha256,
            "architecture": str(card.architecture["family"]),
            "output": card.output,
            "recipe": card.recipe,
            "device": device.describe(place),
            "strength": settings.strength,
        }
        if card.output == "gain":
            facts["steadied over"] = f"{steady.REACH} frames before and after"
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

        That the haze has not buried what lies there, as the network judges it, times exp(change / 2): the more of the
        grey scale is taken away, the more can be wrong. None for networks without such an output.
        """
        state: NetworkState = prepared.state
        _, patches = carry.take(loop, [index], state.sector)
        change, confidence = _forward(state.network, patches, state.device)
        if confidence is None:
            return None
        return np.asarray(confidence[0] * np.exp(np.minimum(change[0], 0) / 2), dtype=np.float32)


def _denoise(loop: CineLoop, state: NetworkState, part: list[int], strength: float) -> NDArray[np.uint8]:
    """Frames `part` of the loop, denoised: uint8 (len(part), H, W)."""
    if state.card.output == "gain":
        return carry.give_change(
            loop, part, np.asarray(loop.frames[part]), _steadied(loop, state, part), state.sector, strength
        )
    frames, patches = carry.take(loop, part, state.sector)
    out, _ = _forward(state.network, patches, state.device)
    return carry.give_image(loop, part, frames, patches, out, state.sector, strength)


def _steadied(loop: CineLoop, state: NetworkState, part: list[int]) -> NDArray[np.float32]:
    """Changes float32 (len(part), 256, 256) of the frames `part`, each steadied over its neighbours in the loop."""
    around = [steady.neighbours(t, len(loop.frames)) for t in part]
    needed = sorted({k for frames in around for k in frames})
    maps = state.seen.get(needed)
    missing = [k for k in needed if k not in maps]
    for start in range(0, len(missing), len(part)):  # no more at once than was asked for, should memory be short
        chunk = missing[start : start + len(part)]
        _, patches = carry.take(loop, chunk, state.sector)
        changes, _ = _forward(state.network, patches, state.device)
        maps |= {k: (c, steady.smooth(p)) for k, c, p in zip(chunk, changes, patches, strict=True)}
    state.seen.put({k: maps[k] for k in needed})

    def one(t: int, frames: range) -> NDArray[np.float32]:
        return steady.steady([maps[k][0] for k in frames], [maps[k][1] for k in frames], frames.index(t))

    return np.stack([one(t, frames) for t, frames in zip(part, around, strict=True)])


def _forward(network: nn.Module, patches: NDArray[np.float32], place: torch.device) -> Outputs:
    """Run patches (N, 256, 256): out (N, 256, 256), and confidence (N, 256, 256) or None."""
    given = forward.forward(network, patches[:, None], place, frame_a_core=_frame_a_core(network))
    out, confidence = (None if each is None else each[:, 0] for each in given)
    assert out is not None
    return out, confidence


def _frame_a_core(network: nn.Module) -> bool:
    """Whether a frame's operations are too small to be shared between cores, so that each frame gets one core.

    On two cores that takes 7.2 ms a frame of `fast`, sharing them 12.5 ms.
    """
    from echoq_models.denoise.architectures import FastNet

    return isinstance(network, FastNet)


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
    return forward.ready(network, torch.device(place)), card


fast = NetworkDenoiser("fast", "Fast network")
unet = NetworkDenoiser("unet", "U-Net")
pairs = NetworkDenoiser("pairs", "Pair-trained network")  # on a generator's pairs, as in the paper
