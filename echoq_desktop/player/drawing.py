"""Drawing and editing of left ventricle and myocardium with mouse and keys; one tool for all panes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QObject, Qt, Signal

from echoq_desktop.player import handles
from echoq_desktop.player.handles import TITLES, Handle, Point
from echoq_models.regions import Contour
from echoq_models.regions.contour import LEAST_POINTS

if TYPE_CHECKING:
    from echoq_desktop.session import Session

KINDS = {"draw_lv": "lv", "draw_myocardium": "myocardium"}
TRACE_STEP = 2.0  # while the button is held, a point every so many grab radii
SMALLEST = 0.1  # to which a contour can be scaled in one go


@dataclass
class _Drag:
    handle: Handle
    start: Point
    before: tuple[Contour, ...]
    frame: int  # where it began: the loop may play on under the hand
    moved: bool = False


class RegionTool(QObject):
    """Turns mouse and key events, in source pixels, into changes of the session's regions.

    `radius` is the distance in source pixels within which a handle or an outline is grabbed.
    """

    changed = Signal()  # draft, hover or selection: repaint

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.draft: list[Point] = []
        self.draft_kind = "lv"
        self.cursor: Point | None = None
        self.hover: Handle | None = None
        self.selected: Handle | None = None
        self._drag: _Drag | None = None
        self._tracing = False
        session.tool_changed.connect(self._on_tool)
        session.current_changed.connect(self._drop)
        session.regions_changed.connect(self._check_selection)
        session.frame_changed.connect(self._check_selection)

    # what the panes ask

    @property
    def drawing(self) -> bool:
        """Whether the tool adds points."""
        return self._session.tool in KINDS

    @property
    def editing(self) -> bool:
        """Whether handles can be dragged."""
        return self._session.tool == "edit"

    @property
    def busy(self) -> bool:
        """Whether the mouse holds something."""
        return self._drag is not None or self._tracing

    def press(self, at: Point, radius: float, button: Qt.MouseButton) -> bool:
        """A button goes down; True when the tool takes it."""
        if self._session.current is None:
            return False
        if self.drawing:
            return self._press_drawing(at, radius, button)
        if not self.editing or button != Qt.MouseButton.LeftButton:
            return False
        handle = handles.find(self._session.shown, at, radius, self.selected)
        self.selected = None if handle is None else replace(handle, corner=None)
        if handle is not None:
            self._drag = _Drag(handle, at, self._contours(handle.kind), self._session.frame)
        self.changed.emit()
        return handle is not None

    def move(self, at: Point, radius: float) -> bool:
        """The mouse moves, a button held or not; True when the tool holds something."""
        self.cursor = at
        if self._tracing and self.draft:
            if _distance(at, self.draft[-1]) > TRACE_STEP * radius:
                self.draft.append(self._inside(at))
        elif self._drag is not None:
            self._drag.moved = True
            self._session.work.preview(self._drag.frame, self._drag.handle.kind, self._dragged(self._drag, at))
        elif self.editing:
            hover = handles.find(self._session.shown, at, radius, self.selected)
            if hover == self.hover:
                return False
            self.hover = hover
        elif not self.draft:
            return False
        self.changed.emit()
        return self.busy

    def release(self, at: Point) -> bool:
        """A button goes up; a drag becomes one undo step."""
        was_busy = self.busy
        self._tracing = False
        drag, self._drag = self._drag, None
        if drag is not None and drag.moved:
            handle = drag.handle
            what = "Scale" if handle.corner is not None else "Move" if handle.whole else "Move point of"
            text = f"{what} {TITLES[handle.kind]}"
            self._session.work.edit(drag.frame, handle.kind, self._dragged(drag, at), text)
        return was_busy

    def double_click(self, at: Point, radius: float) -> bool:
        """Close the contour that is drawn, or put a handle into the outline below."""
        self._tracing = False
        if self.drawing:
            self.close_draft()
            return True
        if not self.editing:
            return False
        self._drag = None
        edge = handles.edge(self._session.shown, at, radius)
        if edge is None:
            return False
        self._add_point(edge, self._inside(at))
        return True

    def scale_at(self, at: Point, radius: float, factor: float) -> bool:
        """Scale the contour under the mouse, else the selected one; True when there is one."""
        if not self.editing or self._drag is not None:
            return False
        found = handles.find(self._session.shown, at, radius, self.selected)
        if found is not None and (self.selected is None or _contour_of(self.selected) != _contour_of(found)):
            self.selected = _contour_of(found)
        return self.scale(factor)

    def key(self, key: int) -> bool:
        """Enter closes, Backspace takes a point back, Escape drops, Del deletes; True when it meant something."""
        if key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.draft:
            self.close_draft()
        elif key == Qt.Key.Key_Backspace and self.draft:
            self.draft.pop()
        elif key == Qt.Key.Key_Escape and (self.draft or self._drag):
            self._drop()
            self._session.cancel_preview()
        elif key == Qt.Key.Key_Escape and self._session.tool != "look":
            self._session.tool = "look"
        elif key in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace) and self.selected is not None:
            self.delete_selected()
        else:
            return False
        self.changed.emit()
        return True

    # what can be done by keys alone

    def select_region(self) -> None:
        """Select the next contour of this frame, round and round."""
        there = [handle for handle, _ in handles.every(self._session.shown)]
        if not there:
            self._session.message.emit("This frame has no regions yet.")
            return
        self._session.tool = "edit"
        here = _contour_of(self.selected) if self.selected is not None else None
        self.selected = there[(there.index(here) + 1) % len(there)] if here in there else there[0]
        self.changed.emit()

    def select_point(self, step: int) -> None:
        """Select the next (+1) or previous (-1) handle of the selected contour."""
        if self.selected is None:
            self.select_region()
        contour = self._selected_contour()
        if contour is None or self.selected is None:
            return
        here = self.selected.vertex
        after = (0 if step > 0 else len(contour) - 1) if here is None else (here + step) % len(contour)
        self.selected = replace(self.selected, vertex=after)
        self.changed.emit()

    def nudge(self, dx: float, dy: float) -> None:
        """Move what is selected by source pixels; steps in a row are one undo step."""
        contour, handle = self._selected_contour(), self.selected
        if contour is None or handle is None:
            self._say_select()
            return
        if handle.vertex is None:
            moved, what = self._moved(contour, (dx, dy)), "Move"
        else:
            x, y = contour.points[handle.vertex]
            moved, what = contour.at_handle(handle.vertex, self._inside((x + dx, y + dy))), "Move point of"
        self._replace(handle, moved, f"{what} {TITLES[handle.kind]}", f"nudge {handle}")

    def scale(self, factor: float) -> bool:
        """Scale the selected contour around its middle; steps in a row are one undo step. True when there is one."""
        contour, handle = self._selected_contour(), self.selected
        if contour is None or handle is None:
            self._say_select()
            return False
        whole = _contour_of(handle)
        self._replace(whole, self._scaled(contour, factor), f"Scale {TITLES[handle.kind]}", f"scale {whole}")
        return True

    def insert_point(self) -> None:
        """Put a handle half-way between the selected one and the next."""
        contour, handle = self._selected_contour(), self.selected
        if contour is None or handle is None:
            self._say_select()
            return
        vertex = handle.vertex or 0
        start = int(contour.starts[vertex])
        end = int(contour.starts[vertex + 1]) if vertex + 1 < len(contour) else len(contour.outline)
        middle = contour.outline[(start + end) // 2] if end - start > 1 else self._half_way(contour, vertex)
        self._add_point(replace(handle, vertex=vertex), (float(middle[0]), float(middle[1])))

    def close_draft(self) -> None:
        """Make a contour of the points drawn (three at least, else they are dropped) and go on to editing."""
        if self._take_draft():
            self._session.tool = "edit"
        self.changed.emit()

    def delete_selected(self) -> None:
        """Delete the selected handle, or the contour when it is selected whole or would lose its area."""
        handle, self.selected, self.hover = self.selected, None, None
        if handle is not None:
            self._session.work.delete(handle)

    # within

    def _press_drawing(self, at: Point, radius: float, button: Qt.MouseButton) -> bool:
        if button == Qt.MouseButton.RightButton:
            self.close_draft()
            return True
        if button != Qt.MouseButton.LeftButton:
            return False
        self.draft_kind = KINDS[self._session.tool]
        if len(self.draft) >= LEAST_POINTS and _distance(at, self.draft[0]) <= radius:
            self.close_draft()
            return True
        self.draft.append(self._inside(at))
        self._tracing = True
        self.changed.emit()
        return True

    def _take_draft(self) -> bool:
        """The points drawn become a smooth contour; False when they are too few."""
        points, kind = _without_repeats(self.draft), self.draft_kind
        self.draft = []
        if len(points) < LEAST_POINTS:
            return False
        drawn = Contour(np.array(points), smooth=True)
        there = [*self._contours(kind), drawn]
        self._session.work.edit(self._session.frame, kind, there, f"Draw {TITLES[kind]}")
        return True

    def _contours(self, kind: str) -> tuple[Contour, ...]:
        return handles.contours(self._session.shown, kind)

    def _selected_contour(self) -> Contour | None:
        return None if self.selected is None else handles.of(self._session.shown, self.selected)

    def _dragged(self, drag: _Drag, at: Point) -> tuple[Contour, ...]:
        """The contours with the drag applied: one handle at `at`, or a contour moved or scaled within the frame."""
        handle, there = drag.handle, list(drag.before)
        contour = there[handle.polygon]
        if handle.vertex is not None:
            contour = contour.at_handle(handle.vertex, self._inside(at))
        elif handle.corner is not None:
            middle = contour.centroid
            contour = self._scaled(contour, _distance(at, middle) / max(_distance(drag.start, middle), 1e-6))
        else:
            contour = self._moved(contour, (at[0] - drag.start[0], at[1] - drag.start[1]))
        there[handle.polygon] = contour
        return tuple(there)

    def _moved(self, contour: Contour, shift: Point) -> Contour:
        """Moved as far as the frame allows."""
        low, high = -contour.points.min(axis=0), self._limits() - contour.points.max(axis=0)
        return contour.moved(*np.clip(shift, np.minimum(low, 0), np.maximum(high, 0)))

    def _scaled(self, contour: Contour, factor: float) -> Contour:
        """Scaled around its middle; what would leave the frame stays at its edge."""
        scaled = contour.scaled(max(factor, SMALLEST))
        return replace(scaled, points=np.clip(scaled.points, 0.0, self._limits()))

    @staticmethod
    def _half_way(contour: Contour, vertex: int) -> Point:
        x, y = (contour.points[vertex] + contour.points[(vertex + 1) % len(contour)]) / 2
        return float(x), float(y)

    def _add_point(self, edge: Handle, at: Point) -> None:
        """A handle at `at`, behind the one that `edge` names, and selected."""
        contour = handles.of(self._session.shown, edge)
        if contour is None or edge.vertex is None:
            return
        self._replace(edge, contour.with_point(edge.vertex, at), f"Add point to {TITLES[edge.kind]}")
        self.selected = replace(edge, vertex=edge.vertex + 1)
        self.changed.emit()

    def _replace(self, handle: Handle, contour: Contour, text: str, merge: str = "") -> None:
        there = list(self._contours(handle.kind))
        there[handle.polygon] = contour
        self._session.work.edit(self._session.frame, handle.kind, there, text, merge)

    def _say_select(self) -> None:
        self._session.message.emit("Select a region first: click it with the Edit tool, or press J.")

    def _limits(self) -> Point:
        loop = self._session.current
        assert loop is not None
        height, width = loop.loop.size
        return width - 1.0, height - 1.0

    def _inside(self, at: Point) -> Point:
        width, height = self._limits()
        return min(max(at[0], 0.0), width), min(max(at[1], 0.0), height)

    def _on_tool(self, tool: str) -> None:
        if self.draft and KINDS.get(tool) != self.draft_kind:
            self._take_draft()
        self.hover = None
        if tool != "edit":
            self.selected = None
        self.changed.emit()

    def _drop(self) -> None:
        self.draft, self._drag, self._tracing = [], None, False
        self.hover = self.selected = None
        self.changed.emit()

    def _check_selection(self) -> None:
        """An undo, or another frame, may have taken away what was selected."""
        for name in ("selected", "hover"):
            handle: Handle | None = getattr(self, name)
            if handle is not None and handles.of(self._session.shown, handle) is None:
                setattr(self, name, None)
        self.changed.emit()


def _contour_of(handle: Handle) -> Handle:
    """The contour that a handle belongs to."""
    return Handle(handle.kind, handle.polygon)


def _distance(a: Sequence[float], b: Sequence[float]) -> float:
    return float(np.hypot(a[0] - b[0], a[1] - b[1]))


def _without_repeats(points: Sequence[Point]) -> list[Point]:
    """Points without those that fall on the one before (the second click of a double click)."""
    kept: list[Point] = []
    for point in points:
        if not kept or _distance(point, kept[-1]) > 0.5:
            kept.append(point)
    return kept
