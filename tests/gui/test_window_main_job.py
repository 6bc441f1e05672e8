"""The main job from end to end through the person's door: open, play, draw, measure, export, read again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hands import HEART, LEFT, LV, METHOD, MYOCARDIUM, draw, key
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog

from echoq_desktop.export.dialogs import ExportDialog
from echoq_desktop.export.formats import FORMATS
from echoq_desktop.main_window import MainWindow
from echoq_models import resources
from echoq_models.cine import read
from echoq_models.metrics.gcnr import gcnr
from tests.shared import Echoq


def open_by_menu(window: MainWindow, qtbot: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File > Open; the system's own dialog gives the path."""
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: ([str(path)], ""))
    with qtbot.waitSignal(window.session.current_changed, timeout=30_000):
        window.actions_by_name["open"].trigger()


def export_by_menu(window: MainWindow, qtbot: Any, output: Path, method: str) -> None:
    """File > Export, format and path chosen, the button clicked; returns once the file is there."""
    window.actions_by_name["export"].trigger()
    dialog = next(each for each in window.findChildren(ExportDialog) if each.isVisible())
    dialog.format.setCurrentIndex([each.suffix for each in FORMATS].index(output.suffix))
    dialog.method.setCurrentIndex(dialog.method.findData(method))
    dialog.path.setText(str(output))
    said: list[str] = []
    line = window.session.message.connect(said.append)
    qtbot.mouseClick(dialog.export_button, LEFT)
    qtbot.waitUntil(lambda: any(each.startswith("Export") for each in said), timeout=60_000)
    window.session.message.disconnect(line)
    assert said[-1] == f"Exported {output}"


def test_open_play_draw_measure_export_and_read_again(
    window: MainWindow, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, echoq: Echoq
) -> None:
    heart = tmp_path / "heart.dcm"
    shutil.copyfile(HEART, heart)
    open_by_menu(window, qtbot, heart, monkeypatch)
    session, source = window.session, read(heart)
    seen: list[int] = []
    session.frame_changed.connect(seen.append)
    qtbot.waitUntil(lambda: len(set(seen)) > 5, timeout=10_000)
    key(window, qtbot, Qt.Key.Key_Space)
    key(window, qtbot, Qt.Key.Key_Home)
    draw(window, qtbot, "draw_lv", LV)
    draw(window, qtbot, "draw_myocardium", MYOCARDIUM, pane=1)
    masks = session.regions.masks(source.size)
    expected = [f"{gcnr(frame, *masks):.3f}" for frame in (source.frames[0], source.frames[0] // 2)]
    qtbot.waitUntil(lambda: [column[0] for column in window.quality.table.columns()] == expected, timeout=30_000)
    key(window, qtbot, Qt.Key.Key_S, Qt.KeyboardModifier.ControlModifier)

    export_by_menu(window, qtbot, tmp_path / "out.npz", METHOD)
    export_by_menu(window, qtbot, tmp_path / "out.mp4", METHOD)
    exact, film = read(tmp_path / "out.npz"), read(tmp_path / "out.mp4")
    np.testing.assert_array_equal(exact.frames, source.frames // 2)
    np.testing.assert_allclose(exact.times_ms, source.times_ms)
    assert len(film) == len(source) and np.abs(film.times_ms - source.times_ms).max() < 0.5
    measured = echoq("gcnr", tmp_path / "out.npz", "--roi", tmp_path / "heart.roi.json", "--json")
    assert measured.returncode == 0, measured.stderr
    assert f"{json.loads(measured.stdout)['methods']['original']['gcnr'][0]:.3f}" == expected[1]


@pytest.mark.parametrize("method", ["fast", "bm3d"])
def test_window_and_command_line_give_the_same_pixels(
    window: MainWindow, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, echoq: Echoq, method: str
) -> None:
    if method == "fast" and not resources.path("weights", "fast.safetensors").is_file():
        pytest.skip("fast has no weights yet")
    source = read(HEART)
    loop = tmp_path / "loop.npz"
    np.savez(loop, frames=source.frames[:3], times_ms=source.times_ms[:3])
    open_by_menu(window, qtbot, loop, monkeypatch)
    if method == "fast":
        window.session.set_middle(method)
    else:
        window.session.set_shown(method, True)

    def shown() -> bool:
        result = window.session.result(method)
        return result is not None and bool(result.done.all())

    qtbot.waitUntil(shown, timeout=60_000)
    on_screen = np.stack([window.session.frame_of(method, t) for t in range(3)])
    export_by_menu(window, qtbot, tmp_path / "window.npz", method)
    ended = echoq("denoise", loop, "-o", tmp_path / "line.npz", "--method", method)
    assert ended.returncode == 0, ended.stderr
    by_window, by_line = read(tmp_path / "window.npz").frames, read(tmp_path / "line.npz").frames
    assert not np.array_equal(by_line, source.frames[:3])
    np.testing.assert_array_equal(by_window, by_line)
    np.testing.assert_array_equal(on_screen, by_line)
