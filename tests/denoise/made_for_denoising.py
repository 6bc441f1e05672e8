"""A loop and weights made for the tests of the denoisers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from echoq_models.cine.loop import CineLoop, ColourPixels
from echoq_models.denoise import architectures
from echoq_models.weights import store


def sector_picture(height: int, width: int) -> np.ndarray:
    """A bright sector of 56 degrees with two dark chambers, float (H, W) in [0, 1], 0 outside."""
    y, x = np.mgrid[:height, :width]
    dy, dx = y - 0.04 * height, x - 0.5 * width
    radius = np.hypot(dx, dy)
    inside = (radius < 0.87 * height) & (np.abs(np.arctan2(dx, dy)) < np.deg2rad(28))
    picture = 0.55 + 0.1 * np.cos(dx / 0.2 / height)
    for cy, cx, ry, rx in ((0.45, 0.46, 0.2, 0.08), (0.72, 0.57, 0.1, 0.07)):
        picture[((y / height - cy) / ry) ** 2 + ((x / width - cx) / rx * width / height) ** 2 < 1] = 0.1
    return picture * inside


def make_loop(frames: int = 5, height: int = 284, width: int = 380, coloured: bool = False) -> CineLoop:
    """A noisy sector that moves a little, text outside it, and on request some coloured pixels inside."""
    rng = np.random.default_rng(3)
    clean = np.stack([np.roll(sector_picture(height, width), t, axis=0) for t in range(frames)])
    noisy = clean + rng.normal(0, 0.08, clean.shape) * (clean > 0)
    pixels = np.clip(255 * noisy + 0.5, 0, 255).astype(np.uint8)
    pixels[:, 5:15, 5:60] = 255
    colour = None
    if coloured:
        index = (np.arange(150, 170)[:, None] * width + np.arange(180, 230)).astype(np.uint32).ravel()
        colour = ColourPixels(
            np.arange(frames + 1) * index.size,
            np.tile(index, frames),
            np.full((index.size * frames, 3), (200, 0, 0), dtype=np.uint8),
        )
    return CineLoop(pixels, 33.0 * np.arange(frames), "npz", colour=colour)


def save_network(folder: Path, name: str, architecture: dict, output: str, seed: int = 0) -> store.Entry:
    """Weights as they are before training, with outputs made large enough to be seen."""
    torch.manual_seed(seed)
    network = architectures.build(architecture)
    last = network.last if architecture["family"] == "fast" else network.conv_last
    with torch.no_grad():
        last.weight.normal_(0, 0.5)
    return store.save(
        folder / f"{name}.safetensors", network.state_dict(), store.Card(name, name.title(), architecture, output)
    )
