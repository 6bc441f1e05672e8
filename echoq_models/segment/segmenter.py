"""Finds the left ventricle in the frames of a loop.

Loop -> squares of the sector -> network -> logits, steadied over the neighbours in time -> rules -> source pixels.
A frame's result is a pure function of the loop and its index: the same alone, in any batch and among any others.
torch is imported when a network is loaded, not before.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from echoq_models.cine import sector as sectors
from echoq_models.cine.loop import CineLoop
from echoq_models.cine.sector import Sector
from echoq_models.denoise import carry, steady
from echoq_models.denoise.base import Cancel, never
from echoq_models.errors import Cancelled, WeightsError
from echoq_models.runtime import batching, device, forward
from echoq_models.runtime.export import Progress, silent
from echoq_models.segment import postprocess
from echoq_models.segment.base import Segmentation
from echoq_models.segment.postprocess import RULES, Field, Judged, Map, Rules, Verdict
from echoq_models.weights import store
from echoq_models.weights.store import Card

if TYPE_CHECKING:
    import torch
    from torch import nn

TASK = store.OUTPUTS["lv"]
NETWORKS: Mapping[str, str] = {"lv": "Left ventricle", "deeplab": "DeepLabV3 (EchoNet-Dynamic)"}  # in menus' order


@dataclass(frozen=True)
class Inputs:
    """What a network family sees. side: pixels.  around: the frames, relative to the one in question.

    gmac: its work for one frame in 10^9 multiply-accumulates, for the size of a batch.  rules: how it is judged.
    """

    side: int
    around: tuple[int, ...]
    gmac: float
    rules: Rules = RULES


INPUTS: Mapping[str, Inputs] = {
    "lv": Inputs(128, (-2, 0, 2), 0.7),
    "deeplab": Inputs(112, (0, 0, 0), 7.8, replace(RULES, border=0.0)),  # as published
}


@dataclass(frozen=True)
class Look:
    """What the network says of one frame. logit, smoothed: float32 (GRID, GRID).  present: 0-1, its belief in it.

    smoothed: the frame without its speckle, by which a neighbour's logits are weighed.
    """

    logit: Map
    smoothed: Map
    present: float


def networks() -> dict[str, str]:
    """Name -> title of the built-in networks and of a person's own weights that find the left ventricle."""
    own = {
        entry.name: entry.card.title
        for entry in store.list_weights()
        if entry.card is not None and store.OUTPUTS[entry.card.output] == TASK
    }
    return {**NETWORKS, **{name: title for name, title in own.items() if name not in NETWORKS}}


def available(network: str) -> str | None:
    """None when `network` can run, else one sentence that says what is missing. Does not import torch."""
    try:
        store.find(network, TASK)
    except WeightsError as error:
        return str(error)
    return None


def segment(
    loop: CineLoop,
    frames: Sequence[int] | None = None,
    *,
    network: str = "lv",
    device: str = "auto",
    progress: Progress = silent,
    cancel: Cancel = never,
) -> Segmentation:
    """Find the left ventricle in `frames` of a loop (all when None).

    network: the name of its weights.  device: "auto", "cpu" or "cuda". Raises WeightsError when there are no such
    weights, Cancelled within one batch of `cancel()` turning true, ValueError for a frame that is not in the loop.
    """
    return load(network, device).segment(loop, frames, progress, cancel)


