"""Brings one frame's w_plus nearer to the frame by a few steps of descent, where the encoder did not do well."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echoq_models.generative import likeness
from echoq_models.generative.stylegan2 import Generator, to_grey
from echoq_models.metrics.fidelity import psnr, ssim


@dataclass(frozen=True)
class RefineConfig:
    """steps: of Adam.  lr: of w_plus.  blurs: pixels for a picture of 64, larger in proportion.  structure: weight of
    1 - SSIM beside the pyramid's error.  stay: weight of the mean squared way from where it began, so that w_plus
    remains one that can be edited."""

    steps: int = 80
    lr: float = 0.05
    blurs: tuple[float, ...] = (1.0, 2.0, 4.0)
    structure: float = 0.5
    stay: float = 0.02


@dataclass(frozen=True)
class Refined:
    """w_plus: float32 (1, num_ws, w_dim).  psnr (dB), ssim: of the picture with the frame, before and after."""

    w_plus: Tensor
    psnr: tuple[float, float]
    ssim: tuple[float, float]


def refine(generator: Generator, frame: Tensor, w_plus: Tensor, config: RefineConfig | None = None) -> Refined:
    """The best w_plus that `config.steps` steps from `w_plus` find for the frame; it is never worse than the start.

    frame: float32 (1, 1 or 3, side, side) of -1 to 1, of the generator's side.  w_plus: (1, num_ws, w_dim). Noise is
    the generator's constant one, and nothing is drawn at random: the same call gives the same numbers.
    Raises ValueError for a frame of another side or more than one.
    """
    config = config or RefineConfig()
    side = generator.config.resolution
    if frame.shape[0] != 1 or frame.shape[2:] != (side, side):
        raise ValueError(f"one frame of {side} x {side} pixels is needed, not {tuple(frame.shape)}")
    blurs = [blur * side / 64 for blur in config.blurs]
    start = w_plus.detach()
    moving = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([moving], lr=config.lr, betas=(0.9, 0.99))
    best, lowest = start, float("inf")
    for step in range(config.steps + 1):
        picture = _drawn(generator, moving)
        loss = likeness.pyramid(picture, frame, blurs) + config.structure * likeness.structure(picture, frame)
        loss = loss + config.stay * (moving - start).square().mean()
        if float(loss.detach()) < lowest:
            best, lowest = moving.detach().clone(), float(loss.detach())
        if step < config.steps:
            (moving.grad,) = torch.autograd.grad(loss, [moving])
            optimizer.step()
    wanted = _pixels(frame)
    with torch.no_grad():
        pictures = [_pixels(_drawn(generator, each)) for each in (start, best)]
    return Refined(
        best,
        (psnr(wanted, pictures[0]), psnr(wanted, pictures[1])),
        (ssim(wanted, pictures[0]), ssim(wanted, pictures[1])),
    )


def _drawn(generator: Generator, w_plus: Tensor) -> Tensor:
    return generator.from_s(generator.to_s(w_plus), "constant")


def _pixels(picture: Tensor) -> NDArray[np.float64]:
    """Grey levels 0-255, (side, side)."""
    return to_grey(picture)[0, 0].double().mul(255).cpu().numpy()
