"""The stages as commands. Torch loads only once a stage runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def root() -> None:
    """Rebuild EchoQ's models."""


@app.command()
def denoiser(
    config: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="Recipe (TOML).")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Run folder; runs/NAME by default.")] = None,
    minutes: Annotated[float | None, typer.Option(help="End after so many minutes of training.")] = None,
    steps: Annotated[int | None, typer.Option(help="End after so many steps.")] = None,
    frames: Annotated[int | None, typer.Option(help="Size of the pool of phantom frames.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Train a denoiser on the phantom and write its weights and card into the run folder."""
    from training import denoiser as stage
    from training.publish import publish

    recipe = stage.read_recipe(config)
    changes = {k: v for k, v in (("minutes", minutes), ("steps", steps)) if v is not None}
    recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, **changes))  # type: ignore[arg-type]
    if frames is not None:
        shard = min(recipe.data.shard, frames)
        recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, frames=frames, shard=shard))
    folder = output or Path("runs") / recipe.name
    model = stage.train(recipe, folder, _device(device))
    print(f"weights: {publish(model, recipe, folder, config)}")


def _device(name: str):  # type: ignore[no-untyped-def]
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def main() -> None:
    """Entry point of `python -m training`."""
    app()
