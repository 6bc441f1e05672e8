"""Does a thing soon, but never so often that it takes the window's time."""

from __future__ import annotations

import time
from collections.abc import Callable

from PySide6.QtCore import QObject, QTimer
from PySide6.QtWidgets import QWidget


def on_screen(widget: QWidget) -> bool:
    """Whether any of a widget can be seen: Qt calls a dock behind another tab visible too."""
    return widget.isVisible() and not widget.visibleRegion().isEmpty()


class Throttle(QObject):
    """Calls a function after `ask`, at most once per interval and with at most half of the time spent in it."""

    def __init__(self, call: Callable[[], None], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._call = call
        self._last = -1e9  # when the last call ended, seconds
        self._cost = 0.0  # seconds the last call took
        self._timer = QTimer(self, singleShot=True)
        self._timer.timeout.connect(self._run)

    def ask(self, every_ms: int) -> None:
        """Call as soon as `every_ms` have gone by since the last call; one call serves all who ask before it."""
        due = self._last + max(every_ms / 1000 - self._cost, self._cost)
        wait = max(0, round(1000 * (due - time.perf_counter())))
        if not self._timer.isActive() or self._timer.remainingTime() > wait:
            self._timer.start(wait)

    def cancel(self) -> None:
        """Forget that somebody asked."""
        self._timer.stop()

    def _run(self) -> None:
        start = time.perf_counter()
        self._call()
        self._last = time.perf_counter()
        self._cost = self._last - start
