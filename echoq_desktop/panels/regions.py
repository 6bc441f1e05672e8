"""The regions dock: what the mouse draws, the polygons there are, undo, saving."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QAction, QColor, QIcon, QKeySequence, QPixmap, QShortcut
from PySide6.QtWidgets import (
    QButtonGroup,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from echoq_desktop.loop_state import region_path
from echoq_desktop.panels.notes import Notes
from echoq_desktop.panels.throttle import Throttle
from echoq_desktop.theme import GOOD, LV, MUTED, MYOCARDIUM, SPACE, WARNING
from echoq_models.errors import EchoQError, RegionError
from echoq_models.metrics.gcnr import SMALL_REGION_PIXELS
from echoq_models.regions import FrameRegions, Regions, polygon_mask

if TYPE_CHECKING:
    from echoq_desktop.engine import OpenedLoop
    from echoq_desktop.session import Session

LIST_MS = 50  # how often areas follow a dragged vertex
KINDS = {"lv": ("Left ventricle", LV), "myocardium": ("Myocardium", MYOCARDIUM)}
BUTTONS = (
    ("look", "Look", "Pan and zoom; regions cannot be moved by accident"),
    ("edit", "Edit", "Move the vertices of a region, or a whole region"),
    ("draw_lv", "Draw LV", "Draw the left ventricle's cavity: click points, double-click or Enter to close"),
    ("draw_myocardium", "Draw myocardium", "Draw a piece of myocardium: click points, double-click or Enter to close"),
)


@dataclass(frozen=True)
class Place:
    """Where a polygon of the list lives: kind "lv" or "myocardium", its number, its key frame (None: all frames)."""

    kind: str
    number: int
    key: int | None


def places_of(regions: Regions, t: int) -> list[Place]:
    """The polygons that frame `t` shows, each with the place that holds it."""
    shown = regions.at(t)
    out = []
    for kind in KINDS:
        key = _holder(regions, kind, t)
        out += [Place(kind, number, key) for number in range(len(getattr(shown, kind)))]
    return out


def _holder(regions: Regions, kind: str, t: int) -> int | None:
    """The key frame whose polygons of `kind` frame `t` shows, None for those that hold for all frames."""
    own = [key for key, frame in regions.frames.items() if getattr(frame, kind)]
    before = [key for key in own if key <= t]
    if before:
        return max(before)
    return None if getattr(regions, kind) or not own else min(own)


def without(regions: Regions, place: Place) -> Regions:
    """The regions less one polygon."""
    if place.key is None:
        kept = getattr(regions, place.kind)
        return replace(regions, **{place.kind: kept[: place.number] + kept[place.number + 1 :]})
    frame = regions.frames[place.key]
    kept = getattr(frame, place.kind)
    frame = replace(frame, **{place.kind: kept[: place.number] + kept[place.number + 1 :]})
    frames: dict[int, FrameRegions] = {**regions.frames, place.key: frame}
    if not (frame.lv or frame.myocardium):
        del frames[place.key]
    return replace(regions, frames=frames)


class RegionsPanel(QWidget):
    """Content of the regions dock. Drawing happens on the panes; this offers the tools and lists the result."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.setAccessibleName("Regions")
        self.tools: dict[str, QPushButton] = {}
        self.list = QListWidget()
        self.notes = Notes()
        self.state = QLabel()
        self._places: list[Place] = []
        self._build()
        self._refresh = Throttle(self._show, self)
        session.tool_changed.connect(self._show_tool)
        session.regions_changed.connect(lambda: self._refresh.ask(LIST_MS))
        session.current_changed.connect(lambda _: self._refresh.ask(0))
        session.frame_changed.connect(self._on_frame)
        session.undo_group.cleanChanged.connect(lambda _: self._show_state())
        session.undo_group.indexChanged.connect(lambda _: self._show_state())
        self._show_tool(session.tool)
        self._show()

    # how it is laid out

    def _build(self) -> None:
        layout = QVBoxLayout(self)
        layout.setSpacing(SPACE)
        layout.addLayout(self._tool_buttons())
        self.list.setAccessibleName("Polygons")
        self.list.setToolTip("The polygons of this frame with their area. Delete removes the chosen one.")
        self.list.setMinimumHeight(90)
        self.list.setIconSize(QSize(10, 10))
        self.list.currentRowChanged.connect(lambda _: self._enable())
        layout.addWidget(self.list, 1)
        layout.addWidget(self.notes)
        self.state.setAccessibleName("Saved or not")
        self.state.setWordWrap(True)
        layout.addWidget(self.state)
        layout.addLayout(self._action_buttons())
        delete = QShortcut(QKeySequence(QKeySequence.StandardKey.Delete), self.list)
        delete.setContext(Qt.ShortcutContext.WidgetShortcut)
        delete.activated.connect(self.delete_chosen)

    def _tool_buttons(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setSpacing(4)
        group = QButtonGroup(self)
        for place, (tool, text, tip) in enumerate(BUTTONS):
            button = QPushButton()
            button.setText(f" {text}" if tool.startswith("draw_") else text)
            button.setCheckable(True)
            button.setToolTip(tip)
            button.setAccessibleName(text)
            button.setSizePolicy(self.sizePolicy().Policy.Expanding, self.sizePolicy().Policy.Fixed)
            button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            if tool.startswith("draw_"):
                button.setIcon(_swatch(KINDS[tool.removeprefix("draw_")][1]))
            button.clicked.connect(lambda _, name=tool: setattr(self.session, "tool", name))
            group.addButton(button)
            grid.addWidget(button, place // 2, place % 2)
            self.tools[tool] = button
        return grid

    def _action_buttons(self) -> QVBoxLayout:
        rows = QVBoxLayout()
        rows.setSpacing(4)
        undo = self.session.undo_group.createUndoAction(self, "Undo")
        redo = self.session.undo_group.createRedoAction(self, "Redo")
        self.delete_button = self._button("&Delete", "Delete the chosen polygon (Delete)", self.delete_chosen)
        self.clear_button = self._button("&Clear all", "Delete every region of this loop; can be undone", self.clear)
        self.save_button = self._button("&Save", "Save the regions beside the loop", self.save)
        self.save_as_button = self._button("Save &as…", "Save the regions to another file", self._ask_save)
        self.load_button = self._button("&Load…", "Load regions from a file; can be undone", self._ask_load)
        for row in (
            (_action_button(undo), _action_button(redo), self.delete_button, self.clear_button),
            (self.save_button, self.save_as_button, self.load_button),
        ):
            line = QHBoxLayout()
            line.setSpacing(4)
            for button in row:
                line.addWidget(button)
            rows.addLayout(line)
        return rows

    def _button(self, text: str, tip: str, slot: Callable[[], None]) -> QPushButton:
        button = QPushButton(text)
        button.setToolTip(tip)
        button.setAccessibleName(text.replace("&", "").rstrip("…"))
        button.setStyleSheet("padding-left: 4px; padding-right: 4px;")
        button.clicked.connect(lambda: slot())
        return button

    # what is shown

    def _on_frame(self, _: int) -> None:
        if self.session.regions.frames:  # else every frame shows the same polygons
            self._refresh.ask(200)

    def _show_tool(self, tool: str) -> None:
        self.tools[tool].setChecked(True)

    def _show(self) -> None:
        opened = self.session.current
        self._places = [] if opened is None else places_of(self.session.regions, self.session.frame)
        texts = [self._line(opened, place) for place in self._places] if opened is not None else []
        while self.list.count() > len(texts):
            self.list.takeItem(self.list.count() - 1)
        for row, text in enumerate(texts):
            if row == self.list.count():
                self.list.addItem(QListWidgetItem())
            item = self.list.item(row)
            if item.text() != text:
                item.setText(text)
                item.setIcon(_swatch(KINDS[self._places[row].kind][1]))
        self.notes.show_all(self._notes(opened))
        self._show_state()

    def _line(self, opened: OpenedLoop, place: Place) -> str:
        """ "LV 1 · 2,310 px · 6.52 cm²": what a polygon covers of the picture."""
        polygon = getattr(self.session.regions.at(self.session.frame), place.kind)[place.number]
        pixels = int(np.count_nonzero(polygon_mask(polygon, opened.loop.size)))
        name = f"{'LV' if place.kind == 'lv' else 'Myocardium'} {place.number + 1}"
        when = "" if place.key is None else f" · from frame {place.key + 1}"
        return f"{name} · {pixels:,} px{_square_cm(opened, pixels)}{when}"

    def _notes(self, opened: OpenedLoop | None) -> list[tuple[str, bool]]:
        if opened is None:
            return [("Open a loop to draw regions on it.", False)]
        regions = self.session.regions
        shown = regions.at(self.session.frame)
        if not (shown.lv or shown.myocardium):
            return [("No regions yet: choose Draw LV, then click around the cavity on any pane.", False)]
        out = []
        masks = regions.masks(opened.loop.size, self.session.frame)
        for (name, _), polygons, mask in zip(KINDS.values(), (shown.lv, shown.myocardium), masks, strict=True):
            count = int(np.count_nonzero(mask))
            if not polygons:
                out.append((f"{name}: none yet, gCNR needs it.", False))
            elif len(polygons) > 1 or count < SMALL_REGION_PIXELS:
                out.append((f"{name}, all: {count:,} px{_square_cm(opened, count)}", count < SMALL_REGION_PIXELS))
        try:
            if shown.lv and shown.myocardium:
                regions.check(opened.loop.size)
        except RegionError as error:
            out.append((str(error), True))
        return out

    def _show_state(self) -> None:
        opened = self.session.current
        clean = self.session.undo_stack.isClean()
        text, colour = ("", MUTED)
        if opened is not None and not clean:
            text, colour = "Not saved", WARNING
        elif opened is not None and self.session.regions:
            text, colour = "Saved", GOOD
        self.state.setText(f"<span style='color:{colour}'>●</span> {text}" if text else "")
        self.state.setVisible(bool(text))
        self._enable()

    def _enable(self) -> None:
        opened = self.session.current is not None
        drawn = opened and bool(self.session.regions)
        self.delete_button.setEnabled(opened and 0 <= self.list.currentRow() < len(self._places))
        self.clear_button.setEnabled(drawn)
        self.save_button.setEnabled(opened and not self.session.undo_stack.isClean())
        self.save_as_button.setEnabled(drawn)
        self.load_button.setEnabled(opened)
        for tool, button in self.tools.items():
            button.setEnabled(opened or tool == "look")

    # what a person does

    def delete_chosen(self) -> None:
        """Delete the polygon chosen in the list, as one undo step."""
        row = self.list.currentRow()
        if 0 <= row < len(self._places):
            place = self._places[row]
            self.session.set_regions(without(self.session.regions, place), f"Delete {KINDS[place.kind][0].lower()}")

    def clear(self) -> None:
        """Delete every region of the loop, as one undo step."""
        self.session.set_regions(Regions(), "Clear regions")

    def save(self) -> None:
        """Save the regions beside the loop."""
        self._try(lambda: self.session.save_regions())

    def _ask_save(self) -> None:
        start = self._start()
        chosen, _ = QFileDialog.getSaveFileName(self, "Save regions", start, "Regions (*.json)")
        if chosen:
            self._try(lambda: self.session.save_regions(path=Path(chosen)))

    def _ask_load(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(self, "Load regions", self._start(), "Regions (*.json);;All files (*)")
        if chosen:
            self._try(lambda: self.session.load_regions(Path(chosen)))

    def _start(self) -> str:
        opened = self.session.current
        return "" if opened is None else str(region_path(opened.path))

    def _try(self, step: Callable[[], object]) -> None:
        try:
            step()
        except EchoQError as error:
            self.session.message.emit(str(error))
        self._show_state()


def _square_cm(opened: OpenedLoop, pixels: int) -> str:
    if opened.spacing is None:
        return ""
    return f" · {pixels * opened.spacing.mm_per_pixel_x * opened.spacing.mm_per_pixel_y / 100:.2f} cm²"


def _swatch(colour: str) -> QIcon:
    square = QPixmap(10, 10)
    square.fill(QColor(colour))
    return QIcon(square)


def _action_button(action: QAction) -> QPushButton:
    """A button for undo or redo that keeps its short name; what it would undo is in the tooltip."""
    button = QPushButton()
    name = action.text().split()[0]
    button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    button.setText(name)
    button.setAccessibleName(name)
    button.setEnabled(action.isEnabled())
    button.clicked.connect(action.trigger)

    def follow() -> None:
        button.setEnabled(action.isEnabled())
        button.setToolTip(action.text())

    action.changed.connect(follow)
    follow()
    return button
