"""Export through the dialog and the real worker: what is written is read again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMainWindow, QMessageBox

from echoq_desktop.engine import Engine
from echoq_desktop.export import files, progress
from echoq_desktop.export.dialogs import ExportDialog
from echoq_desktop.export.formats import FORMATS, with_format
from echoq_desktop.export.progress import TimeLeft, time_left_text
from echoq_desktop.session import Session
from echoq_models.cine import read
from tests.make_files import sector_frames

SIZE = (48, 64)


def loop_file(path: Path, frames: int = 6, seed: int = 0) -> Path:
    """A small sector loop as npz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, frames=sector_frames(frames, *SIZE, seed=seed), times_ms=np.arange(frames) * 40.0)
    return path


@pytest.fixture
def window(engine: Engine, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> QMainWindow:
    """Any main window: exports show themselves in its status bar."""
    monkeypatch.setattr(files, "_last", {})
    made = QMainWindow()
    qtbot.addWidget(made)
    made.statusBar()
    made.show()
    return made


@pytest.fixture
def session(engine: Engine, qtbot: Any, tmp_path: Path) -> Iterator[Session]:
    """A loop of 6 frames is open; the middle pane is the simple denoiser."""
    made = Session(engine)
    made.set_middle("darken")
    made.hidden = {"bm3d"}
    made._on_methods(engine.property("known"))  # the worker said it once, before this session was there
    with qtbot.waitSignal(made.current_changed, timeout=20_000):
        made.open_path(loop_file(tmp_path / "apical.npz"))
    yield made
    for loop in made.loops:
        made.close_loop(loop.loop_id)
    made.deleteLater()


@pytest.fixture
def dialog(session: Session, window: QMainWindow, qtbot: Any) -> ExportDialog:
    """The export dialog over the window."""
    made = ExportDialog(session, window)
    qtbot.addWidget(made)
    made.show()
    return made


def choose(dialog: ExportDialog, suffix: str) -> None:
    """Choose a format by its suffix."""
    dialog.format.setCurrentIndex([each.suffix for each in FORMATS].index(suffix))


def finish(dialog: ExportDialog, qtbot: Any) -> tuple[str, object]:
    """Press Export and wait for the end: state and result."""
    ended: list[tuple[str, object]] = []
    qtbot.mouseClick(dialog.export_button, Qt.MouseButton.LeftButton)
    assert dialog.progress is not None and not dialog.isVisible()
    dialog.progress.ended.connect(lambda *what: ended.append(what))
    qtbot.waitUntil(lambda: bool(ended), timeout=30_000)
    return ended[0]


def test_the_suggested_name_follows_loop_and_format(dialog: ExportDialog, tmp_path: Path) -> None:
    assert dialog.output() == tmp_path / "apical_denoised.mp4"
    names = []
    for each in FORMATS:
        choose(dialog, each.suffix)
        names.append(dialog.output().name)
    assert names == [f"apical_denoised{suffix}" for suffix in (".mp4", ".avi", ".dcm", ".gif", "", ".npz")]
    assert with_format(Path("1.2.840.113"), FORMATS[0]).name == "1.2.840.113.mp4"


def test_npz_holds_exactly_the_frames_of_the_pane(
    dialog: ExportDialog, session: Session, qtbot: Any, tmp_path: Path
) -> None:
    choose(dialog, ".npz")
    assert not dialog.beside.isEnabled()  # an array holds one loop
    state, _ = finish(dialog, qtbot)
    assert state == "finished"
    written = read(tmp_path / "apical_denoised.npz")
    expected = np.stack([session.frame_of("darken", t) for t in range(6)])
    np.testing.assert_array_equal(written.frames, expected)
    np.testing.assert_allclose(written.times_ms, np.arange(6) * 40.0)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".gif", ""])
def test_every_format_is_written_and_read_again(dialog: ExportDialog, qtbot: Any, suffix: str) -> None:
    choose(dialog, suffix)
    output = dialog.output()
    state, result = finish(dialog, qtbot)
    assert state == "finished", result
    written = read(output)
    assert len(written) == 6 and written.size[0] >= SIZE[0] and written.size[1] >= SIZE[1]


def test_lossless_video_keeps_every_grey_level(dialog: ExportDialog, session: Session, qtbot: Any) -> None:
    choose(dialog, ".avi")
    dialog.lossless.click()
    output = dialog.output()
    assert finish(dialog, qtbot)[0] == "finished"
    expected = np.stack([session.frame_of("darken", t) for t in range(6)])
    np.testing.assert_array_equal(read(output).frames, expected)


def test_side_by_side_is_as_wide_as_its_panes(dialog: ExportDialog, qtbot: Any) -> None:
    dialog.beside.click()
    dialog.panes["bm3d"].setChecked(False)
    assert dialog.options().side_by_side == ("original", "darken")
    dialog.panes["darken"].setChecked(False)
    assert not dialog.export_button.isEnabled() and "two panes" in dialog.notes.sentences()[0]
    dialog.panes["darken"].setChecked(True)
    output = dialog.output()
    assert finish(dialog, qtbot)[0] == "finished"
    assert read(output).size[1] >= 2 * SIZE[1]


