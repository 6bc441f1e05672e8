"""Options that several commands of `echoq` share."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echoq_models.errors import InputError

if TYPE_CHECKING:
    from echoq_models.denoise.base import Settings


class Device(StrEnum):
    """Where networks run."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class DicomEncoding(StrEnum):
    """How the frames of a .dcm are stored."""

    rle = "rle"
    raw = "raw"
    jpeg_ls = "jpeg-ls"


Method = Annotated[
    list[str] | None,
    typer.Option("--method", "-m", help="fast, unet, pairs or bm3d; repeat it to compare.", show_default="fast"),
]
DeviceOption = Annotated[Device, typer.Option(help="Where networks run.")]
Sigma = Annotated[
    float | None, typer.Option(min=0.0, max=255.0, help="BM3D's noise in grey levels; estimated if not given.")
]
Strength = Annotated[float, typer.Option(min=0.0, max=1.0, help="How much of the change is applied.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def known(names: list[str]) -> list[str]:
    """The methods without repeats; an unknown one is wrong usage."""
    from echoq_models.denoise import registry

    there = registry.denoisers()
    for name in names:
        if name not in there:
            raise typer.BadParameter(f"'{name}' is not one of {', '.join(there)}", param_hint="--method")
    return list(dict.fromkeys(names))


def settings(device: Device, sigma: float | None, strength: float) -> Settings:
    """How the denoisers run."""
    from echoq_models.denoise.base import Settings

    return Settings(device.value, sigma, strength)


def is_batch(source: Path) -> bool:
    """Whether `source` is a folder of loops, not one loop. Raises InputError when it is not there."""
    from echoq_models.runtime import batch

    if not source.exists():
        raise InputError(f"{source}: there is no such file or folder")
    return source.is_dir() and not batch.holds_only_stills(source)


def is_study(source: Path, output: Path) -> bool:
    """Whether `source` is a DICOMDIR whose loops go into a folder."""
    from echoq_models.runtime import batch

    return not output.suffix and batch.is_study(source)


def print_json(found: dict[str, Any]) -> None:
    """One JSON object on stdout."""
    print(json.dumps(found, ensure_ascii=False, allow_nan=False))
