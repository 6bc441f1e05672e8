"""The stages of the generative pipeline as commands. Each works in its own folder of the run folder."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from training.cli_options import Config, DeviceOption, Minutes, Output, Steps, clear_errors, device_of, read_or_refuse

if TYPE_CHECKING:
    from training.loop import TrainConfig
    from training.pipeline import PipelineConfig

Data = Annotated[Path | None, typer.Option(help="Folder of the archive that the recipe's [frames] names as source.")]


def frames(
    config: Config,
    output: Output = None,
    data: Data = None,
    count: Annotated[int | None, typer.Option("--frames", min=16, help="How many, instead of the recipe's.")] = None,
    device: DeviceOption = "auto",
) -> None:
    """Put the frames that the generator is trained on into the run folder, as far as they are missing: drawn by the
    phantom, or read from an archive of loops, as the recipe's [frames] says. Files that cannot be used are listed in
    frames/left_out.csv there."""
    from training.data import frames as stage

    recipe = _with_data(_recipe(config), data)
    wanted = recipe.frames
    if count is not None:
        shard = wanted.shard if wanted.of_archive else min(wanted.shard, count // 16 * 16)
        wanted = dataclasses.replace(wanted, frames=count, shard=shard)
    with clear_errors():
        store = stage.draw(wanted, _folder(recipe, output) / "frames", device_of(device))
    print(f"frames: {len(store)} in {store.folder}")


def gan(
    config: Config,
    output: Output = None,
    minutes: Minutes = None,
    steps: Steps = None,
    device: DeviceOption = "auto",
) -> None:
    """Train the generator on the run folder's frames and write its weights and card there."""
    from training import distributed
    from training import gan as stage
    from training.gan_weights import publish

    recipe = _recipe(config)
    if minutes is not None:
        recipe = dataclasses.replace(recipe, gan=dataclasses.replace(recipe.gan, minutes=minutes))
    if steps is not None:
        kimg = steps * recipe.gan.batch / 1000
        recipe = dataclasses.replace(recipe, gan=dataclasses.replace(recipe.gan, kimg=kimg))
    folder = _folder(recipe, output)
    with clear_errors():
        trainer = stage.train(recipe, folder, device_of(device))
        if distributed.rank() == 0:
            print(f"weights: {publish(trainer, recipe, folder, config)}")


def _ended(train: TrainConfig, minutes: float | None, steps: int | None) -> TrainConfig:
    """The same training with an end that was given on the command line."""
    given = (("minutes", minutes), ("steps", steps))
    changes: dict[str, Any] = {name: value for name, value in given if value is not None}
    return dataclasses.replace(train, **changes)


def encoder(
    config: Config,
    output: Output = None,
    minutes: Minutes = None,
    steps: Steps = None,
    device: DeviceOption = "auto",
) -> None:
    """Train the encoder for the run folder's generator and write its weights and card there."""
    from training import distributed
    from training import encoder as stage
    from training.encoder_weights import publish

    recipe = _recipe(config)
    recipe = dataclasses.replace(recipe, encoder_train=_ended(recipe.encoder_train, minutes, steps))
    folder, place = _folder(recipe, output), device_of(device)
    with clear_errors():
        network = stage.train(recipe, folder, place)
        if distributed.rank() == 0:
            print(f"weights: {publish(network, recipe, folder, config, place)}")


def channels(
    config: Config,
    output: Output = None,
    review: Annotated[
        Path | None, typer.Option(help="A review.csv that a person went through: take the channels that it keeps.")
    ] = None,
    device: DeviceOption = "auto",
) -> None:
    """Find the style channels of the run folder's generator that make noise, and verify them."""
    from training import channels as stage

    recipe = _recipe(config)
    folder = _folder(recipe, output)
    with clear_errors():
        noise = stage.run(recipe, folder, device_of(device), reviewed=review)
    print(f"noise channels: {', '.join(noise.components) or 'none'}, in {folder / 'channels'}")


def pairs(config: Config, output: Output = None, device: DeviceOption = "auto") -> None:
    """Draw pairs of clean and noisy frames with the run folder's generator and noise channels."""
    from training import pairs as stage

    recipe = _recipe(config)
    with clear_errors():
        stage.run(recipe, _folder(recipe, output), device_of(device))


def pair_denoiser(
    config: Path, output: Path | None, minutes: float | None, steps: int | None, start: str | None, device: str
) -> None:
    """Train a denoiser on the run folder's pairs."""
    from training import distributed
    from training import pair_denoiser as stage

    recipe = _recipe(config)
    recipe = dataclasses.replace(recipe, denoiser_train=_ended(recipe.denoiser_train, minutes, steps))
    folder = _folder(recipe, output)
    with clear_errors():
        model = stage.train(recipe, folder, device_of(device), start=start)
        if distributed.rank() == 0:
            print(f"weights: {stage.publish(model, recipe, folder, config, start)}")


def all_stages(config: Config, output: Output = None, data: Data = None, device: DeviceOption = "auto") -> None:
    """Run frames, gan, encoder, channels, pairs and denoiser, leaving out what is done and unchanged."""
    from training import all_stages as stages

    recipe = _with_data(_recipe(config), data)
    with clear_errors():
        stages.run_all(stages.Run(recipe, config, _folder(recipe, output), device_of(device), print))


def is_pipeline(path: Path) -> bool:
    """Whether the recipe is one of the generative pipeline: it has a table for the generator."""
    try:
        return "generator" in tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False  # reading it as the other kind says what is wrong


def _recipe(path: Path) -> PipelineConfig:
    from training.pipeline import read_recipe

    return read_or_refuse(read_recipe, path)


def _with_data(recipe: PipelineConfig, data: Path | None) -> PipelineConfig:
    """The recipe with its archive where the command line says."""
    if data is None:
        return recipe
    if not recipe.frames.of_archive:
        raise typer.BadParameter("the recipe's frames are the phantom's", param_hint="--data")
    return dataclasses.replace(recipe, frames=dataclasses.replace(recipe.frames, path=str(data)))


def _folder(recipe: PipelineConfig, output: Path | None) -> Path:
    return output or Path("runs") / recipe.name
