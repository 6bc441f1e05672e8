"""What the Noise menu does, and how its actions follow what can be done."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from echoq_desktop import actions as action_table

if TYPE_CHECKING:
    from echoq_desktop.main_window import MainWindow

IN_DOCK = ("encode_noise", "try_channels")  # what these give is seen in the dock


class NoiseActions(QObject):
    """Connects the window's actions with the session's work on noise."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self._window = window
        self._session, self._work, self._actions = window.session, window.session.noise, window.actions_by_name
        self._tips = {name: self._actions[name].statusTip() for name in (*IN_DOCK, "noise_pane", "noisy_loop")}
        on = {
            "encode_noise": lambda: self._in_dock(self._work.encode),
            "try_channels": lambda: self._in_dock(self._work.browse),
            "no_noise": self._work.reset,
            "noisy_loop": self._work.apply,
            "clean_source": self._show_source,
        }
        for name, act in on.items():
            self._actions[name].triggered.connect(lambda _=False, run=act: run())
        self._actions["noise_pane"].triggered.connect(self._work.show_in_panes)
        for signal in (self._work.changed, self._work.strengths_changed):
            signal.connect(self._follow)
        self._session.current_changed.connect(self._follow)
        self._session.loops_changed.connect(self._follow)
        self._follow()

    def _in_dock(self, act: Callable[[], None]) -> None:
        dock = self._window.docks["noise"]
        dock.show()
        dock.raise_()
        act()

    def _show_source(self) -> None:
        opened = self._session.current
        if opened is not None and opened.clean is not None:
            self._session.select(opened.clean.loop_id)

    def _follow(self, *_: object) -> None:
        """Enable what can be done now; say why not where there is no generator."""
        opened, work = self._session.current, self._work
        ready, turned = opened is not None and work.missing is None, any(work.changes().values())
        for name, tip in self._tips.items():
            self._actions[name].setEnabled(ready)
            action_table.describe(self._actions[name], work.missing or tip)
        self._actions["noisy_loop"].setEnabled(ready and turned and work.job("noisy") is None)
        self._actions["no_noise"].setEnabled(turned)
        self._actions["noise_pane"].setChecked(work.in_panes)
        clean = None if opened is None else opened.clean
        self._actions["clean_source"].setEnabled(clean is not None and self._session.opened(clean.loop_id) is not None)