@dataclass(frozen=True)
class Segmenter:
    """A network ready to work.

    network: an evaluated module on `place`; float32 (N, C, S, S) in [0, 1] -> logits (N, 1, S, S) and the logit of
    its belief in them (N,), or None in its place.  inputs: C, S and the frames it wants.  rules: see `postprocess`.
    """

    network: nn.Module
    place: torch.device
    inputs: Inputs
    rules: Rules = RULES
    batch: int = 8
    facts: Mapping[str, str | float | int | None] = field(default_factory=dict)

    def segment(
        self,
        loop: CineLoop,
        frames: Sequence[int] | None = None,
        progress: Progress = silent,
        cancel: Cancel = never,
    ) -> Segmentation:
        """See `segment`."""
        asked = sorted(set(range(len(loop)) if frames is None else frames))
        if asked and not 0 <= asked[0] <= asked[-1] < len(loop):
            raise ValueError(f"the loop has frames 0 to {len(loop) - 1}")
        sector = sectors.fit(loop)
        witnesses = postprocess.witnesses(len(loop), self.rules)
        needed = sorted({k for t in asked for k in self._near(t, len(loop))} | set(witnesses))
        looks = self._look(loop, needed, sector, progress, cancel)
        where = Field.of(sector)
        seen = [postprocess.judge(looks[t].logit, looks[t].present, where, self.rules) for t in witnesses]
        loops = postprocess.verdict(seen, self.rules)
        return self._gather(loop, asked, sector, self._judge(asked, looks, len(loop), where, loops, cancel))

    def _near(self, index: int, total: int) -> range:
        return range(max(0, index - self.rules.reach), min(total, index + self.rules.reach + 1))

    def _look(
        self, loop: CineLoop, needed: list[int], sector: Sector, progress: Progress, cancel: Cancel
    ) -> dict[int, Look]:
        """What the network says of the frames `needed`. Raises Cancelled."""

        def work(part: list[int]) -> list[Look]:
            return self._batch(loop, part, sector)

        looks: dict[int, Look] = {}
        for index, look in batching.in_batches(work, needed, self.batch, cancel):
            looks[index] = look
            progress(len(looks), len(needed), "looking for the left ventricle")
        if len(looks) < len(needed):
            raise Cancelled("Cancelled while looking for the left ventricle.")
        return looks

    def _batch(self, loop: CineLoop, part: list[int], sector: Sector) -> list[Look]:
        last = len(loop) - 1
        wanted = [[min(max(t + step, 0), last) for step in self.inputs.around] for t in part]
        union = sorted({k for group in wanted for k in group} | set(part))
        _, patches = carry.take(loop, union, sector)
        small = {k: _shrunk(patch, self.inputs.side) for k, patch in zip(union, patches, strict=True)}
        x = np.stack([np.stack([small[k] for k in group]) for group in wanted])
        logits, present = forward.forward(self.network, x, self.place, frame_a_core=True)
        assert logits is not None
        sure = np.ones(len(part)) if present is None else 1 / (1 + np.exp(-present.astype(np.float64)))
        grids = dict(zip(union, patches, strict=True))
        return [
            Look(postprocess.to_grid(logit), steady.smooth(postprocess.to_grid(grids[t])), float(p))
            for t, logit, p in zip(part, logits[:, 0], sure, strict=True)
        ]

    def _judge(
        self, asked: list[int], looks: Mapping[int, Look], total: int, where: Field, loops: Verdict, cancel: Cancel
    ) -> Iterator[Judged]:
        for t in asked:
            if cancel():
                raise Cancelled("Cancelled while looking for the left ventricle.")
            near = self._near(t, total)
            logit = steady.steady([looks[k].logit for k in near], [looks[k].smoothed for k in near], near.index(t))
            present = sum(looks[k].present for k in near) / len(near)
            judged = postprocess.judge(logit, present, where, self.rules)
            yield postprocess.settle(judged, loops, self.rules)

    def _gather(self, loop: CineLoop, asked: list[int], sector: Sector, judged: Iterator[Judged]) -> Segmentation:
        lv = np.zeros(loop.frames.shape, dtype=bool)
        confidence, found = np.zeros(len(loop), dtype=np.float32), np.zeros(len(loop), dtype=bool)
        reasons = [""] * len(loop)
        for t, each in zip(asked, judged, strict=True):
            confidence[t], reasons[t], found[t] = each.confidence, each.reason, not each.reason
            if not each.reason:
                lv[t] = sectors.paste_mask(each.surface, sector)
        return Segmentation(lv, confidence, found, tuple(reasons), tuple(asked), dict(self.facts))


def _shrunk(patch: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """A patch at a network's working size: mean over area."""
    return np.asarray(cv2.resize(patch, (side, side), interpolation=cv2.INTER_AREA), dtype=np.float32)


def load(name: str, where: str = "auto", rules: Rules | None = None) -> Segmenter:
    """The network whose weights are called `name` on the device `where`, judged by `rules` (None: its family's).

    Raises WeightsError.
    """
    entry = store.find(name, TASK)
    assert entry.card is not None  # else find would have refused
    place = device.choose(where)
    network, card = _build(entry.path, entry.card.sha256, str(place))
    family = str(card.architecture["family"])
    inputs = INPUTS[family]
    judged_by = rules or inputs.rules
    facts: dict[str, str | float | int | None] = {
        "network": name,
        "weights": card.title,
        "sha256": card.sha256,
        "architecture": family,
        "recipe": card.recipe,
        "device": device.describe(place),
        "steadied over": f"{judged_by.reach} frame before and after",
    }
    batch = forward.batch_of(place, inputs.gmac, frame_a_core=True)
    return Segmenter(network, place, inputs, judged_by, batch, facts)


@lru_cache(maxsize=2)
def _build(path: Path, sha256: str, place: str) -> tuple[Any, Card]:
    """Kept by content: weights imported anew under the same name have another sha256."""
    import torch

    card, tensors = store.load(store.find(path.stem, TASK))
    family = str(card.architecture["family"])
    if family not in INPUTS:
        raise WeightsError(f"{path} has the architecture '{family}', which cannot {TASK}: train or import others.")
    network = importlib.import_module(store.BUILDERS[family]).build(dict(card.architecture))
    network.load_state_dict(tensors)
    return forward.ready(network, torch.device(place)), card
