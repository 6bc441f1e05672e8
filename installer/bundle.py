"""What goes into the bundle: the distributions that EchoQ needs, without the parts that it never uses.

Whatever else lies in the environment that builds (tests, linters, training) stays out. `echoq --selftest` in the
built program proves that nothing needed was left behind.
"""

from __future__ import annotations

import fnmatch
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import system_libs
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent

# Required by a package that is shipped, but only for parts of it that EchoQ never calls.
NEVER_CALLED = {
    *("sympy", "mpmath", "networkx", "jinja2", "markupsafe", "fsspec", "setuptools"),  # torch's compiler and exporter
    *("rich", "pygments", "markdown-it-py", "mdurl"),  # typer's colours
}

# Modules that a package would bring along for what EchoQ does not do.
LEFT_OUT = [
    *("torch._dynamo", "torch._inductor", "torch.onnx", "torch.utils.tensorboard"),
    *(f"torch.testing._internal.{part}" for part in ("common_utils", "common_cuda", "distributed", "opinfo")),
    *("torch.utils.benchmark", "torch.utils.bottleneck", "torch.utils.model_dump", "torch.utils.viz"),
    *("matplotlib.tests", "numpy.f2py", "numpy.testing", "PIL.AvifImagePlugin", "PIL.ImageTk"),
    *("pyqtgraph.examples", "pyqtgraph.opengl", "pyqtgraph.console"),
    *("PySide6.QtTest", "PySide6.QtNetwork", "PySide6.QtDBus"),
    *("readline", "tkinter", "turtle", "curses", "idlelib", "lib2to3", "ensurepip", "pydoc_data", "test"),
    *("training", "tests"),
]

# Files by their place in the bundle. Qt's plugins lie one folder deeper on Linux and macOS than on Windows.
TRIMMED = [
    *("torch/lib/*_test*", "torch/lib/*backend_with_compiler*"),
    *("PySide6/*translations/*", "PySide6/*plugins/*virtualkeyboard*", "PySide6/*plugins/platforms/*eglfs*"),
    *("PySide6/*plugins/platforms/*linuxfb*", "PySide6/*plugins/platforms/*vkkhr*"),
    *("PySide6/*plugins/platforms/*vnc*", "PySide6/*plugins/platforms/*minimal*", "PySide6/*plugins/egl*"),
    *("PySide6/*plugins/platformthemes/*gtk3*", "PySide6/*Qt6EglF*", "PySide6/*Qt6Test*"),
    *("PySide6/*plugins/networkinformation/*", "PySide6/*plugins/tls/*", "PySide6/*plugins/generic/*"),
    *("PySide6/*plugins/imageformats/*qpdf*", "PySide6/*plugins/imageformats/*qtga*"),
    *("PySide6/*plugins/imageformats/*qtiff*", "PySide6/*plugins/imageformats/*qwbmp*"),
    *("PySide6/*plugins/imageformats/*qwebp*", "PySide6/*plugins/imageformats/*qicns*"),
    *("PySide6/*Qt6Qml*", "PySide6/*Qt6Quick*", "PySide6/*Qt6VirtualKeyboard*", "PySide6/*Qt6Pdf*"),
    *("PySide6/*Qt6Network*", "PySide6/QtNetwork*", "PySide6/*opengl32sw*"),
    *("matplotlib/mpl-data/sample_data/*", "matplotlib/mpl-data/images/*", "matplotlib/mpl-data/fonts/afm/*"),
    *("matplotlib/mpl-data/fonts/pdfcorefonts/*", "matplotlib/mpl-data/fonts/ttf/[!DL]*"),
    *("PIL/_avif*", "pillow.libs/libavif*", "*/tests/*"),
    *("*.dist-info/RECORD", "*.dist-info/INSTALLER", "*.dist-info/REQUESTED", "*.dist-info/direct_url.json"),
]

# Never bundled on Linux: what X11, the graphics driver and the C library must agree with, and fonts. Small helpers of
# X11 go along, since a desktop may lack them.
HELPERS = ("libxcb-", "libxkbcommon")
LEFT_TO_SYSTEM = {name for name in system_libs.PACKAGES if not name.startswith(HELPERS)}
LEFT_TO_SYSTEM |= {"libstdc++.so.6", "libgcc_s.so.1", "libmvec.so.1", "libdrm.so.2", "libwayland-client.so.0"}
LEFT_TO_SYSTEM |= {"libwayland-cursor.so.0", "libwayland-egl.so.1", "libvulkan.so.1"}

