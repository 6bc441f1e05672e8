"""Measuring in regions of a person: frames left out, pixels that both regions cover."""

from __future__ import annotations

import numpy as np
import pytest

from echoq_models.cine.loop import CineLoop
from echoq_models.denoise.base import Settings
from echoq_models.errors import RegionError
from echoq_models.metrics.gcnr import gcnr
from echoq_models.regions import FrameRegions, Regions
from echoq_models.runtime.measure import measure
from tests.shared import fan_frames

LV = [[58, 42], [72, 42], [72, 62], [58, 62]]
BAND = [[58, 14], [72, 14], [74, 24], [56, 24]]


@pytest.fixture(scope="module")
def loop() -> CineLoop:
    return CineLoop(fan_frames(5), 40.0 * np.arange(5), "npz")


def test_frames_left_out_are_passed_over_and_told(loop: CineLoop) -> None:
    drawn = Regions([LV], [BAND], left_out=frozenset({1, 3, 99}))
    found = measure(loop, drawn, [], Settings())
    assert found["indices"] == [0, 2, 4] and found["frames"] == 3
    expected = [gcnr(loop.frames[t], *drawn.masks(loop.size, t)) for t in (0, 2, 4)]
    assert found["methods"]["original"]["gcnr"] == pytest.approx(expected, abs=1e-4)
    assert "2 of 5 frames were left out by hand" in found["warnings"]
    with pytest.raises(RegionError, match="Every frame is left out"):
        measure(loop, Regions([LV], [BAND], left_out=frozenset(range(5))), [], Settings())


def test_regions_of_a_network_are_measured_without_the_pixels_of_both(loop: CineLoop) -> None:
    wide = FrameRegions([LV], [[[58, 14], [72, 14], [74, 46], [56, 46]]])
    shown = {t: wide if t == 2 else FrameRegions([LV], [BAND]) for t in range(5)}
    found = measure(loop, Regions(frames=shown, generated=shown), [], Settings())
    lv, band = wide.masks(loop.size)
    assert found["methods"]["original"]["gcnr"][2] == pytest.approx(gcnr(loop.frames[2], lv, band), abs=1e-4)
    assert found["lv_pixels"] == lv.sum() and lv[50, 60] and not lv[44, 60] and not band[44, 60]
    assert "both regions cover some pixels in 1 of 5 frames: these count in neither" in found["warnings"]
    with pytest.raises(RegionError, match="in frame 3 share"):
        measure(loop, Regions(frames=shown), [], Settings())
