"""The application as a process of its own: the picture it writes, what it says of a file it cannot read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from pydicom import examples
from PySide6.QtGui import QImage

from tests.shared import fan_frames

ROOT = Path(__file__).parent.parent.parent
CODE = (
    "import sys; from pathlib import Path; from echoq_desktop import app; "
    "sys.exit(app.run([Path(sys.argv[1])], Path(sys.argv[2])))"
)
PROBE = (
    "import sys; import echoq_desktop.app; "
    "bad = [name for name in ('torch', 'torchvision') if name in sys.modules]; sys.exit(len(bad))"
)


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_snapshot_shows_the_loop(tmp_path: Path) -> None:
    target = tmp_path / "window.png"
    done = run(CODE, examples.get_path("ybr_color"), target)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    picture = QImage(str(target))
    assert (picture.width(), picture.height()) == (1600, 900)
    levels = {picture.pixelColor(x, y).lightness() for x in range(190, 520, 4) for y in range(250, 620, 4)}
    assert len(levels) > 50  # an echo, not an empty pane
    assert [path.name for path in tmp_path.iterdir() if path.suffix in (".png", ".part")] == ["window.png"]


def test_an_unreadable_file_is_told_in_one_sentence(tmp_path: Path) -> None:
    bad = tmp_path / "bad.dcm"
    bad.write_bytes(b"DICM? no.")
    target = tmp_path / "window.png"
    done = run(CODE, bad, target)
    assert done.returncode == 3
    assert "bad.dcm" in done.stderr and "Traceback" not in done.stderr
    assert not target.exists()


def test_a_picture_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "small.npz", frames=fan_frames(2), times_ms=[0.0, 40.0])
    done = run(CODE, tmp_path / "small.npz", tmp_path / "nowhere" / "window.png")
    assert done.returncode == 5
    assert "window.png" in done.stderr and "Traceback" not in done.stderr


def test_the_window_process_never_imports_torch() -> None:
    assert run(PROBE).returncode == 0
