"""What each channel of a generator does to one frame: the pictures from which a person picks those that make noise.

Channels that somebody ranked over many frames come in that order. Where nobody did, those that change this frame most
are found, and ordered by how much they fill its dark half and leave its bright half alone, as noise does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from echoq_models.generative.editor import SMOOTHED, Encoded, FrameEditor, Picture, shrunk

if TYPE_CHECKING:
    from echoq_models.generative.noise_channels import NoiseChannels

Mask = NDArray[np.bool_]

MOST = 100  # channels that are tried
LEADING = 8  # channels of a component that come first: it may have a hundred
SIGMA = 3.0  # standard deviations by which each is moved
PROBES = 8  # random pictures by which the reach of all channels is estimated at once
AT_ONCE = 4  # channels drawn together, each both ways


@dataclass(frozen=True)
class Effect:
    """What one channel does to a frame. amount: standard deviations it was moved by, the way that adds noise.

    change: float32 (side, side), edited minus reconstruction, 1.0 is the whole grey scale.
    haze: how much of it fills the dark half of the sector, less what it does to the bright half.
    """

    channel: str
    amount: float
    change: Picture
    haze: float


def candidates(editor: FrameEditor, encoded: Encoded, sector: Mask, most: int = MOST) -> list[str]:
    """The channels worth a look: the editor's own noise channels, then those ranked, or those that reach farthest.

    sector: bool (256, 256), see `editor.sector_patch`.
    """
    named = channels_of(editor.channels)
    others = editor.ranked or farthest(editor, encoded, sector, most)
    return list(dict.fromkeys([*named, *others]))[:most]


def channels_of(noise: NoiseChannels) -> list[str]:
    """The LEADING heaviest channels of each component."""
    falling = (sorted(each, key=lambda name: -abs(each[name])) for each in noise.components.values())
    return list(dict.fromkeys(name for names in falling for name in names[:LEADING]))


def effects(
    editor: FrameEditor, encoded: Encoded, patch: NDArray[np.float32], sector: Mask, channels: list[str]
) -> Iterator[Effect]:
    """What each of `channels` does to a frame, in their order; each step draws AT_ONCE of them.

    patch: float32 (256, 256) in [0, 1], the frame.  sector: bool (256, 256).
    """
    dark, bright = _halves(patch, sector, encoded.reconstruction.shape[0])
    for start in range(0, len(channels), AT_ONCE):
        part = channels[start : start + AT_ONCE]
        seen = editor.changed(encoded, [{name: way * SIGMA} for name in part for way in (1, -1)])
        for name, up, down in zip(part, seen[::2], seen[1::2], strict=True):
            both = [
                Effect(name, SIGMA, up, _haze(up, dark, bright)),
                Effect(name, -SIGMA, down, _haze(down, dark, bright)),
            ]
            yield max(both, key=lambda each: each.haze)


def farthest(editor: FrameEditor, encoded: Encoded, sector: Mask, most: int = MOST) -> list[str]:
    """The channels of which a standard deviation changes the picture most, to first order, inside the sector.

    For white r, the mean square of d<r, G(s)>/ds_c is the squared length of the Jacobian's column of channel c
    (Hutchinson's estimator): PROBES pictures judge all channels at once, where drawing each would take minutes.
    """
    import torch

    from echoq_models.generative.stylespace import StyleSpace

    generator, side = editor.generator, encoded.reconstruction.shape[0]
    inside = torch.from_numpy(shrunk(sector.astype(np.float32), side)).to(editor.place)
    chance = torch.Generator().manual_seed(0)
    s = encoded.s.clone().requires_grad_()
    picture = generator.from_s(s, "constant").mean((0, 1))
    power = torch.zeros_like(encoded.s[0])
    for _ in range(PROBES):
        probe = torch.randn(side, side, generator=chance).to(editor.place) * inside
        (slope,) = torch.autograd.grad((picture * probe).sum(), s, retain_graph=True)
        power += slope[0].square()
    order = (power.sqrt() * generator.s_std).argsort(descending=True)[:most]
    names = StyleSpace(generator.config).names
    return [names[i] for i in order.tolist()]


def _halves(patch: NDArray[np.float32], sector: Mask, side: int) -> tuple[Mask, Mask]:
    """The darker and the brighter half of the sector at the generator's size: chambers, and tissue."""
    smooth = cv2.GaussianBlur(shrunk(patch, side), (0, 0), SMOOTHED)
    inside = shrunk(sector.astype(np.float32), side) > 0.5
    middle = np.median(smooth[inside]) if inside.any() else 0.0
    return inside & (smooth <= middle), inside & (smooth > middle)


def _haze(change: Picture, dark: Mask, bright: Mask) -> float:
    filled = float(change[dark].mean()) if dark.any() else 0.0
    disturbed = float(np.abs(change[bright]).mean()) if bright.any() else 0.0
    return filled - disturbed
