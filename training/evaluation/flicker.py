"""Does a method make a beat flicker? Spread of gCNR over a beat, and change beyond the true motion."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from echoq_models.metrics.gcnr import loop_gcnr
from training.evaluation.records import Record
from training.evaluation.sets import Beat
from training.evaluation.statistics import warping_error

Frames = NDArray[np.uint8]


def beat_records(beat: Beat, number: int, method: str, images: Frames) -> Iterator[Record]:
    """The figures of one beat's images uint8 (T, H, W).

    Part "beat", each frame: gcnr.  Part "flicker", one for the loop: gcnr_std, the standard deviation of it over the
    beat, and warping, the warping error in grey levels.
    """
    data = beat.frames
    values = loop_gcnr(images, lambda t: (data.lv[t], data.myocardium[t]))
    for t, value in enumerate(values):
        yield Record("beat", str(number), t, method, {"gcnr": float(value), "time_ms": float(beat.times_ms[t])})
    error = warping_error(images, beat.displacement, data.sector)
    yield Record("flicker", str(number), 0, method, {"gcnr_std": float(values.std()), "warping": error})
