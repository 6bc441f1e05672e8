"""The stages as commands. Torch loads only once a stage runs."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from training import cli_generative
from training.cli_options import (
    Config,
    DeviceOption,
    Frames,
    Minutes,
    Output,
    Start,
    Steps,
    clear_errors,
    device_of,
    read_or_refuse,
)

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback()
def root() -> None:
    """Rebuild EchoQ's models."""


@app.command()
def denoiser(
    config: Config,
    output: Output = None,
    minutes: Minutes = None,
    steps: Steps = None,
    frames: Frames = None,
    start: Start = None,
    device: DeviceOption = "auto",
) -> None:
    """Train a denoiser and write its weights and card into the run folder: on the phantom, or with a recipe of the
    generative pipeline on the pairs in the run folder."""
    if cli_generative.is_pipeline(config):
        if frames is not None:
            raise typer.BadParameter("pairs are counted in the recipe", param_hint="--frames")
        cli_generative.pair_denoiser(config, output, minutes, steps, start, device)
        return
    from training import denoiser as stage
    from training import distributed
    from training.publish import publish

    recipe = _recipe(stage.read_recipe, config, minutes, steps, frames)
    folder = output or Path("runs") / recipe.name
    with clear_errors():
        model = stage.train(recipe, folder, device_of(device), start=start)
    if distributed.rank() == 0:
        print(f"weights: {publish(model, recipe, folder, config, start)}")


@app.command()
def segmenter(
    config: Config = Path("training/recipes/lv.toml"),
    data: Annotated[
        str | None,
        typer.Option(help="Kind of the archive ARCHIVE: echonet-dynamic or camus; the phantom alone if not given."),
    ] = None,
    archive: Annotated[Path | None, typer.Argument(help="Folder of the archive with tracings.")] = None,
    output: Output = None,
    minutes: Minutes = None,
    steps: Steps = None,
    frames: Frames = None,
    start: Start = None,
    device: DeviceOption = "auto",
) -> None:
    """Train the left-ventricle network, on the phantom alone or on an archive with tracings too."""
    from training import distributed
    from training import segmenter as stage
    from training.data.labelled import open_archive
    from training.publish import publish

    if (data is None) != (archive is None):
        raise typer.BadParameter("an archive needs both its kind and its folder: --data KIND FOLDER")
    recipe = _recipe(stage.read_recipe, config, minutes, steps, frames)
    folder = output or Path("runs") / recipe.name
    with clear_errors():
        opened = open_archive(data, archive) if data is not None and archive is not None else None
        model = stage.train(recipe, folder, device_of(device), start=start, archive=opened)
    if distributed.rank() == 0:
        print(f"weights: {publish(model, recipe, folder, config, start, output='lv', archive=data)}")


def _recipe(
    read: Callable[[Path], Any], path: Path, minutes: float | None, steps: int | None, frames: int | None
) -> Any:
    """The recipe with what the command line changes in it."""
    recipe = read_or_refuse(read, path)
    changes = {k: v for k, v in (("minutes", minutes), ("steps", steps)) if v is not None}
    recipe = dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, **changes))
    if frames is not None:
        shard = min(recipe.data.shard, frames)
        recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, frames=frames, shard=shard))
    return recipe


@app.command()
def phantom(
    report: Annotated[bool, typer.Option("--report", help="Print the acceptance table.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer frames: rougher medians, shorter loops.")] = False,
    sheet: Annotated[Path | None, typer.Option(help="Write a contact sheet (PNG) of noisy and clean frames.")] = None,
    loops: Annotated[int, typer.Option(min=0, help="Write so many loops, with their truth, into the folder -o.")] = 0,
    sample: Annotated[bool, typer.Option("--sample", help="Make the phantom loop of resources/sample again.")] = False,
    beside: Annotated[
        Path | None, typer.Option(help="Real loops, a file or a folder, to compare phantom frames with.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder of --loops and --sample, PNG of --beside.")
    ] = None,
    format_: Annotated[str, typer.Option("--format", help="Of the loops: dcm or avi.")] = "dcm",
    beats: Annotated[int, typer.Option(help="Whole beats a loop.")] = 1,
    fps: Annotated[float, typer.Option(help="Frames a second, about.")] = 40.0,
    noisy: Annotated[bool, typer.Option("--noisy", help="Haze of the default noisy set; else any level.")] = False,
    level: Annotated[float | None, typer.Option(help="One total haze level, dB.")] = None,
    size: Annotated[str, typer.Option(help="Of the loops' pictures, width x height.")] = "800x600",
    seed: Annotated[int, typer.Option(help="Of the sheet, or of the first loop.")] = 0,
) -> None:
    """The physics phantom: its acceptance table, frames to look at, loops with their truth."""
    if not (report or sheet or loops or sample or beside):
        raise typer.BadParameter("say --report, --sheet FILE, --loops N, --sample or --beside PATH")
    if sheet is not None:
        from training.phantom.report import contact_sheet

        contact_sheet(sheet, seed)
        print(f"contact sheet: {sheet}")
    if loops:
        levels = (level, level) if level is not None else None
        _phantom_loops(loops, output, seed, format_, (6 if quick else fps, beats), size, levels, noisy)
    if sample:
        _phantom_sample(output)
    if beside is not None:
        _phantom_beside(beside, output, seed, quick)
    if report:
        _phantom_report(quick)


