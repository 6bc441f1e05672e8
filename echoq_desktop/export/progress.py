"""A running job of the worker, as a bar with time left and a cancel that cancels. It never blocks the window."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QFontMetrics, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QWidget

from echoq_desktop.theme import SPACE
from echoq_models.runtime.jobs import ORIGINAL, ExportOptions

if TYPE_CHECKING:
    from echoq_desktop.engine import Engine, OpenedLoop

BAR_STEPS = 1000


def time_left_text(seconds: float | None) -> str:
    """Time left in words a person can use: rounded, never more exact than it can be."""
    if seconds is None:
        return ""
    if seconds < 10:
        return "a few seconds left"
    if seconds < 55:
        return f"about {5 * round(seconds / 5)} s left"
    if seconds < 5400:
        return f"about {max(1, round(seconds / 60))} min left"
    return f"about {seconds / 3600:.1f} h left"


class TimeLeft:
    """Estimates the time left from the speed of late: half of what it knows is forgotten in `memory_s`."""

    def __init__(self, memory_s: float = 8.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._memory, self._clock = memory_s, clock
        self._last: tuple[float, int] | None = None
        self._done = self._spent = 0.0

    def update(self, done: int, total: int) -> float | None:
        """Seconds left after `done` of `total` steps; None until two reports have come."""
        now = self._clock()
        if self._last is None or done < self._last[1]:  # the first report, or a new stage
            self._last, self._done, self._spent = (now, done), 0.0, 0.0
            return None
        span, steps = now - self._last[0], done - self._last[1]
        if steps:
            keep = 0.5 ** (span / self._memory)
            self._done = keep * self._done + steps
            self._spent = keep * self._spent + span
            self._last = (now, done)
        return None if not self._done else max(0.0, (total - done) * self._spent / self._done)


_running: dict[int, JobProgress] = {}


def running() -> list[str]:
    """What is being exported right now, one phrase each; the window asks before it closes."""
    return sorted(job.title for job in _running.values())


class ProgressLine(QWidget):
    """What is going on, a bar, the time left and a Cancel button, in one line."""

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.bar = QProgressBar()
        self.bar.setRange(0, 0)  # busy until the first figure comes
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(10)
        self.bar.setMinimumWidth(120)
        self.bar.setAccessibleName(f"Progress of {title}")
        self.label = _Elided(title)
        self.time = QLabel()
        self.time.setAccessibleName("Time left")
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.setAccessibleName(f"Cancel {title}")
        self.cancel_button.setStyleSheet("padding: 0 10px;")  # a status bar that stays as low as it was
        layout = QHBoxLayout(self)
        layout.setContentsMargins(SPACE, 0, SPACE, 0)
        layout.setSpacing(SPACE)
        for widget, stretch in ((self.label, 1), (self.bar, 1), (self.time, 0), (self.cancel_button, 0)):
            layout.addWidget(widget, stretch)

    def show_share(self, done: int, total: int, left: float | None) -> None:
        """Fill the bar to done / total, and say how long it still takes (seconds, None: not known)."""
        self.bar.setRange(0, BAR_STEPS if total > 0 else 0)
        if total > 0:
            self.bar.setValue(round(BAR_STEPS * done / total))
        self.time.setText(time_left_text(left))


class JobProgress(ProgressLine):
    """One job's bar. `state` is "running", "finished", "failed", "left out" or "cancelled"."""

    ended = Signal(str, object)  # state; the result (dict) when finished, one sentence when failed or left out

    def __init__(self, engine: Engine, job: int, title: str, parent: QWidget | None = None) -> None:
        super().__init__(title, parent)
        self.engine, self.job, self.title = engine, job, title
        self.state = "running"
        self._left = TimeLeft()
        self.cancel_button.setToolTip(f"Cancel {title}; nothing half-written stays behind")
        self.cancel_button.clicked.connect(self.cancel)
        engine.progress.connect(self._on_progress)
        engine.finished.connect(self._on_finished)
        engine.failed.connect(self._on_failed)
        engine.left_out.connect(self._on_left_out)
        engine.cancelled.connect(self._on_cancelled)
        _running[id(self)] = self  # kept alive until it ends, also without a window around it
        self.destroyed.connect(partial(_running.pop, id(self), None))

    def cancel(self) -> None:
        """Stop the job; `ended` follows once the worker has let go."""
        if self.state == "running":
            self.cancel_button.setEnabled(False)
            self.label.set_text(f"Cancelling {self.title}")
            self.engine.cancel(self.job)

    def _on_progress(self, job: int, done: int, total: int, text: str) -> None:
        if job == self.job and self.state == "running":
            self.show_share(done, total, self._left.update(done, total))
            self.setToolTip(f"{self.title}: {text}, {done} of {total}" if total else f"{self.title}: {text}")

    def _on_finished(self, job: int, result: object) -> None:
        if job == self.job:
            self._end("finished", result)

    def _on_failed(self, job: int, sentence: str) -> None:
        if job == self.job:
            self._end("failed", sentence)

    def _on_left_out(self, job: int, sentence: str) -> None:
        if job == self.job:
            self._end("left out", sentence)

    def _on_cancelled(self, job: int) -> None:
        if job == self.job:
            self._end("cancelled", None)

    def _end(self, state: str, result: object) -> None:
        if self.state != "running":
            return
        self.state = state
        _running.pop(id(self), None)
        self.cancel_button.setEnabled(False)
        self.bar.setRange(0, BAR_STEPS)
        self.bar.setValue(BAR_STEPS if state == "finished" else self.bar.value())
        self.time.setText("")
        self.label.set_text(f"{self.title}: {'done' if state == 'finished' else state}")
        self.ended.emit(state, result)


