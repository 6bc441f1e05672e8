"""A line above the panes for what a person must know of the loop shown: its warnings, a restarted worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QToolButton

from echoq_desktop import icons, theme

if TYPE_CHECKING:
    from echoq_desktop.session import Session


class Banner(QFrame):
    """Hidden while there is nothing to say; closed for good per loop."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._read: set[int] = set()  # loops whose warnings were closed
        self._news = ""
        self.setObjectName("banner")
        self.setStyleSheet(f"#banner {{ background: #33290f; border-bottom: 1px solid {theme.WARNING}; }}")
        mark = QLabel()
        mark.setPixmap(icons.icon("warning").pixmap(QSize(18, 18)))
        self.label = QLabel()
        self.label.setWordWrap(True)
        self.label.setTextFormat(Qt.TextFormat.PlainText)
        self.label.setAccessibleName("Warnings")
        close = QToolButton()
        close.setIcon(icons.icon("trim_clear"))
        close.setToolTip("Close this notice")
        close.setAccessibleName("Close this notice")
        close.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        close.clicked.connect(self._close)
        row = QHBoxLayout(self)
        row.setContentsMargins(theme.WIDE, 3, theme.SPACE, 3)
        row.addWidget(mark)
        row.addWidget(self.label, 1)
        row.addWidget(close)
        session.current_changed.connect(self._show)
        session.engine.restarted.connect(self._on_restarted)
        self._show()

    def _on_restarted(self, sentence: str) -> None:
        self._news = sentence
        self._show()

    def _show(self) -> None:
        opened = self._session.current
        lines = [self._news] if self._news else []
        if opened is not None and opened.loop_id not in self._read:
            lines += opened.loop.warnings
        self.label.setText("\n".join(lines))
        self.setVisible(bool(lines))

    def _close(self) -> None:
        self._news = ""
        if self._session.current is not None:
            self._read.add(self._session.current.loop_id)
        self._show()
