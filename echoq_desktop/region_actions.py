"""What the Regions menu does, and how its actions follow what is drawn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from echoq_desktop import actions as action_table
from echoq_desktop.region_work import DECISIONS

if TYPE_CHECKING:
    from echoq_desktop.main_window import MainWindow

SCALE = 1.02  # one press of Larger


class RegionActions(QObject):
    """Connects the window's actions with the region tool, the session's work and the network."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self._window = window
        self._session, self._actions = window.session, window.actions_by_name
        self._tips = {name: self._actions[name].statusTip() for name in ("generate_frame", "generate_loop")}
        tool, work, generation = window.panes.tool, self._session.work, self._session.generation
        on: dict[str, Callable[[], object]] = {
            "generate_frame": lambda: generation.start([self._session.frame]),
            "generate_loop": lambda: generation.start(),
            "copy_next": work.copy_to_next,
            "leave_out": self._leave_out,
            "follow": work.follow,
            "next_edited": lambda: work.go_to_edited(1),
            "previous_edited": lambda: work.go_to_edited(-1),
            "select_region": tool.select_region,
            "next_point": lambda: tool.select_point(1),
            "previous_point": lambda: tool.select_point(-1),
            "insert_point": tool.insert_point,
            "move_left": lambda: tool.nudge(-1, 0),
            "move_right": lambda: tool.nudge(1, 0),
            "move_up": lambda: tool.nudge(0, -1),
            "move_down": lambda: tool.nudge(0, 1),
            "larger": lambda: tool.scale(SCALE),
            "smaller": lambda: tool.scale(1 / SCALE),
            "clear_regions": work.clear,
            "go_ed": lambda: work.go_to_mark("ed"),
            "go_es": lambda: work.go_to_mark("es"),
            "mark_ed": lambda: work.mark_here("ed"),
            "mark_es": lambda: work.mark_here("es"),
            "find_marks": work.find_marks,
        }
        on |= {f"review_{decision}": partial(self._decide, decision) for decision in DECISIONS}
        for name, act in on.items():
            self._actions[name].triggered.connect(lambda _=False, run=act: run())
        work.name_wanted.connect(self._ask_name)
        generation.changed.connect(self._follow)
        self._session.regions_changed.connect(self._follow)
        self._session.current_changed.connect(self._follow)
        self._session.frame_changed.connect(self._follow_frame)
        self._follow()

    def _decide(self, decision: str) -> None:
        self._session.work.decide(decision)
        self._follow()

    def _leave_out(self) -> None:
        self._session.work.leave_out()
        self._follow_frame()

    def _ask_name(self) -> None:
        """Bring the field for the reviewer's name to the front."""
        self._window.docks["regions"].show()
        self._window.docks["regions"].raise_()
        self._window.regions.review.name.setFocus()

    def _follow_frame(self, *_: object) -> None:
        """What depends on the frame shown."""
        regions, t = self._session.regions, self._session.frame
        self._actions["leave_out"].setChecked(t in regions.left_out)
        self._actions["follow"].setEnabled(t in regions.edited or t in regions.left_out)

    def _follow(self, *_: object) -> None:
        """Enable what can be done now; say of generating why not."""
        session, opened = self._session, self._session.current is not None
        missing = session.generation.missing
        for name, tip in self._tips.items():
            self._actions[name].setEnabled(opened and missing is None and not session.generation.busy)
            action_table.describe(self._actions[name], missing or tip)
        drawn = bool(session.regions)
        self._follow_frame()
        for name in (
            "leave_out",
            "copy_next",
            "select_region",
            "next_point",
            "previous_point",
            "clear_regions",
            "find_marks",
        ):
            self._actions[name].setEnabled(drawn)
        self._actions["next_edited"].setEnabled(bool(session.regions.edited))
        self._actions["previous_edited"].setEnabled(bool(session.regions.edited))
        marks, review = session.regions.marks, session.regions.review
        self._actions["go_ed"].setEnabled(bool(marks.ed))
        self._actions["go_es"].setEnabled(bool(marks.es))
        self._actions["mark_ed"].setEnabled(opened)
        self._actions["mark_es"].setEnabled(opened)
        for decision in DECISIONS:
            self._actions[f"review_{decision}"].setEnabled(drawn)
            self._actions[f"review_{decision}"].setChecked(review is not None and review.decision == decision)
