"""Checks the system libraries that Qt needs on Linux; installs them with apt as root, else prints how.

Runs with any Python 3 before anything is installed. It never fails: where a window cannot be shown, EchoQ says
so itself and works without one.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

# What PySide6's libQt6Gui and its X11 plugin link to, and the Debian or Ubuntu package that has it.
PACKAGES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libX11.so.6": "libx11-6",
    "libX11-xcb.so.1": "libx11-xcb1",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libfreetype.so.6": "libfreetype6",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libxcb.so.1": "libxcb1",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-randr.so.0": "libxcb-randr0",
    "libxcb-render.so.0": "libxcb-render0",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-shm.so.0": "libxcb-shm0",
    "libxcb-sync.so.1": "libxcb-sync1",
    "libxcb-util.so.1": "libxcb-util1",
    "libxcb-xfixes.so.0": "libxcb-xfixes0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
}
FONTS = "fonts-dejavu-core"  # a bare system has no font at all, and Qt would draw boxes


def missing_packages() -> list[str]:
    """Debian packages of the libraries that cannot be loaded, sorted; empty outside Linux."""
    if platform.system() != "Linux":
        return []
    missing = {package for library, package in PACKAGES.items() if not _loads(library)}
    folders = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path.home() / ".local/share/fonts")
    if not any(next(folder.rglob("*.[to]tf"), None) for folder in folders if folder.is_dir()):
        missing.add(FONTS)
    return sorted(missing)


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def install(packages: list[str], what: str) -> None:
    """Install with apt when that is possible, else say in one line what to run."""
    line = f"apt-get install -y --no-install-recommends {' '.join(packages)}"
    if not shutil.which("apt-get"):
        print(f"{what} Install the libraries that these Debian packages hold: {' '.join(packages)}")
        return
    if os.geteuid() != 0:
        print(f"{what} Run: sudo {line}")
        return
    print(f"{what} Installing: {' '.join(packages)}", flush=True)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "-qq"], line.split()):
        ended = subprocess.run(command, env=quiet, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
        if ended.returncode != 0:
            tail = ended.stderr.decode(errors="replace").strip().splitlines()
            print(f"{' '.join(command[:2])} failed ({tail[-1] if tail else ended.returncode}). Later: {line}")
            return


def main(arguments: list[str]) -> int:
    """`--venv`: Python's own venv package, which Debian splits off; otherwise Qt's libraries."""
    if "--venv" in arguments:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        install([f"python{version}-venv"], "Python lacks ensurepip.")
    elif packages := missing_packages():
        install(packages, "Qt's window needs system libraries that are missing.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
