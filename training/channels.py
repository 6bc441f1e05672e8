"""Stage `channels`: which style channels of the run's generator make noise, shown for review and verified.

RUN/channels/review.csv         the ranked channels, for a person to name (see `noise.review`)
RUN/channels/sheets/*.png       an effect sheet for each
RUN/channels/noise_channels.json, report.json, component_*.png    what was chosen, and what it does

The choice and the ranking go into the generator's card too. With a review, the choice is the person's; without one, it
is what does to pictures what the phantom's components do, the smallest set that holds, or the one that comes nearest.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from echoq_models.errors import InputError
from echoq_models.files import replacing
from echoq_models.generative.editor import RANKED_KEY
from echoq_models.generative.noise_channels import COMPONENTS, LIMITS_KEY, NoiseChannels
from echoq_models.generative.stylespace import StyleSpace
from echoq_models.weights import store as weights
from training import products
from training import recipe as recipes
from training.curves import Curves
from training.data.frames import FrameStore
from training.evaluation import fd_echo
from training.noise import review, search
from training.noise.check import Examiner, Intervention, gcnr_curve
from training.noise.codes import Codes, Inverter, collect, of_phantom
from training.noise.haze_model import HazeModel, Pairs, phantom_pairs
from training.noise.learned import Learner
from training.noise.sheets import effect_sheet

if TYPE_CHECKING:
    from training.pipeline import PipelineConfig

FIGURES = "noise channels"  # in the generator's card


@dataclass(frozen=True)
class ChannelsConfig:
    """labels: labelling list (CSV) of clean and noisy frames; "": by the phantom's haze.  noisy_db: total haze from
    which a phantom frame is noisy.  frames: codes of each kind.  pairs: same-seed phantom pairs.  top: channels of each
    ranking.  tried, held_out: pictures that sets are sought on, and that they are verified on.  most: channels in a
    set.  reaches: see `search.sets`.  sheets: how many effect sheets.  sheet_sigmas: how far they turn a channel.
    seed: of all draws; pair_seed: of the first batch of pairs."""

    labels: str = ""
    noisy_db: float = -14.0
    frames: int = 1000
    pairs: int = 128
    top: int = 100
    tried: int = 16
    held_out: int = 64
    most: int = 8
    reaches: tuple[float, ...] = (8.0, 16.0, 64.0)
    sheets: int = 100
    sheet_sigmas: float = 5.0
    seed: int = 0
    pair_seed: int = 9_500_000

    def __post_init__(self) -> None:
        if min(self.frames, self.pairs, self.top, self.tried, self.held_out, self.most) < 1 or not self.reaches:
            raise ValueError("there must be frames, pairs, channels and pictures")
        if self.frames < self.tried + self.held_out:
            raise ValueError("frames must be at least tried and held_out together")


@dataclass(frozen=True)
class Material:
    """All that the search looks at. codes: of any clean and noisy frames.  pairs: phantom frames.  tried, held_out:
    codes of clean pictures.  paired: codes (3, N, S) of hazed pairs' frames and (N, S) of their clean ones.  truth:
    held-out pairs, whose masks go with held_out. The last two need an encoder and the phantom; None without."""

    codes: Codes
    pairs: Pairs
    model: HazeModel
    tried: Tensor
    held_out: Tensor
    paired: tuple[Tensor, Tensor] | None
    truth: Pairs | None


def gather(recipe: PipelineConfig, inverter: Inverter, store: FrameStore) -> Material:
    """See `Material`. Raises InputError as `codes.collect` does."""
    config, hearts = recipe.channels, recipe.frames.hearts
    path = Path(config.labels) if config.labels else None
    codes = collect(inverter, store, config.frames, path, config.noisy_db, config.seed)
    pairs = phantom_pairs(config.pairs, store.side, hearts, config.pair_seed, inverter.place)
    model = HazeModel.fit(pairs)
    if inverter.encoder is None or not of_phantom(store):
        # every other one, since drawn pictures come sorted by their haze
        return Material(
            codes, pairs, model, codes.clean[0::2][: config.tried], codes.clean[1::2][: config.held_out], None, None
        )
    truth = phantom_pairs(config.held_out, store.side, hearts, config.pair_seed + 500_000, inverter.place)
    clean, held_out = inverter.codes(pairs.clean), inverter.codes(truth.clean)
    paired = torch.stack([inverter.codes(hazed) for hazed in pairs.hazed]), clean
    return Material(codes, pairs, model, clean[: config.tried], held_out, paired, truth)


@dataclass(frozen=True)
class Ranking:
    """Every statistic of every channel: theta as in the paper, and of each component on pairs (None without pairs).
    candidates: channels that were tried out.  effect: what they do, see `search.effects`.  wanted: what each component
    does to the same pictures, (3, N, cells).  like: cosines (3, candidates)."""

    unpaired: search.Statistics
    paired: list[search.Statistics] | None
    candidates: list[int]
    effect: Tensor
    wanted: Tensor
    like: Tensor


def rank(config: ChannelsConfig, inverter: Inverter, material: Material) -> Ranking:
    """All statistics. Candidates are the best of each: theta, theta of each component, pull of each component."""
    unpaired = search.unpaired(material.codes.clean, material.codes.noisy)
    paired = None
    if material.paired is not None:
        hazed, clean = material.paired
        paired = [search.paired(clean, one) for one in hazed]
    found = set(unpaired.top(config.top)).union(*(each.top(config.top) for each in paired or []))
    for component in range(len(COMPONENTS)):
        pull = search.pulls(inverter.generator, material.model, material.tried, component).abs()
        found |= set(pull.argsort(descending=True)[: config.top].tolist())
    candidates = sorted(found)
    effect = search.effects(inverter, material.tried, candidates)
    wanted = material.model.expected(inverter.drawn(material.tried))
    like = torch.stack([search.likeness(effect, one) for one in wanted])
    return Ranking(unpaired, paired, candidates, effect, wanted, like)


# A word on how it was found, weights by channel, and how far it was made to be turned (None where nobody knows)
Sets = Iterator[tuple[str, dict[str, float], float | None]]


def fitted_sets(config: ChannelsConfig, examiner: Examiner, material: Material, ranking: Ranking, number: int) -> Sets:
    """Few channels that together do what the component does, see `search.sets`."""
    names = StyleSpace(examiner.inverter.generator.config).names
    effect, target = search.demands(material.model, examiner.turned({}), ranking.effect, number)
    for reach in config.reaches:
        for vector in search.sets(effect, target, config.most, reach):
            some = vector.nonzero()[:, 0].tolist()
            yield f"reach {reach:g}", {names[ranking.candidates[i]]: float(vector[i]) for i in some}, None


def learned_sets(recipe: PipelineConfig, examiner: Examiner, material: Material, number: int) -> Sets:
    """Many channels, see `noise.learned`; they begin with the mean difference of paired codes where there are such."""
    generator, lv = examiner.inverter.generator, examiner.lv
    assert lv is not None
    names = StyleSpace(generator.config).names
    start, s = torch.zeros_like(generator.s_std), material.codes.clean
    if material.paired is not None:
        hazed, s = material.paired
        start = (hazed[number] - s).mean(0) / generator.s_std.clamp_min(1e-6)
    learner = Learner(generator, material.model, lv, material.pairs, recipe.channel_sets)
    for vector in learner.sets(s, number, start, recipe.channels.seed):
        length = float(vector.norm())
        yield "learned", {names[i]: float(vector[i]) / length for i in vector.nonzero()[:, 0].tolist()}, length


def choose(
    recipe: PipelineConfig,
    inverter: Inverter,
    material: Material,
    ranking: Ranking,
    log: Callable[[dict[str, Any]], None],
) -> NoiseChannels:
    """For each component the smallest set that holds on the pictures of the search, or else the one that comes
    nearest; components that no channel raises are left out. Many channels are tried where no few hold."""
    examiner = Examiner(inverter, material.model, material.tried, fd_echo.network(inverter.place))
    chosen = NoiseChannels()
    for number, component in enumerate(COMPONENTS):
        best: tuple[float, int, dict[str, float], Intervention] | None = None
        few = fitted_sets(recipe.channels, examiner, material, ranking, number)
        for sets in (few, learned_sets(recipe, examiner, material, number)):
            if best is not None and best[0] <= 1:
                break
            for how, some, length in sets:
                seen = examiner.look(number, some, examiner.limit(number, some) if length is None else length)
                log({"component": component, "channels": len(some), "how": how, **figures(seen)})
                rating = (max(seen.shortfall(number), 1.0), len(some), some, seen)
                if seen.own > 0 and (best is None or rating[:2] < best[:2]):
                    best = rating
        if best is not None:
            chosen = chosen.named(component, best[2], best[3].strength)
    return chosen


def figures(seen: Intervention) -> dict[str, float | bool | None]:
    """An intervention as figures for a log or a card."""
    return {
        "strength": round(seen.strength, 2),
        "own": round(seen.own, 3),
        "largest of the others, share of own": round(seen.other, 3),
        "wall": None if seen.wall is None else round(seen.wall, 4),
        "LV Dice": None if seen.dice is None else round(seen.dice, 3),
        "holds": seen.holds,
    }


def verify(inverter: Inverter, material: Material, noise: NoiseChannels) -> dict[str, Any]:
    """What each component does to held-out pictures at its limit and at half of it; and where masks are known, the
    median gCNR of the left ventricle as the slider goes from 0 to its limit in six steps."""
    examiner = Examiner(inverter, material.model, material.held_out, fd_echo.network(inverter.place))
    found: dict[str, Any] = {}
    for component, channels in noise.components.items():
        if component not in COMPONENTS:
            continue  # the phantom knows nothing of it
        number, limit = COMPONENTS.index(component), noise.limit(component)
        report: dict[str, Any] = {
            "channels": len(channels),
            "at the limit": figures(examiner.look(number, channels, limit)),
            "at half of it": figures(examiner.look(number, channels, limit / 2)),
        }
        if (truth := material.truth) is not None:

            def turned(strength: float, channels: Mapping[str, float] = channels) -> Tensor:
                return examiner.turned({name: strength * weight for name, weight in channels.items()})

            curve = gcnr_curve(turned, [limit * i / 5 for i in range(6)], truth.lv, truth.myocardium)
            report["gCNR from 0 to the limit"] = [round(value, 3) for value in curve]
        found[component] = report
    return found


def sheet_of(channel: str) -> str:
    """Where the effect sheet of a channel is, in the stage's folder."""
    return f"sheets/{channel.replace(':', '-')}.png"


