"""What earlier stages left in a run's folder, loaded for the later ones."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open

from echoq_models.errors import InputError
from echoq_models.generative import encoder as encoders
from echoq_models.generative import stylegan2
from echoq_models.generative.encoder import Encoder
from echoq_models.generative.stylegan2 import Generator
from echoq_models.weights import store
from echoq_models.weights.store import Card
from training import checkpoint
from training.discriminator import Discriminator, DiscriminatorConfig


def generator(folder: Path, device: torch.device) -> tuple[Card, Generator]:
    """The generator in `folder`/gan and its card, frozen.

    Raises InputError when there is none, WeightsError when it is damaged.
    """
    path = folder / "gan" / "generator.safetensors"
    if not path.exists():
        raise InputError(f"There is no generator in {path.parent}: run `python -m training gan` to its end first.")
    card, tensors = store.load(store.Entry(path.stem, path, False, store.read_card(path.with_suffix(".json"))))
    network = stylegan2.build(dict(card.architecture))
    network.load_state_dict(tensors)
    return card, network.to(device).eval().requires_grad_(False)


def encoder(folder: Path, device: torch.device) -> Encoder | None:
    """The encoder in `folder`/encoder, frozen; None when there is none yet. Raises WeightsError when it is damaged."""
    path = folder / "encoder" / "encoder.safetensors"
    if not path.exists():
        return None
    card, tensors = store.load(store.Entry(path.stem, path, False, store.read_card(path.with_suffix(".json"))))
    network = encoders.build(dict(card.architecture))
    network.load_state_dict(tensors)
    return network.to(device).eval().requires_grad_(False)


def discriminator(
    folder: Path, picture: stylegan2.GeneratorConfig, config: DiscriminatorConfig, device: torch.device
) -> Discriminator | None:
    """The discriminator that the generator in `folder`/gan was trained against, frozen; None where its checkpoint is
    not there any more. Raises InputError when the checkpoint is of another recipe."""
    path = folder / "gan" / checkpoint.NAME
    if not path.exists():
        return None
    prefix = "discriminator."
    with safe_open(path, framework="pt") as file:
        tensors = {key[len(prefix) :]: file.get_tensor(key) for key in file.keys() if key.startswith(prefix)}  # noqa: SIM118 -- it is no dict
    network = Discriminator(picture, config)
    try:
        network.load_state_dict(tensors)
    except RuntimeError:
        raise InputError(f"{path} is of another recipe: remove it or choose another folder.") from None
    return network.to(device).eval().requires_grad_(False)
