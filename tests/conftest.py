"""What tests of several rooms share: small loops of their own making, and `echoq` as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from echoq_models.cine.loop import CineLoop
from tests.shared import ROOT, Echoq


@pytest.fixture
def echoq_environment(tmp_path: Path) -> dict[str, str]:
    """A person's environment without a display and without weights of their own."""
    gone = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM", "PYTHONWARNINGS")
    kept = {key: value for key, value in os.environ.items() if key not in gone}
    return {**kept, "PYTHONPATH": str(ROOT), "ECHOQ_WEIGHTS": str(tmp_path / "no-weights"), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def echoq(tmp_path: Path, echoq_environment: dict[str, str]) -> Echoq:
    """Run `echoq` with arguments as a process of its own, in the test's folder."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "echoq_desktop", *map(str, arguments)],
            cwd=tmp_path,
            env={**echoq_environment, **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


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


@pytest.fixture
def fan_loop() -> CineLoop:
    """Three frames of 96 x 128 at 25 frames per second, grey."""
    return CineLoop(fan_frames(3), np.arange(3) * 40.0, "npz")


@pytest.fixture
def fan_file(tmp_path: Path) -> Path:
    """The same three frames as an npz file."""
    path = tmp_path / "fan.npz"
    np.savez(path, frames=fan_frames(3), times_ms=np.arange(3) * 40.0)
    return path


@pytest.fixture
def fan_roi(tmp_path: Path) -> Path:
    """Regions on the fan: the chamber and a band of tissue above it."""
    path = tmp_path / "fan.roi.json"
    lv = [[[58, 42], [72, 42], [72, 62], [58, 62]]]
    myocardium = [[[58, 14], [72, 14], [74, 24], [56, 24]]]
    path.write_text(json.dumps({"lv": lv, "myocardium": myocardium}), encoding="utf-8")
    return path
