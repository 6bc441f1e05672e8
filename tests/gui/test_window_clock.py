"""The master clock: right frame at the right time, skipping or waiting when the machine is slow."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from echoq_desktop.player.clock import STILL_MS, Clock

UNEVEN = np.array([0.0, 20.0, 70.0, 90.0, 150.0])


@pytest.fixture
def clock(qapp: Any) -> Clock:
    made = Clock()
    made.set_times(UNEVEN)
    return made


def record(clock: Clock) -> list[tuple[int, float]]:
    seen: list[tuple[int, float]] = []
    clock.frame_due.connect(lambda index: seen.append((index, time.perf_counter())))
    return seen


def test_frames_come_in_order_at_the_file_own_uneven_times(clock: Clock, qtbot: Any) -> None:
    seen = record(clock)
    clock.play()
    qtbot.waitUntil(lambda: len(seen) >= 9, timeout=5000)
    clock.pause()
    indices = [index for index, _ in seen]
    in_order = [t for t in range(8) if (indices[t + 1] - indices[t]) % 5 != 1]
    assert len(in_order) <= clock.stats.skipped  # only what was counted as skipped may be missing
    # frame 1 to frame 2 takes 50 ms, 2 to 3 takes 20 ms, whatever the machine is doing it is never early
    for (a, at), (b, then) in pairwise(seen):
        if (b - a) % 5 == 1:
            length = np.append(UNEVEN[1:], UNEVEN[-1] + 35.0)[a] - UNEVEN[a]
            late = clock.stats.worst_ms
            assert then - at > (length - late - 2) / 1000


def test_a_whole_round_takes_as_long_as_the_loop(clock: Clock, qtbot: Any) -> None:
    clock.set_times(np.arange(10) * 20.0)
    rounds: list[float] = []
    clock.frame_due.connect(lambda index: rounds.append(time.perf_counter()) if index == 5 else None)
    clock.play()
    qtbot.waitUntil(lambda: len(rounds) == 4, timeout=5000)
    clock.pause()
    assert (rounds[3] - rounds[0]) / 3 == pytest.approx(0.2, abs=0.03)  # lateness does not add up


def test_double_speed_halves_the_time(clock: Clock, qtbot: Any) -> None:
    clock.set_times(np.arange(10) * 40.0)
    clock.speed = 2.0
    rounds: list[float] = []
    clock.frame_due.connect(lambda index: rounds.append(time.perf_counter()) if index == 5 else None)
    clock.play()
    qtbot.waitUntil(lambda: len(rounds) == 3, timeout=5000)
    assert (rounds[2] - rounds[0]) / 2 == pytest.approx(0.2, abs=0.03)


def test_a_slow_machine_skips_but_every_frame_mode_waits(clock: Clock, qtbot: Any) -> None:
    clock.set_times(np.arange(20) * 10.0)
    seen = record(clock)
    clock.frame_due.connect(lambda _: time.sleep(0.035))
    clock.play()
    qtbot.waitUntil(lambda: len(seen) >= 8, timeout=5000)
    clock.pause()
    assert clock.stats.skipped > 0
    assert clock.stats.late > 0
    assert 0 < clock.stats.late_share <= 1
    seen.clear()
    clock.every_frame = True
    clock.play()
    assert clock.stats.ticks == 0
    qtbot.waitUntil(lambda: len(seen) >= 8, timeout=5000)
    clock.pause()
    assert clock.stats.skipped == 0
    steps = np.diff([index for index, _ in seen]) % 20
    assert (steps == 1).all()


def test_trim_is_kept_and_cleared(clock: Clock, qtbot: Any) -> None:
    clock.set_trim(3, 1)
    assert clock.trim == (1, 3) and clock.trimmed and clock.index == 1
    seen = record(clock)
    clock.play()
    qtbot.waitUntil(lambda: len(seen) >= 5, timeout=5000)
    clock.pause()
    assert {index for index, _ in seen} <= {1, 2, 3}
    clock.clear_trim()
    assert clock.trim == (0, 4) and not clock.trimmed


def test_without_repeat_it_stops_at_the_end_and_starts_again(clock: Clock, qtbot: Any) -> None:
    clock.loop = False
    with qtbot.waitSignal(clock.playing_changed, timeout=2000, check_params_cb=lambda on: not on):
        clock.play()
    assert clock.index == 4 and not clock.playing
    clock.play()
    assert clock.index == 0 and clock.playing
    clock.pause()


def test_steps_go_round_and_pause(clock: Clock) -> None:
    clock.play()
    clock.step(-1)
    assert clock.index == 4 and not clock.playing
    clock.step(1)
    assert clock.index == 0
    clock.set_trim(1, 3)
    clock.seek(3)
    clock.step(1)
    assert clock.index == 1


def test_a_still_does_not_play_and_speed_has_limits(clock: Clock) -> None:
    clock.set_times(np.zeros(1))
    clock.play()
    assert not clock.playing and STILL_MS > 0
    clock.speed = 1000.0
    assert clock.speed == 8.0
    clock.speed = 0.0
    assert clock.speed == 0.05


def test_after_the_machine_slept_the_clock_does_not_run_after_lost_rounds(qapp: Any, qtbot: Any) -> None:
    jump = [0.0]
    clock = Clock(now=lambda: time.perf_counter() + jump[0])
    clock.set_times(np.arange(10) * 20.0)
    seen = record(clock)
    clock.play()
    qtbot.waitUntil(lambda: len(seen) >= 2, timeout=2000)
    jump[0] = 3600.0
    before = len(seen)
    qtbot.waitUntil(lambda: len(seen) >= before + 2, timeout=2000)
    clock.pause()
    assert clock.stats.skipped < 20
