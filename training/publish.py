"""From a trained network to weights that ship: fp16 safetensors with a model card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from echoq_models.files import replacing
from echoq_models.weights import store
from training.data.pool import ShardConfig
from training.loop import TrainConfig


class Recipe(Protocol):
    """What a denoiser's and a segmenter's recipe have in common."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def architecture(self) -> dict[str, Any]: ...
    @property
    def data(self) -> ShardConfig: ...
    @property
    def train(self) -> TrainConfig: ...


INTENDED_USE = (
    "Research on echocardiography image quality. Not a medical device; not for diagnosis or any clinical decision."
)
LIMITS = {
    "gain": (
        "Trained on single frames of a physics phantom alone. It predicts how much of the haze to take away and can "
        "only darken: it adds no structure, but it can dim weak tissue, and it leaves alone what haze buries. It looks "
        "at one frame at a time and has seen no contrast agent and no colour Doppler. Inspect its results beside the "
        "original."
    ),
    "pairs": (
        "Trained on pairs of pictures that a generator drew, clean and with its noise channels turned up. It knows "
        "only hearts and haze that the generator knows, and what it gives back was never checked against a patient's "
        "heart without haze. It looks at one frame at a time. Inspect its results beside the original."
    ),
    "lv": (
        "Made for apical four-chamber views with the apex up. It outlines what looks like a left ventricle and says "
        "how sure it is; in strong haze it outlines what is likely there, not what can be seen. It has seen no "
        "contrast agent, no thrombus and no device. Look at every outline before a figure is used."
    ),
}


def publish(
    model: nn.Module,
    recipe: Recipe,
    folder: Path,
    recipe_path: Path,
    start: str | None = None,
    *,
    output: str = "gain",
    archive: str | None = None,
    pairs: str | None = None,
) -> Path:
    """Write `folder`/NAME.safetensors (fp16) and its card NAME.json; returns the path of the weights.

    start: name of the weights that the training began from.  output: the card's.  archive: what it was trained on
    besides the phantom.  pairs: what it was trained on instead, if a generator drew it. `python -m training evaluate
    --card` adds the figures.
    """
    last = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
    begun = f", begun from the weights {start!r}" if start else ""
    phantom = pairs or f"EchoQ physics phantom, pool of {recipe.data.frames} frames, seed {recipe.data.seed}"
    card = store.Card(
        name=recipe.name,
        title=recipe.title,
        architecture=recipe.architecture,
        output=output,
        recipe=f"training/recipes/{recipe_path.name}",
        data=phantom if archive is None else f"{archive}; {phantom}",
        trained=f"{datetime.now(UTC):%Y-%m-%d}, {last['step']} steps of {recipe.train.batch} frames{begun}",
        figures={},
        intended_use=INTENDED_USE,
        limits=LIMITS["pairs" if pairs else output],
        licence="Apache-2.0" if archive is None else "for whoever may use the archive it was trained on",
    )
    path = folder / f"{recipe.name}.safetensors"
    store.save(path, model.state_dict(), card, half=True)
    return path


def add_figures(card_path: Path, figures: Mapping[str, Any]) -> None:
    """Put measured figures into a card, leaving all else as it is (temporary file, then rename)."""
    card = store.read_card(card_path)
    with replacing(card_path) as new:
        new.write_text(replace(card, figures={**card.figures, **figures}).to_json(), encoding="utf-8")
