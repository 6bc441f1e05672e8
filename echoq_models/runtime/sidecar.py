"""The JSON beside an exported DICOM loop: its regions, and gCNR before and after.

`NAME.echoq.json` beside `NAME.dcm` is a region file, so `--roi` and "Load regions" take it, with one entry more:
"echoq": {"version", "what" was done, its "parameters" (the weights' sha256 among them), "gcnr": what
`measure.report` gives for "original" and for what was written, or null, then "reason" says why}.
It holds no name of patient or source file. It is written only where there are regions.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import echoq_models
from echoq_models.cine.loop import CineLoop
from echoq_models.errors import OutputError, RegionError
from echoq_models.files import replacing

if TYPE_CHECKING:
    from echoq_models.cine.dicom_derive import Provenance
    from echoq_models.regions import Regions

ORIGINAL = "original"


def sidecar_path(output: Path) -> Path:
    """Where the sidecar of a DICOM file lies."""
    return output.with_suffix(".echoq.json")


class Sidecar:
    """Measures the frames of a loop in its regions as they stream into the file."""

    def __init__(self, loop: CineLoop, regions: Regions, method: str) -> None:
        from echoq_models.runtime.measure import kept

        self._loop, self._regions, self._method = loop, regions, method
        self._which: list[int] = []
        self._reason = ""
        try:
            self._which = kept(regions, range(len(loop)))
            regions.check(loop.size, self._which)
        except RegionError as error:
            self._which, self._reason = [], str(error)
        names = dict.fromkeys((ORIGINAL, method))
        self._values = {name: np.full(len(self._which), np.nan) for name in names}
        self._places = {t: place for place, t in enumerate(self._which)}

    def add(self, t: int, frame: NDArray[np.uint8]) -> None:
        """Measure frame `t` as it is written, luminance uint8 (H, W), and the original's."""
        from echoq_models.metrics.gcnr import gcnr

        place = self._places.get(t)
        if place is None:
            return
        masks = self._regions.masks(self._loop.size, t)
        self._values[ORIGINAL][place] = gcnr(self._loop.frames[t], *masks)
        if self._method != ORIGINAL:
            self._values[self._method][place] = gcnr(frame, *masks)

    def write(self, path: Path, provenance: Provenance) -> None:
        """Write it beside the finished loop. Raises OutputError."""
        from echoq_models.regions import to_data
        from echoq_models.runtime.measure import report

        said: dict[str, Any] = {
            "version": echoq_models.__version__,
            "what": provenance.what,
            "parameters": dict(provenance.parameters),
            "gcnr": report(self._loop, self._regions, self._values, self._which) if self._which else None,
        }
        if self._reason:
            said["reason"] = self._reason
        text = json.dumps({**to_data(self._regions), "echoq": said}, allow_nan=False) + "\n"
        try:
            with replacing(path) as new:
                new.write_text(text, encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror or error}).") from error
