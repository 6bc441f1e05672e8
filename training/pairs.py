"""Stage `pairs`: clean frames brought through the generator, and their twins with the noise channels turned up.

RUN/pairs/stills/shard_*        what a denoiser is trained on, uint8 (N, 1, side, side) each (see `data.pairs_pool`)
RUN/pairs/sequences/shard_*     noisy, clean: uint8 (N, T, side, side); strengths: float32 (N, T, components)
RUN/pairs/pairs.png             rows of clean, noisy, and what the gain form keeps of the noisy one

Both pictures of a pair come from the generator with the same noise buffers, so that all that differs is the edit. A
sequence keeps one edit, whose strength varies smoothly, over the codes of a loop's frames; where the store has single
frames only, over a code that sways a little way towards another heart's and back.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echoq_models.errors import InputError, OutputError
from echoq_models.files import settle
from echoq_models.generative import noise_channels
from echoq_models.generative.noise_channels import NoiseChannels
from echoq_models.generative.stylespace import StyleSpace
from training import products
from training import recipe as recipes
from training.curves import Curves
from training.data.frames import FrameStore
from training.data.pairs_pool import as_arrays
from training.data.phantom_pool import CHANGE_SCALE
from training.data.pool import write_shard
from training.noise.codes import Inverter, drawn_haze, grey_of, labelled
from training.sheets import write_picture

if TYPE_CHECKING:
    from training.pipeline import PipelineConfig


@dataclass(frozen=True)
class PairsConfig:
    """count: pairs; shard: pairs a file.  on: chance of each component in a pair.  untouched: share of pairs without
    any.  together: most that the strengths of a pair, as shares of their limits, come to: all at their limits make
    a picture whiter than haze does.  sequences: how many, of `length` frames.  sway: how far a code goes towards
    another's in a sequence.  floor: deepest change that the gain form asks for, full grey scales.  seed: of all
    draws."""

    count: int = 5600
    shard: int = 100
    on: float = 0.6
    untouched: float = 0.05
    together: float = 1.2
    sequences: int = 64
    length: int = 16
    sway: float = 0.15
    floor: float = -0.42
    seed: int = 0

    def __post_init__(self) -> None:
        if self.shard < 1 or self.count < 1 or self.count % self.shard:
            raise ValueError("count must be a multiple of shard")
        if self.length < 2 or self.sequences < 0:
            raise ValueError("a sequence has two frames or more")
        if not -1 <= self.floor < 0:
            raise ValueError(f"floor is {self.floor}, not from -1 to below 0")


def draw_strengths(
    noise: NoiseChannels, count: int, config: PairsConfig, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Random strengths (count, components), 0 to each one's limit; at least one is on but in the untouched."""
    names = list(noise.components)
    on = rng.random((count, len(names))) < config.on
    on[np.arange(count), rng.integers(len(names), size=count)] = True
    on[rng.random(count) < config.untouched] = False
    shares = rng.random((count, len(names))) * on
    shares /= np.maximum(shares.sum(axis=1, keepdims=True) / config.together, 1.0)
    return shares * np.array([noise.limit(name) for name in names])


def directions(noise: NoiseChannels, inverter: Inverter) -> Tensor:
    """How s moves for a strength of 1 of each component: (components, S)."""
    generator = inverter.generator
    space, found = StyleSpace(generator.config), torch.zeros(len(noise.components), len(generator.s_std))
    for i, channels in enumerate(noise.components.values()):
        for channel, weight in channels.items():
            found[i, space.index(channel)] = weight
    return found.to(inverter.place) * generator.s_std


def twins(
    inverter: Inverter, s: Tensor, noise: NoiseChannels, strengths: NDArray[np.floating]
) -> tuple[Tensor, Tensor]:
    """Clean and noisy grey pictures (N, 1, side, side) of codes (N, S) under strengths (N, components)."""
    amount = torch.from_numpy(strengths.astype(np.float32)).to(inverter.place)
    return inverter.drawn(s), inverter.drawn(s + amount @ directions(noise, inverter))


@dataclass(frozen=True)
class CleanCodes:
    """Codes of clean frames: (N, S) of all, and of the frames of each loop that has enough of them, in order."""

    s: Tensor
    loops: list[Tensor]


