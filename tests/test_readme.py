"""Every `echoq` and `python -m training` command that the README shows is run, with small inputs."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from echoq_models import resources
from tests.shared import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
LINES = [line.strip() for block in BLOCKS for line in block.splitlines() if line.strip()]
ECHOQ = [line for line in LINES if line.split()[0] == "echoq"]
TRAINING = [line for line in LINES if line.startswith("python -m training")]

# What makes a stage short; the README names these options.
SHORTER: Mapping[str, list[str]] = {
    "denoiser": ["--steps", "2", "--frames", "4"],
    "phantom": ["--quick"],
    "evaluate": ["--quick"],
    "segmenter": ["--steps", "2", "--frames", "16"],
    "evaluate-lv": ["--quick"],
}


def test_the_readme_shows_commands() -> None:
    assert {line.split()[1] for line in ECHOQ if len(line.split()) > 1} >= {
        "open",
        "info",
        "denoise",
        "gcnr",
        "segment",
        "weights",
    }
    assert any("denoiser" in line for line in TRAINING)
    others = [line for line in LINES if line not in ECHOQ + TRAINING]
    assert all(line.startswith(("make ", "git ")) for line in others), others


@pytest.fixture
def desk(tmp_path: Path, fan_file: Path, fan_roi: Path) -> Path:
    """A folder with the files that the README's commands name."""
    desk = tmp_path / "desk"
    (desk / "loops").mkdir(parents=True)
    shutil.copy(fan_file, desk / "loop.dcm")  # the content decides
    shutil.copy(fan_roi, desk / "loop.roi.json")
    shutil.copy(fan_file, desk / "loops" / "one.npz")
    (desk / "study").mkdir()  # of a moving sector that is certain to hold no text
    shutil.copy(resources.path("sample", "phantom_a4c.dcm"), desk / "study" / "one.dcm")
    shutil.copytree(ROOT / "training" / "recipes", desk / "training" / "recipes")
    return desk


def released_unet(path: Path) -> None:
    """A file in the layout of the released U-Net, with random weights."""
    import torch

    from echoq_models.denoise.architectures import build

    torch.save(build({"family": "unet", "channels_out": 1, "head": "image"}).state_dict(), path)


def run(line: str, desk: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    words = shlex.split(line)
    module = ["-m", "echoq_desktop", *words[1:]] if words[0] == "echoq" else words[1:]
    return subprocess.run(
        [sys.executable, *module],
        cwd=desk,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.mark.parametrize("line", ECHOQ)
def test_echoq_command(
    line: str, desk: Path, echoq_environment: dict[str, str], request: pytest.FixtureRequest
) -> None:
    if line == "echoq":  # the window has no display here: it does its job into files, once for all tests
        assert request.getfixturevalue("headless_run")[1].returncode == 0
        return
    if "--snapshot" in line:
        echoq_environment["QT_QPA_PLATFORM"] = "offscreen"
    if ("segment" in line or "--auto" in line) and not resources.path("weights", "lv.safetensors").is_file():
        pytest.skip("the left-ventricle network has no shipped weights")
    if "import" in line:
        released_unet(desk / line.split()[-1])
    ended = run(line, desk, echoq_environment)
    if line.startswith("echoq open") and "--snapshot" not in line:
        assert ended.returncode == 5  # tests have no display: that is said, see test_cli_process.py
        assert "No window can be shown" in ended.stderr
        return
    assert ended.returncode == 0, ended.stderr
    if match := re.search(r"(?:-o|--snapshot) (\S+)", line):
        assert (desk / match[1]).exists()
    if line.endswith(".npz"):
        with np.load(desk / line.split()[-1], allow_pickle=False) as written:
            assert written["lv" if "segment" in line else "frames"].ndim == 3


@pytest.mark.slow
@pytest.mark.parametrize("line", TRAINING)
def test_training_command(line: str, desk: Path, echoq_environment: dict[str, str]) -> None:
    stage = shlex.split(line)[3]
    for option in SHORTER[stage]:
        assert not option.startswith("--") or option in README, f"the README does not name {option}"
    ended = run(shlex.join([*shlex.split(line), *SHORTER[stage]]), desk, echoq_environment)
    assert ended.returncode == 0, ended.stderr[-3000:]
