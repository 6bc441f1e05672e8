"""Starts the window: application, theme, session, worker. Also takes a picture of it for `--snapshot`."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from PySide6.QtCore import QEvent, QObject, QTimer, Signal
from PySide6.QtGui import QFileOpenEvent
from PySide6.QtWidgets import QApplication

from echoq_desktop import icons, theme
from echoq_desktop.collector import Collector
from echoq_desktop.engine import Engine
from echoq_desktop.help import install_crash_dialog
from echoq_desktop.main_window import FIRST_SIZE, MainWindow
from echoq_desktop.preferences import Preferences
from echoq_desktop.session import Session
from echoq_desktop.terminal import stop

SETTLE_MS = 600  # after the last frame has come, for figures and curves to be drawn
POLL_MS = 50
FIRST_PAINT_MS = 30  # the window is on screen before the worker starts and the first file is looked at
HEED_MS = 200
LONGEST_S = 900.0  # a snapshot that takes longer has failed
DONE, UNREADABLE, WORKER_FAILED = 0, 3, 5


def run(paths: Sequence[Path] = (), snapshot: Path | None = None) -> int:
    """Open the window on `paths`, or on the sample loop when there are none; returns the exit code.

    snapshot: write a 1600 x 900 PNG of the window once every pane that has weights shows its frame, then leave.
    """
    app = _application()
    collector = Collector(app)
    engine = Engine()
    session = Session(engine)
    try:
        if snapshot is not None:
            return _take_snapshot(app, session, paths, snapshot)
        window = MainWindow(session, Preferences())
        handler = install_crash_dialog(lambda: window)
        code = _show(app, window, paths)
        del handler
        return code
    finally:
        engine.close()
        collector.stop()


def _show(app: QApplication, window: MainWindow, paths: Sequence[Path]) -> int:
    """Show the window first, then start what takes time; returns when it is closed."""
    window.closed.connect(app.quit)
    _heed_ctrl_c(app)
    if isinstance(app, Application):
        app.file_asked.connect(lambda name: window.documents.open([Path(name)]))
    window.show()
    gc.freeze()  # what is there now stays: collections need not look through it, which would hold up a picture
    QTimer.singleShot(FIRST_PAINT_MS, window, lambda: _begin(window, paths))
    return app.exec()


def _take_snapshot(app: QApplication, session: Session, paths: Sequence[Path], target: Path) -> int:
    with TemporaryDirectory(prefix="echoq-snapshot-") as scratch:  # a person's own settings stay out of the picture
        preferences = Preferences(Path(scratch) / "echoq.ini")
        window = MainWindow(session, preferences)
        window.player.autoplay = False
        window.setFixedSize(FIRST_SIZE)
        photographer = _Photographer(window, target)
        _show(app, window, paths)
        preferences.sync()
        return photographer.code


def _application() -> QApplication:
    existing = QApplication.instance()
    app = existing if isinstance(existing, QApplication) else Application(["echoq"])
    app.setApplicationName("EchoQ")
    app.setDesktopFileName("echoq")  # ties the window to its menu entry and icon
    app.setWindowIcon(icons.app_icon())
    theme.apply(app)
    return app


def _heed_ctrl_c(app: QApplication) -> None:
    """Ctrl-C in the terminal ends the application; without a timer Python would not hear it under Qt's loop."""
    timer = QTimer(app, interval=HEED_MS)
    timer.timeout.connect(lambda: app.quit() if stop() else None)
    timer.start()


def _begin(window: MainWindow, paths: Sequence[Path]) -> None:
    """With the window on screen: start the worker, read the loops."""
    window.session.engine.start()
    if paths:
        window.documents.open([Path(path).absolute() for path in paths])
    else:
        window.documents.open_sample()


class Application(QApplication):
    """Hears what macOS asks for: a file double-clicked there comes as an event, not as an argument."""

    file_asked = Signal(str)  # its path

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QFileOpenEvent) and event.file():
            self.file_asked.emit(event.file())
            return True
        return super().event(event)


class _Photographer(QObject):
    """Waits until every pane shows its frame, writes the picture and ends the application."""

    def __init__(self, window: MainWindow, target: Path) -> None:
        super().__init__(window)
        self.code = WORKER_FAILED
        self._window, self._target = window, Path(target)
        self._deadline = time.monotonic() + LONGEST_S
        window.session.opening.failed.connect(self._on_failed)
        self._poll = QTimer(self, interval=POLL_MS)
        self._poll.timeout.connect(self._look)
        self._poll.start()

    def _look(self) -> None:
        if time.monotonic() > self._deadline:
            self._end(WORKER_FAILED, "The panes did not get their frames in time; no picture was written.")
        elif self._complete():
            self._poll.stop()
            QTimer.singleShot(SETTLE_MS, self, self._take)

    def _complete(self) -> bool:
        """Whether each shown pane shows its own frame or is known to have none."""
        session = self._window.session
        if session.current is None or session.opening.files or not session.methods:
            return False
        return all(
            session.missing(pane) is not None or session.frame_of(pane, session.frame) is not None
            for pane in session.shown_panes
        )

    def _take(self) -> None:
        picture = self._window.grab().toImage()
        picture.setDevicePixelRatio(1.0)
        if picture.size() != FIRST_SIZE:  # a high-density screen
            picture = picture.scaled(FIRST_SIZE)
        temporary = self._target.with_name(f".{self._target.name}.{os.getpid()}.part")
        if not picture.save(str(temporary), "PNG"):  # type: ignore[call-overload]
            temporary.unlink(missing_ok=True)
            self._end(WORKER_FAILED, f"{self._target}: the picture cannot be written; choose another place.")
            return
        temporary.replace(self._target)
        self._end(DONE)

    def _on_failed(self, _path: Path, sentence: str) -> None:
        self._end(UNREADABLE, sentence)

    def _end(self, code: int, sentence: str = "") -> None:
        self._poll.stop()
        self.code = code
        if sentence:
            print(sentence, file=sys.stderr)  # noqa: T201
        QApplication.exit(code)
