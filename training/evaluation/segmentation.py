"""How well the left-ventricle network does: held-out phantom loops, frames with nothing to find, real loops, time.

Everything goes through `echoq_models.segment.segment`, as for a person.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from echoq_models.cine import CineLoop, read
from echoq_models.files import replacing
from echoq_models.regions.beat import find_marks, mask_areas
from echoq_models.segment import Segmentation, segment
from training.data.not_echo import not_echo
from training.evaluation.methods import as_loop
from training.evaluation.sets import HELD_OUT_SEED
from training.phantom.config import AnatomyConfig, PhantomConfig
from training.phantom.loops import simulate_loops
from training.phantom.simulate import seeded, simulate, simulate_structureless

Frames = NDArray[np.uint8]
Masks = NDArray[np.bool_]

SEED = HELD_OUT_SEED + 500_000
SIDES: tuple[int | tuple[int, int], ...] = (112, 256, 400, (600, 800))
STEP_S = 0.04
BINS_DB = (-121.0, -15.0, -10.0, -5.0, 0.0, 6.0)  # of the haze level
HEARTS = PhantomConfig(anatomy=AnatomyConfig(empty=0.0, level_sets=0.0))
NO_HEART = PhantomConfig(anatomy=AnatomyConfig(empty=1.0))
VISIBLE = 0.02  # share of the sector below which a ventricle is cut off, not shown


@dataclass(frozen=True)
class Plan:
    """loops: held-out phantom loops of `frames` frames.  nulls: pictures of each kind without an LV."""

    loops: int = 96
    frames: int = 5
    nulls: int = 24


@dataclass(frozen=True)
class Case:
    """One held-out frame. dice: of the outline with the truth, NaN where none was found."""

    haze_db: float
    dice: float
    confidence: float


@dataclass(frozen=True)
class Row:
    """A line of the table. holds: None where nothing was asked."""

    what: str
    wanted: str
    measured: str
    holds: bool | None = None


def dice(a: Masks, b: Masks) -> float:
    """2 |A B| / (|A| + |B|) of two masks; 1 where both are empty."""
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * np.count_nonzero(a & b) / total if total else 1.0


def grey(pictures: Any) -> Frames:
    """A torch float32 (N, 1, H, W) in [0, 1] as uint8 (N, H, W)."""
    return (pictures[:, 0].numpy() * 255).round().astype(np.uint8)


def phantom_loops(plan: Plan) -> Iterator[tuple[Frames, Masks, float]]:
    """Held-out loops: frames (T, H, W), the whole ventricle, and the haze level at end diastole; all sizes in turn."""
    batch = 4
    for number in range(-(-plan.loops // batch)):
        start = (number * 0.23) % 1.0
        times = [start + STEP_S * t for t in range(plan.frames)]
        side = SIDES[number % len(SIDES)]
        drawn = simulate_loops(batch, seeded(SEED + number), times, HEARTS, side=side)
        for i in range(batch):
            loop = drawn.loop(i)
            lv = loop.lv_whole[:, 0].numpy()
            if lv.sum() > VISIBLE * loop.sector.sum():
                yield grey(loop.noisy), lv, float(loop.haze_db[0])


def on_phantom(network: str, plan: Plan) -> list[Case]:
    """Every frame of the held-out loops."""
    cases = []
    for frames, truth, haze in phantom_loops(plan):
        found = segment(as_loop(frames), network=network)
        for t in range(len(frames)):
            score = dice(found.lv[t], truth[t]) if found.found[t] else float("nan")
            cases.append(Case(haze, score, float(found.confidence[t])))
    return cases


def nothing_to_find(plan: Plan) -> dict[str, list[Frames]]:
    """Loops of one frame in which there is no left ventricle, by kind."""
    rng, count = np.random.default_rng(SEED), plan.nulls
    y = np.linspace(0, 7.999, 240).astype(int)
    bars = np.array([235, 210, 170, 150, 110, 80, 45, 16], dtype=np.uint8)[y][None].repeat(180, 0)
    noise = [rng.integers(0, 256, (200, 240), dtype=np.uint8) for _ in range(count)]
    return {
        "white noise": [n[None] for n in noise],
        "black": [np.zeros((1, 200, 240), np.uint8)],
        "colour bars": [bars[None]],
        "pictures that are no echo": [(not_echo(rng, 256) * 255).astype(np.uint8)[None] for _ in range(count)],
        "phantom without a heart": [f[None] for f in grey(simulate(count, seeded(SEED), NO_HEART).noisy)],
        "phantom of uniform speckle": [f[None] for f in grey(simulate_structureless(count, seeded(SEED)).noisy)],
    }


def refused(network: str, kinds: dict[str, list[Frames]]) -> dict[str, float]:
    """Share of the loops of each kind that end in "no LV found"."""
    return {
        kind: float(np.mean([not segment(as_loop(f), network=network).found.any() for f in loops]))
        for kind, loops in kinds.items()
    }


@dataclass(frozen=True)
class RealPair:
    """A real loop with another network's outline. dice: mean over its frames, frames without an outline count 0.

    found: share of frames.  correlation: of the areas over time.  apart: frames from each of their ED and ES marks to
    our nearest of that kind.
    """

    name: str
    frames: int
    dice: float
    found: float
    correlation: float
    apart: tuple[int, ...]


def on_real(path: Path, network: str) -> tuple[RealPair, Frames, Masks, Segmentation]:
    """A file with `frames` (T, H, W) and `lv_mask`, frames at their own size."""
    with np.load(path, allow_pickle=False) as content:
        frames, theirs = content["frames"], content["lv_mask"] > 0
    loop = CineLoop(frames, np.arange(len(frames), dtype=np.float64) * 20.0, kind="npz")
    ours = segment(loop, network=network)
    scores = [dice(ours.lv[t], theirs[t]) if ours.found[t] else 0.0 for t in range(len(frames))]
    areas = mask_areas(ours.lv), mask_areas(theirs)
    both = ours.found & theirs.any(axis=(1, 2))
    correlation = float(np.corrcoef(areas[0][both], areas[1][both])[0, 1]) if both.sum() > 2 else 0.0
    marks = [find_marks(area, loop.times_ms) for area in areas]
    apart = [
        min((abs(t - u) for u in own), default=len(frames))
        for own, wanted in ((marks[0].ed, marks[1].ed), (marks[0].es, marks[1].es))
        for t in wanted
    ]
    pair = RealPair(path.stem, len(frames), float(np.mean(scores)), ours.share, correlation, tuple(apart))
    return pair, frames, theirs, ours


def seconds_for_100_frames(network: str) -> float:
    """A loop of 100 frames of 600 x 800, after a warm-up."""
    frames = next(phantom_loops(Plan(loops=1)))[0]
    big = np.stack([cv2.resize(frames[t % len(frames)], (800, 600)) for t in range(100)])
    segment(as_loop(big[:4]), network=network)
    started = time.perf_counter()
    segment(as_loop(big), network=network)
    return time.perf_counter() - started


def table(cases: Sequence[Case], nulls: dict[str, float], pairs: Sequence[RealPair], seconds: float) -> list[Row]:
    """What was measured against what is wanted."""
    accepted = [c.dice for c in cases if np.isfinite(c.dice)] or [0.0]
    mild = [np.isfinite(c.dice) for c in cases if c.haze_db <= -5] or [False]
    median, low, share = float(np.median(accepted)), float(np.percentile(accepted, 5)), float(np.mean(mild))
    rows = [
        Row("Dice, held-out phantom loops, median of accepted frames", ">= 0.92", f"{median:.3f}", median >= 0.92),
        Row("the same, 5th percentile", ">= 0.85", f"{low:.3f}", low >= 0.85),
        Row("accepted at haze <= -5 dB", ">= 95 %", f"{100 * share:.1f} %", share >= 0.95),
    ]
    for below, above in pairwise(BINS_DB):
        part = [c for c in cases if below <= c.haze_db < above]
        good = [c.dice for c in part if np.isfinite(c.dice)]
        if good:
            said = f"Dice {np.median(good):.3f}, 5th percentile {np.percentile(good, 5):.3f}"
            where = f"{below:g} to {above:g} dB" if below > -120 else f"below {above:g} dB or none"
            rows.append(Row(f"  haze {where}", "", f"{said}, {len(good)} of {len(part)} accepted"))
    for kind, share in nulls.items():
        rows.append(Row(f"no LV found: {kind}", "100 %", f"{100 * share:.0f} %", share == 1))
    if pairs:
        mean = float(np.mean([p.dice for p in pairs]))
        rows.append(
            Row("Dice with EchoNet-Dynamic's network on real loops, mean", ">= 0.82", f"{mean:.3f}", mean >= 0.82)
        )
    for p in pairs:
        rows.append(Row(f"  {p.name}: Dice, frames with an outline", "", f"{p.dice:.3f}, {100 * p.found:.0f} %"))
        rows.append(Row(f"  {p.name}: correlation of areas", ">= 0.85", f"{p.correlation:.3f}", p.correlation >= 0.85))
        worst = max(p.apart, default=p.frames)
        said = f"median {np.median(p.apart):g}, worst {worst} frames" if p.apart else "no marks"
        rows.append(Row(f"  {p.name}: ED and ES from theirs", "within 3 frames", said, worst <= 3))
    rows.append(Row("100 frames of 600 x 800", "< 5 s", f"{seconds:.2f} s", seconds < 5))
    return rows


def spelled(rows: Sequence[Row]) -> str:
    """The table for a terminal."""
    word = {True: "yes", False: "NO", None: ""}
    cells = [(r.what, r.wanted, r.measured, word[r.holds]) for r in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(4)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in cells)


def sheet(frames: Frames, outlines: Sequence[tuple[Masks, tuple[int, int, int]]], count: int = 6) -> Frames:
    """Frames of a loop, evenly spread, with outlines drawn on them: uint8 (256, 256 count, 3), BGR."""
    shown = []
    for t in np.linspace(0, len(frames) - 1, count).astype(int):
        picture = cv2.cvtColor(cv2.resize(frames[t], (256, 256), interpolation=cv2.INTER_CUBIC), cv2.COLOR_GRAY2BGR)
        for masks, colour in outlines:
            large = cv2.resize(masks[t].astype(np.uint8), (256, 256), interpolation=cv2.INTER_NEAREST)
            contours, _ = cv2.findContours(large, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(picture, contours, -1, colour, 1)
        shown.append(picture)
    return np.hstack(shown)


TRUTH, OURS = (0, 255, 255), (0, 255, 0)


def evaluate(
    network: str,
    folder: Path,
    plan: Plan,
    real: Path | None = None,
    without: Sequence[Path] = (),
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measure, write `segmentation.json` and sheets of outlines into `folder`, and print the table.

    real: folder of .npz files with `frames` and `lv_mask`.  without: files that show no left ventricle.
    Returns the figures for a card. Raises WeightsError, InputError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kinds = nothing_to_find(plan) | {path.name: [np.asarray(read(path).frames)] for path in without}
    cases = on_phantom(network, plan)
    nulls = refused(network, kinds)
    pairs = []
    for path in sorted(real.glob("*.npz")) if real is not None else []:
        pair, frames, theirs, ours = on_real(path, network)
        pairs.append(pair)
        _write_picture(folder / f"{path.stem}.png", sheet(frames, [(theirs, TRUTH), (ours.lv, OURS)]))
    strips = []
    for frames, truth, _ in phantom_loops(Plan(loops=8, frames=2)):
        strips.append(sheet(frames, [(truth, TRUTH), (segment(as_loop(frames), network=network).lv, OURS)], 2))
    _write_picture(folder / "phantom.png", np.vstack([np.hstack(strips[i : i + 3]) for i in (0, 3)]))
    rows = table(cases, nulls, pairs, seconds_for_100_frames(network))
    say(spelled(rows))
    found = {
        "network": network,
        "rows": [dataclasses.asdict(row) for row in rows],
        "frames": [dataclasses.asdict(case) for case in cases],
        "real": [dataclasses.asdict(pair) for pair in pairs],
    }
    with replacing(folder / "segmentation.json") as new:
        new.write_text(json.dumps(found, indent=1).replace("NaN", "null"), encoding="utf-8")
    return {row.what.strip(): row.measured for row in rows}


def _write_picture(path: Path, picture: Frames) -> None:
    with replacing(path) as new:
        new.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
