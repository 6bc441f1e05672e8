"""Real loops: how well chamber and muscle separate where regions are drawn, and what a method did besides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echoq_models.cine import CineLoop, read
from echoq_models.cine import sector as sectors
from echoq_models.errors import InputError
from echoq_models.metrics.flicker import flicker
from echoq_models.regions import Regions, sidecar
from echoq_models.regions import load as load_regions
from echoq_models.runtime.batch import find_loops
from training.evaluation.fidelity import nearness, separation
from training.evaluation.methods import Method
from training.evaluation.records import Record

Frames = NDArray[np.uint8]
Masks = NDArray[np.bool_]
REGIONS_SUFFIX = ".roi.json"


@dataclass(frozen=True)
class RealLoop:
    """The first frames of one loop. regions: None where nobody drew any.

    name: for people.  patient: whose it is (the header's patient where there is one, else the loop itself), as a
    number.  frames: uint8 (T, H, W).  sector: bool (H, W).
    """

    name: str
    patient: str
    frames: Frames
    regions: Regions | None
    sector: Masks

    def masks(self, t: int) -> tuple[Masks, Masks]:
        """LV and myocardium (H, W) of frame `t` of `frames`. Raises ValueError without regions."""
        if self.regions is None:
            raise ValueError(f"{self.name} has no regions")
        return self.regions.masks((self.frames.shape[1], self.frames.shape[2]), t)


def loops_with_regions(folder: Path) -> list[tuple[Path, Path]]:
    """Every NAME.roi.json under `folder` with the loop (a file or a folder of stills) beside it, sorted."""
    found = []
    for roi in sorted(folder.rglob(f"*{REGIONS_SUFFIX}")):
        beside = sorted(p for p in roi.parent.iterdir() if not p.name.endswith(".json") and sidecar(p) == roi)
        found += [(loop, roi) for loop in beside[:1]]
    return found


def real_loops(folder: Path, most: int, say: Callable[[str], None]) -> Iterator[RealLoop]:
    """The loops of a folder, those with regions first, of each the first `most` frames.

    Raises InputError for a folder without a loop, and for a loop with regions that cannot be read; another that cannot
    be read is told of and left out.
    """
    patients: dict[str, str] = {}
    drawn = loops_with_regions(folder)
    known = {path for path, _ in drawn}
    others = [path for path in find_loops(folder) if path not in known]
    if not drawn and not others:
        raise InputError(f"{folder}: there is no loop in it.")
    for path, roi in [*drawn, *((path, None) for path in others)]:
        try:
            loop = read(path)
        except InputError as error:
            if roi is not None:
                raise
            say(str(error))
            continue
        regions = load_regions(roi) if roi else None
        if regions:
            regions.check(loop.size)
        patient = patients.setdefault(_patient(loop, path), f"patient {len(patients) + 1}")
        mask = sectors.fit(loop).mask
        yield RealLoop(path.relative_to(folder).as_posix(), patient, np.asarray(loop.frames[:most]), regions, mask)


def _patient(loop: CineLoop, path: Path) -> str:
    """What tells patients apart; never shown."""
    known = str(loop.header.get("PatientID", "")) if loop.header is not None else ""
    return known or str(path)


def real_records(loop: RealLoop, method: str, images: Frames) -> Iterator[Record]:
    """Figures of the images uint8 (N, H, W) that a method made of the loop's first N frames.

    Part "real": separation of the regions, PSNR and SSIM to the input, and kept, the muscle's mean grey after over
    before.  Part "real plain", for a loop without regions: PSNR and SSIM alone, and kept, the whole sector's.
    Part "real flicker": frame-to-frame change in still areas re the original's, for two frames or more.
    """
    for t, after in enumerate(images):
        before = loop.frames[t]
        values = nearness(before, after, loop.sector)
        kept = loop.sector
        if loop.regions:
            lv, kept = loop.masks(t)
            values |= separation(after, lv, kept)
            values |= {"lv_pixels": float(lv.sum()), "myocardium_pixels": float(kept.sum())}
        values["kept"] = float(after[kept].mean() / max(before[kept].mean(), 1.0))
        yield Record("real" if loop.regions else "real plain", loop.name, t, method, values, loop.patient)
    if len(images) > 1:
        ratio = flicker(loop.frames[: len(images)], images, loop.sector).ratio
        yield Record("real flicker", loop.name, 0, method, {"ratio": ratio}, loop.patient)


def denoised(loop: RealLoop, method: Method) -> Frames:
    """The loop through a method; a slow one sees the first frame alone."""
    return method.run(loop.frames[:1] if method.slow else loop.frames)
