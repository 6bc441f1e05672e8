"""What is in a loop, for people and for scripts; no patient's name or number is among it."""

from __future__ import annotations

from typing import Any

from echoq_models.cine.dicom_header import view_label
from echoq_models.cine.loop import CineLoop
from echoq_models.cine.sector import Sector, Spacing

# DICOM PS3.3 C.8.5.5.1.2 and C.8.5.5.1.1
DATA_TYPES = {1: "tissue", 2: "colour flow", 3: "PW Doppler", 4: "CW Doppler", 5: "Doppler mean", 0xA: "ECG trace"}
FORMATS = {1: "2D", 2: "M-mode", 3: "spectral", 4: "waveform", 5: "graphics"}


def facts(loop: CineLoop, sector: Sector | None = None, spacing: Spacing | None = None) -> dict[str, Any]:
    """Plain data, ready for JSON: sizes in pixels, times in milliseconds, spacing in mm per pixel."""
    height, width = loop.size
    return {
        "kind": loop.kind,
        "frames": len(loop),
        "height": height,
        "width": width,
        "fps": round(loop.fps, 3),
        "duration_ms": round(float(loop.times_ms[-1]), 3),
        "times_assumed": loop.times_assumed,
        "sector": {"x0": sector.x0, "y0": sector.y0, "side": sector.side} if sector else None,
        "spacing": {
            "mm_per_pixel_x": spacing.mm_per_pixel_x,
            "mm_per_pixel_y": spacing.mm_per_pixel_y,
            "shrink": spacing.shrink,
            "note": spacing.note,
        }
        if spacing
        else None,
        "colour": loop.colour is not None,
        "tinted": loop.tint is not None,
        "lossy": list(loop.lossy),
        "view": view_label(loop.header) if loop.header is not None else "",
        "heart_rate": loop.heart_rate,
        "r_waves_ms": list(loop.r_waves_ms),
        "regions": [
            {
                "x0": region.x0,
                "y0": region.y0,
                "x1": region.x1,
                "y1": region.y1,
                "data_type": DATA_TYPES.get(region.data_type, f"type {region.data_type}"),
                "format": FORMATS.get(region.spatial_format, f"format {region.spatial_format}"),
                "mm_per_pixel_x": region.mm_per_pixel_x,
                "mm_per_pixel_y": region.mm_per_pixel_y,
            }
            for region in loop.regions
        ],
        "warnings": list(loop.warnings),
    }


def lines(found: dict[str, Any]) -> dict[str, str]:
    """The same for people: label -> text, in reading order, without what is not there."""
    frames = found["frames"]
    out = {
        "Kind": found["kind"],
        "Size": f"{found['width']} x {found['height']} pixels",
        "Frames": f"{frames}" if frames > 1 else "1 (a still)",
    }
    if frames > 1:
        assumed = ", assumed: the file states none" if found["times_assumed"] else ""
        out["Rate"] = f"{found['fps']:.1f} frames per second{assumed}"
        out["Length"] = f"{found['duration_ms'] / 1000:.2f} s"
    if found["view"]:
        out["View"] = found["view"]
    if found["heart_rate"]:
        out["Heart rate"] = f"{found['heart_rate']:.0f} per minute"
    if box := found["sector"]:
        out["Sector"] = f"square of {box['side']} pixels from x {box['x0']}, y {box['y0']}"
    if spacing := found["spacing"]:
        out["Spacing"] = f"{spacing['mm_per_pixel_x']:.3f} x {spacing['mm_per_pixel_y']:.3f} mm per pixel"
        if spacing["note"]:
            out["Spacing"] += f" ({spacing['note']})"
    else:
        out["Spacing"] = "unknown"
    out["Colour"] = "coloured pixels" if found["colour"] else "tinted grey" if found["tinted"] else "grey"
    out["Compression"] = ", ".join(found["lossy"]) or "lossless"
    for number, region in enumerate(found["regions"], start=1):
        where = f"x {region['x0']}-{region['x1']}, y {region['y0']}-{region['y1']}"
        out[f"Region {number}"] = f"{region['data_type']}, {region['format']}, {where}"
    for number, warning in enumerate(found["warnings"], start=1):
        out[f"Warning {number}" if len(found["warnings"]) > 1 else "Warning"] = warning
    return out
