"""`echoq` as a process: signals, broken pipes, no display, and other folders."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@contextmanager
def running(command: list[str], environment: dict[str, str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that never outlives the block, whatever the test finds."""
    child = subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def interrupted(
    command: list[str], environment: dict[str, str], folder: Path, ready: Callable[[str], bool]
) -> tuple[int, str]:
    """Start Python, send Ctrl-C once a line on stderr is `ready`, and give back exit code and all of stderr."""
    with running(command, environment, folder) as child:
        said = ""
        assert child.stderr is not None
        for line in child.stderr:
            said += line
            if ready(line):
                child.send_signal(signal.SIGINT)
                break
        said += child.communicate(timeout=60)[1]
        return child.returncode, said


@POSIX
def test_ctrl_c_leaves_no_half_written_file(tmp_path: Path, echoq_environment: dict[str, str]) -> None:
    loop, _ = resources.sample()
    out = tmp_path / "out"
    out.mkdir()
    command = ["-m", "echoq_desktop", "denoise", str(loop), "-o", str(out / "x.mp4"), "--method", "bm3d"]
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
    command = ["-m", "echoq_desktop", "denoise", "loops", "-o", "out", "--method", "bm3d", "--format", "npz"]
    code, said = interrupted(command, echoq_environment, tmp_path, lambda line: "1.npz: done" in line)
    assert code == 130, said
    beside = ["echoq-batch.sqlite", "echoq-summary.csv", "echoq-summary.html"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1.npz", *beside]
    assert len(cine.read(tmp_path / "out" / "1.npz")) == 3
    assert "cancelled; the same command goes on where it stopped" in said


@POSIX
def test_a_reader_that_leaves_is_no_traceback(tmp_path: Path, echoq_environment: dict[str, str]) -> None:
    loop, roi = resources.sample()
    command = ["-m", "echoq_desktop", "gcnr", str(loop), "--roi", str(roi)]
    with running(command, echoq_environment, tmp_path) as child:
        assert child.stdout is not None
        child.stdout.close()
        assert child.stderr is not None
        said = child.stderr.read()
        assert child.wait(timeout=60) == 5
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
    assert [row["frame"] for row in rows] == [str(t) for t in range(1, 31)]
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


WINDOW = """
import sys
from echoq_desktop import app, cli, display
class Window(app.MainWindow):
    def showEvent(self, event):
        super().showEvent(event)
        self.session.frame_changed.connect(self.tell)
        print("open", file=sys.stderr, flush=True)
    def tell(self, frame):
        if self.player.clock.playing and frame > 3:
            drawn = self.session.regions
            both = bool(drawn.lv and drawn.myocardium)
            print("playing", self.session.current.path, both, file=sys.stderr, flush=True)
app.MainWindow = Window
display.missing = lambda: None  # offscreen counts as a display here
if __name__ == "__main__":
    sys.exit(cli.main(sys.argv[1:]))
"""


@POSIX
def test_ctrl_c_closes_the_window(echoq_environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "window.py").write_text(WINDOW, encoding="utf-8")
    own = {"QT_QPA_PLATFORM": "offscreen", "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    loop, _ = resources.sample()
    code, said = interrupted(
        ["window.py", "open", str(loop)], {**echoq_environment, **own}, tmp_path, lambda line: line.strip() == "open"
    )
    assert code == 130, said
    assert "Traceback" not in said


@POSIX
def test_the_first_start_plays_the_sample_with_its_regions(echoq_environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "window.py").write_text(WINDOW, encoding="utf-8")
    own = {"QT_QPA_PLATFORM": "offscreen", "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    own["XDG_DATA_HOME"] = str(tmp_path)
    code, said = interrupted(
        ["window.py"], {**echoq_environment, **own}, tmp_path, lambda line: line.startswith("playing")
    )
    assert code == 130, said
    assert f"playing {resources.sample()[0]} True" in said
