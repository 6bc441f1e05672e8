"""A network's change, steadied over time: still tissue stops flickering, what moves is not judged by where it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_for_denoising import make_loop

from echoq_models.denoise import network, steady
from echoq_models.denoise.base import Settings
from echoq_models.denoise.network import fast

CPU = Settings(device="cpu")
SIZE = (256, 256)


def test_where_nothing_moves_the_change_is_the_mean():
    rng = np.random.default_rng(0)
    changes = [-rng.random(SIZE, dtype=np.float32) for _ in range(5)]
    still = [np.full(SIZE, 0.4, dtype=np.float32)] * 5
    found = steady.steady(changes, still, 2)
    assert np.allclose(found, np.mean(changes, axis=0), atol=1e-6)
    assert found.std() < 0.6 * changes[2].std()


def test_what_moved_keeps_its_own_change():
    """A bright wall is in frame 1 alone: its neighbours, which darken that place, must have no say there."""
    changes = [np.full(SIZE, c, dtype=np.float32) for c in (-0.5, 0.0, -0.5)]
    smoothed = [np.zeros(SIZE, dtype=np.float32) for _ in range(3)]
    smoothed[1][:, :128] = 0.6
    found = steady.steady(changes, smoothed, 1)
    assert found[:, :128].min() > -0.001
    assert found[:, 128:].max() == pytest.approx(-1 / 3, abs=1e-6)


def test_it_never_brightens():
    rng = np.random.default_rng(1)
    changes = [-rng.random(SIZE, dtype=np.float32) for _ in range(3)]
    smoothed = [rng.random(SIZE, dtype=np.float32) for _ in range(3)]
    for centre in range(3):
        assert steady.steady(changes, smoothed, centre).max() <= 0.0


def test_neighbours_end_with_the_loop():
    assert list(steady.neighbours(0, 10)) == [0, 1, 2]
    assert list(steady.neighbours(5, 10)) == [3, 4, 5, 6, 7]
    assert list(steady.neighbours(9, 10)) == [7, 8, 9]
    assert list(steady.neighbours(0, 1)) == [0]


class Counting(torch.nn.Module):
    """A network whose change differs from frame to frame, and which counts the frames it sees."""

    frames = 0

    def forward(self, x):
        Counting.frames += len(x)
        return -(x * 7.0 % 0.3), None


@pytest.fixture
def prepared(fast_weights, monkeypatch):
    loop = make_loop(12, 140, 140)
    made = fast.prepare(loop, CPU)
    Counting.frames = 0
    return loop, lambda: replace(made, state=replace(made.state, network=Counting(), seen=network.Seen()))


def test_a_loop_in_order_costs_one_network_run_a_frame(prepared):
    loop, fresh = prepared
    list(fast.run(loop, fresh(), range(12)))
    assert Counting.frames == 12


def test_any_order_gives_the_same_pixels_whatever_was_seen_before(prepared):
    loop, fresh = prepared
    straight = dict(fast.run(loop, fresh(), range(12)))
    alone = {t: dict(fast.run(loop, fresh(), [t]))[t] for t in (0, 5, 11)}
    state = fresh()
    mixed = dict(fast.run(loop, state, [7, 5, 0, 11, 5, 3]))
    for t, frame in {**alone, **mixed}.items():
        assert np.array_equal(frame, straight[t]), t


def test_what_is_kept_is_bounded():
    seen = network.Seen(most=4)
    maps = (np.zeros(SIZE, dtype=np.float32), np.zeros(SIZE, dtype=np.float32))
    for k in range(10):
        seen.put({k: maps})
    assert list(seen.get(range(10))) == [6, 7, 8, 9]
