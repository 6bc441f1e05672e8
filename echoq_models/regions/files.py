"""Region files: `ROI.json`, version 1 (polygons for all frames) and version 2 (everything else).

"lv" and "myocardium" hold the measured outlines as polygons, so that any reader measures the same. Version 2 adds
what an outline does not tell: "handles" of splines, "edited" key frames, frames "left_out", what was "generated",
"lv_whole", "findings", "marks", "review" and "source". What is not known is passed over.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from echoq_models.errors import InputError, OutputError
from echoq_models.files import replacing
from echoq_models.regions.fields import Fields
from echoq_models.regions.regions import FrameRegions, Regions

VERSION = 2
LARGEST_FILE = 32 * 2**20  # bytes; 300 frames of generated contours take about 4 MB
KINDS = ("lv", "myocardium")
# Suffixes a loop's name may end in. DICOM names such as 1.2.840.10008 have dots that are no suffix.
LOOP_SUFFIXES = re.compile(
    r"\.(dcm|dicom|ima|avi|mp4|m4v|mov|mkv|wmv|mpe?g|gif|png|jpe?g|bmp|tiff?|np[yz])", re.IGNORECASE
)


def sidecar(loop: Path) -> Path:
    """Where the regions of a loop (a file or a folder of stills) are kept: `<loop name>.roi.json` beside it."""
    loop = Path(loop)
    name = loop.stem if LOOP_SUFFIXES.fullmatch(loop.suffix) else loop.name
    return loop.parent / f"{name}.roi.json"


def load(path: Path | str) -> Regions:
    """Read a region file; coordinates are taken as they are, in source pixels.

    Raises InputError, with one sentence, when the file is missing, unreadable or not a region file.
    """
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise InputError(f"{path} is too large for a region file.")
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"Cannot read the region file {path}: {error.strerror or error}.") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not a region file: line {error.lineno}: {error.msg}.") from error
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a region file: it is not JSON text.") from error
    return from_data(data, path)


def save(regions: Regions, path: Path | str) -> None:
    """Write a region file, version 1 for polygons for all frames, else version 2; replaces an old one whole.

    Raises OutputError when it cannot be written.
    """
    path = Path(path)
    text = json.dumps(to_data(regions)) + "\n"
    if len(text) > LARGEST_FILE:
        raise OutputError(f"The regions are too large for the region file {path}: use fewer points or frames.")
    try:
        with replacing(path) as new:
            new.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"Cannot write the region file {path}: {error.strerror or error}.") from error


def to_data(regions: Regions) -> dict[str, Any]:
    """What a region file holds, as plain data ready for JSON."""
    data = _frame(FrameRegions(regions.lv, regions.myocardium))
    more = _more(regions)
    if more or "handles" in data:
        data = {"version": VERSION, **data, **more}
    return data


def from_data(data: Any, path: Path) -> Regions:
    """The regions of what `to_data` gave or a region file held; `path` is named in complaints. Raises InputError."""
    if not isinstance(data, dict) or not {"lv", "myocardium", "frames"} & set(data):
        raise InputError(f'{path} is not a region file: it has neither "lv" nor "myocardium" polygons.')
    version = data.get("version", 1)
    if version not in (1, VERSION):
        raise InputError(f"{path} has version {version!r}: this EchoQ reads region files of versions 1 and {VERSION}.")
    return _regions(data, path)


# writing


def _more(regions: Regions) -> dict[str, Any]:
    """All that version 1 has no room for, without what is empty."""
    data: dict[str, Any] = {}
    if regions.frames:
        data["frames"] = {str(t): _frame(shown) for t, shown in regions.frames.items()}
        data["edited"] = sorted(regions.edited)
    if regions.generated:  # null: as the frame shows
        data["generated"] = {
            str(t): None if regions.frames.get(t) == given else _frame(given) for t, given in regions.generated.items()
        }
    if regions.lv_whole:
        data["lv_whole"] = {
            str(t): {"points": _points(contour.points), "smooth": contour.smooth}
            for t, contour in regions.lv_whole.items()
        }
    if regions.left_out:
        data["left_out"] = sorted(regions.left_out)
    if regions.findings:
        said = {"confidence": regions.findings.confidence, "reasons": regions.findings.reasons}
        data["findings"] = {name: {str(t): value for t, value in told.items()} for name, told in said.items()}
    marks, review = regions.marks, regions.review
    if marks or marks.by_hand:
        data["marks"] = {"ed": list(marks.ed), "es": list(marks.es), "by_hand": marks.by_hand}
    if review:
        data["review"] = {"decision": review.decision, "who": review.who, "when": review.when, "note": review.note}
    if regions.source:
        data["source"] = regions.source
    return data


def _points(points: Any) -> list[list[float | int]]:
    return [[int(v) if v == int(v) else v for v in point] for point in points.tolist()]


def _frame(shown: FrameRegions) -> dict[str, Any]:
    data: dict[str, Any] = {kind: [_points(c.outline) for c in getattr(shown, kind)] for kind in KINDS}
    handles = {
        kind: [_points(c.points) if c.smooth else None for c in getattr(shown, kind)]
        for kind in KINDS
        if any(c.smooth for c in getattr(shown, kind))
    }
    return {**data, "handles": handles} if handles else data


# reading


def _regions(data: dict[str, Any], path: Path) -> Regions:
    fields = Fields(data, path)
    shown = fields.frame_regions()
    frames = {t: fields.within(frame).frame_regions() for t, frame in fields.by_frame("frames").items()}
    return Regions(
        shown.lv,
        shown.myocardium,
        frames,
        # Files of other writers do not say who set a key frame: a person did.
        edited=frozenset(fields.frame_numbers("edited") if "edited" in data else frames),
        generated=_generated(fields, frames),
        lv_whole={t: fields.within(contour).contour("lv_whole") for t, contour in fields.by_frame("lv_whole").items()},
        marks=fields.marks(),
        review=fields.review(),
        source=fields.text("source"),
        left_out=frozenset(fields.frame_numbers("left_out")),
        findings=fields.findings(),
    )


def _generated(fields: Fields, frames: dict[int, FrameRegions]) -> dict[int, FrameRegions]:
    given = fields.by_frame("generated", frames)
    return {t: frames[t] if frame is None else fields.within(frame).frame_regions() for t, frame in given.items()}
