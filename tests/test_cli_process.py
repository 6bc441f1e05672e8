"""`echoq` as a process: signals, broken pipes, no display, and other folders."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from echoq_models import cine, resources
from tests.shared import Echoq

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def test_module_and_version(echoq: Echoq) -> None:
    ended = echoq("--version")
    assert ended.returncode == 0
    assert ended.stdout.startswith("echoq ")
    assert ended.stderr == ""


def interrupted(
    command: list[str], environment: dict[str, str], folder: Path, ready: Callable[[str], bool]
) -> tuple[int, str]:
    """Start `echoq`, send Ctrl-C once a line on stderr is `ready`, and give back exit code and all of stderr."""
    with subprocess.Popen(
        [sys.executable, "-m", "echoq_desktop", *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        said = ""
        assert child.stderr is not None
        for line in child.stderr:
            said += line
            if ready(line):
                child.send_signal(signal.SIGINT)
                break
        started = time.monotonic()
        said += child.communicate(timeout=60)[1]
        assert time.monotonic() - started < 30
        return child.returncode, said


@POSIX
def test_ctrl_c_leaves_no_half_written_file(tmp_path: Path, echoq_environment: dict[str, str]) -> None:
    loop, _ = resources.sample()
    out = tmp_path / "out"
    out.mkdir()
    command = ["denoise", str(loop), "-o", str(out / "x.mp4"), "--method", "bm3d"]
    code, said = interrupted(command, echoq_environment, tmp_path, lambda line: line.startswith("writing"))
    assert code == 130, said
    assert "Traceback" not in said
    assert said.strip().splitlines()[-1].startswith("echoq: cancelled")
    assert list(out.iterdir()) == []


@POSIX
def test_ctrl_c_in_a_batch_keeps_whole_files(tmp_path: Path, fan_file: Path, echoq_environment: dict[str, str]) -> None:
    loops = tmp_path / "loops"
    loops.mkdir()
    (loops / "1.npz").write_bytes(fan_file.read_bytes())
    (loops / "2.dcm").write_bytes(resources.sample()[0].read_bytes())
    command = ["denoise", "loops", "-o", "out", "--method", "bm3d", "--format", "npz"]
    code, said = interrupted(command, echoq_environment, tmp_path, lambda line: "1.npz: done" in line)
    assert code == 130, said
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1.npz", "echoq-summary.csv"]
    assert len(cine.read(tmp_path / "out" / "1.npz")) == 3


@POSIX
def test_a_reader_that_leaves_is_no_traceback(tmp_path: Path, echoq_environment: dict[str, str]) -> None:
    loop, roi = resources.sample()
    with subprocess.Popen(
        [sys.executable, "-m", "echoq_desktop", "gcnr", str(loop), "--roi", str(roi)],
        cwd=tmp_path,
        env=echoq_environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        child.stdout.close()
        assert child.stderr is not None
        said = child.stderr.read()
        child.wait(timeout=60)
    assert child.returncode == 5
    assert "Traceback" not in said
    assert "BrokenPipe" not in said


def test_without_a_display_the_sample_job_goes_into_files(
    headless_run: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, ended = headless_run
    assert ended.returncode == 0, ended.stderr
    assert "there is no display" in ended.stdout
    out = folder / "echoq-output"
    assert str(out) in ended.stdout
    assert sorted(path.suffix for path in out.iterdir()) == [".csv", ".mp4", ".png"]
    movie, table, still = next(out.glob("*.mp4")), next(out.glob("*.csv")), next(out.glob("*.png"))
    assert len(cine.read(movie)) == 30
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30
    assert all(0 <= float(row["original"]) <= 1 for row in rows)
    with Image.open(still) as picture:
        assert picture.width > 2 * 320


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("QT_QPA_PLATFORM", "offscreen", "offscreen"),
        pytest.param("DISPLAY", ":77", "cannot be opened", marks=POSIX),
        pytest.param("WAYLAND_DISPLAY", "nobody-there", "cannot be opened", marks=POSIX),
    ],
)
def test_a_window_that_cannot_be_shown_is_told(
    variable: str, value: str, reason: str, echoq: Echoq, fan_file: Path
) -> None:
    ended = echoq("open", fan_file, **{variable: value})
    assert ended.returncode == 5
    assert reason in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_snapshot_of_the_window(echoq: Echoq, tmp_path: Path) -> None:
    loop, _ = resources.sample()
    ended = echoq("open", loop, "--snapshot", tmp_path / "window.png", QT_QPA_PLATFORM="offscreen")
    assert ended.returncode == 0, ended.stderr
    with Image.open(tmp_path / "window.png") as picture:
        assert picture.size == (1600, 900)


@POSIX
def test_ctrl_c_closes_the_window(echoq_environment: dict[str, str], tmp_path: Path) -> None:
    """The window in its process (offscreen, waiting for a picture of many BM3D frames) leaves on Ctrl-C."""
    loop, _ = resources.sample()
    code = "import sys\nfrom echoq_desktop import app, cli\n"
    code += "begin = app._begin\n"
    code += "def told(*args):\n    begin(*args)\n    print('open', file=sys.stderr, flush=True)\n"
    code += "app._begin = told\napp._Photographer._complete = lambda self: False\n"
    code += f"if __name__ == '__main__':\n    sys.exit(cli.main(['open', {str(loop)!r}, '--snapshot', 'x.png']))\n"
    script = tmp_path / "window.py"
    script.write_text(code, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, script],
        cwd=tmp_path,
        env={**echoq_environment, "QT_QPA_PLATFORM": "offscreen"},
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stderr is not None
        while child.stderr.readline().strip() != "open":
            assert child.poll() is None
        child.send_signal(signal.SIGINT)
        said = child.communicate(timeout=60)[1]
    assert child.returncode == 130, said
    assert "Traceback" not in said
    assert not (tmp_path / "x.png").exists()
