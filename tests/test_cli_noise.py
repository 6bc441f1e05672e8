"""`echoq simulate-noise`: what it writes, says and returns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from echoq_desktop import cli
from echoq_models.weights import store
from tests.make_networks import STEP, bright_loop, save_noise_networks
from tests.shared import Echoq

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    loop, _ = bright_loop(3)
    np.savez(tmp_path / "clean.npz", frames=loop.frames, times_ms=loop.times_ms)
    return tmp_path / "clean.npz"


@pytest.fixture(autouse=True)
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's folder of weights."""
    monkeypatch.setenv("ECHOQ_WEIGHTS", str(tmp_path / "weights"))
    save_noise_networks(tmp_path / "weights")
    return tmp_path / "weights"


def run(*arguments: object) -> int:
    return cli.main(["simulate-noise", *map(str, arguments)])


def test_a_loop_gets_noise_by_the_real_command(echoq: Echoq, clean: Path, weights: Path, tmp_path: Path) -> None:
    ended = echoq("simulate-noise", clean, "-o", "noisy.npz", "--global", 2, ECHOQ_WEIGHTS=str(weights))
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[0].startswith("noisy.npz: 3 frames with simulated noise in ") and lines[1].startswith(
        "reconstruction: "
    )
    assert "outside what the generator knows" in ended.stderr
    added = np.load(tmp_path / "noisy.npz")["frames"].astype(int) - np.load(clean)["frames"]
    assert added.max() in (round(2 * STEP * 255), round(2 * STEP * 255) + 1)


def test_strengths_go_by_their_names(clean: Path, tmp_path: Path, capsys: Captured) -> None:
    assert run(clean, "-o", tmp_path / "a.npz", "--near-field", 2, "--device", "cpu") == 0
    added = np.load(tmp_path / "a.npz")["frames"].astype(int) - np.load(clean)["frames"]
    assert added[:, 20:60].max() > 5 and added[:, 180:].max() == 0
    capsys.readouterr()
    assert run(clean, "-o", tmp_path / "b.npz", "--center-field", 2, "--device", "cpu") == 3
    assert capsys.readouterr().err.splitlines()[-1] == (
        "echoq: There are no noise channels for 'centre field' (there are: global, near field)."
    )
    assert not (tmp_path / "b.npz").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-o", "a.npz"], "say how much noise"),
        (["-o", "a.tiff", "--global", 1], ".tiff is no format"),
        (["--global", 1], "--output"),
    ],
)
def test_wrong_usage_is_2(arguments: list[object], sentence: str, clean: Path, capsys: Captured) -> None:
    assert run(clean, *arguments) == 2
    assert sentence in capsys.readouterr().err


def test_what_is_missing_has_its_exit_code(
    clean: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(tmp_path / "nothing.dcm", "-o", tmp_path / "a.npz", "--global", 1) == 3
    (tmp_path / "loops" / "deep").mkdir(parents=True)
    assert run(tmp_path / "loops", "-o", tmp_path / "a.npz", "--global", 1) == 2
    capsys.readouterr()
    monkeypatch.setenv("ECHOQ_WEIGHTS", str(tmp_path / "none"))
    monkeypatch.setattr(store.resources, "path", lambda *parts: tmp_path / "none")
    assert run(clean, "-o", tmp_path / "a.npz", "--global", 1) == 5
    assert "There is no generator of echo frames here yet" in capsys.readouterr().err


def test_ctrl_c_is_130_and_leaves_nothing(clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from echoq_desktop import terminal

    real = terminal.ProgressLine.__call__

    def pressed(line: terminal.ProgressLine, done: int, total: int, text: str) -> None:
        terminal.stop._asked = terminal.stop._asked or text == "adding noise"
        real(line, done, total, text)

    monkeypatch.setattr(terminal.ProgressLine, "__call__", pressed)
    assert run(clean, "-o", tmp_path / "a.npz", "--global", 1, "--device", "cpu") == 130
    assert not (tmp_path / "a.npz").exists()
