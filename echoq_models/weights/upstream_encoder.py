"""The encoder that belongs to EchoNet-Quality's generator (e4e's layout), and the generator in the same file.

encoder.*  our encoder's parameters by the same names
decoder.*  a generator in rosinality's layout
latent_avg beside them, (num_ws, w_dim) or one row: added to what the encoder gives, unless the options of its
training say otherwise
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from echoq_models.errors import WeightsError
from echoq_models.weights import store, upstream_stylegan
from echoq_models.weights.store import Card
from echoq_models.weights.upstream_stylegan import Found, Part

if TYPE_CHECKING:
    from torch import Tensor

    from echoq_models.generative.encoder import EncoderConfig

_CARD = Card(
    name="e4e",
    title="Encoder (EchoNet-Quality)",
    architecture={},
    output="encoder",
    data="apical four-chamber frames of the authors' own hospital (EchoNet-Quality), if it is their file",
    trained="by the authors of EchoNet-Quality, or whoever made the file",
    intended_use="research: to find the code of a frame, from which its generator draws it again",
    limits="frames unlike those it was trained on come back as other frames: compare the two",
    licence="none stated by its authors; imported by the user, not part of EchoQ",
)


def e4e(found: Found, path: Path) -> list[Part]:
    """The encoder, and the generator where the file holds it. Raises WeightsError where they do not fit."""
    import torch

    from echoq_models.generative import encoder

    tensors = _below("encoder.", found.tensors)
    config = _config(tensors, path)
    tensors["latent_avg"] = torch.zeros(config.num_ws, config.w_dim)
    if found.latent_avg is not None and found.facts.get("start_from_latent_avg", True):
        average = found.latent_avg.reshape(-1, found.latent_avg.shape[-1])
        if average.shape[0] not in (1, config.num_ws) or average.shape[1] != config.w_dim:
            misfit = f"its latent_avg is {tuple(found.latent_avg.shape)}"
            raise WeightsError(f"{path} does not fit an encoder of {config.num_ws} rows of {config.w_dim}: {misfit}.")
        tensors["latent_avg"] = average.expand(config.num_ws, -1)
    architecture = encoder.describe(config)
    store.check(architecture, tensors, path)
    parts: list[Part] = [
        (replace(_CARD, architecture=architecture, recipe=f"imported from {path.name}"), tensors),
    ]
    if decoder := _below("decoder.", found.tensors):
        (part,) = upstream_stylegan.rosinality(Found(decoder, found.latent_avg), path)
        rows, w_dim = 2 * (int(part[0].architecture["resolution"]).bit_length() - 1) - 2, part[0].architecture["w_dim"]
        if (rows, w_dim) != (config.num_ws, config.w_dim):
            misfit = f"{config.num_ws} rows of {config.w_dim}, not {rows} of {w_dim}"
            raise WeightsError(f"{path} holds an encoder that does not fit the generator in it: it gives {misfit}.")
        parts.append(part)
    return parts


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _config(tensors: Mapping[str, Tensor], path: Path) -> EncoderConfig:
    """The encoder these tensors belong to, as far as their shapes tell; `store.check` tells the rest."""
    from echoq_models.generative.encoder import EncoderConfig

    def shape(name: str, axes: int) -> tuple[int, ...]:
        found = tuple(tensors[name].shape) if name in tensors else None
        if found is None or len(found) != axes:
            said = "is missing" if found is None else f"is {found}"
            raise WeightsError(f"{path} does not fit an encoder: its 'encoder.{name}' {said}.")
        return found

    def count(pattern: str) -> int:
        return sum(re.fullmatch(pattern, key) is not None for key in tensors)

    widths, depths = [shape("input_layer.0.weight", 4)[0]], [0]
    for i in range(count(r"body\.\d+\.res_layer\.1\.weight")):
        width = shape(f"body.{i}.res_layer.1.weight", 4)[0]
        if width != widths[-1]:
            widths.append(width)
            depths.append(0)
        depths[-1] += 1
    try:
        return EncoderConfig(
            side=16 << min(count(r"styles\.0\.convs\.\d+\.weight"), 10),
            image_channels=shape("input_layer.0.weight", 4)[1],
            num_ws=count(r"styles\.\d+\.linear\.weight"),
            w_dim=shape("styles.0.linear.weight", 2)[0],
            widths=tuple(widths),  # type: ignore[arg-type]
            depths=tuple(depths),  # type: ignore[arg-type]
            style_width=shape("styles.0.linear.weight", 2)[1],
        )
    except ValueError as error:
        raise WeightsError(f"{path} is an encoder of another kind: {error}.") from None
