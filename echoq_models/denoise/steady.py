"""Steadiness in time: a network sees one frame at a time, and its change flickers where the tissue does not.

A frame's change is averaged with its neighbours', but only where the picture has stayed the same, so that a moving
leaflet or wall is never judged by where it was:

    change_t = sum_k w_k change_k / sum_k w_k,    w_k = (1 + ((s_k - s_t) / SCALE)^2)^-2,    w_t = 1

over k within REACH frames, s the picture averaged over WINDOW x WINDOW pixels, which the speckle hardly moves. A mean
of changes that are never above 0 is never above 0: still no wall is painted.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

REACH = 2  # frames before and after
SCALE = 0.06  # of the full grey scale: a change of the picture that quarters a neighbour's weight
WINDOW = 9  # pixels of a 256 x 256 patch


def neighbours(index: int, count: int) -> range:
    """The frames that the change of frame `index` is averaged over, itself included, in a loop of `count`."""
    return range(max(0, index - REACH), min(count, index + REACH + 1))


def smooth(patch: NDArray[np.float32]) -> NDArray[np.float32]:
    """A patch float32 (256, 256) in [0, 1] without its speckle, of the same form."""
    return np.asarray(cv2.blur(patch, (WINDOW, WINDOW)), dtype=np.float32)


def steady(
    changes: Sequence[NDArray[np.float32]], smoothed: Sequence[NDArray[np.float32]], centre: int
) -> NDArray[np.float32]:
    """The change of frame `centre` (an index into both), steadied: float32 (256, 256).

    changes: what the network gave for each frame.  smoothed: `smooth` of each frame's patch.
    """
    total, weights = changes[centre].copy(), np.ones_like(changes[centre])
    for k, change in enumerate(changes):
        if k != centre:
            moved = (smoothed[k] - smoothed[centre]) * np.float32(1 / SCALE)
            weight = 1 / np.square(1 + np.square(moved))
            total += weight * change
            weights += weight
    return np.asarray(total / weights, dtype=np.float32)