def clean_codes(recipe: PipelineConfig, inverter: Inverter, store: FrameStore) -> CleanCodes:
    """Of the store's clean training frames, at most as many as there are pairs; without an encoder, of pictures that
    the generator draws, those whose haze reads lowest. Raises InputError as `codes.labelled` does."""
    config, channels = recipe.pairs, recipe.channels
    rng = np.random.default_rng(config.seed)
    if inverter.encoder is None:
        s = inverter.random(4 * config.count, config.seed + 1)
        haze = torch.cat([drawn_haze(store, inverter.drawn(part), config.seed) for part in s.split(1024)])
        return CleanCodes(s[haze.argsort()[: config.count]], [])
    path = Path(channels.labels) if channels.labels else None
    numbers = labelled(store, path, channels.noisy_db)["clean"]
    some = rng.permutation(numbers)[: config.count]
    s = torch.cat([inverter.codes(grey_of(store, part)) for part in np.array_split(some, -(-len(some) // 512))])
    loops = [inverter.codes(grey_of(store, loop)) for loop in _loops(store, numbers, config)]
    return CleanCodes(s, loops)


def _loops(store: FrameStore, numbers: NDArray[np.int64], config: PairsConfig) -> list[NDArray[np.int64]]:
    """The first `length` clean frames of each loop that has so many."""
    names, where = np.unique(store.index["loop"][numbers], return_inverse=True)
    order = numbers[np.lexsort((store.index["frame"][numbers], where))]
    counts = np.bincount(where, minlength=len(names))
    starts = np.concatenate([[0], counts.cumsum()[:-1]])
    long = np.flatnonzero(counts >= config.length)[: config.sequences]
    return [order[starts[i] : starts[i] + config.length] for i in long]


def stills(
    config: PairsConfig, inverter: Inverter, noise: NoiseChannels, codes: CleanCodes
) -> Iterator[dict[str, NDArray[np.uint8]]]:
    """Shards of pairs. Where there are fewer clean codes than pairs they come again, under other strengths."""
    rng = np.random.default_rng([config.seed, 1])
    for first in range(0, config.count, config.shard):
        s = codes.s[torch.arange(first, first + config.shard) % len(codes.s)]
        clean, noisy = twins(inverter, s, noise, draw_strengths(noise, config.shard, config, rng))
        yield as_arrays(clean.cpu(), noisy.cpu(), config.floor)


def sequences(
    config: PairsConfig, inverter: Inverter, noise: NoiseChannels, codes: CleanCodes
) -> Iterator[dict[str, NDArray[np.generic]]]:
    """Shards of one sequence each."""
    rng = np.random.default_rng([config.seed, 2])
    time = np.linspace(0, 2 * np.pi, config.length, endpoint=False)
    for number in range(config.sequences):
        if codes.loops:
            s = codes.loops[number % len(codes.loops)]
        else:
            a, b = codes.s[torch.from_numpy(rng.integers(len(codes.s), size=2)).to(codes.s.device)]
            share = torch.from_numpy(config.sway * (1 - np.cos(time)) / 2).float().to(a.device)
            s = torch.lerp(a[None], b[None], share[:, None])
        swing, phase = rng.uniform(0.1, 0.4), rng.uniform(0, 2 * np.pi)
        strengths = draw_strengths(noise, 1, config, rng) * (1 - swing * (1 + np.cos(time + phase)) / 2)[:, None]
        clean, noisy = twins(inverter, s, noise, strengths)
        yield {
            "clean": _bytes(clean)[None, :, 0],
            "noisy": _bytes(noisy)[None, :, 0],
            "strengths": strengths.astype(np.float32)[None],
        }


def _bytes(grey: Tensor) -> NDArray[np.uint8]:
    return grey.mul(255).round().to(torch.uint8).cpu().numpy()


def run(recipe: PipelineConfig, folder: Path, device: torch.device, say: Callable[[str], None] = print) -> Path:
    """Make the pairs of `folder` anew, from its generator, encoder, frames and noise channels; returns their folder.

    Raises InputError when one of these is missing, or the noise channels are of another generator.
    """
    config, own = recipe.pairs, folder / "pairs"
    _, generator = products.generator(folder, device)
    inverter = Inverter(generator, products.encoder(folder, device))
    source = folder / "channels" / "noise_channels.json"
    if not source.exists():
        raise InputError(f"There are no noise channels in {source.parent}: run `python -m training channels` first.")
    noise = noise_channels.load(source)
    noise.check(StyleSpace(generator.config))
    if not noise.components:
        raise InputError(f"{source} names no noise: review the channels first.")
    codes = clean_codes(recipe, inverter, FrameStore(folder / "frames"))
    new = own.with_name("pairs-new")
    try:
        shutil.rmtree(new, ignore_errors=True)
        recipes.note(recipe, new)
        noise.save(new / "noise_channels.json")
        _fill(new, "stills", stills(config, inverter, noise, codes))
        _fill(new, "sequences", sequences(config, inverter, noise, codes))
        write_picture(new / "pairs.png", _sheet(new / "stills" / "shard_00000"))
        settle(new, own)
    except OSError as error:
        raise OutputError(f"The pairs cannot be written to {own}: {error.strerror or error}.") from error
    say(f"pairs: {config.count} of {len(codes.s)} clean codes, {config.sequences} sequences, in {own}")
    return own


def _fill(own: Path, kind: str, shards: Iterator[Mapping[str, NDArray[np.generic]]]) -> None:
    """Write the shards into a folder of their kind, with a line in the log and a point of a curve for each."""
    (own / kind).mkdir()
    curves = Curves(own / "curves")
    for number, arrays in enumerate(shards):
        write_shard(own / kind, number, arrays)
        clean = arrays["target" if kind == "stills" else "clean"].astype(float)
        added = round(float((arrays["noisy"].astype(float) - clean).mean() / 255), 4)
        curves.add({f"grey added, {kind}": added}, number)
        with (own / "log.jsonl").open("a") as log:
            log.write(json.dumps({"kind": kind, "shard": number, "grey added": added}) + "\n")


def _sheet(shard: Path, count: int = 12) -> NDArray[np.uint8]:
    clean, noisy, change = (np.load(shard / f"{name}.npy")[:count, 0] for name in ("target", "noisy", "change"))
    kept = np.clip(noisy - change * (255 / CHANGE_SCALE), 0, 255).round().astype(np.uint8)
    return np.vstack([np.hstack(list(row)) for row in (clean, noisy, kept)])
