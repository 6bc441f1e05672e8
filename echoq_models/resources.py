"""Where the shipped data lie: one locator for a checkout, an installed wheel and a frozen app."""

from __future__ import annotations

import sys
from pathlib import Path


def root() -> Path:
    """The folder of shipped data. Raises FileNotFoundError when an installation lacks it."""
    package = Path(__file__).resolve().parent
    places = [package / "_resources", package.parent / "resources"]
    frozen = getattr(sys, "_MEIPASS", None)
    if frozen:
        places.insert(0, Path(frozen) / "resources")
    for place in places:
        if place.is_dir():
            return place
    raise FileNotFoundError("EchoQ's data folder is missing from this installation: install it again")


def path(*parts: str) -> Path:
    """Path of a shipped file or folder, e.g. `path("weights")`; it need not exist."""
    return root().joinpath(*parts)


def sample() -> tuple[Path, Path]:
    """The sample loop and its region file. The loop is the cardiac one that ships inside pydicom."""
    from pydicom.examples import get_path

    loop = Path(get_path("ybr_color"))
    return loop, path("sample", f"{loop.stem}.roi.json")


def phantom_sample() -> tuple[Path, Path]:
    """The simulated sample loop, an apical four-chamber phantom under haze, and its region file."""
    loop = path("sample", "phantom_a4c.dcm")
    return loop, path("sample", f"{loop.stem}.roi.json")
