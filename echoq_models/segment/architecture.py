"""The left-ventricle network, and `build()`, which makes it from a model card's `architecture` entry."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from echoq_models.denoise.architectures import ResidualUNet
from echoq_models.errors import WeightsError

SIDE = 128  # pixels: the working size


class LvNetwork(ResidualUNet):
    """A small residual U-Net that looks at a frame and its neighbours in time.

    Input float32 (N, 3, 128, 128) in [0, 1]: the frames t - 2, t and t + 2 of a loop. Output: logits float32
    (N, 1, 128, 128) of "this pixel lies in the left ventricle" of frame t, and float32 (N,) of "this is an apical
    view in which the left ventricle can be seen".
    widths: channels at 1/2, 1/4, 1/8 and 1/16 of the input's resolution.  deep_blocks: residual blocks at the
    coarsest level, from where every pixel is told what the whole frame looks like.
    """

    def __init__(self, widths: tuple[int, ...] = (32, 64, 128, 192), deep_blocks: int = 3) -> None:
        super().__init__(3, 1, widths, deep_blocks, context=True)
        self.present = nn.Sequential(nn.Linear(2 * widths[-1], 64), nn.SiLU(), nn.Linear(64, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, skips = self.encoded(x)
        present = self.present(torch.cat([y.mean((2, 3)), y.amax((2, 3))], dim=1))[:, 0].float()
        return self.decoded(y, skips), present


def build(architecture: dict[str, Any]) -> nn.Module:
    """The untrained network that a card's `architecture` describes: {"family": "lv", options}.

    Raises WeightsError for an unknown family or options that do not fit it.
    """
    given = {name: value for name, value in architecture.items() if name != "family"}
    options: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
    if architecture.get("family") != "lv":
        raise WeightsError(f"The model card asks for the architecture {architecture.get('family')!r}; known is lv.")
    try:
        return LvNetwork(**options)
    except (TypeError, ValueError) as error:
        raise WeightsError(f"The model card's options do not fit the architecture 'lv': {error}.") from None
