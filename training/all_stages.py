"""All stages of the generative pipeline in order, each left out where its product is there and nothing before it
changed.

A stage notes the recipe it began with in its folder (config.json). Its product counts when it was finished after that,
from the same tables of the recipe, and after the products of the stages before it. If the stage's own table changed, or
it was interrupted, it is run again and goes on from its checkpoint as far as it can; if something before it changed,
its folder is set aside (NAME-before) and it begins anew.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from echoq_models.errors import InputError, OutputError
from training import channels, distributed, encoder, encoder_weights, gan, gan_weights, pair_denoiser, pairs
from training import recipe as recipes
from training.data import frames
from training.data.archive_store import LEFT_OUT
from training.pipeline import PipelineConfig

State = Literal["done", "unfinished", "outdated"]
# These change nothing in a product (path: where an archive lies)
NOT_ASKED = ("workers", "path", "save_every_s", "log_every", "sheet_kimg", "sheet_every")


@dataclass(frozen=True)
class Run:
    """One run of the pipeline. path: of the recipe."""

    recipe: PipelineConfig
    path: Path
    folder: Path
    device: torch.device
    say: Callable[[str], None]


@dataclass(frozen=True)
class Stage:
    """name: and folder.  tables: of the recipe.  product: file in the folder, written last.  run: makes it."""

    name: str
    tables: tuple[str, ...]
    product: Callable[[PipelineConfig], str]
    run: Callable[[Run], object]


def _frames(run: Run) -> object:
    return frames.draw(run.recipe.frames, run.folder / "frames", run.device, run.say)


def _gan(run: Run) -> object:
    trainer = gan.train(run.recipe, run.folder, run.device, run.say)
    return gan_weights.publish(trainer, run.recipe, run.folder, run.path)


def _encoder(run: Run) -> object:
    network = encoder.train(run.recipe, run.folder, run.device, run.say)
    return encoder_weights.publish(network, run.recipe, run.folder, run.path, run.device)


def _channels(run: Run) -> object:
    return channels.run(run.recipe, run.folder, run.device, run.say)


def _pairs(run: Run) -> object:
    return pairs.run(run.recipe, run.folder, run.device, run.say)


def _denoiser(run: Run) -> object:
    network = pair_denoiser.train(run.recipe, run.folder, run.device, run.say)
    return pair_denoiser.publish(network, run.recipe, run.folder, run.path)


def _last_of_frames(recipe: PipelineConfig) -> str:
    if recipe.frames.of_archive:
        return LEFT_OUT
    return f"shard_{recipe.frames.frames // recipe.frames.shard - 1:05d}.parquet"


STAGES = (
    Stage("frames", ("frames",), _last_of_frames, _frames),
    Stage("gan", ("generator", "discriminator", "gan"), lambda _: "generator.safetensors", _gan),
    Stage("encoder", ("encoder", "encoder_loss", "encoder_train"), lambda _: "encoder.safetensors", _encoder),
    Stage("channels", ("channels", "channel_sets"), lambda _: "report.json", _channels),
    Stage("pairs", ("pairs",), lambda _: "pairs.png", _pairs),
    Stage(
        "denoiser",
        ("denoiser", "denoiser_loss", "denoiser_train"),
        lambda recipe: f"{recipe.denoiser.name}.safetensors",
        _denoiser,
    ),
)


def run_all(run: Run) -> None:
    """Run what is not done yet. Raises InputError under torchrun, OutputError when a folder cannot be set aside, and
    what the stages raise."""
    if distributed.world() > 1:
        raise InputError("`all` runs in one process: give torchrun the stages gan, encoder and denoiser one by one.")
    for number, stage in enumerate(STAGES):
        state = state_of(run, number)
        run.say(f"stage {stage.name}: {state}")
        if state == "outdated":
            _set_aside(run.folder / stage.name)
        if state != "done":
            stage.run(run)


def state_of(run: Run, number: int) -> State:
    """Whether the product of a stage can be used as it is."""
    if number == 0:
        return "done" if _all_frames(run) else "unfinished"
    stage, before = STAGES[number], STAGES[:number]
    own = run.folder / stage.name
    note = own / "config.json"
    if not note.exists():
        return "unfinished"
    began = note.stat().st_mtime_ns
    made = [path.stat().st_mtime_ns for path in (_product(run, each) for each in before) if path.exists()]
    noted = _noted(note)
    if len(made) < number or max(made) > began or not _same(run, noted, [t for each in before for t in each.tables]):
        return "outdated"
    product = _product(run, stage)
    finished = product.exists() and product.stat().st_mtime_ns >= began
    return "done" if finished and _same(run, noted, stage.tables) else "unfinished"


def _product(run: Run, stage: Stage) -> Path:
    return run.folder / stage.name / stage.product(run.recipe)


def _all_frames(run: Run) -> bool:
    """Whether every shard is there, of this recipe. An archive's last file must be younger than what was asked for."""
    folder, wanted = run.folder / "frames", run.recipe.frames
    note = folder / "store.json"
    if wanted.of_archive:
        last = folder / LEFT_OUT
        there = last.exists() and note.exists() and last.stat().st_mtime_ns >= note.stat().st_mtime_ns
    else:
        numbers = range(wanted.frames // wanted.shard)
        there = all((folder / f"shard_{number:05d}.parquet").exists() for number in numbers)
    noted = _noted(note)
    return there and bool(noted) and _same_table(noted, wanted)


def _noted(path: Path) -> dict[str, Any]:
    """What a stage noted; nothing where that cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _same_table(noted: Any, config: Any) -> bool:
    """Whether a noted table asks for what the configuration asks for. A table that is not there came later."""
    before, now = recipes.noted(noted if isinstance(noted, dict) else {}, config), recipes.plain(config)
    return all(before.get(key) == now.get(key) for key in {*before, *now} if key not in NOT_ASKED)


def _same(run: Run, noted: dict[str, Any], tables: list[str] | tuple[str, ...]) -> bool:
    return bool(noted) and all(_same_table(noted.get(table), getattr(run.recipe, table)) for table in tables)


def _set_aside(folder: Path) -> None:
    """Rename to NAME-before; what was there by that name goes."""
    old = folder.with_name(f"{folder.name}-before")
    try:
        if old.exists():
            shutil.rmtree(old)
        folder.rename(old)
    except OSError as error:
        raise OutputError(f"{folder} cannot be set aside: {error.strerror or error}.") from error
