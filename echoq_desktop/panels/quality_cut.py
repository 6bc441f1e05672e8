"""Figures of one frame: both regions as pixel numbers, so that a frame costs a tenth of a millisecond."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from echoq_models.errors import RegionError
from echoq_models.metrics.gcnr import overlap_gcnr
from echoq_models.regions import FrameRegions

LEVELS = np.arange(256, dtype=np.float64)


class FrameNumbers(NamedTuple):
    """gCNR (0-1), contrast (grey levels) and CNR of one frame, as `echoq_models.metrics` defines them."""

    gcnr: float
    contrast: float
    cnr: float


@dataclass(frozen=True)
class Cut:
    """Both regions of a frame. shown: what they were made of.  lv, myocardium: their pixels in the flat frame.

    shared: how many pixels lie in contours of both, and count in neither.
    """

    shown: FrameRegions
    lv: NDArray[np.int32]
    myocardium: NDArray[np.int32]
    shared: int = 0

    @property
    def pixels(self) -> tuple[int, int]:
        """How many pixels LV and myocardium hold."""
        return len(self.lv), len(self.myocardium)

    @property
    def shared_note(self) -> str | None:
        """A sentence about the pixels that count in neither region, None where there are none."""
        if not self.shared:
            return None
        return f"Left ventricle and myocardium share {self.shared} pixels in this frame: they count in neither."

    def histograms(self, frame: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Shares of the 256 grey levels in LV and myocardium of a frame (H, W), float64 (256,) each, summing to 1."""
        flat = np.asarray(frame).reshape(-1)
        lv = np.bincount(flat[self.lv], minlength=256) / len(self.lv)
        return lv, np.bincount(flat[self.myocardium], minlength=256) / len(self.myocardium)

    def numbers(self, frame: NDArray[np.uint8]) -> FrameNumbers:
        """All figures of a frame, uint8 (H, W)."""
        return numbers_of(*self.histograms(frame))


def numbers_of(lv: NDArray[np.float64], myocardium: NDArray[np.float64]) -> FrameNumbers:
    """All figures from the shares of the grey levels, float64 (256,) each: means and variances are their moments."""
    (mean_lv, var_lv), (mean_myocardium, var_myocardium) = _moments(lv), _moments(myocardium)
    contrast = mean_myocardium - mean_lv
    spread = (var_lv + var_myocardium) ** 0.5
    cnr = abs(contrast) / spread if spread > 0 else (float("inf") if contrast else 0.0)
    return FrameNumbers(overlap_gcnr(lv, myocardium), contrast, cnr)


def _moments(shares: NDArray[np.float64]) -> tuple[float, float]:
    mean = float(shares @ LEVELS)
    return mean, float(shares @ (LEVELS - mean) ** 2)


def cut_of(shown: FrameRegions, size: tuple[int, int], overlap: bool) -> Cut:
    """The cut of a frame's regions in a picture of `size` (H, W).

    overlap: whether measuring goes on without the pixels that both regions cover, as where a network gave them; in
    regions that a person drew they are a slip of the hand. Raises RegionError then, and when a region holds no pixel.
    """
    shared = shown.shared(size)
    if shared and not overlap:
        raise RegionError(f"Left ventricle and myocardium share {shared} pixels in this frame: move them apart.")
    lv, myocardium = (np.flatnonzero(mask).astype(np.int32) for mask in shown.masks(size))  # a loop's worth is kept
    for name, pixels in (("left ventricle", lv), ("myocardium", myocardium)):
        if not len(pixels):
            raise RegionError(f"The {name} holds no pixel of this frame: draw it inside the picture.")
    return Cut(shown, lv, myocardium, shared)
