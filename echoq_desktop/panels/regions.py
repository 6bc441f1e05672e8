"""The regions dock: generating, what the mouse draws, the contours there are, the beat, the review, saving."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QAction, QColor, QIcon, QKeySequence, QPixmap, QShortcut, QShowEvent
from PySide6.QtWidgets import (
    QButtonGroup,
    QFileDialog,
    QGridLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from echoq_desktop.loop_state import region_path
from echoq_desktop.panels.notes import Notes
from echoq_desktop.panels.quality_sweep import find_cut
from echoq_desktop.panels.region_boxes import BeatBox, GenerateBox, ReviewBox, button, frame_list, row
from echoq_desktop.panels.scrolled import scrolled
from echoq_desktop.panels.throttle import Throttle, on_screen
from echoq_desktop.player import handles
from echoq_desktop.player.handles import Handle
from echoq_desktop.theme import GOOD, LV, MUTED, MYOCARDIUM, SPACE, WARNING
from echoq_models.errors import EchoQError
from echoq_models.metrics.gcnr import SMALL_REGION_PIXELS
from echoq_models.regions import Contour, Regions, polygon_mask

if TYPE_CHECKING:
    from echoq_desktop.engine import OpenedLoop
    from echoq_desktop.session import Session

LIST_MS = 50  # how often areas follow a dragged handle
KINDS = {"lv": ("Left ventricle", LV), "myocardium": ("Myocardium", MYOCARDIUM)}
BUTTONS = (
    ("look", "Look", "Pan and zoom; regions cannot be moved by accident"),
    ("edit", "Edit", "Move the handles of a region; move or scale a whole region"),
    ("draw_lv", "Draw LV", "Draw the left ventricle's cavity: click points, double-click or Enter to close"),
    ("draw_myocardium", "Draw myocardium", "Draw a piece of myocardium: click points, double-click or Enter to close"),
)


def origin(regions: Regions, t: int) -> str:
    """Where the regions of frame `t` come from, in a few words; "" without any."""
    if t in regions.left_out:
        return "left out of the measurement"
    if not regions.at(t):
        return ""
    if t in regions.edited:
        return "edited by hand"
    if t in regions.generated:
        return "from the network" + (", with nearby corrections" if regions.edited else "")
    if regions.generated:
        return "no LV found, blended from the frames around it"
    if regions.edited:
        return "follows the frames edited by hand"
    return "the same in all frames"


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
        self._listed: list[Handle] = []
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
        inside = QWidget()
        layout = QVBoxLayout(inside)
        layout.setSpacing(SPACE)
        self.generate, self.beat = GenerateBox(self.session), BeatBox(self.session)
        self.review = ReviewBox(self.session)
        layout.addWidget(self.generate)
        layout.addLayout(self._tool_buttons())
        self.list.setAccessibleName("Contours")
        self.list.setToolTip("The contours of this frame with their area. Delete removes the chosen one.")
        self.list.setMinimumHeight(64)
        self.list.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)  # it gives way first
        self.list.setIconSize(QSize(10, 10))
        self.list.currentRowChanged.connect(lambda _: self._enable())
        layout.addWidget(self.list, 1)
        layout.addLayout(self._frame_buttons())
        layout.addWidget(self.notes)
        layout.addWidget(self.beat)
        layout.addWidget(self.review)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, SPACE)
        whole.addWidget(scrolled(inside), 1)
        below = QVBoxLayout()
        below.setContentsMargins(SPACE, 0, SPACE, 0)
        self.state.setAccessibleName("Saved or not")
        self.state.setWordWrap(True)
        below.addWidget(self.state)
        below.addLayout(self._action_buttons())
        whole.addLayout(below)
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
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            if tool.startswith("draw_"):
                button.setIcon(_swatch(KINDS[tool.removeprefix("draw_")][1]))
            button.clicked.connect(lambda _, name=tool: setattr(self.session, "tool", name))
            group.addButton(button)
            grid.addWidget(button, place // 2, place % 2)
            self.tools[tool] = button
        return grid

    def _frame_buttons(self) -> QVBoxLayout:
        """Deleting in this frame, and what concerns the frames beside it."""
        work = self.session.work
        self.delete_button = button(
            "&Delete", "Delete the chosen contour; a frame without one is left out (Delete)", self.delete_chosen
        )
        self.clear_button = button("&Clear all", "Delete every region of this loop; can be undone", self.clear)
        self.copy_button = button("Copy to &next", "Give the next frame the regions of this one", work.copy_to_next)
        self.out_button = button("Leave &out", "Do not measure this frame; again: measure it (X)", work.leave_out)
        self.out_button.setCheckable(True)
        self.follow_button = button(
            "&Follow neighbours",
            "Drop what was set by hand in this frame: it follows the network and the frames around it (Shift+X)",
            work.follow,
        )
        self.edited = QLabel()
        self.edited.setWordWrap(True)
        self.edited.setAccessibleName("Frames edited by hand")
        column = QVBoxLayout()
        column.setSpacing(4)
        column.addLayout(row(self.copy_button, self.delete_button, self.clear_button))
        column.addLayout(row(self.out_button, self.follow_button))
        column.addWidget(self.edited)
        return column

    def _action_buttons(self) -> QVBoxLayout:
        undo = self.session.undo_group.createUndoAction(self, "Undo")
        redo = self.session.undo_group.createRedoAction(self, "Redo")
        self.save_button = button("&Save", "Save the regions beside the loop", self.save)
        self.save_as_button = button("Save &as…", "Save the regions to another file", self._ask_save)
        self.load_button = button("&Load…", "Load regions from a file; can be undone", self._ask_load)
        rows = QVBoxLayout()
        files = self.save_button, self.save_as_button, self.load_button
        rows.addLayout(row(_action_button(undo), _action_button(redo), *files))
        return rows

    # what is shown

    def _on_frame(self, _: int) -> None:
        regions = self.session.regions
        if regions.frames or regions.left_out:  # else every frame shows the same contours
            self._refresh.ask(200)

    def _show_tool(self, tool: str) -> None:
        self.tools[tool].setChecked(True)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.wake()

    def wake(self) -> None:
        """The dock came to the front."""
        self._refresh.ask(0)

    def _show(self) -> None:
        if not on_screen(self):  # a drag has better use for the time
            return
        opened = self.session.current
        there = list(handles.every(self.session.shown)) if opened is not None else []
        self._listed = [handle for handle, _ in there]
        texts = [self._line(opened, handle, contour) for handle, contour in there] if opened is not None else []
        while self.list.count() > len(texts):
            self.list.takeItem(self.list.count() - 1)
        for place, text in enumerate(texts):
            if place == self.list.count():
                self.list.addItem(QListWidgetItem())
            item = self.list.item(place)
            if item.text() != text:
                item.setText(text)
                item.setIcon(_swatch(KINDS[self._listed[place].kind][1]))
        self.notes.show_all(self._notes(opened))
        edited, where = sorted(self.session.regions.edited), origin(self.session.regions, self.session.frame)
        lines = [f"This frame: {where}."] if where else []
        for words, frames in (("◆ Edited by hand", edited), ("✕ Left out", sorted(self.session.regions.left_out))):
            if frames:
                lines.append(f"{words}: {'frame' if len(frames) == 1 else 'frames'} {frame_list(frames)}")
        self.edited.setText("\n".join(lines))
        self.edited.setVisible(bool(lines))
        self._show_state()

    def _line(self, opened: OpenedLoop, handle: Handle, contour: Contour) -> str:
        """ "LV 1 · 2,310 px · 6.52 cm²": what a contour covers of the picture."""
        pixels = int(np.count_nonzero(polygon_mask(contour.outline, opened.loop.size)))
        name = f"{'LV' if handle.kind == 'lv' else 'Myocardium'} {handle.polygon + 1}"
        return f"{name} · {pixels:,} px{_square_cm(opened, pixels)}"

    def _notes(self, opened: OpenedLoop | None) -> list[tuple[str, bool]]:
        if opened is None:
            return [("Open a loop to draw regions on it.", False)]
        regions = self.session.regions
        if self.session.frame in regions.left_out:
            return [("Nothing is measured in this frame. Leave out again takes it in.", False)]
        shown = regions.at(self.session.frame)
        if not (shown.lv or shown.myocardium):
            return [("No regions yet: generate them, or choose Draw LV and click around the cavity.", False)]
        out = []
        masks = regions.masks(opened.loop.size, self.session.frame)
        for (name, _), polygons, mask in zip(KINDS.values(), (shown.lv, shown.myocardium), masks, strict=True):
            count = int(np.count_nonzero(mask))
            if not polygons:
                out.append((f"{name}: none yet, gCNR needs it.", False))
            elif len(polygons) > 1 or count < SMALL_REGION_PIXELS:
                out.append((f"{name}, all: {count:,} px{_square_cm(opened, count)}", count < SMALL_REGION_PIXELS))
        found = find_cut(regions, opened.loop.size, self.session.frame)
        flaw = found.flaw or (found.cut.shared_note if found.cut is not None else None)
        return out if flaw is None else [*out, (flaw, True)]

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
        self.delete_button.setEnabled(opened and 0 <= self.list.currentRow() < len(self._listed))
        self.clear_button.setEnabled(drawn)
        self.copy_button.setEnabled(drawn)
        regions, t = self.session.regions, self.session.frame
        self.out_button.setEnabled(drawn)
        self.out_button.setChecked(t in regions.left_out)
        self.follow_button.setEnabled(opened and (t in regions.edited or t in regions.left_out))
        self.save_button.setEnabled(opened and not self.session.undo_stack.isClean())
        self.save_as_button.setEnabled(drawn)
        self.load_button.setEnabled(opened)
        for tool, choice in self.tools.items():
            choice.setEnabled(opened or tool == "look")

    # what a person does

    def delete_chosen(self) -> None:
        """Delete the contour chosen in the list, as one undo step."""
        place = self.list.currentRow()
        if 0 <= place < len(self._listed):
            self.session.work.delete(self._listed[place])

    def clear(self) -> None:
        """Delete every region of the loop, as one undo step."""
        self.session.work.clear()

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
