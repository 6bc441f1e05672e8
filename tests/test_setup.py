"""Setting a machine up: Qt's system libraries, and what make would do when something changed."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from tests.shared import ROOT

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")


@pytest.fixture
def system_libs() -> ModuleType:
    """The script, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("system_libs", ROOT / "installer" / "system_libs.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_only_what_cannot_be_loaded_is_missing(system_libs: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_libs.platform, "system", lambda: "Linux")
    monkeypatch.setattr(system_libs, "_loads", lambda library: library != "libxcb-cursor.so.0")
    assert "libxcb-cursor0" in system_libs.missing_packages()
    assert set(system_libs.missing_packages()) <= {"libxcb-cursor0", system_libs.FONTS}
    monkeypatch.setattr(system_libs.platform, "system", lambda: "Darwin")
    assert system_libs.missing_packages() == []


def test_one_line_to_run_without_root(
    system_libs: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(system_libs.shutil, "which", lambda name: "/usr/bin/apt-get")
    monkeypatch.setattr(system_libs.os, "geteuid", lambda: 1000, raising=False)
    monkeypatch.setattr(system_libs.subprocess, "run", lambda *args, **kwargs: pytest.fail("ran apt without root"))
    system_libs.install(["libegl1", "libgl1"], "Missing.")
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("sudo apt-get install -y --no-install-recommends libegl1 libgl1")


def test_root_installs_and_survives_a_failing_apt(
    system_libs: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[list[str]] = []

    def fail(command: list[str], **options: object) -> subprocess.CompletedProcess[bytes]:
        ran.append(command)
        code = 100 if "install" in command else 0
        return subprocess.CompletedProcess(command, code, b"", b"E: no network\n")

    monkeypatch.setattr(system_libs.shutil, "which", lambda name: "/usr/bin/apt-get")
    monkeypatch.setattr(system_libs.os, "geteuid", lambda: 0, raising=False)
    monkeypatch.setattr(system_libs.subprocess, "run", fail)
    system_libs.install(["libegl1"], "Missing.")
    assert [command[1] for command in ran] == ["update", "install"]
    assert "no network" in capsys.readouterr().out


def test_every_qt_library_that_the_platform_plugin_needs_is_known(system_libs: ModuleType) -> None:
    """Qt's X11 plugin names its libraries; each one that is not Qt's own or libc's has a package here."""
    import PySide6

    readelf = shutil.which("readelf")
    plugin = Path(PySide6.__path__[0]) / "Qt" / "plugins" / "platforms" / "libqxcb.so"
    if readelf is None or not plugin.is_file():
        pytest.skip("no readelf or no X11 plugin here")
    out = subprocess.run([readelf, "-d", plugin], capture_output=True, text=True, check=True).stdout
    needed = {line.split("[")[1].split("]")[0] for line in out.splitlines() if "(NEEDED)" in line}
    always = ("libQt6", "libstdc++", "libm.", "libgcc_s", "libc.", "libpthread", "libdl", "librt", "ld-linux")
    assert {name for name in needed if not name.startswith(always)} <= set(system_libs.PACKAGES)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout whose .venv is complete, as far as make can tell."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
        os.utime(tmp_path / name, (1_000, 1_000))
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for age, name in ((2_000, "bin/python"), (3_000, ".ready"), (4_000, ".ready-dev")):
        (tmp_path / ".venv" / name).touch()
        os.utime(tmp_path / ".venv" / name, (age, age))
    return tmp_path


def plan(tree: Path, *arguments: str) -> str:
    """What make would run."""
    return subprocess.run(
        ["make", "--dry-run", *arguments], cwd=tree, capture_output=True, text=True, check=True
    ).stdout


@needs_make
def test_a_complete_environment_is_left_alone(tree: Path) -> None:
    assert "pip install" not in plan(tree, "run")
    assert "-m echoq_desktop" in plan(tree, "run")


@needs_make
@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_pin_installs_again(name: str, tree: Path) -> None:
    os.utime(tree / name, (9_000, 9_000))
    steps = plan(tree, "venv")
    assert steps.index("torch==") < steps.index("--editable .")
    assert "--constraint constraints.txt" in steps


@needs_make
def test_a_bare_tree_makes_everything(tree: Path) -> None:
    shutil.rmtree(tree / ".venv")
    steps = plan(tree, "test", "TORCH_INDEX=https://example.org/cpu")
    assert steps.index("-m venv .venv") < steps.index("--index-url https://example.org/cpu torch==")
    for step in ("[dev]", "ruff check", "mypy", "lint-imports", "-m pytest"):
        assert step in steps
