"""What the networks cost: the work of one 256 x 256 frame, counted where it is done."""

from __future__ import annotations

import tomllib

import pytest
import torch
from torch import nn

from echoq_models.denoise import network
from echoq_models.denoise.architectures import build
from tests.shared import ROOT


def gmac(module: nn.Module) -> float:
    """10^9 multiply-accumulates of one frame, in convolutions of any kind."""
    counted = 0

    def count(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal counted
        grid = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        counted += layer.weight.numel() * grid.shape[-2] * grid.shape[-1]

    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(count)
    with torch.inference_mode():
        module.eval()(torch.zeros(1, 1, 256, 256))
    return counted / 1e9


@pytest.mark.parametrize("name", ["fast", "unet"])
def test_the_recipes_cost_what_batches_are_sized_for(name: str) -> None:
    recipe = ROOT / "training" / "recipes" / f"{name}.toml"
    found = gmac(build(tomllib.loads(recipe.read_text(encoding="utf-8"))["architecture"]))
    assert found == pytest.approx(network._GMAC[name], rel=0.1)
    assert name != "fast" or found <= 1.2
