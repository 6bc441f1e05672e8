"""The region file that ships for pydicom's cardiac loop fits that loop."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pydicom.examples

from echoq_models import regions
from echoq_models.cine import read, sector
from echoq_models.metrics.gcnr import loop_gcnr

SAMPLE = Path(__file__).parents[2] / "resources" / "sample" / "examples_ybr_color.roi.json"


def test_sample_regions_fit_the_sample_loop() -> None:
    loop = read(pydicom.examples.get_path("ybr_color"))
    drawn = regions.load(SAMPLE)
    drawn.check(loop.size)
    inside = sector.fit(loop).mask
    for t in range(len(loop)):
        lv, myocardium = drawn.masks(loop.size, t)
        assert inside[lv].all()
        assert inside[myocardium].all()
        assert min(lv.sum(), myocardium.sum()) > 500
        # Blood is darker than muscle in every frame; otherwise a polygon slipped off the moving heart.
        assert loop.frames[t][lv].mean() < 0.5 * loop.frames[t][myocardium].mean()
    assert np.median(loop_gcnr(loop.frames, lambda t: drawn.masks(loop.size, t))) > 0.93


def test_polygons_of_old_files_are_measured_as_ever() -> None:
    drawn, sum_of_masks = regions.load(SAMPLE), 0
    for t in range(30):
        for mask in drawn.masks((240, 320), t):
            sum_of_masks = zlib.crc32(np.packbits(mask).tobytes(), sum_of_masks)
    assert sum_of_masks == 1147874722  # as before contours could be splines
