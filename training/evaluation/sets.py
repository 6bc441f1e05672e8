"""The sets of frames that the evaluation looks at: held-out phantom loops, and frames with nothing to find in them.

Their seeds are far from those of any training pool.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from training.phantom.config import NOISY_LEVEL_DB, AnatomyConfig, PhantomConfig
from training.phantom.loops import simulate_loops
from training.phantom.report import measurable, pixels, textbook_config
from training.phantom.simulate import PhantomBatch, seeded, simulate, simulate_structureless

Frames = NDArray[np.uint8]
Masks = NDArray[np.bool_]
Floats = NDArray[np.float64]

HELD_OUT_SEED = 7_000_000  # far from the pool's seeds, which count up from 1000
STEP_S = 0.04  # between the frames of a held-out loop
STARTS_S = 0.23  # one batch of loops begins this much later in the beat than the one before
BEAT_STEP_MS = 40.0  # between the frames of a whole beat
BATCH = 8  # frames drawn at once
NATIVE_SIZE = (600, 800)  # height and width in pixels of a scanner's picture


@dataclass(frozen=True)
class FrameSet:
    """N frames with their truth. Pictures uint8 and masks bool, (N, H, W).

    noisy; clean: the twin without haze; target: noisy times the oracle gain.  septum: for grey-level distributions.
    dynamic_range_db: float64 (N,), of each frame's display.  loop: int (N,), which loop a frame belongs to.
    """

    noisy: Frames
    clean: Frames
    target: Frames
    sector: Masks
    lv: Masks
    myocardium: Masks
    septum: Masks
    dynamic_range_db: Floats
    loop: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.noisy)

    def __getitem__(self, part: slice | NDArray[np.int64]) -> FrameSet:
        return FrameSet(**{f.name: getattr(self, f.name)[part] for f in dataclasses.fields(self)})

    def loops(self) -> Iterator[tuple[int, FrameSet]]:
        """Each loop's number and frames."""
        for number in dict.fromkeys(self.loop.tolist()):
            yield number, self[np.flatnonzero(self.loop == number)]

    def firsts(self, count: int) -> FrameSet:
        """The first frame of each of the first `count` loops."""
        first = np.unique(self.loop, return_index=True)[1][:count]
        return self[first.astype(np.int64)]


def frame_set(batches: Sequence[PhantomBatch], loops: Sequence[int]) -> FrameSet:
    """Phantom batches in a row; loops: the number of each batch's loop."""

    def pictures(name: str) -> Frames:
        return np.concatenate([pixels(getattr(b, name)) for b in batches])

    def masks(name: str) -> Masks:
        return np.concatenate([getattr(b, name)[:, 0].cpu().numpy() for b in batches])

    return FrameSet(
        noisy=pictures("noisy"),
        clean=pictures("clean"),
        target=pictures("target"),
        sector=masks("sector"),
        lv=masks("lv"),
        myocardium=masks("myocardium"),
        septum=masks("septum"),
        dynamic_range_db=np.concatenate([b.dynamic_range_db.double().cpu().numpy() for b in batches]),
        loop=np.repeat(np.array(loops, dtype=np.int64), [len(b.noisy) for b in batches]),
    )


def held_out(loops: int, frames: int = 5, seed: int = HELD_OUT_SEED) -> FrameSet:
    """`loops` textbook loops of the default noisy range, `frames` frames in a row of each, from all phases of the
    beat, with regions large enough."""
    generator, config = seeded(seed), textbook_config()
    kept: list[PhantomBatch] = []
    for number in itertools.count():
        if len(kept) >= loops:
            break
        times = [STARTS_S * number % 1.0 + STEP_S * t for t in range(frames)]
        made = simulate_loops(BATCH, generator, times, config, level_db=NOISY_LEVEL_DB)
        drawn = (made.loop(i) for i in range(BATCH))
        kept += [loop for loop in drawn if len(list(measurable(loop))) == frames]
    return frame_set(kept[:loops], range(loops))


@dataclass(frozen=True)
class Beat:
    """One heart beat.

    frames: of its T frames.  displacement: float32 (T - 1, 2, H, W), pixels (x, y) to the next frame.
    times_ms, contraction (0 end diastole, 1 end systole): float64 (T,).
    """

    frames: FrameSet
    displacement: NDArray[np.float32]
    times_ms: Floats
    contraction: Floats


def beats(count: int, longest: int = 24, seed: int = HELD_OUT_SEED + 5) -> list[Beat]:
    """`count` textbook loops of the default noisy range, each over one beat of at most `longest` frames."""
    generator, config = seeded(seed), textbook_config()
    found: list[Beat] = []
    while len(found) < count:
        times = [BEAT_STEP_MS / 1000.0 * t for t in range(longest)]
        made = simulate_loops(1, generator, times, config, level_db=NOISY_LEVEL_DB)
        total = min(longest, max(2, math.ceil(float(made.beat_ms[0]) / BEAT_STEP_MS)))
        loop = made.loop(0)[slice(0, total)]
        if len(list(measurable(loop))) < total:
            continue
        found.append(
            Beat(
                frame_set([loop], [len(found)]),
                made.displacement[0, : total - 1].cpu().numpy(),
                np.array(made.times_ms[:total], dtype=np.float64),
                made.contraction[0, :total].double().cpu().numpy(),
            )
        )
    return found


