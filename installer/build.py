"""Builds what a person installs, on the system it runs on: `make installer`.

PyInstaller makes a folder (dist/echoq) with the program and all it needs; then follow, by system, a Debian package
and a portable archive, an Inno Setup installer, or a disk image. Nothing here is part of `make test`.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

import bundle

ROOT = bundle.ROOT
DIST = ROOT / "dist"
PROGRAM = DIST / "echoq"


def freeze() -> None:
    """Run PyInstaller on the spec file and put licence and notices beside the program."""
    import torch

    if torch.version.cuda is not None:
        raise SystemExit(
            "The torch in this environment brings CUDA along, gigabytes of it. Remove .venv and run: "
            "make installer TORCH_INDEX=https://download.pytorch.org/whl/cpu"
        )
    where = ["--distpath", str(DIST), "--workpath", str(ROOT / "build"), "--noconfirm", "--log-level", "WARN"]
    subprocess.run([sys.executable, "-m", "PyInstaller", *where, str(ROOT / "installer" / "echoq.spec")], check=True)
    if sys.platform.startswith("linux"):  # a Python built from source brings its debugging symbols
        inside = PROGRAM / "_internal"
        for path in (*inside.glob("libpython*"), *inside.glob("python3*/lib-dynload/*.so")):
            subprocess.run(["strip", "--strip-unneeded", str(path)], check=True)
    for name in ("LICENSE", "NOTICE.md"):
        shutil.copy(ROOT / name, PROGRAM / name)


def package() -> list[Path]:
    """Make the files that are handed out. Returns their paths."""
    if sys.platform == "win32":
        return [_windows()]
    if sys.platform == "darwin":
        target = DIST / f"EchoQ-{bundle.version()}.dmg"
        subprocess.run([str(ROOT / "installer" / "macos" / "make_dmg.sh"), DIST / "EchoQ.app", target], check=True)
        return [target]
    sys.path.insert(0, str(ROOT / "installer" / "linux"))
    import packages

    return [packages.archive(PROGRAM, DIST), packages.debian(PROGRAM, DIST, ROOT / "build" / "debian")]


def _windows() -> Path:
    compiler = shutil.which("iscc") or r"C:\Program Files (x86)\Inno Setup 6\ISCC.exe"
    script = ROOT / "installer" / "windows" / "echoq.iss"
    subprocess.run([compiler, f"/DVersion={bundle.version()}", str(script)], check=True)
    return DIST / f"EchoQ-{bundle.version()}-setup.exe"


def report(made: list[Path]) -> None:
    """Print the size of the bundle by package, and of each file made."""
    rows = bundle.sizes(PROGRAM)
    print("\nIn the bundle, MiB:")
    for what, size in [row for row in rows if row[1] >= 2**19]:
        print(f"{size / 2**20:8.1f}  {what}")
    rest = sum(size for _, size in rows if size < 2**19)
    print(f"{rest / 2**20:8.1f}  {sum(size < 2**19 for _, size in rows)} others below 0.5")
    print(f"{sum(size for _, size in rows) / 2**20:8.1f}  in all")
    for path in made:
        print(f"{path.stat().st_size / 2**20:8.1f}  {path.relative_to(ROOT)}")


def main() -> None:
    """Freeze, package, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="take dist/echoq as it is and only package it")
    parser.add_argument("--only-freeze", action="store_true", help="stop at dist/echoq")
    options = parser.parse_args()
    started = time.monotonic()
    if not options.keep:
        freeze()
    report([] if options.only_freeze else package())
    print(f"{time.monotonic() - started:8.0f} s")


if __name__ == "__main__":
    main()
