"""The phantom against physics, and against its own promises."""

import dataclasses

import pytest
import torch

from training.phantom import report
from training.phantom.config import PhantomConfig
from training.phantom.draw import Draw
from training.phantom.oracle import oracle_gain
from training.phantom.simulate import seeded, simulate, simulate_structureless


@pytest.fixture(scope="module")
def batch():
    return simulate(6, seeded(3), side=128)


def test_speckle_is_fully_developed():
    assert report.speckle_snr() == pytest.approx(1.913, abs=0.05)


@pytest.mark.parametrize(("axial", "angular"), [(0.8, 1.1), (2.0, 3.0)])
def test_point_spread_has_the_asked_width(axial, angular):
    assert report.point_widths(axial, angular) == pytest.approx((axial, angular), rel=0.05)


@pytest.mark.parametrize("haze_db", [-20.0, -10.0, -5.0])
def test_gcnr_of_uniform_haze_follows_theory(haze_db):
    measured, theory = report.uniform_gcnr(haze_db)
    assert measured == pytest.approx(theory, abs=0.03)


def test_theory_of_gcnr():
    assert report.theory_gcnr(0.0) == 0.0
    wanted = {-20: 0.945, -10: 0.715, -5: 0.484}  # wall of level 0 dB and chamber under the same haze
    for haze_db, gcnr in wanted.items():
        haze = 10 ** (haze_db / 10)
        ratio = 10 * torch.log10(torch.tensor((1 + haze) / haze))
        assert report.theory_gcnr(float(ratio)) == pytest.approx(gcnr, abs=0.001)


def test_same_seed_same_frames_and_another_seed_others():
    first, again, other = (simulate(2, seeded(s), side=64) for s in (5, 5, 6))
    assert torch.equal(first.noisy, again.noisy)
    assert torch.equal(first.change, again.change)
    assert not torch.equal(first.noisy, other.noisy)


def test_frames_are_8_bit_and_black_outside_the_sector(batch):
    levels = batch.noisy * 255
    assert torch.allclose(levels, levels.round(), atol=1e-4)
    for picture in (batch.noisy, batch.clean, batch.target, batch.change, batch.confidence):
        assert picture.shape == (6, 1, 128, 128)
        assert not picture[~batch.sector].any()


def test_the_oracle_never_adds_light(batch):
    assert float(batch.change.max()) <= 0.0
    # one level for the 8-bit rounding of target and noisy, some for the JPEG that only noisy went through
    config = dataclasses.replace(PhantomConfig(), display=dataclasses.replace(PhantomConfig().display, jpeg=0.0))
    plain = simulate(4, seeded(8), config, side=128)
    assert float((plain.target - plain.noisy).max()) <= 1.01 / 255


def test_a_frame_without_haze_is_its_own_target():
    config = PhantomConfig()
    silent = {"off": 1.0, "drowned": 0.0, "reverberation_db": (-90.0, -90.0), "side_lobe_db": (-90.0, -90.0)}
    haze = dataclasses.replace(config.haze, **silent)
    config = dataclasses.replace(config, haze=haze, display=dataclasses.replace(config.display, jpeg=0.0))
    frames = simulate(4, seeded(1), config, side=128)
    assert float((frames.target - frames.noisy).abs().max()) <= 1.01 / 255
    assert float(frames.haze_db.max()) < -60
    assert torch.equal(frames.noisy, frames.clean) or float((frames.noisy - frames.clean).abs().mean()) < 0.5 / 255


def test_the_table_measures_how_speckle_moves_and_how_fast_a_gpu_is(monkeypatch):
    for name, value in (("phantom_gcnr", (0.5, 0.99)), ("speckle_snr", 1.91), ("uniform_gcnr", (0.5, 0.5))):
        monkeypatch.setattr(report, name, lambda *_, v=value: v)
    monkeypatch.setattr(report, "displacement_error", lambda *_, **__: 0.3)
    monkeypatch.setattr(report.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(report, "speed", lambda device, batch: 900.0)
    rows = {row.quantity: row for row in report.report(quick=True)}
    assert rows["displacement of advected speckle vs the field"].passed is False
    assert rows["frames a second, CUDA"].passed is False
    monkeypatch.setattr(report, "displacement_error", lambda *_, **__: 0.1)
    monkeypatch.setattr(report, "speed", lambda device, batch: 1200.0)
    rows = {row.quantity: row for row in report.report(quick=True)}
    assert rows["displacement of advected speckle vs the field"].passed is True
    assert rows["frames a second, CUDA"].passed is True
    assert rows["frames a second, CPU"].passed is None


def test_oracle_follows_its_formula():
    draw = Draw(1, seeded(0))
    grid = report.uniform_grid(draw)
    flat = torch.ones_like(grid.x)
    oracle = PhantomConfig().oracle
    for haze_db, tissue_there, wanted_gain, wanted_confidence in (
        (-10.0, 1.0, -0.414, 1.0),  # wall under weak haze: hardly touched
        (-10.0, 1e-6, -25.0, 1.0),  # chamber: down to the floor
        (3.0, 1e-6, None, 0.5),  # half buried
        (10.0, 1e-6, 0.0, 0.0),  # buried: nothing is known, nothing is changed
    ):
        haze = flat * 10 ** (haze_db / 10)
        gain, confidence = oracle_gain(flat * tissue_there, haze, flat, grid, oracle)
        assert float(confidence.mean()) == pytest.approx(wanted_confidence, abs=0.01)
        if wanted_gain is not None:
            assert float(gain.mean()) == pytest.approx(wanted_gain, abs=0.02)


def test_structureless_sectors_hold_no_chamber_and_no_haze():
    frames = simulate_structureless(3, seeded(2), side=128)
    assert not frames.lv.any()
    assert not frames.myocardium.any()
    assert float(frames.change.min()) > -0.01


def test_haze_lowers_gcnr_and_the_oracle_restores_it():
    config = report.textbook_config()
    frames = simulate(8, seeded(4), config, level_db=(-10.0, -8.0))
    noisy, clean, target = (report.gcnr_of(x, frames) for x in (frames.noisy, frames.clean, frames.target))
    assert len(noisy) >= 4
    middle = len(noisy) // 2
    assert sorted(noisy)[middle] < 0.75
    assert sorted(clean)[middle] > 0.9
    assert sorted(target)[middle] > 0.9
