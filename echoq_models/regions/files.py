"""Region files: `ROI.json`, version 1 (polygons for all frames) and version 2 (key frames too)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from echoq_models.errors import InputError, OutputError
from echoq_models.files import replacing
from echoq_models.regions.raster import Polygon
from echoq_models.regions.regions import FrameRegions, Regions

VERSION = 2
LARGEST_FILE = 16 * 2**20  # bytes; a region file is some kilobytes
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
    return _regions(data, path)


def save(regions: Regions, path: Path | str) -> None:
    """Write a region file, version 1 without key frames and version 2 with them; replaces an old one whole.

    Raises OutputError when it cannot be written.
    """
    path = Path(path)
    data: dict[str, Any] = _plain(regions.lv, regions.myocardium)
    if regions.frames:
        frames = {str(t): _plain(f.lv, f.myocardium) for t, f in regions.frames.items()}
        data = {"version": VERSION, **data, "frames": frames}
    try:
        with replacing(path) as new:
            new.write_text(json.dumps(data) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"Cannot write the region file {path}: {error.strerror or error}.") from error


def _plain(lv: tuple[Polygon, ...], myocardium: tuple[Polygon, ...]) -> dict[str, Any]:
    def number(value: float) -> float | int:
        return int(value) if value == int(value) else value

    def points(polygons: tuple[Polygon, ...]) -> list[list[list[float | int]]]:
        return [[[number(x), number(y)] for x, y in polygon.tolist()] for polygon in polygons]

    return {"lv": points(lv), "myocardium": points(myocardium)}


def _regions(data: Any, path: Path) -> Regions:
    if not isinstance(data, Mapping) or not {"lv", "myocardium", "frames"} & set(data):
        raise InputError(f'{path} is not a region file: it has neither "lv" nor "myocardium" polygons.')
    version = data.get("version", 1)
    if version not in (1, VERSION):
        raise InputError(f"{path} has version {version!r}: this EchoQ reads region files of versions 1 and {VERSION}.")
    frames = data.get("frames", {})
    if not isinstance(frames, Mapping):
        raise InputError(f'{path}: "frames" must map frame numbers to polygons.')
    keys = {}
    for name, frame in frames.items():
        if not (name.isascii() and name.isdigit() and len(name) < 10) or not isinstance(frame, Mapping):
            raise InputError(f'{path}: "frames" must map frame numbers to polygons, not {name[:40]!r}.')
        keys[int(name)] = FrameRegions(*(_polygons(frame, kind, path) for kind in ("lv", "myocardium")))
    return Regions(_polygons(data, "lv", path), _polygons(data, "myocardium", path), keys)


def _polygons(data: Mapping[str, Any], kind: str, path: Path) -> tuple[Polygon, ...]:
    """Polygons under the name `kind`, or InputError that says which one is wrong."""
    polygons = data.get(kind, [])
    if not isinstance(polygons, list):
        raise InputError(f'{path}: "{kind}" must be a list of polygons.')
    out = []
    for i, points in enumerate(polygons, start=1):
        wrong = InputError(f'{path}: "{kind}" polygon {i} must be a list of at least three [x, y] numbers.')
        if not isinstance(points, list) or len(points) < 3:
            raise wrong
        if any(not isinstance(p, list) or len(p) != 2 or any(type(v) not in (int, float) for v in p) for p in points):
            raise wrong
        try:
            polygon = np.array(points, dtype=np.float64)
        except OverflowError:
            raise wrong from None
        if not (np.isfinite(polygon).all() and np.abs(polygon).max() < 1e6):
            raise wrong
        out.append(polygon)
    return tuple(out)
