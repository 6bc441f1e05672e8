"""The bar for files that are being read: how far, how long still, and a cancel that cancels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QTimer

from echoq_desktop.export.progress import ProgressLine, TimeLeft

if TYPE_CHECKING:
    from echoq_desktop.session import Session

SHOW_MS = 400  # most files are read before a bar could be looked at
WIDTH = 560


class ReadingBar(ProgressLine):
    """One line for all files that are read or wait for it; hidden while there are none."""

    def __init__(self, session: Session) -> None:
        super().__init__("Reading")
        self._session = session
        self._name = ""
        self._left = TimeLeft()
        self._soon = QTimer(self, singleShot=True, interval=SHOW_MS)
        self._soon.timeout.connect(self.show)
        self.setFixedWidth(WIDTH)
        self.cancel_button.setToolTip("Stop reading; loops that are open stay")
        self.cancel_button.clicked.connect(session.opening.cancel)
        session.opening.changed.connect(self._follow)
        session.opening.progress.connect(self._on_progress)
        self._follow()

    def _follow(self) -> None:
        names = [path.name for path in self._session.opening.files.values()]
        if not names:
            self._soon.stop()
            self.hide()
            return
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        self.label.set_text(f"Reading {names[0]}{more}")
        if names[0] != self._name or self.isHidden():
            self._start_over(names[0])
        if self.isHidden() and not self._soon.isActive():
            self._soon.start()

    def _start_over(self, name: str) -> None:
        self._name, self._left = name, TimeLeft()
        self.show_share(0, 0, None)

    def _on_progress(self, name: str, done: int, total: int) -> None:
        if name != self._name:
            self._start_over(name)
        self.show_share(done, total, self._left.update(done, total))
