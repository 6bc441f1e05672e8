"""Gathers the licences of what is bundled into one file, from the packages' own metadata."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

TEXTS = Path(__file__).resolve().parent / "licences"
FILE_NAME = "THIRD-PARTY.txt"
RULE = "=" * 100
A_LICENCE = re.compile(r"(licen[cs]e|copying|notice|copyright)", re.IGNORECASE)
# Packages whose wheels carry no licence text
TEXT_OF = {
    "pyside6-essentials": ("LGPL-3.0.txt", "GPL-3.0.txt"),
    "shiboken6": ("LGPL-3.0.txt", "GPL-3.0.txt"),
    "pyjpegls": ("pyjpegls.txt",),
    "ffmpeg": ("GPL-3.0.txt",),
}


def write(folder: Path, distributions: Iterable[str], libraries: Iterable[Path]) -> Path:
    """Write THIRD-PARTY.txt into `folder`.

    distributions: names of the bundled packages.  libraries: bundled files that came from the system.
    Raises ValueError when a package has no licence text.
    """
    parts = [(TEXTS / "HEAD.txt").read_text(encoding="utf-8")]
    parts += [_section(f"Python {platform.python_version()}", "PSF-2.0", [_python_licence()]), _ffmpeg()]
    shown: set[str] = set()
    for name in distributions:
        found = metadata.distribution(name)
        stated = found.metadata.get("License-Expression") or found.metadata.get("License") or "see below"
        texts = [_text(name) for name in TEXT_OF.get(name, ()) if name not in shown]
        shown.update(TEXT_OF.get(name, ()))
        texts += [path.read_text(encoding="utf-8", errors="replace") for path in _licence_files(found)]
        if not texts and name not in TEXT_OF:
            raise ValueError(f"{name} {found.version} comes without a licence text: add one to installer/licences")
        parts.append(_section(f"{name} {found.version}", stated.strip().splitlines()[0], texts))
    parts += [_section(f"{package} (system library)", "see below", [text]) for package, text in _system(libraries)]
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / FILE_NAME
    target.write_text("\n".join(parts), encoding="utf-8")
    return target


def _section(title: str, licence: str, texts: Iterable[str]) -> str:
    return "\n".join(["", RULE, title, f"Licence: {licence}", RULE, "", *(text.strip() + "\n" for text in texts)])


def _text(name: str) -> str:
    return (TEXTS / name).read_text(encoding="utf-8")


def _licence_files(found: metadata.Distribution) -> list[Path]:
    """Files of a distribution that look like licences, in its metadata and in its package."""
    files = [Path(str(found.locate_file(file))) for file in found.files or () if A_LICENCE.search(file.name)]
    return sorted({path for path in files if path.is_file() and path.suffix in ("", ".txt", ".md", ".rst", ".APACHE")})


def _python_licence() -> str:
    for place in (Path(sys.base_prefix) / "LICENSE.txt", *Path(sys.base_prefix).glob("lib/python3*/LICENSE.txt")):
        if place.is_file():
            return place.read_text(encoding="utf-8", errors="replace")
    return f"{sys.copyright}\n\nThe text of the licence: https://docs.python.org/3/license.html"


def _ffmpeg() -> str:
    import imageio_ffmpeg

    said = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-version"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    return _section(said.splitlines()[0], "GPL-3.0-or-later", [said, _text("GPL-3.0.txt")])


def _system(libraries: Iterable[Path]) -> list[tuple[str, str]]:
    """(Debian package, its copyright file) of libraries that were taken from the system."""
    if not shutil.which("dpkg-query"):
        return []
    packages = set()
    for library in libraries:
        for place in (library, library.resolve()):
            said = subprocess.run(
                ["dpkg-query", "--search", str(place)], capture_output=True, text=True, check=False
            ).stdout
            packages |= {line.split(":")[0] for line in said.splitlines()[:1]}
    found = []
    for package in sorted(packages):
        file = Path("/usr/share/doc") / package / "copyright"
        if file.is_file():
            found.append((package, file.read_text(encoding="utf-8", errors="replace")))
    return found