def native(count: int, seed: int = HELD_OUT_SEED + 4) -> FrameSet:
    """`count` textbook frames of the default noisy range as large as a scanner shows them."""
    generator, config = seeded(seed), textbook_config()
    made = [
        simulate(1, generator, config, side=NATIVE_SIZE, native=NATIVE_SIZE, level_db=NOISY_LEVEL_DB)
        for _ in range(count)
    ]
    return frame_set(made, range(count))


def anything(count: int, seed: int = HELD_OUT_SEED + 3) -> FrameSet:
    """`count` frames of all kinds and haze levels, as the training draws them."""
    return _drawn(count, seed, PhantomConfig(), None)


def chamberless(count: int, seed: int = HELD_OUT_SEED + 6) -> FrameSet:
    """`count` frames of tissue without any chamber, under haze: there is haze to remove and no chamber to find."""
    base = PhantomConfig()
    anatomy = AnatomyConfig(empty=1.0, level_sets=0.0, single_chamber=0.0, two_chamber=0.0)
    haze = dataclasses.replace(base.haze, clean=0.0, off=0.1)
    return _drawn(count, seed, dataclasses.replace(base, anatomy=anatomy, haze=haze), (-14.0, 2.0))


def buried(count: int, seed: int = HELD_OUT_SEED + 7) -> FrameSet:
    """`count` hearts whose near field lies under so much haze that nothing can be known of it.

    Kept are frames in which the oracle is unsure of most of the nearest third.
    """
    base = textbook_config()
    haze = dataclasses.replace(base.haze, off=0.0, near_length_mm=(15.0, 30.0), peak_db=30.0)
    config, generator = dataclasses.replace(base, haze=haze), seeded(seed)
    kept: list[PhantomBatch] = []
    found = 0
    while found < count:
        batch = simulate(BATCH, generator, config, level_db=(0.0, 8.0))
        unsure = [_near_confidence(batch, i) < 0.3 for i in range(BATCH)]
        kept.append(batch[torch.tensor(unsure)])
        found += sum(unsure)
    whole = frame_set(kept, range(len(kept)))
    return dataclasses.replace(whole, loop=np.arange(len(whole)))[slice(0, count)]


def _near_confidence(batch: PhantomBatch, i: int) -> float:
    """The oracle's mean confidence in the nearest third of the sector of frame `i`."""
    inside = batch.sector[i, 0]
    rows = torch.nonzero(inside.any(1)).flatten()
    top, bottom = int(rows[0]), int(rows[-1])
    near = slice(top, top + max(1, (bottom - top) // 3))
    return float(batch.confidence[i, 0, near][inside[near]].mean())


def speckle(count: int, seed: int = HELD_OUT_SEED + 1) -> FrameSet:
    """`count` sectors of uniform phantom speckle, each with its own grain and display; the target is the input."""
    generator = seeded(seed)
    made = [simulate_structureless(min(BATCH, count - n), generator) for n in range(0, count, BATCH)]
    whole = frame_set(made, range(len(made)))
    return dataclasses.replace(whole, target=whole.noisy, clean=whole.noisy, loop=np.arange(len(whole)))


def other_speckle(count: int, seed: int = HELD_OUT_SEED + 8, side: int = 256) -> FrameSet:
    """`count` sectors of speckle that the phantom has no part in: drawn on the pixels, any grain, any display."""
    rng = np.random.default_rng(seed)
    frames, sectors, ranges = [], [], []
    for _ in range(count):
        inside = _fan(side, rng.uniform(0.5, 0.8), rng.uniform(0.9, 0.98))
        grain, stretch = rng.uniform(0.8, 3.0), rng.uniform(1.0, 2.2)
        field = [
            cv2.GaussianBlur(rng.normal(size=inside.shape), (0, 0), sigmaX=grain * stretch, sigmaY=grain) for _ in "ri"
        ]
        db = 20.0 * np.log10(np.hypot(*field) + 1e-9)
        dynamic_range, level = rng.uniform(45.0, 75.0), rng.uniform(80.0, 160.0)
        grey = np.clip(level + (db - np.median(db)) * 255.0 / dynamic_range, 0, 255)
        frames.append(np.where(inside, grey, 0).round().astype(np.uint8))
        sectors.append(inside)
        ranges.append(dynamic_range)
    pictures, inside_all = np.stack(frames), np.stack(sectors)
    nothing = np.zeros_like(inside_all)
    return FrameSet(
        *(pictures, pictures, pictures),
        *(inside_all, nothing, nothing, nothing),
        np.array(ranges),
        np.arange(count),
    )


def _fan(side: int, half_angle: float, reach: float) -> Masks:
    """A sector on (side, side) pixels: half angle in radians, reach as a share of the side."""
    y, x = np.mgrid[0:side, 0:side] - np.array([4.0, (side - 1) / 2.0])[:, None, None]
    return (np.hypot(x, y) < reach * side) & (np.abs(np.arctan2(x, y)) < half_angle) & (y > 0)


def _drawn(count: int, seed: int, config: PhantomConfig, level_db: tuple[float, float] | None) -> FrameSet:
    generator = seeded(seed)
    made = [simulate(min(BATCH, count - n), generator, config, level_db=level_db) for n in range(0, count, BATCH)]
    whole = frame_set(made, range(len(made)))
    return dataclasses.replace(whole, loop=np.arange(len(whole)))
