"""The transport bar below the panes, and the player that ties clock and session together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QObject, QSize, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QComboBox, QFrame, QHBoxLayout, QLabel, QToolButton, QVBoxLayout, QWidget

from echoq_desktop import icons, theme
from echoq_desktop.player.clock import Clock
from echoq_desktop.player.scrub import ScrubBar

if TYPE_CHECKING:
    from echoq_desktop.engine import OpenedLoop
    from echoq_desktop.session import Session

SPEEDS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)
ICON = QSize(20, 20)


class Player(QObject):
    """The clock moves the session's frame; opening or choosing a loop plays it at its true rate."""

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.autoplay = True
        self.clock = Clock(self)
        self.clock.frame_due.connect(session.set_frame)
        session.current_changed.connect(self._on_current)
        session.frame_changed.connect(self._on_frame)

    def change_speed(self, step: int) -> None:
        """The next slower (-1) or faster (+1) speed."""
        speeds = np.array(SPEEDS)
        here = int(np.abs(speeds - self.clock.speed).argmin())
        self.clock.speed = SPEEDS[min(max(here + step, 0), len(SPEEDS) - 1)]

    def beat(self) -> tuple[int, int] | None:
        """First and last frame of the beat around the playhead; None when the file knows no beat.

        Between two R waves where they are known, else one heart cycle from the playhead on.
        """
        opened = self._session.current
        if opened is None:
            return None
        times, here = opened.loop.times_ms, opened.loop.times_ms[self._session.frame]
        waves = np.asarray(opened.loop.r_waves_ms)
        if len(waves) > 1:
            number = int(np.clip(np.searchsorted(waves, here, side="right") - 1, 0, len(waves) - 2))
            start, end = waves[number], waves[number + 1]
        elif opened.loop.heart_rate:
            length = 60000.0 / opened.loop.heart_rate
            start = min(here, max(times[-1] - length, 0.0))
            end = start + length
        else:
            return None
        inside = np.flatnonzero((times >= start - 1e-6) & (times < end - 1e-6))
        return (int(inside[0]), int(inside[-1])) if len(inside) > 1 else None

    def _on_frame(self, index: int) -> None:
        """Somebody else moved the playhead (the quality curve): time goes on from there."""
        if index != self.clock.index:
            self.clock.seek(index)

    def _on_current(self, opened: OpenedLoop | None) -> None:
        if opened is None:
            self.clock.set_times(np.zeros(1))
            return
        self.clock.set_times(opened.loop.times_ms, self._session.frame)
        if self.autoplay and len(opened.loop) > 1:
            self.clock.play()


class TransportBar(QFrame):
    """Play, step, scrub, speed, trim, time."""

    def __init__(
        self, session: Session, player: Player, actions: Mapping[str, QAction], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._session, self._player, self._clock = session, player, player.clock
        self.setObjectName("transport")
        self.setStyleSheet(f"#transport {{ background: {theme.PANEL}; border-top: 1px solid {theme.LINE}; }}")
        self.scrub = ScrubBar(session, player.clock)
        self._time = QLabel()
        self._time.setAccessibleName("Time in the loop")
        metrics = self._time.fontMetrics()  # of fixed size: else each new text lays the whole window out again
        self._time.setFixedSize(metrics.horizontalAdvance("00.000 / 00.000 s "), metrics.height() + 2)
        self._play = actions["play"]
        self.speed = self._speed_box()
        bar = QHBoxLayout()
        bar.setSpacing(2)
        bar.addWidget(self._time)
        bar.addStretch(1)
        for name in ("first", "previous", "play", "next", "last"):
            bar.addWidget(_button(actions[name], big=name == "play"))
        bar.addSpacing(theme.WIDE)
        for name in ("repeat", "every_frame"):
            bar.addWidget(_button(actions[name]))
        bar.addSpacing(theme.WIDE)
        for name in ("trim_in", "trim_out", "trim_clear", "one_beat"):
            bar.addWidget(_button(actions[name]))
        bar.addStretch(1)
        bar.addWidget(self.speed)
        bar.addWidget(_button(actions["true_speed"]))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(theme.SPACE, theme.SPACE, theme.SPACE, theme.SPACE)
        layout.setSpacing(2)
        layout.addWidget(self.scrub)
        layout.addLayout(bar)
        self._clock.playing_changed.connect(self._on_playing)
        self._clock.settings_changed.connect(self._on_settings)
        session.frame_changed.connect(self._show_time)
        session.current_changed.connect(self._show_time)
        self._on_playing(self._clock.playing)
        self._on_settings()
        self._show_time()

    def _speed_box(self) -> QComboBox:
        box = QComboBox()
        box.setAccessibleName("Speed")
        box.setToolTip("Speed: 1× is the rate at which the loop was acquired")
        for factor in SPEEDS:
            box.addItem(f"{factor:g}×", factor)
        box.activated.connect(self._on_speed)
        return box

    def _on_speed(self, row: int) -> None:
        self._clock.speed = self.speed.itemData(row)

    def _on_playing(self, playing: bool) -> None:
        self._play.setText("&Pause" if playing else "&Play")
        self._play.setIcon(icons.icon("pause" if playing else "play"))

    def _on_settings(self) -> None:
        self.speed.setCurrentIndex(self.speed.findData(self._clock.speed))

    def _show_time(self) -> None:
        opened = self._session.current
        if opened is None:
            self._time.setText("")
            return
        loop, frame = opened.loop, self._session.frame
        now, end = loop.times_ms[frame] / 1000.0, loop.times_ms[-1] / 1000.0
        self._time.setText(f"{now:.3f} / {end:.3f} s")


def _button(action: QAction, *, big: bool = False) -> QToolButton:
    """A button for an action: reached by Tab, but a click leaves the keyboard with the pictures."""
    made = QToolButton()
    made.setDefaultAction(action)
    made.setIconSize(ICON * 1.4 if big else ICON)
    made.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    made.setAccessibleName(action.text().replace("&", ""))
    return made
