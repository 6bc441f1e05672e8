"""The pool of training frames: what varies them must keep picture, target and change in step."""

import dataclasses

import numpy as np
import pytest
import torch

from training.data import phantom_pool
from training.data.phantom_pool import PoolConfig, TrainingBatch, batches, open_pool
from training.phantom.simulate import seeded, simulate

CPU = torch.device("cpu")
VARIED = PoolConfig(varied=1.0, dimmed=1.0)


@pytest.fixture(scope="module")
def drawn() -> TrainingBatch:
    b = simulate(6, seeded(21), side=128, level_db=(-12.0, -4.0))
    return TrainingBatch(b.noisy, b.target, b.change, b.confidence, b.sector.float())


def vary(batch: TrainingBatch, config: PoolConfig, seed: int = 0) -> TrainingBatch:
    return phantom_pool._varied(batch, np.random.default_rng(seed), config, CPU)


def test_varied_frames_still_tell_the_truth(drawn):
    for seed in range(3):
        new = vary(drawn, VARIED, seed)
        assert float(new.change.max()) <= 0.0
        assert set(new.sector.unique().tolist()) <= {0.0, 1.0}
        result = (new.noisy + new.change).clamp(0, 1)
        off = (result - new.target)[new.sector > 0].abs()
        plain = (drawn.noisy + drawn.change).clamp(0, 1)
        before = (plain - drawn.target)[drawn.sector > 0].abs()
        assert float(off.mean()) < float(before.mean()) + 0.004
        for picture in (new.noisy, new.target, new.change, new.confidence):
            assert not picture[new.sector == 0].any()


def test_all_maps_move_together(drawn):
    same = TrainingBatch(drawn.noisy, drawn.noisy, 0 * drawn.noisy, drawn.noisy, drawn.sector)
    new = vary(same, dataclasses.replace(VARIED, dimmed=0.0, gamma=1.0))
    assert torch.allclose(new.noisy, new.target, atol=1e-6)
    assert torch.allclose(new.noisy, new.confidence, atol=1e-6)
    assert not torch.allclose(new.noisy, drawn.noisy, atol=0.05)


def test_without_variation_a_frame_is_itself_or_its_mirror_image(drawn):
    new = vary(drawn, PoolConfig(varied=0.0, dimmed=0.0))
    mirrored = 0
    for i in range(6):
        flip = torch.allclose(new.target[i], drawn.target[i].flip(-1), atol=1e-4)
        assert flip or torch.allclose(new.target[i], drawn.target[i], atol=1e-4)
        mirrored += flip
    assert 0 < mirrored < 6


def test_a_pool_gives_back_what_was_drawn_and_a_second_one_only_reads(tmp_path):
    config = PoolConfig(frames=32, shard=16, workers=1, varied=0.0, dimmed=0.0)
    pool = open_pool(tmp_path, config)
    try:
        pool.wait_for(32)
        reader = open_pool(tmp_path, config, draws=False)
        assert reader.refresh() == 32
        first, again = (next(batches(p, 4, 9, CPU, config)) for p in (pool, reader))
        assert torch.equal(first.noisy, again.noisy)
        assert first.noisy.shape == (4, 1, 256, 256)
    finally:
        pool.close()


def test_every_kind_of_frame_is_drawn():
    def kinds(**shares):
        config = PoolConfig(**{"structureless": 0.0, "chamberless": 0.0, "strong": 0.0, **shares})
        return phantom_pool._draw(4, seeded(3), np.random.default_rng(0), config)

    assert float(kinds(structureless=1.0).change.min()) > -0.01
    assert not kinds(chamberless=1.0).lv_whole.any()
    strong = kinds(strong=1.0).haze_db
    assert float(strong[strong > -60].mean()) > float(kinds().haze_db.clamp_min(-60).mean())
