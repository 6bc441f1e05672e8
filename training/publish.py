"""From a trained network to weights that ship: fp16 safetensors with a model card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import nn

from echoq_models.files import replacing
from echoq_models.weights import store
from training.denoiser import DenoiserConfig

INTENDED_USE = (
    "Research on echocardiography image quality. Not a medical device; not for diagnosis or any clinical decision."
)
LIMITS = (
    "Trained on single frames of a physics phantom alone. It predicts how much of the haze to take away and can only "
    "darken: it adds no structure, but it can dim weak tissue, and it leaves alone what haze buries. It looks at one "
    "frame at a time and has seen no contrast agent and no colour Doppler. Inspect its results beside the original."
)


def publish(
    model: nn.Module, recipe: DenoiserConfig, folder: Path, recipe_path: Path, start: str | None = None
) -> Path:
    """Write `folder`/NAME.safetensors (fp16) and its card NAME.json; returns the path of the weights.

    start: name of the weights that the training began from. `python -m training evaluate --card` adds the figures.
    """
    last = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
    begun = f", begun from the weights {start!r}" if start else ""
    card = store.Card(
        name=recipe.name,
        title=recipe.title,
        architecture=recipe.architecture,
        output="gain",
        recipe=f"training/recipes/{recipe_path.name}",
        data=f"EchoQ physics phantom, pool of {recipe.data.frames} frames, seed {recipe.data.seed}",
        trained=f"{datetime.now(UTC):%Y-%m-%d}, {last['step']} steps of {recipe.train.batch} frames{begun}",
        figures={},
        intended_use=INTENDED_USE,
        limits=LIMITS,
        licence="Apache-2.0",
    )
    path = folder / f"{recipe.name}.safetensors"
    store.save(path, model.state_dict(), card, half=True)
    return path


def add_figures(card_path: Path, figures: Mapping[str, Any]) -> None:
    """Put measured figures into a card, leaving all else as it is (temporary file, then rename)."""
    card = store.read_card(card_path)
    with replacing(card_path) as new:
        new.write_text(replace(card, figures={**card.figures, **figures}).to_json(), encoding="utf-8")
