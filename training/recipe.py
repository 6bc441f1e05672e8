"""Recipes: TOML files that fill a stage's configuration."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from echoq_models.files import replacing

Config = TypeVar("Config")


def read(path: Path, config: type[Config], sections: dict[str, type[Any]]) -> Config:
    """The recipe in a TOML file. sections: which dataclass each table fills.

    Unknown keys are an error, so that a typing slip is not a silent default. Raises TypeError or ValueError.
    """
    with path.open("rb") as f:
        raw = tomllib.load(f)
    made = {name: kind(**raw.pop(name, {})) for name, kind in sections.items()}
    return config(**raw, **made)


def plain(config: Any) -> dict[str, Any]:
    """A configuration (a dataclass) as JSON gives it back."""
    table: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return table


def note(config: Any, folder: Path) -> None:
    """Make `folder` and write the configuration into its config.json, whole or not at all. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "config.json") as new:
        new.write_text(json.dumps(plain(config), indent=2), encoding="utf-8")


def noted(table: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """A table as a run noted it; fields that the configuration got since then have their defaults."""
    later = {f.name: f.default for f in dataclasses.fields(config) if f.default is not dataclasses.MISSING}
    return {**json.loads(json.dumps(later)), **table}
