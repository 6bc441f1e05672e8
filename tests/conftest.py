"""What tests of several rooms share: small loops of their own making, and `echoq` as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from echoq_models.cine.loop import CineLoop
from tests import make_files
from tests.shared import ROOT, Echoq, fan_frames


def person(folder: Path) -> dict[str, str]:
    """A person's environment without a display and without weights of their own."""
    gone = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM", "PYTHONWARNINGS")
    kept = {key: value for key, value in os.environ.items() if key not in gone}
    return {**kept, "PYTHONPATH": str(ROOT), "ECHOQ_WEIGHTS": str(folder / "no-weights"), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def echoq_environment(tmp_path: Path) -> dict[str, str]:
    """The environment for `echoq` as a process."""
    return person(tmp_path)


@pytest.fixture(scope="session")
def headless_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """`echoq` without a display, once for all tests: the folder it ran in, and how it ended.

    It leaves with 99 if Qt was imported.
    """
    folder = tmp_path_factory.mktemp("headless")
    code = "import sys\nfrom echoq_desktop.cli import main\ncode = main([])\n"
    code += "sys.exit(99 if 'PySide6' in sys.modules else code)\n"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=person(folder),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return folder, ended


@pytest.fixture
def echoq(tmp_path: Path, echoq_environment: dict[str, str]) -> Echoq:
    """Run `echoq` with arguments as a process of its own, in the test's folder."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "echoq_desktop", *map(str, arguments)],
            cwd=tmp_path,
            env={**echoq_environment, **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


@pytest.fixture
def fan_loop() -> CineLoop:
    """Three frames of 96 x 128 at 25 frames per second, grey."""
    return CineLoop(fan_frames(3), np.arange(3) * 40.0, "npz")


@pytest.fixture
def fan_file(tmp_path: Path) -> Path:
    """The same three frames as an npz file."""
    path = tmp_path / "fan.npz"
    np.savez(path, frames=fan_frames(3), times_ms=np.arange(3) * 40.0)
    return path


@pytest.fixture
def fan_roi(tmp_path: Path) -> Path:
    """Regions on the fan: the chamber and a band of tissue above it."""
    path = tmp_path / "fan.roi.json"
    lv = [[[58, 42], [72, 42], [72, 62], [58, 62]]]
    myocardium = [[[58, 14], [72, 14], [74, 24], [56, 24]]]
    path.write_text(json.dumps({"lv": lv, "myocardium": myocardium}), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def cardiac_loop_path() -> Path:
    """The cardiac loop that pydicom carries: JPEG baseline, YBR_FULL_422, 30 frames of 240 x 320, 33.333 ms."""
    import pydicom

    return Path(str(pydicom.examples.get_path("ybr_color")))


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real files beside the checkout; skips where it is absent. Look, never copy."""
    folder = ROOT.parent / "shared" / "realdata"
    if not folder.is_dir():
        pytest.skip("no real files beside the checkout")
    return folder


@pytest.fixture
def small_loop() -> CineLoop:
    """Six frames of 48 x 64, a sector with a moving chamber, 25 frames per second, grey."""
    return CineLoop(make_files.sector_frames(), np.arange(6) * 40.0, "npz")
