"""Null tests: frames in which there is nothing to find. What a method darkens there, it invents."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.evaluation import sets
from training.evaluation.methods import Method
from training.evaluation.records import Record
from training.evaluation.sets import FrameSet

Frames = NDArray[np.uint8]
Masks = NDArray[np.bool_]
Floats = NDArray[np.float64]

INVENTED_DB = 6.0  # darkened this far beyond the oracle target, tissue reads as chamber
GAIN_SCALE = 8.0  # pixels at 256 x 256: the standard deviation over which brightness is averaged


@dataclass(frozen=True)
class NullTest:
    """One kind of frame. key: in records.  title: for people.  is_speckle: its local gain should be 1 everywhere."""

    key: str
    title: str
    frames: FrameSet
    is_speckle: bool = False


def null_tests(count: int) -> list[NullTest]:
    """All kinds, `count` frames of each."""
    return [
        NullTest("chamberless", "Tissue without chambers, under haze", sets.chamberless(count)),
        NullTest("buried", "Near field buried in haze", sets.buried(count)),
        NullTest("speckle", "Pure speckle of the phantom", sets.speckle(count), is_speckle=True),
        NullTest("other-speckle", "Pure speckle of another make", sets.other_speckle(count), is_speckle=True),
    ]


def beyond_db(before: Frames, result: Frames, target: Frames, dynamic_range_db: float) -> Floats:
    """How far a result is darker than the oracle target and its own input: float64 (H, W) in dB.

    The difference in grey levels times dynamic range / 255, as for a display without gamma. The input counts because
    it may have been through JPEG and the target was not: what a method leaves as it was, it did not darken.
    before, result, target: uint8 (H, W).
    """
    return (np.minimum(before, target).astype(np.float64) - result) * dynamic_range_db / 255.0


def share_darkened(before: Frames, result: Frames, target: Frames, sector: Masks, dynamic_range_db: float) -> float:
    """Share of the sector (0-1) that a result darkens more than `INVENTED_DB` beyond the oracle target."""
    return float((beyond_db(before, result, target, dynamic_range_db)[sector] > INVENTED_DB).mean())


def local_gain(before: Frames, after: Frames, sector: Masks, scale: float = GAIN_SCALE) -> Floats:
    """Locally averaged brightness after over before, inside the sector shrunk by 1.5 scales: float64 (n,).

    before, after: uint8 (H, W).  Averages are Gaussian, of `scale` pixels standard deviation, and over the sector's
    pixels alone, so that the black around it has no part in them.
    """
    width = 2 * round(1.5 * scale) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    inner = cv2.erode(sector.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0).astype(bool)
    weight = cv2.GaussianBlur(sector.astype(np.float64), (0, 0), scale)[inner]
    a, b = (cv2.GaussianBlur(np.where(sector, x, 0).astype(np.float64), (0, 0), scale)[inner] for x in (after, before))
    return np.asarray((a / weight + 0.5) / (b / weight + 0.5))


def darkest_gain(before: Frames, after: Frames, sector: Masks) -> float:
    """5th percentile of `local_gain` within one frame: 1 where it is left alone; nan for a sector too small."""
    gains = local_gain(before, after, sector)
    return float(np.percentile(gains, 5)) if gains.size else float("nan")


def null_records(test: NullTest, method: Method) -> tuple[list[Record], Frames]:
    """The figures of a method on one null test, and its results uint8 (N, H, W).

    share: of the sector darkened beyond the target.  untrue: beyond the target and the clean twin both, which is
    invention beyond doubt: under strong haze the oracle leaves blood hazy that a network may rightly have seen.
    gain: the darkest local gain, for speckle.
    """
    data = test.frames
    result = method.stills(data.noisy)
    rows = []
    for i, frame in enumerate(result):
        dynamic_range = float(data.dynamic_range_db[i])
        truth = np.minimum(data.target[i], data.clean[i])
        values = {
            "share": share_darkened(data.noisy[i], frame, data.target[i], data.sector[i], dynamic_range),
            "untrue": share_darkened(data.noisy[i], frame, truth, data.sector[i], dynamic_range),
        }
        if test.is_speckle:
            values["gain"] = darkest_gain(data.noisy[i], frame, data.sector[i])
        rows.append(Record(test.key, str(i), 0, method.name, values))
    return rows, result
