"""Finds denoisers: the built-in ones and any package that offers the entry-point group `echoq.denoisers`.

An entry point names a `Denoiser` object (see `base.py`), not a class. Nothing here imports torch, and the
built-in modules import it only when they run.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from echoq_models.cine.loop import CineLoop
from echoq_models.denoise.base import Cancel, Denoiser, Prepared, Settings, never
from echoq_models.errors import EchoQError

GROUP = "echoq.denoisers"

# The same objects as pyproject's entry points, so that a checkout or a frozen app, which has no package
# metadata, finds them too. In the order menus show them.
BUILT_IN: Mapping[str, str] = {
    "fast": "echoq_models.denoise.network:fast",
    "unet": "echoq_models.denoise.network:unet",
    "pairs": "echoq_models.denoise.network:pairs",
    "bm3d": "echoq_models.denoise.bm3d:denoiser",
}

# Added while this process runs: "module:object" of denoisers whose package is not installed.
_ADDED: dict[str, Denoiser] = {}

_MEMBERS = ("name", "title", "available", "prepare", "run")


@dataclass
class MissingDenoiser:
    """Stands for a denoiser that could not be imported: listed with its sentence, refuses to run."""

    name: str
    title: str
    sentence: str

    def available(self) -> str | None:
        """The sentence that says what went wrong."""
        return self.sentence

    def prepare(self, loop: CineLoop, settings: Settings) -> Prepared:
        """Raises EchoQError."""
        raise EchoQError(self.sentence)

    def run(
        self, loop: CineLoop, prepared: Prepared, indices: Iterable[int], cancel: Cancel = never
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Raises EchoQError."""
        raise EchoQError(self.sentence)


def denoisers() -> dict[str, Denoiser]:
    """All denoisers by name, the built-in ones first; those that fail to import are there as missing."""
    found = {name: _load(name, partial(_object, target)) for name, target in BUILT_IN.items()}
    for point in sorted(metadata.entry_points(group=GROUP), key=lambda point: point.name):
        if point.name not in found:  # a foreign package cannot take a built-in's name
            found[point.name] = _load(point.name, point.load)
    return found | {name: added for name, added in _ADDED.items() if name not in found}


def add(target: str) -> None:
    """Make the denoiser "module:object" known in this process, without an installed entry point.

    The door for a denoiser in the making: the module only has to be importable. Its own `name` is used.
    """
    denoiser = _load(target, partial(_object, target))
    _ADDED[denoiser.name] = denoiser


def get(name: str) -> Denoiser:
    """The denoiser called `name`. Raises EchoQError with the known names when there is none."""
    found = denoisers()
    if name not in found:
        raise EchoQError(f"There is no denoiser called '{name}' (known: {', '.join(found)}).")
    return found[name]


def preload() -> None:
    """Import torch and make ready every denoiser that is available, so that the first frame comes at once.

    For the worker. Calls the `preload()` of each that has one; a failure is left for `prepare` to tell.
    """
    for denoiser in denoisers().values():
        warm = getattr(denoiser, "preload", None)
        if warm is not None and denoiser.available() is None:
            try:
                warm()
            except EchoQError:
                continue


def _object(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _load(name: str, load: Callable[[], Any]) -> Denoiser:
    try:
        found = load()
    except Exception as error:  # a stranger's package may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return MissingDenoiser(name, name, f"The denoiser '{name}' cannot be loaded ({reason}).")
    if isinstance(found, type) or not all(hasattr(found, member) for member in _MEMBERS):
        return MissingDenoiser(name, name, f"What the entry point '{name}' names is not a denoiser.")
    return cast(Denoiser, found)
