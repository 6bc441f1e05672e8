"""BM3D in the registry: its noise level, and what it may change in a loop."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from made_for_denoising import make_loop, sector_picture

from echoq_models.cine.loop import ColourPixels
from echoq_models.denoise.base import Settings
from echoq_models.denoise.bm3d import denoiser
from echoq_models.denoise.bm3d_noise import NoiseModel, estimate_sigma
from echoq_models.errors import EchoQError

CPU = Settings(device="cpu")


@pytest.mark.parametrize("level", [3, 10, 40])
def test_white_noise_is_measured(level):
    rng = np.random.default_rng(0)
    frames = 0.5 + rng.normal(0, level / 255, (3, 256, 256))
    assert 255 * estimate_sigma(frames) == pytest.approx(level, rel=0.03)


def test_noise_is_measured_through_anatomy_and_only_in_the_sector():
    rng = np.random.default_rng(0)
    clean = sector_picture(256, 256)
    noisy = clean + rng.normal(0, 12 / 255, clean.shape)
    assert 255 * estimate_sigma(noisy[None], clean > 0) == pytest.approx(12, rel=0.1)
    noisy[clean == 0] = rng.random(int((clean == 0).sum()))  # text and the like around the sector
    assert 255 * estimate_sigma(noisy[None], clean > 0) == pytest.approx(12, rel=0.1)


@pytest.mark.parametrize("width", [(3.2, 5.3), (5.4, 7.9)])
def test_correlated_speckle_is_measured(width):
    """Log-compressed fully developed speckle on a 60 dB display spreads over 5.57 / 60 * 255 = 23.7 levels."""
    rng = np.random.default_rng(1)
    parts = [
        cv2.GaussianBlur(rng.normal(size=(256, 256)), (0, 0), sigmaX=width[1] / 2.355, sigmaY=width[0] / 2.355)
        for _ in range(2)
    ]
    envelope = np.hypot(*parts)
    display = np.clip((20 * np.log10(envelope / envelope.mean()) + 40) / 60, 0, 1)
    assert 255 * display.std() == pytest.approx(23.7, rel=0.05)
    assert 255 * estimate_sigma(display[None]) == pytest.approx(23.7, rel=0.2)
    assert 255 * estimate_sigma(display[None], model=NoiseModel(lag=1)) < 5  # what the usual estimate would say


def test_a_black_or_tiny_frame_has_no_noise_to_measure():
    assert estimate_sigma(np.zeros((2, 64, 64))) == 0
    assert estimate_sigma(np.full((1, 5, 5), 0.5)) == 0


def test_the_estimate_comes_from_the_loop_and_the_settings_override_it(loop):
    """White noise of 0.08 * 255 = 20.4 grey levels; the sector's crop is 256 pixels, so it is not resampled."""
    facts = denoiser.prepare(loop, CPU).facts
    assert facts["sigma"] == pytest.approx(20.4, rel=0.1)
    assert facts["sigma_from"] == "the loop"
    assert denoiser.prepare(loop, CPU).facts == facts
    set_by_hand = denoiser.prepare(loop, replace(CPU, sigma=7.5))
    assert set_by_hand.facts["sigma"] == 7.5
    assert set_by_hand.facts["sigma_from"] == "the settings"


def test_doppler_is_not_noise():
    plain = make_loop(3)
    rows = slice(120, 200)
    index = (np.arange(284)[rows, None] * 380 + np.arange(100, 280)).astype(np.uint32).ravel()
    colour = ColourPixels(np.arange(4) * index.size, np.tile(index, 3), np.zeros((3 * index.size, 3), np.uint8))
    frames = np.array(plain.frames)
    frames.reshape(3, -1)[:, index] = np.random.default_rng(0).integers(60, 200, (3, index.size))
    doppler = replace(plain, frames=frames, colour=colour)
    wanted = denoiser.prepare(plain, CPU).facts["sigma"]
    assert denoiser.prepare(doppler, CPU).facts["sigma"] == pytest.approx(wanted, rel=0.1)
    assert denoiser.prepare(replace(doppler, colour=None), CPU).facts["sigma"] > 1.2 * wanted


@pytest.mark.parametrize("sigma", [-1, 256, float("nan")])
def test_a_noise_level_out_of_range_is_refused(loop, sigma):
    with pytest.raises(EchoQError, match="noise level"):
        denoiser.prepare(loop, replace(CPU, sigma=sigma))


@pytest.fixture(scope="module")
def coloured():
    return make_loop(3, coloured=True)


def test_it_takes_noise_away_inside_the_sector_only(coloured):
    prepared = denoiser.prepare(coloured, replace(CPU, sigma=20))
    mask = prepared.state.sector.mask
    clean = 255 * sector_picture(284, 380)
    [(t, frame)] = denoiser.run(coloured, prepared, [0])
    assert t == 0
    assert np.array_equal(frame[~mask], coloured.frames[0][~mask])
    colour = coloured.coloured(0)
    assert (colour & mask).any()
    assert np.array_equal(frame[colour], coloured.frames[0][colour])
    judged = mask & ~colour & (clean > 0)
    before, after = (np.mean((f[judged] - clean[judged]) ** 2) for f in (coloured.frames[0], frame))
    assert 10 * np.log10(before / after) > 6


def test_any_order_and_any_batch_give_the_same_pixels(coloured):
    alone = {t: dict(denoiser.run(coloured, denoiser.prepare(coloured, CPU), [t]))[t] for t in range(3)}
    prepared = denoiser.prepare(coloured, replace(CPU, batch=2))
    found = list(denoiser.run(coloured, prepared, [2, 0, 1]))
    assert [t for t, _ in found] == [2, 0, 1]
    assert all(np.array_equal(frame, alone[t]) for t, frame in found)


def test_no_strength_and_no_noise_change_nothing(coloured):
    for settings in (replace(CPU, strength=0.0), replace(CPU, sigma=0.0)):
        [(_, frame)] = denoiser.run(coloured, denoiser.prepare(coloured, settings), [1])
        assert np.array_equal(frame, coloured.frames[1])


def test_cancel_stops_between_batches(coloured):
    done = []
    prepared = denoiser.prepare(coloured, replace(CPU, batch=1))
    for t, _ in denoiser.run(coloured, prepared, [2, 1, 0], cancel=lambda: bool(done)):
        done.append(t)
    assert done == [2]