def rows(config: ChannelsConfig, space: StyleSpace, ranking: Ranking, noise: NoiseChannels) -> list[review.Row]:
    """The table for review: the heaviest channels of what was chosen, then those of the paper's ranking and of each
    component's, then the lighter ones of what was chosen."""
    place = {channel: i for i, channel in enumerate(ranking.candidates)}

    def row(channel: int, component: str = "", weight: float | None = None) -> review.Row:
        name, mean = space.names[channel], float(ranking.unpaired.mean[channel])
        paired = [round(float(each.theta[channel]), 4) for each in ranking.paired] if ranking.paired else None
        return review.Row(
            keep="yes" if component else "no",
            component=component,
            channel=name,
            weight=weight if weight is not None else -1.0 if mean < 0 else 1.0,
            theta=float(ranking.unpaired.theta[channel]),
            mean=mean,
            paired=paired,
            like=[round(float(each[place[channel]]), 4) for each in ranking.like] if channel in place else None,
            sheet=sheet_of(name),
        )

    heavy, light = list[review.Row](), list[review.Row]()
    for component, channels in noise.components.items():
        falling = sorted(channels.items(), key=lambda each: -abs(each[1]))
        kept = [row(space.index(name), component, weight) for name, weight in falling]
        heavy, light = heavy + kept[: config.most], light + kept[config.most :]
    order = ranking.unpaired.top(config.top)
    for paired in ranking.paired or []:
        order += paired.top(config.top)
    for like in ranking.like:
        order += [ranking.candidates[i] for i in like.abs().argsort(descending=True)[: config.top].tolist()]
    taken = {space.index(each.channel) for each in heavy + light}
    return [*heavy, *(row(channel) for channel in dict.fromkeys(order) if channel not in taken), *light]


