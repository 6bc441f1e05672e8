"""What the stages' commands have in common: options, devices, errors."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    import torch

Recipe = TypeVar("Recipe")

Config = Annotated[Path, typer.Option(exists=True, dir_okay=False, help="Recipe (TOML).")]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="Run folder; runs/NAME by default.")]
Minutes = Annotated[float | None, typer.Option(help="End after so many minutes of training.")]
Steps = Annotated[int | None, typer.Option(help="End after so many steps.")]
Frames = Annotated[int | None, typer.Option(help="Size of the pool of phantom frames.")]
Start = Annotated[str | None, typer.Option("--from", help="Weights to begin from (fine-tuning); by default none.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


def read_or_refuse(read: Callable[[Path], Recipe], path: Path) -> Recipe:
    """The recipe at `path`, or wrong usage said in one sentence."""
    try:
        return read(path)
    except (TypeError, ValueError) as error:  # ValueError: not TOML, or not text
        raise typer.BadParameter(f"{path} is not a recipe: {error}", param_hint="--config") from None


@contextmanager
def clear_errors() -> Iterator[None]:
    """What a person can mend is said in one sentence, and the exit code is the error's."""
    from echoq_models.errors import EchoQError

    try:
        yield
    except EchoQError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(error.exit_code) from None


def device_of(name: str) -> torch.device:
    """The device called `name`; "auto" is CUDA where there is one."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