Entry = tuple[str, str, str]  # PyInstaller's: place in the bundle, source, kind


def version() -> str:
    """EchoQ's version, from pyproject.toml; a test keeps `echoq_models.__version__` the same."""
    return str(_project()["version"])


def shipped() -> list[str]:
    """Names of the distributions that are bundled: what pyproject.toml asks for, and what that needs in turn."""
    found: set[str] = set()
    waiting = [Requirement(line) for line in _project()["dependencies"]]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if name in found | NEVER_CALLED or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        waiting += [Requirement(line) for line in metadata.requires(name) or ()]
    return sorted(found)


def left_out() -> list[str]:
    """Modules that PyInstaller must not follow: those of every installed distribution that is not shipped."""
    kept = {*shipped(), "echoq"}
    strangers = [
        module
        for module, owners in metadata.packages_distributions().items()
        if not kept & {canonicalize_name(owner) for owner in owners}
    ]
    return sorted({*strangers, *LEFT_OUT} - {"pkg_resources"})


def is_kept(place: str) -> bool:
    """Whether a file belongs into the bundle, by its place in there."""
    place = place.replace("\\", "/")
    return not any(fnmatch.fnmatchcase(place, pattern) for pattern in TRIMMED)


def trimmed(entries: Iterable[Entry]) -> list[Entry]:
    """PyInstaller's entries without what EchoQ never uses, and without links to that."""
    return [entry for entry in entries if is_kept(entry[1] if entry[2] == "SYMLINK" else entry[0])]


def without_orphans(entries: list[Entry]) -> list[Entry]:
    """PyInstaller's binaries without what the system has and what nothing else needs (Linux)."""
    if not sys.platform.startswith("linux"):
        return entries
    waiting = {Path(entry[0]).name: entry for entry in entries if _is_from_system(entry)}
    kept = [entry for entry in entries if Path(entry[0]).name not in waiting]
    for entry in kept:  # grows as libraries come back
        if entry[2] in ("BINARY", "EXTENSION"):
            for name in _needed(entry[1]) & waiting.keys():
                library = waiting.pop(name)
                if name not in LEFT_TO_SYSTEM:
                    kept.append(library)
    return kept


def _is_from_system(entry: Entry) -> bool:
    name = Path(entry[0]).name
    return entry[2] == "BINARY" and entry[1].startswith(("/usr/lib", "/lib")) and not name.startswith("libpython")


def _needed(file: str) -> set[str]:
    """Names of the libraries that an ELF file asks for."""
    said = subprocess.run(["objdump", "-p", file], capture_output=True, text=True, check=True).stdout
    return {line.split()[1] for line in said.splitlines() if line.strip().startswith("NEEDED")}


def sizes(folder: Path) -> list[tuple[str, int]]:
    """(what, bytes) of everything in a built bundle, by package, largest first."""
    owner_of = {
        module: owners[0] for module, owners in metadata.packages_distributions().items() if len(set(owners)) == 1
    }
    total: Counter[str] = Counter()
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            parts = path.relative_to(folder).parts
            total[_owner(parts[1:] if parts[0] == "_internal" else parts, owner_of)] += path.stat().st_size
    return total.most_common()


def _owner(parts: tuple[str, ...], owner_of: dict[str, str]) -> str:
    top = parts[0].split(".")[0]
    if parts[0].endswith((".dist-info", ".libs")):
        top = parts[0].rsplit(".", 1)[0].split("-")[0].replace("_", "-").lower()
        return {"opencv-python-headless": "opencv-python-headless"}.get(top, top)
    if parts[0] == "resources" and len(parts) > 1:
        return f"EchoQ's {parts[1]}"
    if len(parts) == 1:
        if parts[0].startswith("echoq"):
            return "program and pure Python"
        return owner_of.get(top, "Python and system libraries")
    return owner_of.get(top, top)


def _project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