def test_an_existing_file_is_replaced_only_when_agreed(dialog: ExportDialog, qtbot: Any, tmp_path: Path) -> None:
    there = tmp_path / "mine.npz"
    there.write_bytes(b"precious")
    choose(dialog, ".npz")
    dialog.path.setText(str(there))
    assert not dialog.export_button.isEnabled() and dialog.replace.isVisible()
    assert "mine.npz exists already." in dialog.notes.sentences()
    dialog.replace.click()
    assert finish(dialog, qtbot)[0] == "finished"
    assert len(read(there)) == 6


def test_what_cannot_be_written_is_said_before(dialog: ExportDialog, session: Session, tmp_path: Path) -> None:
    for text, reason in (
        ("", "Choose a file"),
        (str(tmp_path / "nowhere" / "a.mp4"), "does not exist"),
        (str(tmp_path / "a.txt"), "must end in .mp4"),
        (str(tmp_path / "apical.npz"), "loop itself"),
    ):
        dialog.path.setText(text)
        assert not dialog.export_button.isEnabled()
        assert any(reason in sentence for sentence in dialog.notes.sentences())


def test_a_running_export_is_shown_and_can_be_cancelled(
    dialog: ExportDialog, session: Session, window: QMainWindow, qtbot: Any, tmp_path: Path
) -> None:
    long = loop_file(tmp_path / "long.npz", frames=100)
    with qtbot.waitSignal(session.current_changed, timeout=20_000):
        session.open_path(long)
    slow = ExportDialog(session, window)
    qtbot.addWidget(slow)
    slow.method.setCurrentIndex(slow.method.findData("slow"))  # 0.05 s a frame
    qtbot.mouseClick(slow.export_button, Qt.MouseButton.LeftButton)
    bar = slow.progress
    assert bar is not None and bar.isVisible() and window.statusBar().isAncestorOf(bar)
    assert progress.running() == ["Exporting long_denoised.mp4"]
    ended: list[str] = []
    bar.ended.connect(lambda state, _: ended.append(state))
    qtbot.waitUntil(lambda: bar.bar.value() > 0 or bar.bar.maximum() > 0, timeout=10_000)
    qtbot.mouseClick(bar.cancel_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: ended == ["cancelled"], timeout=15_000)
    assert progress.running() == []
    assert not list(tmp_path.glob("*long_denoised*")) and not list(tmp_path.glob(".*long*"))


def test_a_failed_export_says_why(session: Session, window: QMainWindow, qtbot: Any) -> None:
    dialog = ExportDialog(session, window)
    qtbot.addWidget(dialog)
    dialog.method.setCurrentIndex(dialog.method.findData("refusing"))
    state, reason = finish(dialog, qtbot)
    assert state == "failed" and "no haze" in str(reason)
    box = window.findChild(QMessageBox)
    assert box is not None and "no haze" in box.text() and not box.isModal()
    box.close()


def test_methods_without_weights_are_shown_and_cannot_be_chosen(dialog: ExportDialog, session: Session) -> None:
    for place in range(dialog.method.count()):
        missing = "(no weights)" in dialog.method.itemText(place)
        assert missing == (dialog.method.itemData(place) is None)
    lacking = [name for name, facts in session.methods.items() if facts["missing"]]
    assert len([1 for place in range(dialog.method.count()) if dialog.method.itemData(place) is None]) == len(lacking)


def test_time_left_follows_the_speed_of_late() -> None:
    now = [0.0]
    left = TimeLeft(memory_s=5.0, clock=lambda: now[0])
    assert left.update(0, 100) is None
    for done in range(1, 51):
        now[0] += 1.0
        seconds = left.update(done, 100)
    assert seconds == pytest.approx(50.0)
    for done in range(51, 91):
        now[0] += 0.1
        seconds = left.update(done, 100)
    assert seconds is not None and 1.0 < seconds < 10.0  # ten times faster now: 1 s, not 10
    assert left.update(0, 30) is None  # another stage


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (3.0, "a few seconds left"), (33.0, "about 35 s left"), (130.0, "about 2 min left")],
)
def test_time_left_in_words(seconds: float | None, text: str) -> None:
    assert time_left_text(seconds) == text


def test_the_bar_counts_denoising_and_writing(
    session: Session, window: QMainWindow, qtbot: Any, tmp_path: Path
) -> None:
    with qtbot.waitSignal(session.current_changed, timeout=20_000):
        session.open_path(loop_file(tmp_path / "long.npz", frames=40))
    dialog = ExportDialog(session, window)
    qtbot.addWidget(dialog)
    dialog.method.setCurrentIndex(dialog.method.findData("slow"))  # no pane shows it: made for the export alone
    shares: list[float] = []
    bar = dialog.start()
    assert bar is not None
    times: set[str] = set()
    ended: list[str] = []

    def note(value: int) -> None:
        shares.append(value / bar.bar.maximum())
        times.add(bar.time.text())

    bar.bar.valueChanged.connect(note)
    bar.ended.connect(lambda state, _: ended.append(state))
    qtbot.waitUntil(lambda: ended == ["finished"], timeout=30_000)
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert any(0.1 < share < 0.9 for share in shares)  # filled while frames were denoised, not only at the end
    assert any(text.endswith("left") for text in times)
