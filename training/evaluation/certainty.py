"""Does a network know where it may be wrong? Its confidence against its true error, pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.evaluation.methods import Method, confidence
from training.evaluation.sets import FrameSet
from training.evaluation.statistics import Reliability, reliability, spearman

ERROR_SCALE = 3.0  # pixels: single pixels of speckle say nothing about a place
EVERY = 37  # of the sector's pixels, one is looked at; neighbours say the same


@dataclass(frozen=True)
class Certainty:
    """rank_correlation: Spearman's, of confidence and minus the error.  bins: the error by confidence."""

    rank_correlation: float
    bins: Reliability


def certainty(method: Method, data: FrameSet) -> Certainty | None:
    """Confidence against the absolute error to the clean twin (grey levels, averaged locally); None without one."""
    sure: list[NDArray[np.float64]] = []
    wrong: list[NDArray[np.float64]] = []
    for i, frame in enumerate(data.noisy):
        trust = confidence(method.name, frame)
        if trust is None:
            return None
        result = method.run(frame[None])[0]
        error = cv2.GaussianBlur(np.abs(result.astype(np.float64) - data.clean[i]), (0, 0), ERROR_SCALE)
        pick = np.flatnonzero(data.sector[i] & np.isfinite(trust))[::EVERY]
        sure.append(trust.ravel()[pick])
        wrong.append(error.ravel()[pick])
    trusts, errors = np.concatenate(sure), np.concatenate(wrong)
    return Certainty(spearman(trusts, -errors), reliability(trusts, errors))