def run(
    recipe: PipelineConfig,
    folder: Path,
    device: torch.device,
    say: Callable[[str], None] = print,
    reviewed: Path | None = None,
) -> NoiseChannels:
    """Find the noise channels of the generator in `folder`/gan and write them into `folder`/channels and its card.

    reviewed: a review that a person went through, whose channels are taken instead. Raises InputError when something
    is missing, or the review is not of this generator.
    """
    own = folder / "channels"
    card, generator = products.generator(folder, device)
    inverter = Inverter(generator, products.encoder(folder, device))
    space = StyleSpace(generator.config)
    asked = None if reviewed is None else review.read(reviewed, card.name)
    if asked is not None:
        asked.check(space)
    store = FrameStore(folder / "frames")
    if store.side != generator.config.resolution:
        raise InputError(f"{store.folder} has frames of {store.side} pixels, and the run's generator draws others.")
    recipes.note(recipe, own)
    material = gather(recipe, inverter, store)
    say(material.codes.source)
    ranked = card.figures.get(RANKED_KEY, [])
    if asked:
        noise = _with_limits(inverter, material, asked)
    else:
        noise, ranked = _search(recipe, inverter, material, own, say)
    noise = dataclasses.replace(noise, generator=card.name)
    report: dict[str, Any] = {"codes": material.codes.source, "chosen by": reviewed.name if reviewed else "the search"}
    report |= {FIGURES: verify(inverter, material, noise)}
    for component, found in report[FIGURES].items():
        say(f"{component}: {json.dumps(found)}")
    _into_card(folder / "gan" / "generator.json", noise, report[FIGURES], ranked)
    _write(own, inverter, material, noise, report)
    return noise


