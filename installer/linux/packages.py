"""The Debian package and the portable archive, from the folder that PyInstaller made.

The package has no scripts that run at installation: Debian's own triggers take up the menu entry, the icons and the
file types, and removing it leaves nothing behind.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bundle
import system_libs

HERE = Path(__file__).resolve().parent
ICONS = bundle.ROOT / "resources" / "icons"
HOME = "opt/echoq"
MAINTAINER = "The EchoQ authors <echoq@example.org>"
WAYLAND = ("libwayland-client0", "libwayland-cursor0", "libwayland-egl1")  # there wherever Wayland is
DESCRIPTION = """\
Description: open echo loops, see them denoised, measure gCNR (research use only)
 EchoQ shows an echocardiogram loop beside its denoised and its BM3D version and
 measures how well the left ventricle and the myocardium separate.
 .
 For research. It is not a medical device and must not be used for diagnosis.
"""
README = """\
EchoQ {version}, portable. For research use only; not a medical device.

Start ./echoq for the window, ./echoq --help for the commands, ./echoq --selftest to try it on this computer.
The window needs system libraries that nearly every desktop has; on Debian and Ubuntu:

  sudo apt-get install --no-install-recommends {packages}

To remove EchoQ delete this folder. Licences: LICENSE, NOTICE.md and _internal/resources/licences.
"""


def dependencies() -> list[str]:
    """What the package depends on: this system's C library or a newer one, and Qt's libraries and a font."""
    c_library = f"libc6 (>= {platform.libc_ver()[1]})"
    return [c_library, *sorted({*system_libs.PACKAGES.values(), system_libs.FONTS, "libgcc-s1", "libstdc++6"})]


def archive(program: Path, folder: Path) -> Path:
    """Pack the program as a portable .tar.gz in `folder`."""
    name = f"echoq-{bundle.version()}-linux-{platform.machine()}"
    target = folder / f"{name}.tar.gz"
    readme = program / "README.txt"
    readme.write_text(README.format(version=bundle.version(), packages=" ".join(dependencies()[1:])), encoding="utf-8")
    try:
        with _whole(target) as new, tarfile.open(new, "w:gz", compresslevel=6) as packed:
            packed.add(program, arcname=name, filter=_of_root)
    finally:
        readme.unlink()
    return target


def debian(program: Path, folder: Path, staging: Path) -> Path:
    """Pack the program as a .deb in `folder`; `staging` is made anew."""
    machine = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True)
    architecture = machine.stdout.strip()
    shutil.rmtree(staging, ignore_errors=True)
    shutil.copytree(program, staging / HOME, symlinks=True, copy_function=_link)
    for place in ("usr/bin", "usr/share/applications", "usr/share/doc/echoq", "DEBIAN"):
        (staging / place).mkdir(parents=True)
    (staging / "usr/bin/echoq").symlink_to(f"/{HOME}/echoq")
    shutil.copy(HERE / "echoq.desktop", staging / "usr/share/applications")
    for size in (16, 32, 48, 64, 128, 256):
        _place(ICONS / f"echoq-{size}.png", staging / f"usr/share/icons/hicolor/{size}x{size}/apps/echoq.png")
    _place(ICONS / "echoq.svg", staging / "usr/share/icons/hicolor/scalable/apps/echoq.svg")
    notices = (bundle.ROOT / "NOTICE.md").read_text(encoding="utf-8")
    licence = (bundle.ROOT / "LICENSE").read_text(encoding="utf-8")
    (staging / "usr/share/doc/echoq/copyright").write_text(f"{notices}\n\n{licence}", encoding="utf-8")
    _tidy_modes(staging)
    _write_control(staging, architecture)
    target = folder / f"echoq_{bundle.version()}_{architecture}.deb"
    with _whole(target) as new:
        subprocess.run(["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(staging), str(new)], check=True)
    shutil.rmtree(staging)
    return target


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A name to write to, which becomes `target` once all is written."""
    new = target.with_name(f".{target.name}.part")
    try:
        yield new
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)


def _write_control(staging: Path, architecture: str) -> None:
    files = [path for path in sorted(staging.rglob("*")) if path.is_file() and not path.is_symlink()]
    sums = "".join(f"{_md5(path)}  {path.relative_to(staging)}\n" for path in files)
    kibibytes = sum(-(-path.stat().st_size // 1024) for path in files)
    (staging / "DEBIAN/md5sums").write_text(sums, encoding="utf-8")
    (staging / "DEBIAN/control").write_text(
        f"Package: echoq\nVersion: {bundle.version()}\nArchitecture: {architecture}\nMaintainer: {MAINTAINER}\n"
        f"Section: science\nPriority: optional\nInstalled-Size: {kibibytes}\n"
        f"Depends: {', '.join(dependencies())}\nRecommends: {', '.join(WAYLAND)}\n{DESCRIPTION}",
        encoding="utf-8",
    )


def _tidy_modes(staging: Path) -> None:
    """Everybody may read, only the owner may write, whatever the umask of who builds."""
    for path in staging.rglob("*"):
        if not path.is_symlink():
            runs = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if runs else 0o644)
    staging.chmod(0o755)


def _link(source: str, target: str) -> None:
    """A second name for a file instead of a gigabyte of copies."""
    Path(target).hardlink_to(source)


def _place(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _of_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry
