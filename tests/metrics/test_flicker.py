"""Flicker is judged where the heart stands still, and tells a denoiser's own unrest from the loop's."""

from __future__ import annotations

import numpy as np
import pytest

from echoq_models.metrics.flicker import flicker, still_areas


def loop(noise: float = 4.0) -> np.ndarray:
    """A still left half, a right half whose brightness swings, and a black bottom."""
    rng = np.random.default_rng(0)
    frames = np.full((12, 60, 80), 100.0)
    frames[:, :, 40:] += 60 * np.sin(np.arange(12))[:, None, None]
    frames += rng.normal(0, noise, frames.shape)
    frames[:, 45:] = 0
    return np.clip(frames, 0, 255).astype(np.uint8)


def test_still_areas_leave_out_what_moves_and_what_is_black() -> None:
    still = still_areas(loop())
    assert still[:40, :35].mean() > 0.4
    assert not still[:, 46:].any()
    assert not still[46:].any()
    mask = np.zeros((60, 80), dtype=bool)
    mask[:, 20:] = True
    assert not still_areas(loop(), mask)[:, :20].any()


def test_a_denoiser_that_only_darkens_adds_no_flicker_and_one_that_pumps_does() -> None:
    source = loop()
    result = flicker(source, source)
    assert result.ratio == 1.0
    assert result.added == 0.0
    # Differences of two normal draws of 4 grey levels: mean 4 * sqrt(2) * sqrt(2 / pi).
    assert result.source == pytest.approx(4 * 2 / np.sqrt(np.pi), rel=0.05)
    darker = flicker(source, np.maximum(source, 30) - 30)
    assert darker.added < 0.05
    assert darker.ratio == pytest.approx(1.0, abs=0.02)
    pumping = source.copy()
    pumping[::2] = np.maximum(pumping[::2], 10) - 10
    worse = flicker(source, pumping)
    assert worse.added == pytest.approx(10, abs=0.1)
    assert worse.ratio > 1.5
    calm = flicker(source, np.repeat(source[:1], len(source), axis=0))
    assert calm.denoised == 0.0


def test_errors_and_a_source_without_change() -> None:
    source = loop()
    with pytest.raises(ValueError, match="two frames"):
        flicker(source[:1], source[:1])
    with pytest.raises(ValueError, match="one size"):
        flicker(source, source[1:])
    with pytest.raises(ValueError, match="no picture"):
        flicker(np.zeros_like(source), source)
    frozen = np.repeat(source[:1], 3, axis=0)
    assert np.isnan(flicker(frozen, frozen).ratio)