def _search(
    recipe: PipelineConfig, inverter: Inverter, material: Material, own: Path, say: Callable[[str], None]
) -> tuple[NoiseChannels, list[tuple[str, float]]]:
    """Rank, choose, and leave table, sheets, log and curves; the choice, and the ranked channels with signed theta."""
    config = recipe.channels
    ranking = rank(config, inverter, material)
    curves = Curves(own / "curves")
    for place, channel in enumerate(ranking.unpaired.top(config.top)):
        curves.add({"theta": float(ranking.unpaired.theta[channel])}, place)
    with (own / "log.jsonl").open("w", buffering=1) as log:

        def note(entry: dict[str, Any]) -> None:
            log.write(json.dumps(entry) + "\n")

        noise = choose(recipe, inverter, material, ranking, note)
    table = rows(config, StyleSpace(inverter.generator.config), ranking, noise)
    sheets = own / "sheets"
    sheets.mkdir(exist_ok=True)
    for old in sheets.glob("*.png"):
        old.unlink()
    strengths = [config.sheet_sigmas * step for step in (-1.0, -0.5, 0.0, 0.5, 1.0)]
    shown = list(dict.fromkeys(row.channel for row in table))[: config.sheets]
    for name in shown:
        effect_sheet(own / sheet_of(name), inverter, material.tried[:3], {name: 1.0}, strengths)
    if (own / "review.csv").exists():  # a person's work is not lost
        (own / "review.csv").replace(own / "review-before.csv")
    review.write(own / "review.csv", [r if r.channel in shown else dataclasses.replace(r, sheet="") for r in table])
    say(f"review: {own / 'review.csv'}, {len(shown)} effect sheets")
    signed = {row.channel: round(math.copysign(row.theta, row.mean), 3) for row in table}
    return noise, list(signed.items())[: config.top]


def _with_limits(inverter: Inverter, material: Material, noise: NoiseChannels) -> NoiseChannels:
    """With how far each component that the phantom knows can be turned."""
    examiner = Examiner(inverter, material.model, material.tried)
    limits = {
        name: examiner.limit(COMPONENTS.index(name), channels) or 1.0
        for name, channels in noise.components.items()
        if name in COMPONENTS
    }
    return dataclasses.replace(noise, limits=limits)


def _write(own: Path, inverter: Inverter, material: Material, noise: NoiseChannels, report: dict[str, Any]) -> None:
    """The choice, a picture of each component from 0 to its limit, and last the report."""
    noise.save(own / "noise_channels.json")
    for component, channels in noise.components.items():
        steps = [noise.limit(component) * i / 4 for i in range(5)]
        effect_sheet(
            own / f"component_{component.replace(' ', '_')}.png", inverter, material.held_out[:4], channels, steps
        )
    with replacing(own / "report.json") as new:
        new.write_text(json.dumps(report, indent=2), encoding="utf-8")


def _into_card(path: Path, noise: NoiseChannels, found: dict[str, Any], ranked: Sequence[tuple[str, float]]) -> None:
    """Presets, limits, figures and ranking into the generator's card, leaving all else as it is."""
    card = weights.read_card(path)
    values = {**card.figures, LIMITS_KEY: dict(noise.limits), FIGURES: found, RANKED_KEY: ranked}
    with replacing(path) as new:
        text = dataclasses.replace(card, noise_channels=noise.components, figures=values).to_json()
        new.write_text(text, encoding="utf-8")
