"""Where the beat stands: the left ventricle's area over a loop, and end diastole and systole from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from echoq_models.regions.contour import Contour
from echoq_models.regions.regions import Regions
from echoq_models.regions.review import Marks

if TYPE_CHECKING:
    from echoq_models.cine.sector import Spacing

Floats = NDArray[np.float64]
MAXIMUM, MINIMUM = 1.0, -1.0


@dataclass(frozen=True)
class BeatSettings:
    """How end diastole and systole are found.

    ease_ms: width (standard deviation) of the window that smooths the area curve.
    beat_ms: two end diastoles, or two end systoles, lie at least this far apart: 170 beats a minute.
    least_swing: a curve whose area swings by less than this share of its median shows no beat.
    least_snr: nor does one that swings by less than so many times the noise that smoothing leaves.
    turn: share of the swing by which the area must fall after a maximum, or rise after a minimum, for it to be one.
    end: share of the swing by which the first or last frame may fall short of the other extremes and still be one.
    """

    ease_ms: float = 35.0
    beat_ms: float = 350.0
    least_swing: float = 0.06
    least_snr: float = 7.0
    turn: float = 0.4
    end: float = 0.12


def areas(regions: Regions, total: int, spacing: Spacing | None = None) -> Floats:
    """Area of the left ventricle in each of `total` frames: float64 (total,), NaN without one or when left out.

    In mm², or in pixels without `spacing`. Where a network gave the whole ventricle it is that one's area A, times
    a / g where a hand, there or in a frame beside it, made an area of a from g, the measured part that the network
    gave. In a frame that a person drew and the network did not find it is a times the median of A / g. Without a
    network it is that of the measured region.
    """
    out = np.full(total, np.nan)
    given = {t: _area(regions.generated[t].lv) for t in regions.lv_whole if t in regions.generated}
    shares = {t: abs(regions.lv_whole[t].area) / g for t, g in given.items() if g > 0}
    usual = float(np.median(list(shares.values()))) if shares else 1.0
    for t in range(total):
        drawn = _area(regions.at(t).lv)
        if drawn > 0 and t in regions.lv_whole:
            out[t] = drawn * shares[t] if t in shares else abs(regions.lv_whole[t].area)
        elif drawn > 0 and (t in regions.edited or not regions.lv_whole):
            out[t] = drawn * usual
    return out * _pixel(spacing)


def _area(contours: tuple[Contour, ...]) -> float:
    return sum(abs(contour.area) for contour in contours)


def mask_areas(masks: NDArray[np.bool_], spacing: Spacing | None = None) -> Floats:
    """Area of masks bool (T, H, W): float64 (T,) in mm², or in pixels without `spacing`; NaN for empty ones."""
    counts = np.array([np.count_nonzero(mask) for mask in masks], dtype=np.float64)
    return np.where(counts > 0, counts, np.nan) * _pixel(spacing)


def _pixel(spacing: Spacing | None) -> float:
    return 1.0 if spacing is None else spacing.mm_per_pixel_x * spacing.mm_per_pixel_y


def find_marks(areas: Floats, times_ms: Floats, settings: BeatSettings | None = None) -> Marks:
    """End diastoles (maxima) and end systoles (minima) of an area curve.

    areas: float64 (T,), NaN for frames without a ventricle, which are never marked.  times_ms: float64 (T,).
    A flat, noisy or still curve has none; any other has at least one of each, at an end of the loop if need be.
    """
    settings = settings or BeatSettings()
    known = np.flatnonzero(np.isfinite(areas))
    if known.size < 3:
        return Marks()
    values, times = areas[known], times_ms[known]
    smooth, noise = _smoothed(values, times, settings.ease_ms)
    swing = float(np.ptp(np.quantile(smooth, (0.02, 0.98))))
    if swing < max(settings.least_swing * float(np.median(values)), settings.least_snr * noise, 1e-9):
        return Marks()
    found = _turns(smooth, settings.turn * swing)
    ed, es = (
        _apart(_sure(found, sign, smooth, settings.end * swing), sign * smooth, times, settings.beat_ms)
        for sign in (MAXIMUM, MINIMUM)
    )
    return Marks(tuple(int(known[i]) for i in ed), tuple(int(known[i]) for i in es))


def _smoothed(values: Floats, times: Floats, ease_ms: float) -> tuple[Floats, float]:
    """The curve smoothed with a Gaussian window in time, and the standard deviation of the noise left in it.

    The noise is judged from second differences, which a beat hardly has.
    """
    window = np.exp(-0.5 * ((times[:, None] - times) / ease_ms) ** 2)
    window /= window.sum(axis=1, keepdims=True)
    rough = np.median(np.abs(np.diff(values, 2))) / 0.6745 / 6**0.5
    return window @ values, float(rough * np.sqrt((window**2).sum(axis=1).mean()))


def _turns(curve: Floats, least: float) -> list[tuple[int, float]]:
    """Maxima and minima by turns, each an index and its sign: between two of them lies at least `least`.

    The first and the last one may be an end of the curve, or what is highest or lowest so far.
    """
    found: list[tuple[int, float]] = []
    high = low = 0
    after = 0.0  # sign of the extreme before; none yet
    for i, value in enumerate(curve):
        high, low = (i if value > curve[high] else high), (i if value < curve[low] else low)
        if after != MAXIMUM and value < curve[high] - least:
            found.append((high, MAXIMUM))
            after, low = MAXIMUM, i
        elif after != MINIMUM and value > curve[low] + least:
            found.append((low, MINIMUM))
            after, high = MINIMUM, i
    if found:
        found.append((low, MINIMUM) if after == MAXIMUM else (high, MAXIMUM))
    return found


def _sure(found: list[tuple[int, float]], sign: float, curve: Floats, slack: float) -> list[int]:
    """The extremes of one sign; of the outermost two only what comes as far as the others, less `slack`."""
    own = [i for i, kind in found if kind == sign]
    for i in (found[0][0], found[-1][0]) if found else ():
        others = [k for k in own if k != i]
        if i in own and others and sign * curve[i] < np.median(sign * curve[others]) - slack:
            own = others
    return own


def _apart(found: list[int], height: Floats, times: Floats, least_ms: float) -> list[int]:
    """Extremes at least so far apart, the highest ones kept."""
    kept: list[int] = []
    for i in sorted(found, key=lambda i: -height[i]):
        if all(abs(times[i] - times[k]) >= least_ms for k in kept):
            kept.append(i)
    return kept
