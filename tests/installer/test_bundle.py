"""What goes into the installers and what stays out. The build itself is `make installer`, no test."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

import echoq_models
from tests.shared import ROOT

Script = Callable[[str], ModuleType]

# Everything that a person's work imports, with what the bundle leaves out made impossible to import.
WORK = """
import sys
sys.path.insert(0, "installer")
import bundle
out = bundle.left_out()
class Absent:
    def find_spec(self, name, path=None, target=None):
        if any(name == each or name.startswith(each + ".") for each in out):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
for name in [n for n in sys.modules if any(n == each or n.startswith(each + ".") for each in out)]:
    del sys.modules[name]
sys.meta_path.insert(0, Absent())
import echoq_desktop.app, echoq_desktop.selftest, echoq_models.figures
import matplotlib.figure, matplotlib.backends.backend_agg
from echoq_desktop.cli import main
loop, out_file = sys.argv[1:]
assert main(["denoise", loop, "-o", out_file, "--method", "fast"]) == 0
assert main(["denoise", loop, "-o", out_file, "--method", "bm3d"]) == 0
assert main(["segment", loop, "-o", out_file]) == 0
import torch
from echoq_models.weights import store, upstream
import importlib
for architecture in ({"family": "unet"}, {"family": "fast"}, {"family": "lv"}, {"family": "deeplab"}):
    with torch.device("meta"):
        importlib.import_module(store.BUILDERS[architecture["family"]]).build(architecture)
assert "torch._dynamo" not in sys.modules
"""


def test_the_version_comes_from_one_place(script: Script) -> None:
    assert script("bundle").version() == echoq_models.__version__


def test_what_builds_the_installers_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [Requirement(line) for line in project["optional-dependencies"]["package"]]
    assert {each.name for each in wanted} == {"pyinstaller", "pyinstaller-hooks-contrib"}
    for each in wanted:
        assert each.specifier.contains(pins[each.name])


def test_what_the_program_needs_is_shipped_and_nothing_of_the_workshop(script: Script) -> None:
    bundle = script("bundle")
    shipped = bundle.shipped()
    assert {"torch", "pyside6-essentials", "shiboken6", "pydicom", "python-gdcm", "imageio-ffmpeg"} <= set(shipped)
    assert not {"pytest", "mypy", "ruff", "nibabel", "pyinstaller", "bm3d", "sympy", "setuptools"} & set(shipped)
    left_out = set(bundle.left_out())
    assert {"pytest", "mypy", "training", "tkinter", "readline"} <= left_out  # readline is GPL
    assert not left_out & {"torch", "PySide6", "pydicom", "gdcm", "cv2", "numpy", "echoq_models", "echoq_desktop"}


def test_nothing_that_is_left_out_is_needed(fan_file: Path, tmp_path: Path, echoq_environment: dict[str, str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WORK, fan_file, tmp_path / "out.npz"],
        cwd=ROOT,
        env={**echoq_environment, "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]


@pytest.mark.parametrize(
    ("place", "kept"),
    [
        ("torch/lib/libtorch_cpu.so", True),
        ("torch/bin/torch_shm_manager", True),
        ("torch/lib/libjitbackend_test.so", False),
        ("PySide6/Qt/plugins/platforms/libqxcb.so", True),
        ("PySide6/Qt/plugins/platforms/libqoffscreen.so", True),
        ("PySide6/Qt/plugins/platforms/libqvnc.so", False),
        ("PySide6\\translations\\qtbase_de.qm", False),
        ("matplotlib/mpl-data/fonts/ttf/DejaVuSans.ttf", True),
        ("matplotlib/mpl-data/fonts/ttf/cmr10.ttf", False),
        ("torch-2.13.0+cpu.dist-info/METADATA", True),
        ("torch-2.13.0+cpu.dist-info/RECORD", False),
        ("resources/weights/fast.safetensors", True),
        ("pydicom/data/test_files/examples_ybr_color.dcm", True),
    ],
)
def test_what_is_trimmed(place: str, kept: bool, script: Script) -> None:
    assert script("bundle").is_kept(place) is kept


def test_links_to_what_is_trimmed_go_too(script: Script) -> None:
    network = "PySide6/Qt/lib/libQt6Network.so.6"
    core = ("libQt6Core.so.6", "PySide6/Qt/lib/libQt6Core.so.6", "SYMLINK")
    entries = [core, ("libQt6Network.so.6", network, "SYMLINK"), (network, f"/venv/{network}", "BINARY")]
    assert script("bundle").trimmed(entries) == [core]


def test_system_libraries_that_only_trimmed_parts_needed_go(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = script("bundle")
    asked = {"/venv/a.so": {"libssl.so.3", "libX11.so.6"}, "/usr/lib/libssl.so.3": {"libcrypto.so.3"}}
    monkeypatch.setattr(bundle, "_needed", lambda file: asked.get(file, set()))
    monkeypatch.setattr(bundle.sys, "platform", "linux")
    ours = ("a.so", "/venv/a.so", "EXTENSION")
    system = [(name, f"/usr/lib/{name}", "BINARY") for name in ("libcrypto.so.3", "libssl.so.3", "libX11.so.6")]
    orphan = ("libcairo.so.2", "/usr/lib/libcairo.so.2", "BINARY")
    kept = bundle.without_orphans([*system, orphan, ours])
    assert {entry[0] for entry in kept} == {"a.so", "libssl.so.3", "libcrypto.so.3"}


def test_sizes_are_told_by_package(tmp_path: Path, script: Script) -> None:
    for place, size in (
        ("echoq", 10),
        ("_internal/cv2/cv2.abi3.so", 300),
        ("_internal/opencv_python_headless.libs/libx.so", 200),
        ("_internal/resources/weights/fast.safetensors", 50),
        ("_internal/libz.so.1", 5),
    ):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    assert script("bundle").sizes(tmp_path) == [
        ("opencv-python-headless", 500),
        ("EchoQ's weights", 50),
        ("program and pure Python", 10),
        ("Python and system libraries", 5),
    ]


def test_every_bundled_package_has_its_licence_text(tmp_path: Path, script: Script) -> None:
    shipped = script("bundle").shipped()
    text = script("licences").write(tmp_path, shipped, []).read_text(encoding="utf-8")
    titles = {line.split()[0] for line in text.splitlines() if line.count(" ") == 1}
    assert set(shipped) <= titles
    for sentence in (
        "GNU LESSER GENERAL PUBLIC LICENSE",
        "GNU GENERAL PUBLIC LICENSE",
        "PYTHON SOFTWARE FOUNDATION LICENSE",
        "offers you the complete corresponding source code of the ffmpeg",
        "--enable-gpl",
        "Jan de Vaan",  # CharLS, whose wheel carries no text
    ):
        assert sentence in text
