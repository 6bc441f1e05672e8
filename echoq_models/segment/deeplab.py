"""DeepLabV3 on a ResNet-50, as EchoNet-Dynamic trained it, in plain torch with the parameter names of its checkpoint.

He et al. 2016, "Deep residual learning for image recognition" (the stride of a bottleneck in its 3 x 3 convolution);
Chen et al. 2017, "Rethinking atrous convolution for semantic image segmentation" (arXiv:1706.05587).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from echoq_models.errors import WeightsError

RATES = (12, 24, 36)  # of the atrous convolutions in the head
WIDTH = 256  # channels of the head


class Bottleneck(nn.Module):
    """relu(shortcut(x) + 1 x 1, 3 x 3, 1 x 1 convolution of x); the last one has four times `width` channels."""

    def __init__(self, n_in: int, width: int, stride: int, dilation: int, shortcut: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = _conv_norm(n_in, 4 * width, 1, stride=stride) if shortcut else None

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def _conv_norm(n_in: int, n_out: int, size: int, **options: Any) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n_in, n_out, size, bias=False, **options), nn.BatchNorm2d(n_out))


def _layer(n_in: int, width: int, blocks: int, stride: int, dilations: tuple[int, int]) -> nn.Sequential:
    """dilations: of the first block, and of the others."""
    first = Bottleneck(n_in, width, stride, dilations[0], shortcut=True)
    rest = (Bottleneck(4 * width, width, 1, dilations[1], shortcut=False) for _ in range(blocks - 1))
    return nn.Sequential(first, *rest)


class Backbone(nn.Module):
    """ResNet-50 whose last two layers dilate instead of striding: (N, 3, H, W) -> (N, 2048, H / 8, W / 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _layer(64, 64, 3, 1, (1, 1))
        self.layer2 = _layer(256, 128, 4, 2, (1, 1))
        self.layer3 = _layer(512, 256, 6, 1, (1, 2))
        self.layer4 = _layer(1024, 512, 3, 1, (2, 4))

    def forward(self, x: Tensor) -> Tensor:
        y = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        return self.layer4(self.layer3(self.layer2(self.layer1(y))))


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: five looks of different reach, put together again."""

    def __init__(self, n_in: int) -> None:
        super().__init__()
        looks = [_conv_norm(n_in, WIDTH, 1)]
        looks += [_conv_norm(n_in, WIDTH, 3, padding=rate, dilation=rate) for rate in RATES]
        # The mean over the frame stands first there, so that the convolution is number 1 and its norm number 2.
        looks.append(nn.Sequential(nn.AdaptiveAvgPool2d(1), *_conv_norm(n_in, WIDTH, 1)))
        self.convs = nn.ModuleList(looks)
        self.project = _conv_norm(len(looks) * WIDTH, WIDTH, 1)

    def forward(self, x: Tensor) -> Tensor:
        looks = [F.relu(look(x)) for look in self.convs]
        looks[-1] = looks[-1].expand(-1, -1, *x.shape[2:])
        return F.relu(self.project(torch.cat(looks, dim=1)))


class DeepLab(nn.Module):
    """Input float32 (N, 3, 112, 112) in [0, 1], grey in all channels; output logits (N, 1, 112, 112) and None.

    mean, std: of each channel on the scale 0-255, with which its training normalised (computed there at run time).
    """

    def __init__(self, mean: Sequence[float] = (32.0,) * 3, std: Sequence[float] = (49.0,) * 3) -> None:
        super().__init__()
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError("mean and std must have three numbers each, std above 0")
        self.mean, self.std = tuple(mean), tuple(std)
        self.backbone = Backbone()
        self.classifier = nn.Sequential(
            Pyramid(2048), *_conv_norm(WIDTH, WIDTH, 3, padding=1), nn.ReLU(), nn.Conv2d(WIDTH, 1, 1)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        mean, std = (torch.tensor(v, dtype=x.dtype, device=x.device)[:, None, None] for v in (self.mean, self.std))
        y = self.classifier(self.backbone((255 * x - mean) / std))
        return F.interpolate(y.float(), size=x.shape[2:], mode="bilinear", align_corners=False), None


def build(architecture: dict[str, Any]) -> nn.Module:
    """The untrained network that a card's `architecture` describes: {"family": "deeplab", "mean", "std"}.

    Raises WeightsError for an unknown family or options that do not fit it.
    """
    options = {key: value for key, value in architecture.items() if key != "family"}
    if architecture.get("family") != "deeplab":
        family = architecture.get("family")
        raise WeightsError(f"The model card asks for the architecture {family!r}; known is deeplab.")
    try:
        return DeepLab(**options)
    except (TypeError, ValueError) as error:
        raise WeightsError(f"The model card's options do not fit the architecture 'deeplab': {error}.") from None
