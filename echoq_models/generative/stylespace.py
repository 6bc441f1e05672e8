"""StyleSpace codes by name: single channels edited in units of their standard deviation, codes kept in files.

A code s is float32 (N, S), what `Generator.to_s` gives and `Generator.from_s` draws. Its channels are called by layer
and channel, "b64.conv1:247"; layers count in the order of the synthesis, ToRGB layers among them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from echoq_models.errors import InputError, OutputError
from echoq_models.files import replacing
from echoq_models.generative.stylegan2 import Generator, GeneratorConfig


@dataclass(frozen=True)
class StyleSpace:
    """The layout of a generator's codes."""

    config: GeneratorConfig

    @cached_property
    def widths(self) -> dict[str, int]:
        """Channels of each layer, by name, in order."""
        return {layer.name: layer.channels for layer in self.config.layers}

    @property
    def size(self) -> int:
        """Length of a code."""
        return sum(self.widths.values())

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every channel's name, in order."""
        return tuple(f"{layer}:{channel}" for layer, count in self.widths.items() for channel in range(count))

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.names)}

    def index(self, name: str) -> int:
        """Where the channel called `name` stands in a code. Raises InputError when there is none."""
        if name not in self._places:
            raise InputError(f"The generator has no style channel '{name}' (they are called like '{self.names[0]}').")
        return self._places[name]

    def split(self, s: Tensor) -> dict[str, Tensor]:
        """A code (N, S) as (N, channels) for each layer, by name."""
        return dict(zip(self.widths, s.split(list(self.widths.values()), dim=1), strict=True))

    def join(self, parts: Mapping[str, Tensor]) -> Tensor:
        """The code (N, S) that `split` gave these parts of."""
        return torch.cat([parts[name] for name in self.widths], dim=1)


def edited(generator: Generator, s: Tensor, changes: Mapping[str, float]) -> Tensor:
    """A copy of the code (N, S) with some channels moved.

    changes: by how many of its standard deviations each channel moves. Raises InputError for an unknown channel.
    """
    space = StyleSpace(generator.config)
    moved = s.clone()
    for name, amount in changes.items():
        place = space.index(name)
        moved[:, place] += amount * generator.s_std[place]
    return moved


def save(path: Path, s: Tensor, config: GeneratorConfig) -> None:
    """Write codes (N, S) with their layout as safetensors. Raises OutputError."""
    layout = {"layers": json.dumps(StyleSpace(config).widths)}
    try:
        with replacing(path) as new:
            save_file({"s": s.detach().cpu().contiguous()}, new, metadata=layout)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"The style code cannot be written to {path}: {error}.") from error


def load(path: Path, config: GeneratorConfig) -> Tensor:
    """Codes (N, S) that `save` wrote. Raises InputError when they are damaged or of another generator."""
    try:
        with safe_open(path, framework="pt") as file:
            layout, s = json.loads((file.metadata() or {}).get("layers", "{}")), file.get_tensor("s")
    except (OSError, SafetensorError, ValueError) as error:
        raise InputError(f"{path} is missing, damaged or not a style code: {error}.") from error
    if layout != StyleSpace(config).widths or s.ndim != 2:
        raise InputError(f"{path} is a style code of another generator.")
    return s
