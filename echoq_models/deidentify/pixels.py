"""Which pixels of a loop are the ultrasound picture and nothing else, and blanking all the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from echoq_models.cine import sector
from echoq_models.cine.loop import CineLoop
from echoq_models.deidentify.text import PossibleText, find_text

Mask = NDArray[np.bool_]

FEWEST_FRAMES = 4  # with fewer, writing cannot be told from tissue that happens to stand still
MOVING = 0.1  # share of the sector's pixels that must change over time: a report page stands still
CHANGE = 10  # grey levels
ROUGH = 2  # pixels that a sector's side may step back
WIDENS = 0.75  # width at a quarter of the way down to the widest row, at most this share of the widest
SOLID = 0.9  # share of its hull that a sector fills; the rest is the curved head of a probe
TRACES = {2: "an M-mode", 3: "a Doppler spectrum"}  # Region Spatial Format (PS3.3 C.8.5.5.1.1)


@dataclass(frozen=True)
class Judgement:
    """What can be said of a loop's pixels.

    mask: bool (H, W), the sector: all else is blanked; None when there is none to be sure of, and nothing is.
    doubts: one sentence for each thing that could not be judged.  texts: where letters may be inside the sector.
    ultrasound: False for another kind of image.
    """

    mask: Mask | None
    doubts: tuple[str, ...] = ()
    texts: tuple[PossibleText, ...] = ()
    ultrasound: bool = True

    @property
    def clean(self) -> bool:
        """Whether the pixels hold no writing, as far as this program can tell, once all outside `mask` is blanked."""
        return self.mask is not None and not self.doubts and not self.texts


def judge(loop: CineLoop) -> Judgement:
    """Find the sector, and letters inside it. 100 frames of 600 x 800 take about 0.3 s."""
    if not _is_ultrasound(loop):
        return Judgement(None, ("this is not an ultrasound image",), ultrasound=False)
    traces = [TRACES[region.spatial_format] for region in loop.regions if region.spatial_format in TRACES]
    if traces:
        return Judgement(None, (f"it shows {traces[0]}, whose labels cannot be told from the trace",))
    found = sector.fit(loop)
    if not found.found or not looks_like_sector(found.mask):
        return Judgement(None, ("no sector was found whose outline is certain",))
    doubts = []
    if len(loop) < FEWEST_FRAMES:
        doubts.append(f"in {len(loop)} frame{'s' if len(loop) > 1 else ''}, writing cannot be told from tissue")
    elif _moving(loop, found.mask) < MOVING:
        doubts.append("the picture stands still, so that writing cannot be told from tissue")
    if doubts:  # what stands still looks like letters now and then
        return Judgement(found.mask, tuple(doubts))
    return Judgement(found.mask, (), find_text(_shown(loop), found.mask, bool(loop.lossy)))


def _is_ultrasound(loop: CineLoop) -> bool:
    """What has no header, and a picture captured from a screen, may be ultrasound."""
    from echoq_models.cine.dicom_header import CAPTURES, code, is_ultrasound

    return loop.header is None or is_ultrasound(loop.header) or code(loop.header, "SOPClassUID") in CAPTURES


def looks_like_sector(mask: Mask) -> bool:
    """Whether a picture, bool (H, W), widens from its top to both sides as a sector does, and no box or page does."""
    rows = np.flatnonzero(mask.any(axis=1))
    left, right = mask[rows].argmax(axis=1), mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
    width = right - left + 1
    widest = int(width.argmax())
    if widest < len(rows) // 3 or width[widest // 4] > WIDENS * width[widest]:
        return False
    sides = (
        np.maximum.accumulate(right[:widest]) - right[:widest],
        left[:widest] - np.minimum.accumulate(left[:widest]),
    )
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hull = cv2.contourArea(cv2.convexHull(np.concatenate(contours)))
    return max(int(side.max()) for side in sides) <= ROUGH and bool(np.count_nonzero(mask) >= SOLID * hull)


def _moving(loop: CineLoop, mask: Mask) -> float:
    """Share of the sector's pixels that change over time."""
    brightest, darkest = np.array(loop.frames[0]), np.array(loop.frames[0])
    for t in np.unique(np.linspace(0, len(loop) - 1, sector.SAMPLED_FRAMES).round().astype(int)):
        np.maximum(brightest, loop.frames[t], out=brightest)
        np.minimum(darkest, loop.frames[t], out=darkest)
    return float(np.mean((brightest - darkest)[mask] > CHANGE))


def _shown(loop: CineLoop) -> Iterator[NDArray[np.uint8]]:
    """Frames, uint8 (H, W), in which coloured pixels are as bright as their brightest colour: blue letters are dark."""
    for t, frame in enumerate(loop.frames):
        if loop.colour is None:
            yield frame
            continue
        out = np.array(frame)
        index, rgb = loop.colour.frame(t)
        out.reshape(-1)[index] = rgb.max(axis=1, initial=0)
        yield out


def blank(frame: NDArray[np.generic], mask: Mask, black: int | tuple[int, ...] = 0) -> None:
    """Set every pixel outside `mask`, bool (H, W), to `black`, in place.

    frame: (H, W) or (H, W, 3) of any type.
    """
    frame[~mask] = black
