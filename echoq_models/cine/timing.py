"""Frame times: what is believed, what is refused, and the visible default."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

DEFAULT_FPS = 30.0
MIN_INTERVAL_MS = 2.0
MAX_INTERVAL_MS = 10_000.0


def usable(intervals_ms: Sequence[float] | NDArray[np.float64]) -> bool:
    """True when every interval between frames (ms) is one that an echo machine could have used."""
    steps = np.asarray(intervals_ms, dtype=np.float64)
    return bool(
        np.isfinite(steps).all() and (steps >= MIN_INTERVAL_MS * (1 - 1e-6)).all() and (steps <= MAX_INTERVAL_MS).all()
    )


def constant(count: int, interval_ms: float) -> NDArray[np.float64]:
    """Times (count,) in ms of frames that follow each other every `interval_ms`."""
    return np.arange(count, dtype=np.float64) * interval_ms


def assumed(count: int, why: str) -> tuple[NDArray[np.float64], str]:
    """Times (count,) in ms at the default rate, and the warning that says so."""
    return constant(count, 1000.0 / DEFAULT_FPS), f"{why}; {DEFAULT_FPS:g} frames per second are assumed."


def checked(
    times_ms: Sequence[float] | NDArray[np.float64], count: int
) -> tuple[NDArray[np.float64], bool, tuple[str, ...]]:
    """Believe stated times or replace them, visibly.

    times_ms: (count,) in ms, any start.  Returns times float64 (count,) from 0, whether they were assumed,
    and the warnings (one sentence each).
    """
    if count == 1:
        return np.zeros(1), False, ()
    times = np.asarray(times_ms, dtype=np.float64).reshape(-1)
    if len(times) != count:
        got, why = assumed(count, f"The file gives {len(times)} times for {count} frames")
        return got, True, (why,)
    if not np.isfinite(times).all():
        got, why = assumed(count, "The file's frame times are not numbers")
        return got, True, (why,)
    steps = np.diff(times)
    if usable(steps):
        return times - times[0], False, ()
    got, why = assumed(
        count,
        f"The file's frame times make no sense (steps of {steps.min():.4g} to {steps.max():.4g} ms)",
    )
    return got, True, (why,)
