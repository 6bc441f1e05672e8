"""FD-echo: zero for the same frames, growing with the haze that is added."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.data.phantom_frames import BATCH, OFF_DB, draw_batch
from training.evaluation import fd_echo

HAZE_DB = (OFF_DB, -20.0, -14.0, -9.0, -4.0)


def frames(seeds: range, level_db: float) -> np.ndarray:
    levels = torch.tensor([level_db, OFF_DB, OFF_DB]).expand(BATCH, 3)
    drawn = [draw_batch(seed, 64, levels_db=levels).frames.noisy[:, 0] for seed in seeds]
    return torch.cat(drawn).mul(255).round().to(torch.uint8).numpy()


@pytest.fixture(scope="module")
def net():
    return fd_echo.network(torch.device("cpu"))


def test_it_grows_with_added_haze(net):
    clean = frames(range(100, 102), OFF_DB)
    found = [fd_echo.fd_echo(frames(range(2), level), clean, net) for level in HAZE_DB]
    for name in ("frechet", "kernel"):
        values = [getattr(each, name) for each in found]
        assert values == sorted(values), name
        assert values[-1] > 5 * max(values[0], 1e-6), name


def test_it_is_zero_for_the_same_frames_and_symmetric(net):
    a, b = fd_echo.features(frames(range(2), OFF_DB), net), fd_echo.features(frames(range(2), -6.0), net)
    assert fd_echo.frechet(a, a) == pytest.approx(0, abs=1e-3 * fd_echo.frechet(a, b))
    assert fd_echo.frechet(a, b) == pytest.approx(fd_echo.frechet(b, a), rel=1e-6)
    assert fd_echo.kernel(a, b) == pytest.approx(fd_echo.kernel(b, a))


def test_frechet_is_the_formula_for_gaussians():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (4000, 3)), rng.normal(2, 3, (4000, 3))
    assert fd_echo.frechet(a, b) == pytest.approx(3 * (2**2 + (3 - 1) ** 2), rel=0.05)


def test_kernel_distance_of_one_kind_is_about_nothing():
    rng = np.random.default_rng(0)
    a, b, far = (rng.normal(shift, 1, (500, 4)) for shift in (0, 0, 1))
    assert abs(fd_echo.kernel(a, b)) < 0.05 * fd_echo.kernel(a, far)
