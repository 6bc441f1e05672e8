"""Drawing and editing of left ventricle and myocardium with the mouse; one tool for all panes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Qt, Signal

from echoq_models.regions import FrameRegions, Polygon, Regions

if TYPE_CHECKING:
    from echoq_desktop.session import Session

Point = tuple[float, float]
KINDS = {"draw_lv": "lv", "draw_myocardium": "myocardium"}
TITLES = {"lv": "left ventricle", "myocardium": "myocardium"}
LEAST_POINTS = 3
TRACE_STEP = 2.0  # while the button is held, a point every so many grab radii


@dataclass(frozen=True)
class Handle:
    """A polygon of the frame shown, or one of its vertices."""

    kind: str
    polygon: int
    vertex: int | None = None


@dataclass
class _Drag:
    handle: Handle
    start: Point
    before: tuple[Polygon, ...]
    frame: int  # where it began: the loop may play on under the hand
    moved: bool = False


def supplier(regions: Regions, t: int, kind: str) -> int | None:
    """The key frame whose polygons of `kind` frame `t` shows; None for the polygons of all frames."""
    keys = [k for k, shown in regions.frames.items() if getattr(shown, kind)]
    earlier = [k for k in keys if k <= t]
    if earlier:
        return earlier[-1]
    return None if getattr(regions, kind) or not keys else keys[0]


def with_polygons(regions: Regions, t: int, kind: str, polygons: Sequence[Polygon]) -> Regions:
    """Regions whose polygons of `kind`, as frame `t` shows them, are `polygons`; the rest stays."""
    key = supplier(regions, t, kind)
    change: dict[str, Any] = {kind: tuple(polygons)}
    if key is None:
        return replace(regions, **change)
    shown: FrameRegions = replace(regions.frames[key], **change)
    return replace(regions, frames={**regions.frames, key: shown})


class RegionTool(QObject):
    """Turns mouse and key events, in source pixels, into changes of the session's regions.

    `radius` is the distance in source pixels within which a vertex or an edge is grabbed.
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
        handle = self.find(at, radius)
        self.selected = handle
        if handle is not None:
            self._drag = _Drag(handle, at, self._polygons(handle.kind), self._session.frame)
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
            self._session.preview_regions(self._dragged(self._drag, at))
        elif self.editing:
            hover = self.find(at, radius)
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
            regions = self._dragged(drag, at)
            what = "Move point of" if drag.handle.vertex is not None else "Move"
            self._session.set_regions(regions, f"{what} {TITLES[drag.handle.kind]}")
        return was_busy

    def double_click(self, at: Point, radius: float) -> bool:
        """Close the polygon that is drawn, or put a vertex into the edge below."""
        self._tracing = False
        if self.drawing:
            self.close_draft()
            return True
        if not self.editing:
            return False
        self._drag = None
        edge = self._find_edge(at, radius)
        if edge is None:
            return False
        polygons = list(self._polygons(edge.kind))
        place = (edge.vertex or 0) + 1
        polygons[edge.polygon] = np.insert(polygons[edge.polygon], place, self._inside(at), axis=0)
        self._commit(edge.kind, polygons, f"Add point to {TITLES[edge.kind]}")
        self.selected = replace(edge, vertex=place)
        self.changed.emit()
        return True

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

    def close_draft(self) -> None:
        """Make a polygon of the points drawn (three at least, else they are dropped) and go on to editing."""
        points, kind = _without_repeats(self.draft), self.draft_kind
        self.draft = []
        if len(points) >= LEAST_POINTS:
            self._commit(kind, [*self._polygons(kind), np.array(points)], f"Draw {TITLES[kind]}")
            self._session.tool = "edit"
        self.changed.emit()

    def delete_selected(self) -> None:
        """Delete the selected vertex, or the polygon when it is selected whole or would lose its area."""
        handle = self.selected
        if handle is None:
            return
        polygons = list(self._polygons(handle.kind))
        points = polygons[handle.polygon]
        if handle.vertex is not None and len(points) > LEAST_POINTS:
            polygons[handle.polygon] = np.delete(points, handle.vertex, axis=0)
            text = f"Delete point of {TITLES[handle.kind]}"
        else:
            del polygons[handle.polygon]
            text = f"Delete {TITLES[handle.kind]}"
        self.selected = self.hover = None
        self._commit(handle.kind, polygons, text)

    def find(self, at: Point, radius: float) -> Handle | None:
        """What lies under the mouse: a vertex first, else the polygon around it."""
        best, found = radius, None
        for kind in TITLES:
            for number, points in enumerate(self._polygons(kind)):
                distances = np.hypot(*(points - at).T)
                vertex = int(distances.argmin())
                if distances[vertex] <= best:
                    best, found = float(distances[vertex]), Handle(kind, number, vertex)
        return found or self._find_edge(at, radius, whole=True) or self._find_inside(at)

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

    def _find_edge(self, at: Point, radius: float, whole: bool = False) -> Handle | None:
        best, found = radius, None
        for kind in TITLES:
            for number, points in enumerate(self._polygons(kind)):
                distances = _edge_distances(points, at)
                edge = int(distances.argmin())
                if distances[edge] <= best:
                    best, found = float(distances[edge]), Handle(kind, number, None if whole else edge)
        return found

    def _find_inside(self, at: Point) -> Handle | None:
        for kind in TITLES:
            for number, points in enumerate(self._polygons(kind)):
                if _inside_polygon(points, at):
                    return Handle(kind, number)
        return None

    def _polygons(self, kind: str) -> tuple[Polygon, ...]:
        shown: tuple[Polygon, ...] = getattr(self._session.regions.at(self._session.frame), kind)
        return shown

    def _dragged(self, drag: _Drag, at: Point) -> Regions:
        """The regions with the drag applied: one vertex at `at`, or a polygon moved as far as the frame allows."""
        handle, polygons = drag.handle, list(drag.before)
        points = polygons[handle.polygon].copy()
        if handle.vertex is not None:
            points[handle.vertex] = self._inside(at)
        else:
            width, height = self._limits()
            shift = np.subtract(at, drag.start)
            low, high = -points.min(axis=0), (width, height) - points.max(axis=0)
            points += np.clip(shift, np.minimum(low, 0), np.maximum(high, 0))
        polygons[handle.polygon] = points
        return with_polygons(self._session.regions, drag.frame, handle.kind, polygons)

    def _commit(self, kind: str, polygons: Sequence[Polygon], text: str) -> None:
        regions = with_polygons(self._session.regions, self._session.frame, kind, polygons)
        self._session.set_regions(regions, text)

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
            points = self.draft
            self.draft = []
            if len(points) >= LEAST_POINTS:
                kind = self.draft_kind
                self._commit(kind, [*self._polygons(kind), np.array(points)], f"Draw {TITLES[kind]}")
        self.hover = None
        if tool != "edit":
            self.selected = None
        self.changed.emit()

    def _drop(self) -> None:
        self.draft, self._drag, self._tracing = [], None, False
        self.hover = self.selected = None
        self.changed.emit()

    def _check_selection(self) -> None:
        """An undo may have taken away what was selected."""
        for name in ("selected", "hover"):
            handle: Handle | None = getattr(self, name)
            if handle is None:
                continue
            polygons = self._polygons(handle.kind)
            if handle.polygon >= len(polygons) or (handle.vertex or 0) >= len(polygons[handle.polygon]):
                setattr(self, name, None)
        self.changed.emit()


def _distance(a: Point, b: Point) -> float:
    return float(np.hypot(a[0] - b[0], a[1] - b[1]))


def _edge_distances(points: Polygon, at: Point) -> NDArray[np.float64]:
    """Distance (n,) of `at` from the edge that starts at each vertex."""
    along = np.roll(points, -1, axis=0) - points
    length = np.maximum((along**2).sum(axis=1), 1e-12)
    share = np.clip(((np.asarray(at) - points) * along).sum(axis=1) / length, 0.0, 1.0)
    return np.hypot(*(points + share[:, None] * along - at).T)


def _inside_polygon(points: Polygon, at: Point) -> bool:
    """Even-odd rule."""
    x, y = points.T
    x2, y2 = np.roll(points, -1, axis=0).T
    crossing = (y > at[1]) != (y2 > at[1])
    rise = np.where(crossing, y2 - y, 1.0)
    return bool((crossing & (at[0] < x + (at[1] - y) / rise * (x2 - x))).sum() % 2)


def _without_repeats(points: Sequence[Point]) -> list[Point]:
    """Points without those that fall on the one before (the second click of a double click)."""
    kept: list[Point] = []
    for point in points:
        if not kept or _distance(point, kept[-1]) > 0.5:
            kept.append(point)
    return kept
