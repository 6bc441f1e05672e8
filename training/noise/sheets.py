"""Pictures of what channels do: a frame with one channel turned either way, the difference, and where it acts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echoq_models.generative.stylespace import edited
from training.noise.codes import Inverter
from training.sheets import write_picture

Bgr = NDArray[np.uint8]
CONTRAST = 4.0  # differences are shown by so much stronger


def _grey(picture: Tensor) -> Bgr:
    """One picture (1, side, side) in [0, 1]."""
    cell = picture[0].mul(255).round().to(torch.uint8).cpu().numpy()
    return cv2.cvtColor(cell, cv2.COLOR_GRAY2BGR)


def _difference(change: Tensor) -> Bgr:
    """A change (1, side, side) in grey: red where it grows brighter, blue where darker, white for none."""
    amount = (change[0] * CONTRAST).clamp(-1, 1).cpu().numpy()
    cell = np.full((*amount.shape, 3), 255.0)
    cell[..., :2] -= 255 * np.clip(amount, 0, 1)[..., None]
    cell[..., 1:] -= 255 * np.clip(-amount, 0, 1)[..., None]
    return cell.round().astype(np.uint8)


def _strip(pictures: Tensor) -> Bgr:
    """Pictures (N, 1, side, side) of one frame from -k to +k, then the difference of the ends."""
    return np.hstack([*map(_grey, pictures), _difference(pictures[-1] - pictures[0])])


def effect_sheet(
    path: Path, inverter: Inverter, s: Tensor, changes: Mapping[str, float], strengths: Sequence[float]
) -> None:
    """Write a sheet for one channel, or a set: a row for each code of s (N, S), with the channel moved by each
    strength, and the difference between the last and the first; below, the mean of that over the rows, which shows
    where it acts.

    changes: channels and weights, which the strengths multiply.
    """
    steps = [edited(inverter.generator, s, {name: k * weight for name, weight in changes.items()}) for k in strengths]
    pictures = torch.stack([inverter.drawn(step) for step in steps], dim=1)
    rows = [_strip(row) for row in pictures]
    acts = _difference((pictures[:, -1] - pictures[:, 0]).mean(0))
    side = acts.shape[0]
    last = np.full((side, rows[0].shape[1], 3), 255, dtype=np.uint8)
    last[:, -side:] = acts
    write_picture(path, np.vstack([*rows, last]))
