"""The wheel, installed outside the checkout: commands run, shipped data are found."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.shared import ROOT

BUILT_FROM = ["echoq_desktop", "echoq_models", "training", "resources"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built offline from a copy of the tree, so that nothing lands in the checkout."""
    copy = tmp_path_factory.mktemp("tree")
    for name in BUILT_FROM:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE.md"):
        shutil.copy(ROOT / name, copy / name)
    out = tmp_path_factory.mktemp("dist")
    ended = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, copy],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The wheel in a folder of its own, ahead of the checkout's dependencies. Gives (echoq command, environment)."""
    target = tmp_path_factory.mktemp("installed")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel],
        capture_output=True,
        timeout=300,
        check=True,
    )
    dependencies = sysconfig.get_paths()["purelib"]
    gone = ("DISPLAY", "WAYLAND_DISPLAY", "PYTHONPATH")
    environment = {key: value for key, value in os.environ.items() if key not in gone}
    environment["PYTHONPATH"] = os.pathsep.join([str(target), dependencies])
    environment["ECHOQ_WEIGHTS"] = str(tmp_path_factory.mktemp("no-weights"))
    environment["OMP_NUM_THREADS"] = "1"
    return target / "bin" / "echoq", environment


@pytest.fixture
def run(installed: tuple[Path, dict[str, str]], tmp_path: Path):  # type: ignore[no-untyped-def]
    command, environment = installed

    def echoq(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(command), *map(str, arguments)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return echoq


def test_the_wheel_holds_the_packages_and_the_data(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for package in ("echoq_desktop", "echoq_models", "training"):
        sources = {p.relative_to(ROOT).as_posix() for p in (ROOT / package).rglob("*.py")}
        assert sources <= names
    data = {p.relative_to(ROOT / "resources").as_posix() for p in (ROOT / "resources").rglob("*") if p.is_file()}
    data.discard("screenshot.png")  # the README's picture
    assert {name for name in names if "/_resources/" in name} == {f"echoq_models/_resources/{name}" for name in data}
    assert not [name for name in names if name.startswith(("tests/", "installer/", "resources/"))]
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.endswith("licenses/NOTICE.md") for name in names)


def test_the_installed_package_is_the_one_that_runs(installed: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    command, environment = installed
    code = "import echoq_models, echoq_models.resources as r; print(echoq_models.__file__); print(r.root())"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    module, data = map(Path, ended.stdout.splitlines())
    home = command.parent.parent
    assert module.is_relative_to(home)
    assert data == home / "echoq_models" / "_resources"


def test_commands_run_outside_the_checkout(run, tmp_path: Path, fan_file: Path) -> None:  # type: ignore[no-untyped-def]
    version = run("--version")
    assert version.returncode == 0, version.stderr
    assert version.stdout.startswith("echoq ")
    listed = run("weights", "list")
    assert listed.returncode == 0, listed.stderr
    for path in (ROOT / "resources" / "weights").glob("*.safetensors"):
        assert path.stem in listed.stdout
    assert run("weights", "verify").returncode == 0
    method = "fast" if (ROOT / "resources" / "weights" / "fast.safetensors").is_file() else "bm3d"
    ended = run("denoise", fan_file, "-o", "out.npz", "--method", method)
    assert ended.returncode == 0, ended.stderr
    with np.load(tmp_path / "out.npz", allow_pickle=False) as out:
        assert out["frames"].shape == (3, 96, 128)


def test_recipes_travel_with_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {p.relative_to(ROOT).as_posix() for p in (ROOT / "training").rglob("*.toml")} <= names
