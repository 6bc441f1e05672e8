"""The batch's table: one row a file, with state and reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

from echoq_desktop.theme import ACCENT, ERROR, GOOD, MUTED, TEXT

COLUMNS = ("File", "State", "Reason")
COLOURS = {"running": ACCENT, "done": GOOD, "failed": ERROR, "skipped": MUTED, "cancelled": MUTED, "waiting": MUTED}
STATE_ROLE = Qt.ItemDataRole.UserRole


class BatchTable(QTableWidget):
    """Files in the order they were tried."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(0, len(COLUMNS), parent)
        self._rows: dict[str, int] = {}
        self.setAccessibleName("Files of the batch")
        self.setToolTip("Each file with what became of it and why")
        self.setHorizontalHeaderLabels(COLUMNS)
        self.verticalHeader().hide()
        self.setShowGrid(False)
        self.setWordWrap(True)
        self.setTabKeyNavigation(False)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        head = self.horizontalHeader()
        head.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        head.setSectionResizeMode(0, QHeaderView.ResizeMode.Interactive)
        head.setSectionResizeMode(1, QHeaderView.ResizeMode.Fixed)
        head.setStretchLastSection(True)
        self.setColumnWidth(0, 230)
        self.setColumnWidth(1, 130)

    def put(self, news: Mapping[str, Any]) -> None:
        """Show the news of a file: its "file", "state", "reason", "done_frames" of "frames"."""
        row = self._rows.get(news["file"])
        if row is None:
            row = self._rows[news["file"]] = self.rowCount()
            self.insertRow(row)
            for column in range(len(COLUMNS)):
                self.setItem(row, column, QTableWidgetItem())
            self._set(row, 0, news["file"], TEXT)
            self.scrollToBottom()
        state = str(news["state"])
        text = state
        if state == "running":
            text = news.get("stage") or state
        if text == "denoising":
            text = f"frame {news.get('done_frames', 0)} of {news['frames']}"
        self._set(row, 1, text, COLOURS.get(state, TEXT))
        self._set(row, 2, news.get("reason") or "", TEXT)
        item = self.item(row, 1)
        if item is not None:
            item.setData(STATE_ROLE, state)
        if state != "running":
            self.resizeRowToContents(row)

    def _set(self, row: int, column: int, text: str, colour: str) -> None:
        item = self.item(row, column)
        if item is not None and item.text() != text:
            item.setText(text)
            item.setToolTip(text)
            item.setForeground(QColor(colour))

    def stop_running(self, state: str) -> None:
        """The batch is over: what was running is not any more."""
        for row in range(self.rowCount()):
            item = self.item(row, 1)
            if item is not None and item.data(STATE_ROLE) == "running":
                item.setData(STATE_ROLE, state)
                self._set(row, 1, state, COLOURS[state])

    def clear_files(self) -> None:
        """Forget all files."""
        self._rows.clear()
        self.setRowCount(0)

    def counts(self) -> dict[str, int]:
        """How many files are in each state."""
        out = dict.fromkeys(("done", "failed", "skipped", "cancelled", "waiting", "running"), 0)
        for row in range(self.rowCount()):
            item = self.item(row, 1)
            if item is not None:
                out[item.data(STATE_ROLE)] += 1
        return out

    def reasons(self) -> dict[str, str]:
        """File -> reason of those that failed."""
        return {file: self._text(row, 2) for file, row in self._rows.items() if self._state(row) == "failed"}

    def text(self) -> str:
        """File, state and reason with tabs, one line a file."""
        lines = ["\t".join(COLUMNS)]
        lines += ["\t".join((file, self._state(row), self._text(row, 2))) for file, row in self._rows.items()]
        return "\n".join(lines) + "\n"

    def _state(self, row: int) -> str:
        item = self.item(row, 1)
        return "" if item is None else str(item.data(STATE_ROLE))

    def _text(self, row: int, column: int) -> str:
        item = self.item(row, column)
        return "" if item is None else item.text()
