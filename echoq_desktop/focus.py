"""Keyboard focus: a click on a button leaves the keys with the pictures; Tab may still go anywhere."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, Qt, QTimer
from PySide6.QtGui import QAction, QGuiApplication
from PySide6.QtWidgets import QAbstractButton, QApplication, QWidget


class FocusKeeper(QObject):
    """Gives the keyboard back after a click on a button; lets Space press a button that Tab has reached."""

    def __init__(self, window: QWidget, play: QAction, give_back: Callable[[], None]) -> None:
        super().__init__(window)
        self._window, self._play, self._give_back = window, play, give_back
        self._keys = play.shortcuts()
        application = QApplication.instance()
        assert isinstance(application, QApplication)
        application.focusChanged.connect(self._on_focus)

    def _on_focus(self, _old: QWidget | None, new: QWidget | None) -> None:
        button = isinstance(new, QAbstractButton) and new.window() is self._window
        clicked = QGuiApplication.mouseButtons() != Qt.MouseButton.NoButton
        if button and clicked:
            QTimer.singleShot(0, self, self._give_back)
        self._play.setShortcuts([] if button and not clicked else self._keys)
