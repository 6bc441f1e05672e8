"""Sentences for the person under a table: hints, and warnings in amber."""

from __future__ import annotations

from html import escape

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QSizePolicy, QWidget

from echoq_desktop.theme import WARNING


class Notes(QLabel):
    """Any number of sentences, hidden when there are none."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._shown: list[tuple[str, bool]] | None = None
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        self.setAccessibleName("Notes")
        self.hide()

    def show_all(self, notes: list[tuple[str, bool]]) -> None:
        """Show these sentences, each with whether it is a warning."""
        if notes == self._shown:
            return
        self._shown = list(notes)
        mark = f"<span style='color:{WARNING}'>▲</span>&nbsp;"
        lines = [f"<div style='margin-bottom:3px'>{mark if bad else ''}{escape(text)}</div>" for text, bad in notes]
        self.setText("".join(lines))
        self.setAccessibleDescription(" ".join(text for text, _ in notes))
        self.setVisible(bool(notes))

    def sentences(self) -> list[str]:
        """What is shown, without markup."""
        return [text for text, _ in self._shown or ()]
