"""PSNR and SSIM against values worked by hand and a direct, slow reading of the paper's formula."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from echoq_models.metrics.fidelity import psnr, ssim


def test_psnr_worked_by_hand() -> None:
    reference = np.zeros((2, 2), dtype=np.uint8)
    image = np.array([[0, 0], [0, 10]], dtype=np.uint8)
    assert psnr(reference, image) == pytest.approx(10 * np.log10(255**2 / 25))
    assert psnr(reference, image, image > 0) == pytest.approx(10 * np.log10(255**2 / 100))
    assert psnr(image, reference) == psnr(reference, image)  # no uint8 wrap-around
    assert psnr(image, image) == float("inf")
    loops = np.stack([reference, image]), np.stack([image, image])
    assert psnr(*loops, image > 0) == pytest.approx(10 * np.log10(255**2 / 50))


def slow_ssim(x: NDArray[np.float64], y: NDArray[np.float64], at: tuple[int, int]) -> float:
    offset = np.arange(-5, 6)
    weight = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * 1.5**2))
    weight /= weight.sum()
    window = np.s_[at[0] - 5 : at[0] + 6, at[1] - 5 : at[1] + 6]
    x, y = x[window], y[window]
    mx, my = (weight * x).sum(), (weight * y).sum()
    vx, vy, cov = (weight * (x - mx) ** 2).sum(), (weight * (y - my) ** 2).sum(), (weight * (x - mx) * (y - my)).sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    return float((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))


def test_ssim_is_the_papers() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (32, 40)).astype(np.uint8)
    y = np.clip(x + rng.normal(0, 20, x.shape), 0, 255).astype(np.uint8)
    for at in [(10, 12), (20, 30), (16, 16)]:
        mask = np.zeros(x.shape, dtype=bool)
        mask[at] = True
        assert ssim(x, y, mask) == pytest.approx(slow_ssim(x.astype(float), y.astype(float), at), abs=1e-9)
    assert ssim(x, x) == pytest.approx(1.0)
    assert ssim(x, y) == pytest.approx(ssim(y, x))
    assert ssim(x, y) < 0.99


def test_errors() -> None:
    x = np.zeros((20, 20), dtype=np.uint8)
    empty = np.zeros_like(x, dtype=bool)
    for figure in (psnr, ssim):
        with pytest.raises(ValueError, match="one size"):
            figure(x, x[1:])
        with pytest.raises(ValueError, match="no pixel"):
            figure(x, x, empty)
    with pytest.raises(ValueError, match="one frame"):
        ssim(x[None], x[None])
