"""The stages as commands. Torch loads only once a stage runs."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import torch

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)


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

    try:
        recipe = stage.read_recipe(config)
    except (TypeError, ValueError) as error:  # ValueError: not TOML, or not text
        raise typer.BadParameter(f"{config} is not a recipe: {error}", param_hint="--config") from None
    changes = {k: v for k, v in (("minutes", minutes), ("steps", steps)) if v is not None}
    recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, **changes))  # type: ignore[arg-type]
    if frames is not None:
        shard = min(recipe.data.shard, frames)
        recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, frames=frames, shard=shard))
    folder = output or Path("runs") / recipe.name
    model = stage.train(recipe, folder, _device(device))
    print(f"weights: {publish(model, recipe, folder, config)}")


@app.command()
def phantom(
    report: Annotated[bool, typer.Option("--report", help="Print the acceptance table.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer frames: rougher medians.")] = False,
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet (PNG) of noisy and clean frames.")] = None,
    seed: Annotated[int, typer.Option(help="Of the contact sheet.")] = 0,
) -> None:
    """The physics phantom: its acceptance table, and frames to look at."""
    from training.phantom import report as stage

    if not report and sheet is None:
        raise typer.BadParameter("say --report, --sheet FILE or both")
    if sheet is not None:
        stage.contact_sheet(sheet, seed)
        print(f"contact sheet: {sheet}")
    if report:
        rows = stage.report(quick)
        print(stage.as_table(rows))
        if any(row.passed is False for row in rows):
            raise typer.Exit(1)


@app.command()
def evaluate(
    weights: Annotated[str, typer.Option(help="Name of the denoiser.")] = "fast",
    folder: Annotated[Path | None, typer.Option(help="Folder of a training run, to evaluate what it made.")] = None,
    real: Annotated[Path | None, typer.Option(help="Folder of stills with NAME.roi.json beside them.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder for pictures to look at.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A handful of frames, to see that it works.")] = False,
    card: Annotated[Path | None, typer.Option(help="Model card (JSON) to put the figures into.")] = None,
) -> None:
    """Measure a denoiser on held-out phantom frames: gCNR, PSNR, inventions, confidence."""
    import json
    import os

    if folder is not None:
        os.environ["ECHOQ_WEIGHTS"] = str(folder)
    from echoq_models.errors import EchoQError
    from training import evaluate as stage
    from training.publish import add_figures

    try:
        figures = stage.evaluate(weights, stage.QUICK if quick else stage.Sizes(), real, output, lambda text: None)
    except EchoQError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(error.exit_code) from None
    print(json.dumps(figures, indent=2))
    if card is not None:
        add_figures(card, figures)


def _device(name: str) -> torch.device:
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def main() -> None:
    """Entry point of `python -m training`."""
    app()
