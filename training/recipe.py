"""Recipes: TOML files that fill a stage's configuration."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar

Config = TypeVar("Config")


def read(path: Path, config: type[Config], sections: dict[str, type[Any]]) -> Config:
    """The recipe in a TOML file. sections: which dataclass each table fills.

    Unknown keys are an error, so that a typing slip is not a silent default. Raises TypeError or ValueError.
    """
    with path.open("rb") as f:
        raw = tomllib.load(f)
    made = {name: kind(**raw.pop(name, {})) for name, kind in sections.items()}
    return config(**raw, **made)
