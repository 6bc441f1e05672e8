from __future__ import annotations

import numpy as np
import pytest

from echoq_models.errors import RegionError
from echoq_models.metrics.contrast import cnr, contrast


def test_worked_by_hand() -> None:
    frame = np.array([[10, 20, 60, 100]], dtype=np.uint8)
    a = np.array([[1, 1, 0, 0]], dtype=bool)
    assert contrast(frame, a, ~a) == 65.0
    assert contrast(frame, ~a, a) == -65.0
    # Means 15 and 80, variances 25 and 400.
    assert cnr(frame, a, ~a) == pytest.approx(65 / np.sqrt(425))


def test_uniform_regions() -> None:
    frame = np.array([[5, 5, 9, 9]], dtype=np.uint8)
    a = np.array([[1, 1, 0, 0]], dtype=bool)
    assert cnr(frame, a, ~a) == float("inf")
    assert cnr(np.full_like(frame, 5), a, ~a) == 0.0


def test_errors() -> None:
    frame = np.zeros((2, 2), dtype=np.uint8)
    empty, full = np.zeros((2, 2), dtype=bool), np.ones((2, 2), dtype=bool)
    for figure in (contrast, cnr):
        with pytest.raises(RegionError, match="no pixel"):
            figure(frame, empty, full)
        with pytest.raises(ValueError, match="size"):
            figure(frame, full, full[:1])