class ExportProgress(JobProgress):
    """The bar of one loop's export: first the frames that are still to be denoised, then the writing."""

    WRITING = 0.1  # what writing a frame counts for beside denoising one

    def __init__(self, engine: Engine, job: int, title: str, loop: OpenedLoop, options: ExportOptions) -> None:
        self._loop_id, self._count, self._settings = loop.loop_id, len(loop.loop), options.settings
        methods = options.side_by_side or (options.method,)
        self._denoised = {method: 0 for method in methods if method != ORIGINAL}
        super().__init__(engine, job, title)
        engine.frames_ready.connect(self._on_frames)
        for method in self._denoised:
            self._on_frames(loop.loop_id, method, [])

    def _on_frames(self, loop_id: int, method: str, _: list[int]) -> None:
        """Frames that a pane shows are computed for both."""
        result = self.engine.result(loop_id, method) if loop_id == self._loop_id else None
        if result is not None and method in self._denoised and result.settings == self._settings:
            self._denoised[method] = max(self._denoised[method], int(result.done.sum()))
            self._show_all(0)

    def _on_progress(self, job: int, done: int, total: int, text: str) -> None:
        if job != self.job:
            return
        writing = 0
        if text.startswith("denoising"):  # for this export alone: "denoising (METHOD)"
            method = text.partition("(")[2].rstrip(")")
            self._denoised[method] = max(self._denoised.get(method, 0), done)
        elif text.startswith("writing"):
            self._denoised = dict.fromkeys(self._denoised, self._count)
            writing = done
        self._show_all(writing)

    def _show_all(self, written: int) -> None:
        if self.state != "running":
            return
        steps = BAR_STEPS * (sum(self._denoised.values()) + self.WRITING * written)
        total = BAR_STEPS * self._count * (len(self._denoised) + self.WRITING)
        self.show_share(round(steps), round(total), self._left.update(round(steps), round(total)))


class _Elided(QLabel):
    """A line of text that shortens its middle instead of pushing the window wide."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text
        self.setMinimumWidth(60)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.set_text(text)

    def set_text(self, text: str) -> None:
        """Show another text."""
        self._text = text
        self.setAccessibleName(text)
        self._elide()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._elide()

    def _elide(self) -> None:
        shown = QFontMetrics(self.font()).elidedText(self._text, Qt.TextElideMode.ElideMiddle, max(self.width(), 60))
        if shown != self.text():
            self.setText(shown)
