"""What the Play, View and Denoise actions do, and how they follow what is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject
from PySide6.QtGui import QAction, QActionGroup

from echoq_desktop import actions as action_table
from echoq_desktop.player.view import LAYOUTS
from echoq_desktop.session import NETWORKS, TOOLS

if TYPE_CHECKING:
    from echoq_desktop.main_window import MainWindow


class ViewActions(QObject):
    """Connects the window's actions with clock, view and session."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self._window = window
        self._session, self._state = window.session, window.state
        self._clock, self._actions = window.player.clock, window.actions_by_name
        self._networks: dict[str, QAction] = {}
        self._group(TOOLS, lambda name: setattr(self._session, "tool", name))
        self._group(LAYOUTS, lambda name: self._state.set(layout=name))
        self._wire_playing()
        self._wire_viewing()
        self._build_denoise_menu()
        self._session.tool_changed.connect(self._follow_tool)
        self._state.changed.connect(self._follow_view)
        self._clock.settings_changed.connect(self._follow_clock)
        self._session.current_changed.connect(self._follow_clock)
        self._session.panes_changed.connect(self._follow_panes)
        self._session.methods_changed.connect(self._follow_panes)
        self._session.settings_changed.connect(self._follow_settings)
        self._session.current_changed.connect(self._follow_panes)
        self._follow_tool(self._session.tool)
        self._follow_view()
        self._follow_clock()
        self._follow_panes()
        self._follow_settings()

    # playing

    def _wire_playing(self) -> None:
        clock, session = self._clock, self._session
        on: dict[str, Callable[[], object]] = {
            "play": clock.toggle,
            "next": lambda: clock.step(1),
            "previous": lambda: clock.step(-1),
            "first": lambda: clock.seek(clock.trim[0]),
            "last": lambda: clock.seek(clock.trim[1]),
            "slower": lambda: self._window.player.change_speed(-1),
            "faster": lambda: self._window.player.change_speed(1),
            "true_speed": lambda: setattr(clock, "speed", 1.0),
            "trim_in": lambda: clock.set_trim(session.frame, max(clock.trim[1], session.frame)),
            "trim_out": lambda: clock.set_trim(min(clock.trim[0], session.frame), session.frame),
            "trim_clear": clock.clear_trim,
            "one_beat": self._one_beat,
        }
        self._connect(on)
        self._actions["repeat"].toggled.connect(lambda on: setattr(clock, "loop", on))
        self._actions["every_frame"].toggled.connect(lambda on: setattr(clock, "every_frame", on))

    def _one_beat(self) -> None:
        beat = self._window.player.beat()
        if beat is None:
            self._session.message.emit("This file tells neither R waves nor heart rate; trim with [ and ].")
        else:
            self._clock.set_trim(*beat)

    def _follow_clock(self) -> None:
        self._set("repeat", self._clock.loop)
        self._set("every_frame", self._clock.every_frame)
        self._actions["trim_clear"].setEnabled(self._clock.trimmed)
        self._actions["one_beat"].setEnabled(self._window.player.beat() is not None)

    # viewing

    def _wire_viewing(self) -> None:
        state, panes = self._state, self._window.panes
        on: dict[str, Callable[[], object]] = {
            "magnify": lambda: state.toggle_magnify(panes.mouse_source()),
            "fit": lambda: state.set(zoom=1.0, centre=None),
            "next_target": panes.next_target,
            "next_grey_map": lambda: self._window.view_bar.looks.next_grey_map(),
            "sigma_auto": self._estimate_sigma,
            "sigma_set": self._set_sigma,
        }
        self._connect(on)
        for name, field in (
            ("difference", "difference"),
            ("swap", "swapped"),
            ("invert", "invert"),
            ("whole", "whole"),
        ):
            self._actions[name].toggled.connect(lambda on, field=field: state.set(**{field: on}))
        self._actions["show_regions"].setChecked(True)
        self._actions["show_regions"].toggled.connect(panes.show_regions)
        self._actions["full_screen"].toggled.connect(self._full_screen)
        for number in range(3):
            action = self._actions[f"pane_{number + 1}"]
            action.toggled.connect(lambda on, number=number: self._show_pane(number, on))

    def _full_screen(self, on: bool) -> None:
        if on:
            self._window.showFullScreen()
        else:
            self._window.showNormal()

    def _show_pane(self, number: int, shown: bool) -> None:
        self._session.set_shown(self._session.panes[number], shown)
        self._follow_panes()  # the last pane cannot be hidden

    def _follow_view(self) -> None:
        view = self._state.view
        self._set(view.layout, True)
        self._set("difference", view.difference)
        self._set("swap", view.swapped)
        self._set("invert", view.invert)
        self._set("whole", view.whole)
        self._actions["fit"].setEnabled(view.zoom > 1.0 or view.centre is not None)

    def _follow_tool(self, tool: str) -> None:
        self._set(tool, True)
        hints = {
            "draw_lv": "Click around the left ventricle. Double-click, right-click or Enter closes it.",
            "draw_myocardium": "Click around the myocardium. Double-click, right-click or Enter closes it.",
            "edit": "Drag handles and regions; Shift+wheel scales. Double-click an outline adds a handle, Del deletes.",
        }
        self._session.message.emit(hints.get(tool, ""))

    # denoising

    def _follow_panes(self) -> None:
        session = self._session
        for number, pane in enumerate(session.panes[:3]):
            action, title = self._actions[f"pane_{number + 1}"], session.title_of(pane)
            action.setText(f"Show &{number + 1} {title}")
            action.setIconText(title)
            action_table.describe(action, f"Show or hide {title}")
            self._set(action.objectName(), pane not in session.hidden)
        self._follow_networks()

    def _build_denoise_menu(self) -> None:
        """The networks for the middle pane, and BM3D's noise level."""
        menu = self._window.denoise_menu
        group = QActionGroup(menu)
        for name in NETWORKS:
            action = QAction(menu, checkable=True)
            action.triggered.connect(lambda _=False, name=name: self._session.set_middle(name))
            group.addAction(action)
            menu.addAction(action)
            self._networks[name] = action
        menu.addSeparator()
        menu.addAction(self._actions["sigma_auto"])
        menu.addAction(self._actions["sigma_set"])

    def _follow_networks(self) -> None:
        """A network without weights is disabled and says so."""
        for name, action in self._networks.items():
            missing = (self._session.methods.get(name) or {}).get("missing")
            title = self._session.title_of(name)
            action.setText(f"{title} (import or train weights)" if missing else title)
            action.setEnabled(not missing)
            action.setChecked(self._session.middle == name)
            action_table.describe(action, missing or f"Show {title} in the middle pane")

    def _follow_settings(self) -> None:
        self._set("sigma_auto", self._session.settings.sigma is None)

    def _estimate_sigma(self) -> None:
        self._session.set_settings(replace(self._session.settings, sigma=None))
        self._follow_settings()

    def _set_sigma(self) -> None:
        """Take the estimate as a start and lead to the slider in the Loop dock."""
        if self._session.settings.sigma is None:
            estimated = self._session.facts("bm3d").get("sigma")
            self._session.set_settings(replace(self._session.settings, sigma=float(estimated or 15.0)))
        dock = self._window.docks["loop"]
        dock.show()
        dock.raise_()
        self._window.loop_info.sigma.setFocus()

    # within

    def _connect(self, on: dict[str, Callable[[], object]]) -> None:
        for name, act in on.items():
            self._actions[name].triggered.connect(lambda _=False, run=act: run())

    def _group(self, names: tuple[str, ...], choose: Callable[[str], Any]) -> None:
        """Actions of which one is chosen."""
        group = QActionGroup(self)
        for name in names:
            group.addAction(self._actions[name])
            self._actions[name].triggered.connect(lambda _=False, name=name: choose(name))

    def _set(self, name: str, on: bool) -> None:
        """Tick an action without acting."""
        action = self._actions[name]
        if action.isChecked() != on:
            action.blockSignals(True)
            action.setChecked(on)
            action.blockSignals(False)
            action.changed.emit()  # buttons follow the action by this signal
