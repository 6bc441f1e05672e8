"""Names that tests of several rooms import."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np

from echoq_models.cine import ffmpeg

ROOT = Path(__file__).resolve().parent.parent

Echoq = Callable[..., subprocess.CompletedProcess[str]]


def fan_frames(count: int, height: int = 96, width: int = 128, seed: int = 0) -> np.ndarray:
    """uint8 (T, H, W): a noisy fan with a dark chamber that moves a little."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    radius = np.hypot(x - width / 2, y + height * 0.05)
    angle = np.arctan2(x - width / 2, y + height * 0.05)
    fan = (radius < height * 0.98) & (np.abs(angle) < 0.7) & (radius > height * 0.08)
    frames = []
    for t in range(count):
        chamber = np.hypot((x - width / 2 - t % 3) / (0.12 * width), (y - 0.55 * height) / (0.25 * height)) < 1
        level = np.where(chamber, 25, 120) * rng.gamma(4, 0.25, fan.shape)
        frames.append(np.where(fan, np.clip(level, 1, 255), 0).astype(np.uint8))
    return np.stack(frames)


def said_by_ffmpeg(path: Path) -> str:
    """What ffmpeg says about a film: codec, pixel format, tags."""
    done = subprocess.run([ffmpeg.executable(), "-hide_banner", "-i", str(path)], capture_output=True, text=True)
    return done.stderr
