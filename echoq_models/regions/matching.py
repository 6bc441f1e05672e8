"""Which point of one contour belongs to which of another, and what that allows: blending and carrying corrections.

Points correspond by their share of the way round, counted from where the two contours fit best, both walked the same
way round: so nothing twists, whatever point a contour happens to begin with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from echoq_models.regions.contour import Contour
from echoq_models.regions.spline import DECIMALS

Floats = NDArray[np.float64]
Complex = NDArray[np.complex128]  # x + iy
SAMPLES = 128  # points evenly spaced on a contour
EVERY = np.arange(SAMPLES, dtype=np.float64)
FAR, CLOSE = 3.0, 1.0  # handles belong together below so many times the mean square distance of outlines, or pixels

ROUNDS = 3  # in which a frame may get more handles for the corrections of its neighbours


@dataclass(frozen=True)
class Ring:
    """A contour as SAMPLES points evenly spaced on its outline, clockwise on the screen."""

    contour: Contour

    @cached_property
    def _walk(self) -> tuple[Complex, Floats]:
        outline, starts = _complex(self.contour.outline), self.contour.starts
        if (outline.conj() * np.roll(outline, -1)).imag.sum() < 0:  # twice the area
            outline, starts = outline[::-1], len(outline) - 1 - starts
        closed = np.append(outline, outline[0])
        run = np.append(0.0, np.cumsum(np.abs(np.diff(closed))))
        run *= SAMPLES / max(float(run[-1]), 1e-9)
        return np.interp(EVERY, run, closed), run[starts]

    @property
    def samples(self) -> Complex:
        """The points, complex (SAMPLES,)."""
        return self._walk[0]

    @property
    def places(self) -> Floats:
        """Where the contour's own points lie among the samples, float64 (n,)."""
        return self._walk[1]

    @cached_property
    def spectrum(self) -> Complex:
        """Fourier transform of the points around their mean."""
        return np.fft.fft(self.samples - self.samples.mean())

    def lag(self, other: Ring) -> float:
        """By how many samples `other` runs ahead: its place p + lag belongs to place p of this ring."""
        fit = np.fft.ifft(other.spectrum * self.spectrum.conj()).real
        best = int(fit.argmax())
        before, after = fit[best - 1], fit[(best + 1) % SAMPLES]
        bend = before - 2.0 * fit[best] + after
        return best + float(
            0.5 * (before - after) / bend if bend < 0 else 0.0
        )  # the top of a parabola, between samples

    def at(self, places: Floats) -> Complex:
        """Points of the outline at any places along it."""
        return Around(EVERY, self.samples).at(places)

    def partners(self, other: Ring) -> Complex:
        """The points of `other` that belong to the contour's own."""
        return other.at(self.places + self.lag(other))


class Around:
    """Values at places of a ring, interpolated between them."""

    def __init__(self, places: Floats, values: Complex) -> None:
        order = np.argsort(places)
        places, values = places[order], values[order]
        self._places = np.concatenate([places[-1:] - SAMPLES, places, places[:1] + SAMPLES])
        self._values = np.concatenate([values[-1:], values, values[:1]])

    def at(self, places: Floats) -> Complex:
        """The values at any places."""
        return np.interp(places % SAMPLES, self._places, self._values)


def interpolate(a: Contour, b: Contour, share: float) -> Contour:
    """The contour a `share` (0-1) of the way from `a` to `b`: at 0 and 1 these themselves.

    Where the handles of both belong together they move on straight lines; else those of the nearer contour move.
    """
    if share <= 0.0 or a == b:
        return a
    if share >= 1.0:
        return b
    near, far, way = (a, b, share) if share < 0.5 else (b, a, 1.0 - share)
    start, end = _complex(near.points), _same_handles(near, far)
    if end is None:
        end = Ring(near).partners(Ring(far))
    return _moved(near, start + way * (end - start))


def _same_handles(near: Contour, far: Contour) -> Complex | None:
    """The points of `far`, each that of a point of `near`; None where they do not belong together.

    They do when they lie little farther apart than the outlines: not when one was taken out and one put in elsewhere.
    """
    if len(near) != len(far) or near.smooth != far.smooth:
        return None
    start, end = _complex(near.points), _complex(far.points)
    if near.area * far.area < 0:
        end = end[::-1]
    fit = np.fft.ifft(np.fft.fft(end - end.mean()) * np.fft.fft(start - start.mean()).conj()).real
    end = np.roll(end, -int(fit.argmax()))
    outline = Ring(near).partners(Ring(far))
    apart, least = (float((np.abs(to - start) ** 2).mean()) for to in (end, outline))
    return end if apart <= FAR * least + CLOSE**2 else None


@dataclass(frozen=True)
class Correction:
    """How a contour that the network gave was changed by hand.  shifts: at `places` of its ring."""

    ring: Ring
    places: Floats
    shifts: Around

    @classmethod
    def between(cls, given: Contour, drawn: Contour) -> Correction:
        """From what the network gave to what a person made of it."""
        ring, other = Ring(given), Ring(drawn)
        handles = _same_handles(given, drawn)
        if handles is not None:
            return cls(ring, ring.places, Around(ring.places, handles - _complex(given.points)))
        return cls(ring, EVERY, Around(EVERY, other.at(EVERY + ring.lag(other)) - ring.samples))


def corrected(given: Contour, corrections: Sequence[tuple[Correction, float]]) -> Contour:
    """A contour of the network with the corrections of its neighbours in time, each with its weight.

    Where its own handles are too few for a correction, such as one handle pulled out between two of them, it gets more.
    """
    if not corrections:
        return given
    ring = Ring(given)
    weighted = [(correction, weight, ring.lag(correction.ring)) for correction, weight in corrections]

    def shift(places: Floats) -> Complex:
        shifts = np.zeros(len(places), dtype=np.complex128)
        for correction, weight, lag in weighted:
            shifts += weight * correction.shifts.at(places + lag)
        return shifts

    places, points = ring.places, _complex(given.points)
    wanted = np.concatenate([correction.places - lag for correction, _, lag in weighted]) % SAMPLES
    target = shift(wanted)
    for _ in range(ROUNDS):
        missed = np.abs(target - Around(places, shift(places)).at(wanted))
        new = np.sort(wanted[(missed > CLOSE) & (missed >= np.roll(missed, 1)) & (missed > np.roll(missed, -1))])
        new = new[np.diff(new, prepend=new[-1:] - SAMPLES) >= 1.0]  # both neighbours may want the same
        if not new.size:
            break
        places, points = np.concatenate([places, new]), np.concatenate([points, ring.at(new)])
    order = np.argsort(places)
    return _moved(given, (points + shift(places))[order])


def _complex(points: Floats) -> Complex:
    return points[:, 0] + 1j * points[:, 1]


def _moved(contour: Contour, points: Complex) -> Contour:
    both: Floats = np.stack([points.real, points.imag], axis=1)
    return replace(contour, points=both.round(DECIMALS))
