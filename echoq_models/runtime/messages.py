"""What travels through the pipe between window and worker: plain dicts, with pixels left in shared files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from echoq_models.cine.loop import CineLoop, ColourPixels, UltrasoundRegion
from echoq_models.cine.sector import Spacing
from echoq_models.denoise.base import Settings
from echoq_models.runtime.jobs import BatchOptions, ExportOptions
from echoq_models.runtime.shared_files import allocate, view
from echoq_models.segment.base import Segmentation

Message = dict[str, Any]

_ARRAYS = ("index", "rgb")  # of ColourPixels: as large as frames, so they travel in files too


def pack_loop(loop: CineLoop, folder: Path, stem: str) -> tuple[CineLoop, Message]:
    """Move a loop's pixels into shared files: the same loop on maps, and the message that describes it.

    The DICOM header stays behind (the window has no use for it). Raises OutputError when the disk is full.
    """
    colour = loop.colour
    moved = replace(loop, frames=_share(loop.frames, folder / f"{stem}.frames"))
    if colour is not None:
        files = {name: _share(getattr(colour, name), folder / f"{stem}.{name}") for name in _ARRAYS}
        moved = replace(moved, colour=replace(colour, **files))
    message: Message = {each.name: getattr(loop, each.name) for each in fields(CineLoop)}
    message["header"] = None
    message["source"] = None if loop.source is None else str(loop.source)
    message["regions"] = [asdict(region) for region in loop.regions]
    message["frames"] = _place(folder / f"{stem}.frames", loop.frames)
    if colour is not None:
        places = {name: _place(folder / f"{stem}.{name}", getattr(colour, name)) for name in _ARRAYS}
        message["colour"] = {"offsets": colour.offsets, **places}
    return moved, message


def unpack_loop(message: Mapping[str, Any]) -> CineLoop:
    """The loop that `pack_loop` described, on read-only maps and without a header. Raises OSError."""
    given = dict(message)
    given["frames"] = _map(given["frames"])
    given["source"] = None if given["source"] is None else Path(given["source"])
    given["regions"] = tuple(UltrasoundRegion(**region) for region in given["regions"])
    if given["colour"] is not None:
        colour = given["colour"]
        given["colour"] = ColourPixels(colour["offsets"], *(_map(colour[name]) for name in _ARRAYS))
    return CineLoop(**given)


def loop_files(message: Mapping[str, Any]) -> list[str]:
    """The shared files of a packed loop."""
    colour = message["colour"] or {}
    places = [message["frames"], *(colour[name] for name in _ARRAYS if name in colour)]
    return [place["file"] for place in places if place["file"] is not None]


def unpack_settings(message: Mapping[str, Any]) -> Settings:
    """`Settings` from a plain dict."""
    return Settings(**message)


def unpack_export(message: Mapping[str, Any]) -> ExportOptions:
    """`ExportOptions` from a plain dict."""
    return ExportOptions(**{**message, "settings": Settings(**message["settings"])})


def unpack_batch(message: Mapping[str, Any]) -> BatchOptions:
    """`BatchOptions` from a plain dict."""
    return BatchOptions(**{**message, "settings": Settings(**message["settings"])})


def pack_segmentation(segmentation: Segmentation) -> Message:
    """A segmentation as a message: of each mask the bits of the box around it, some kilobytes a frame."""
    message: Message = {each.name: getattr(segmentation, each.name) for each in fields(Segmentation)}
    message["facts"] = dict(segmentation.facts)
    message["lv"] = {"shape": segmentation.lv.shape, "boxes": {}}
    for t in np.flatnonzero(segmentation.found).tolist():
        mask = segmentation.lv[t]
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if rows.size:
            box = (int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)
            message["lv"]["boxes"][t] = (*box, np.packbits(mask[box[0] : box[1], box[2] : box[3]]))
    return message


def unpack_segmentation(message: Mapping[str, Any]) -> Segmentation:
    """The segmentation that `pack_segmentation` described."""
    lv = np.zeros(message["lv"]["shape"], dtype=bool)
    for t, (top, bottom, left, right, bits) in message["lv"]["boxes"].items():
        part = lv[t, top:bottom, left:right]
        part[...] = np.unpackbits(bits, count=part.size).reshape(part.shape)
    return Segmentation(**{**message, "lv": lv})


def pack_spacing(spacing: Spacing | None) -> Message | None:
    """A spacing as a plain dict."""
    return None if spacing is None else asdict(spacing)


def unpack_spacing(message: Mapping[str, Any] | None) -> Spacing | None:
    """`Spacing` from a plain dict."""
    return None if message is None else Spacing(**message)


def _share(array: np.ndarray, path: Path) -> np.ndarray:
    if array.size == 0:
        return array
    shared = allocate(path, array.shape, array.dtype.type)
    shared[...] = array
    return shared


def _place(path: Path, array: np.ndarray) -> Message:
    file = str(path) if array.size else None  # an empty file cannot be mapped
    return {"file": file, "shape": tuple(array.shape), "dtype": array.dtype.str}


def _map(place: Mapping[str, Any]) -> np.ndarray:
    dtype = np.dtype(place["dtype"]).type
    return np.zeros(place["shape"], dtype) if place["file"] is None else view(place["file"], place["shape"], dtype)
