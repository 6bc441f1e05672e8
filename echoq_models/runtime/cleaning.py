"""De-identification as a part of an export: judged before any work, blanked frame by frame, told of in a report.

Nothing of the source's header, regions or container passes that `deidentify` does not let through. Dates go, and the
pseudonyms are one export's alone: their key is nowhere kept.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from echoq_models.cine.loop import CineLoop
from echoq_models.errors import InputError, NotClean

if TYPE_CHECKING:
    from pydicom import Dataset

    from echoq_models.cine.dicom_derive import Provenance
    from echoq_models.deidentify import HeaderReport
    from echoq_models.regions import Regions

SHORTEST_NAME = 2  # letters; a shorter name is found in any other
NOTHING_FOUND = "no left ventricle was found"  # for whatever a region file gives as the reason


class Cleaning:
    """Takes what names a person out of one export of a loop.

    keep_unjudged: go on where the pixels may still show a name; what is outside a sector that is certain is blanked.
    Raises NotClean where they may and that was not asked for, InputError for what is no ultrasound.
    """

    def __init__(self, loop: CineLoop, *, keep_unjudged: bool) -> None:
        from echoq_models.deidentify import Options, Pseudonyms, judge, reason_of

        self._loop = with_header(loop)
        self._options = Options(keep_unjudged=keep_unjudged)
        self._names = Pseudonyms()
        self._judgement = judge(self._loop)
        self._patient, self._burned_in = "", ""
        self._report: HeaderReport | None = None
        self._reason = "" if self._judgement.clean else reason_of(self._judgement)
        if not self._judgement.ultrasound:
            raise InputError(f"{self._name}: {self._reason}, so it cannot be de-identified")
        if self._reason and not keep_unjudged:
            raise NotClean(f"{self._name}: not written, since its pixels may still show a name: {self._reason}")

    @property
    def _name(self) -> str:
        return str(self._loop.source or "this loop")

    def blank(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A copy of a frame, (H, W) or (H, W, 3), that is black outside the sector."""
        from echoq_models.deidentify import blank

        out = np.array(frame)
        if self._judgement.mask is not None:
            blank(out, self._judgement.mask)
        return out

    def header(self, derived: Dataset) -> Dataset:
        """What `derived_header` made, cleaned; the report tells what became of the source's own attributes."""
        from echoq_models.deidentify import clean_header, declare

        options = self._options.header
        cleaned, report = clean_header(derived, self._names, options)
        if self._loop.header is not None:
            _, report = clean_header(self._loop.header, self._names, options)
        declare(cleaned, options, pixels_clean=self._judgement.clean)
        self._report, self._patient = report, str(cleaned.PatientID)
        self._burned_in = str(cleaned.BurnedInAnnotation)
        return cleaned

    def beside(self, regions: Regions, provenance: Provenance) -> tuple[CineLoop, Regions, Provenance]:
        """What a sidecar is made of, without the reviewer and any text that a file brought along."""
        from echoq_models.cine.dicom_derive import METHOD_TERMS

        lossy = tuple(step if step in METHOD_TERMS else "lossy" for step in self._loop.lossy)
        numbers = {
            name: value for name, value in provenance.parameters.items() if name == "sha256" or type(value) is not str
        }
        findings = replace(regions.findings, reasons=dict.fromkeys(regions.findings.reasons, NOTHING_FOUND))
        return (
            replace(self._loop, warnings=(), lossy=lossy),
            replace(regions, review=None, source="", findings=findings),
            replace(provenance, parameters=numbers),
        )

    def finish(self, output: Path) -> dict[str, Any]:
        """Write the report beside what was written, and say what to know of it. Raises OutputError.

        Returns "report", its path, "pixels_clean", and "warnings": a sentence for each thing left to a person.
        """
        from echoq_models.deidentify import Cleaned, write_report

        cleaned = Cleaned(output, self._patient, self._report, self._judgement, self._burned_in)
        report = write_report(cleaned, self._options)
        warnings = [f"{output}: its pixels may still show a name: {self._reason}"] if self._reason else []
        if self._loop.source is not None and repeats_name(self._loop.source, output):
            warnings.append(f"{output}: the file is named after the input; does that name a person?")
        return {"report": str(report), "pixels_clean": self._judgement.clean, "warnings": warnings}


def with_header(loop: CineLoop) -> CineLoop:
    """The loop with its DICOM header, which a worker that took it over does not have. Raises InputError."""
    from echoq_models.cine.dicom import read_header

    if loop.header is not None or loop.kind != "DICOM" or loop.source is None:
        return loop
    return replace(loop, header=read_header(loop.source))


def repeats_name(source: Path, output: Path) -> bool:
    """Whether the name of `output` holds that of `source`, whatever stands between its words."""
    name = _letters(source.stem)
    return len(name) >= SHORTEST_NAME and name in _letters(output.stem)


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name.casefold())
