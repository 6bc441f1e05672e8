"""Who may import what, checked on what really happens when a package is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.shared import ROOT

QT = ("PySide6", "pyqtgraph", "shiboken6")


def loaded_after(statement: str) -> set[str]:
    """Top-level names in sys.modules after a statement ran in a fresh interpreter."""
    code = f"{statement}\nimport sys\nprint(' '.join(sorted({{name.split('.')[0] for name in sys.modules}})))"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    return set(ended.stdout.split())


def test_the_command_line_loads_neither_qt_nor_torch() -> None:
    loaded = loaded_after("import echoq_desktop.cli, echoq_desktop.__main__")
    assert not loaded & {"torch", "cv2", "pydicom", "numpy", *QT}


@pytest.mark.parametrize(
    "module",
    [
        "echoq_models.cine",
        "echoq_models.cine.sector",
        "echoq_models.cine.writer",
        "echoq_models.metrics.gcnr",
        "echoq_models.regions",
        "echoq_models.denoise.registry",
        "echoq_models.runtime.jobs",
        "echoq_models.runtime.describe",
        "echoq_models.weights.store",
    ],
)
def test_what_the_window_uses_of_the_models_loads_no_torch(module: str) -> None:
    assert not loaded_after(f"import {module}") & {"torch", *QT}


def test_listing_denoisers_loads_no_torch() -> None:
    statement = "from echoq_models.denoise import registry\nfor d in registry.denoisers().values(): d.available()"
    assert not loaded_after(statement) & {"torch", *QT}


@pytest.mark.parametrize("module", ["app", "engine", "session", "main_window"])
def test_the_window_loads_no_torch(module: str) -> None:
    assert "torch" not in loaded_after(f"import echoq_desktop.{module}")


@pytest.mark.parametrize("package", ["echoq_models.runtime.headless", "training.cli"])
def test_work_without_a_window_loads_no_qt(package: str) -> None:
    assert not loaded_after(f"import {package}") & set(QT)


def test_version_is_one() -> None:
    import tomllib

    import echoq_models

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == echoq_models.__version__


def test_every_pin_satisfies_the_project() -> None:
    """constraints.txt names every dependency, in a version that pyproject.toml allows."""
    import tomllib

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    pinned = {canonicalize_name(name): version for name, version in pins.items()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for line in project["dependencies"] + project["optional-dependencies"]["dev"]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(pinned[canonicalize_name(wanted.name)]), line