def _phantom_report(quick: bool) -> None:
    from training.phantom import report as stage

    rows = stage.report(quick)
    print(stage.as_table(rows))
    if any(row.passed is False for row in rows):
        raise typer.Exit(1)


def _phantom_loops(
    count: int,
    folder: Path | None,
    seed: int,
    kind: str,
    time: tuple[float, int],
    size: str,
    levels: tuple[float, float] | None,
    noisy: bool,
) -> None:
    """time: frames a second, beats."""
    from echoq_models.errors import EchoQError
    from training.phantom import export

    if folder is None:
        raise typer.BadParameter("--loops needs a folder: -o DIR", param_hint="-o")
    if noisy and levels is not None:
        raise typer.BadParameter("say --noisy or --level, not both", param_hint="--level")
    try:
        width, height = map(int, size.lower().split("x"))
        chosen = export.NOISY if noisy else levels
        options = export.LoopOptions(kind, time[1], time[0], chosen, (height, width))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    try:
        for path in export.write_loops(count, folder, seed, options):
            print(path, flush=True)
    except EchoQError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(error.exit_code) from None


def _phantom_sample(folder: Path | None) -> None:
    from echoq_models import resources
    from training.phantom import export

    print(export.write_sample(folder or resources.path("sample")))


def _phantom_beside(real: Path, picture: Path | None, seed: int, quick: bool) -> None:
    from echoq_models.errors import EchoQError
    from training.phantom import realism

    try:
        found = realism.compare(real, seed, frames=8 if quick else 48)
    except EchoQError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(error.exit_code) from None
    print(realism.as_table(found))
    path = picture or Path("phantom-beside-real.png")
    realism.draw(found, path)
    print(f"\ncontact sheet: {path}")


@app.command()
def evaluate(
    weights: Annotated[
        list[str] | None, typer.Option(help="Name of a network; may be repeated. By default all that have weights.")
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="Folder of a training run, to evaluate what it made.")] = None,
    real: Annotated[Path | None, typer.Option(help="Folder of real loops, with regions beside them or not.")] = None,
    clear: Annotated[
        list[Path] | None, typer.Option(help="A clear real loop, to be hazed and cleaned again; may be repeated.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the report.")] = Path("runs/evaluation"),
    quick: Annotated[bool, typer.Option("--quick", help="A handful of frames, to see that it works.")] = False,
    card: Annotated[
        list[Path] | None,
        typer.Option(help="Model card (JSON) to put its network's figures into; may be repeated."),
    ] = None,
) -> None:
    """Measure the networks on held-out phantom loops and on real ones: truth, inventions, flicker, confidence, time."""
    import json
    import os

    if folder is not None:
        os.environ["ECHOQ_WEIGHTS"] = str(folder)
    from echoq_models.weights import store
    from training import evaluate as stage
    from training.publish import add_figures

    with clear_errors():
        names = {path: store.read_card(path).name for path in card or []}
        sizes = stage.QUICK if quick else stage.Sizes()
        report = stage.evaluate(weights or [], output, sizes, real=real, clear=clear or [])
        for path, name in names.items():
            add_figures(path, report.of(name))
    print(json.dumps(report.figures, indent=2))


@app.command("evaluate-lv")
def evaluate_lv(
    weights: Annotated[str, typer.Option(help="Name of the network.")] = "lv",
    folder: Annotated[Path | None, typer.Option(help="Folder of a training run, to evaluate what it made.")] = None,
    real: Annotated[
        Path | None, typer.Option(help="Folder of real loops as .npz, with `frames` and another's `lv_mask`.")
    ] = None,
    without: Annotated[
        list[Path] | None, typer.Option(help="A file that shows no left ventricle; may be repeated.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the report.")] = Path("runs/evaluation-lv"),
    quick: Annotated[bool, typer.Option("--quick", help="A handful of frames, to see that it works.")] = False,
    card: Annotated[Path | None, typer.Option(help="Model card (JSON) to put the figures into.")] = None,
) -> None:
    """Measure the left-ventricle network: Dice, what it refuses, agreement on real loops, time."""
    import os

    if folder is not None:
        os.environ["ECHOQ_WEIGHTS"] = str(folder)
    from training.evaluation import segmentation as stage
    from training.publish import add_figures

    plan = stage.Plan(loops=8, frames=2, nulls=3) if quick else stage.Plan()
    with clear_errors():
        figures = stage.evaluate(weights, output, plan, real, without or [])
        if card is not None:
            add_figures(card, figures)


app.command()(cli_generative.frames)
app.command()(cli_generative.gan)
app.command()(cli_generative.encoder)
app.command()(cli_generative.channels)
app.command()(cli_generative.pairs)
app.command("all")(cli_generative.all_stages)


def main() -> None:
    """Entry point of `python -m training`."""
    app()
