"""The closed curve through a contour's handles, and few handles whose curve follows a dense contour.

Centripetal Catmull-Rom (Yuksel et al. 2011, Computer-Aided Design 43(7), 747-755): the time between two handles is
the square root of their distance, so that the curve never loops between them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
FLATNESS = 0.05  # pixels that the polygon of a curve may lie beside it
MOST_STEPS = 64  # straight pieces between two handles
DECIMALS = 2  # of the pixels of a curve's polygon: what a file holds is exactly what is measured
SAMPLES = 360  # points of a dense contour that a fit looks at
COUNTS = (8, 12, 16, 20, 24, 32, 48, 64)  # handles tried
CORNER = 0.5  # share of the handles that goes where the contour turns; the others are spread evenly
EASE = 2.0  # samples over which turning is smoothed: a mask's border is a staircase


def curve(handles: Floats) -> tuple[Floats, Ints]:
    """Polygon float64 (m, 2) of the closed curve through float64 (n, 2), and where in it each handle lies (n,)."""
    chord = np.roll(handles, -1, axis=0) - handles
    time = np.maximum(np.sqrt(np.hypot(*chord.T)), 1e-6)  # two handles on one place make a corner
    leaving, arriving = _tangents(chord, time)
    # The second derivative of a piece is largest at one of its ends; it says how many straight steps are enough.
    bend = np.maximum(
        np.hypot(*(6.0 * chord - 4.0 * leaving - 2.0 * arriving).T),
        np.hypot(*(6.0 * chord - 2.0 * leaving - 4.0 * arriving).T),
    )
    steps = np.clip(np.ceil(np.sqrt(bend / (8.0 * FLATNESS))), 1, MOST_STEPS).astype(np.int64)
    starts = np.cumsum(steps) - steps
    piece = np.repeat(np.arange(len(handles)), steps)
    share = (np.arange(piece.size) - starts[piece]) / steps[piece]
    return np.round(_points(handles, chord, (leaving, arriving), piece, share), DECIMALS), starts


def _tangents(chord: Floats, time: Floats) -> tuple[Floats, Floats]:
    """Tangents at the start and the end of each piece between two handles, for a parameter from 0 to 1."""
    time = time[:, None]
    time_before, chord_before = np.roll(time, 1, axis=0), np.roll(chord, 1, axis=0)
    slope = chord_before / time_before - (chord_before + chord) / (time_before + time) + chord / time
    return slope * time, np.roll(slope, -1, axis=0) * time


def _points(handles: Floats, chord: Floats, tangents: tuple[Floats, Floats], piece: Ints, share: Floats) -> Floats:
    """Points (m, k) of the curve through handles (n, k): on each `piece` (m,), a `share` in [0, 1) along it."""
    leaving, arriving = tangents
    square, cube = 3.0 * chord - 2.0 * leaving - arriving, leaving + arriving - 2.0 * chord
    s = share[:, None]
    return handles[piece] + s * (leaving[piece] + s * (square[piece] + s * cube[piece]))


def evenly(polygon: Floats, count: int) -> tuple[Floats, float]:
    """Points float64 (count, 2) on a closed polygon, evenly spaced from its first vertex on; and its length."""
    closed = np.concatenate([polygon, polygon[:1]])
    run = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
    at = np.arange(count) * (run[-1] / count)
    return np.stack([np.interp(at, run, closed[:, 0]), np.interp(at, run, closed[:, 1])], axis=1), float(run[-1])


def fitted(polygon: Floats, count: int | None, most: float, mean: float) -> Floats:
    """Handles float64 (n, 2) whose curve follows a closed dense polygon, float64 (m, 2), from its first vertex on.

    count: how many; None for as few of 8 to 64 as stay within `most` pixels everywhere and `mean` on average.
    They crowd where the contour turns, and are then placed by least squares, which evens out a mask's staircase.
    """
    dense, _ = evenly(polygon, SAMPLES)
    pull = _pull(dense)
    for n in COUNTS if count is None else (count,):
        weights = _weights(np.interp(np.arange(n) / n, pull, np.arange(SAMPLES + 1.0)))
        handles = np.linalg.solve(weights.T @ weights + 1e-9 * np.eye(n), weights.T @ dense)
        away = np.hypot(*(weights @ handles - dense).T)
        if away.max() <= most and away.mean() <= mean:
            break
    return np.round(handles, DECIMALS)


def _pull(dense: Floats) -> Floats:
    """Share of the handles (SAMPLES + 1,) that lies before each sample."""
    blur = np.exp(-2.0 * (np.pi * np.fft.fftfreq(SAMPLES) * EASE) ** 2)
    eased = np.fft.ifft(np.fft.fft(dense[:, 0] + 1j * dense[:, 1]) * blur)
    step = np.roll(eased, -1) - eased
    turn = np.fft.ifft(np.fft.fft(np.abs(np.angle(step * np.roll(step, 1).conj()))) * blur).real.clip(0.0)
    grow = (1.0 - CORNER) / SAMPLES + CORNER * turn / max(float(turn.sum()), 1e-9)
    share = np.concatenate([[0.0], np.cumsum(grow)])
    return share / share[-1]


def _weights(at: Floats) -> Floats:
    """How much each of n handles, at samples `at` (n,) with at[0] = 0, weighs in each sample: (SAMPLES, n)."""
    gap = np.diff(at, append=SAMPLES)
    sample = np.arange(SAMPLES, dtype=np.float64)
    piece = np.searchsorted(at, sample, side="right") - 1
    each = np.eye(len(at))
    chord = np.roll(each, -1, axis=0) - each
    return _points(each, chord, _tangents(chord, np.sqrt(gap)), piece, (sample - at[piece]) / gap[piece])
