"""The panes of the window: which of them are on screen, all at the same frame, zoom and grey map."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QHBoxLayout, QLabel, QStackedLayout, QWidget

from echoq_desktop import theme
from echoq_desktop.player.drawing import RegionTool
from echoq_desktop.player.pane import Pane
from echoq_desktop.player.picture import Pictures
from echoq_desktop.session import ORIGINAL

if TYPE_CHECKING:
    from echoq_desktop.player.clock import Clock
    from echoq_desktop.player.view import ViewState
    from echoq_desktop.session import Session

BLINK_MS = 600
PROGRESS_MS = 200  # the "frames ready" captions need no more than this
WELCOME = (
    "<div style='font-size: 16pt; color: {text}'>Drop an echo loop here</div>"
    "<div style='color: {muted}; margin-top: 8px'>or open one with Ctrl+O. DICOM, AVI, MP4, GIF, stills and "
    "folders of them.</div>"
)


class PaneArea(QWidget):
    """Up to four panes beside each other, or one that wipes or blinks between original and another."""

    def __init__(self, session: Session, state: ViewState, clock: Clock, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session, self._state = session, state
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.tool = RegionTool(session, self)
        self.pictures = Pictures(session)
        self._blink_other = False
        self.panes = [Pane(session, state, self.tool, self.pictures, self) for _ in range(4)]
        self._welcome = QLabel(alignment=Qt.AlignmentFlag.AlignCenter)
        self._welcome.setStyleSheet(f"background: {theme.IMAGE};")
        row = QWidget()
        row.setStyleSheet(f"background: {theme.LINE};")
        inner = QHBoxLayout(row)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(1)
        for pane in self.panes:
            inner.addWidget(pane, 1)
        self._stack = QStackedLayout(self)
        self._stack.addWidget(self._welcome)
        self._stack.addWidget(row)
        self._blink = QTimer(self, interval=BLINK_MS)
        self._blink.timeout.connect(self.swap_blink)
        self._captions = QTimer(self, singleShot=True, interval=PROGRESS_MS)
        self._captions.timeout.connect(self.repaint_all)
        session.current_changed.connect(self._on_current)
        session.frame_changed.connect(self.repaint_all)
        session.regions_changed.connect(self.repaint_all)
        session.results_changed.connect(self._on_results)
        session.facts_changed.connect(self.repaint_all)
        session.panes_changed.connect(self.arrange)
        session.opening.changed.connect(self._on_current)
        session.opening.progress.connect(self._on_opening)
        state.changed.connect(self.repaint_all)
        state.layout_changed.connect(self.arrange)
        self.tool.changed.connect(self.repaint_all)
        clock.fps_changed.connect(self._on_fps)
        self._on_current()

    @property
    def shown(self) -> list[Pane]:
        """The panes on screen, left to right."""
        return [pane for pane in self.panes if pane.names]

    @property
    def target(self) -> str:
        """What is compared with the original in wipe and blink."""
        others = self._others()
        return self._state.view.target if self._state.view.target in others else others[0]

    def next_target(self) -> None:
        """Compare the original with the next of the other panes."""
        others = self._others()
        self._state.set(target=others[(others.index(self.target) + 1) % len(others)])

    def _others(self) -> list[str]:
        return [pane for pane in self._session.shown_panes if pane != ORIGINAL] or [self._session.middle]

    def order(self) -> list[str]:
        """The session's shown panes in the order on screen."""
        names = self._session.shown_panes
        if self._state.view.swapped and ORIGINAL in names and len(names) > 1:
            first, second = names.index(ORIGINAL), names.index(self.target)
            names[first], names[second] = names[second], names[first]
        return names

    def arrange(self) -> None:
        """Give each pane what it shows in the present layout."""
        layout, swapped = self._state.view.layout, self._state.view.swapped
        contents: list[tuple[str, ...]]
        if layout == "side":
            contents = [(name,) for name in self.order()]
        else:
            pair = (self.target, ORIGINAL) if swapped else (ORIGINAL, self.target)
            contents = [pair] if layout == "wipe" else [(pair[self._blink_other],)]
        contents += [()] * (len(self.panes) - len(contents))
        for number, (pane, names) in enumerate(zip(self.panes, contents, strict=True)):
            pane.show_panes(names, first=number == 0)
        if layout == "blink":
            self._blink.start()
        else:
            self._blink.stop()

    def swap_blink(self) -> None:
        """Show the other picture of the blink."""
        self._blink_other = not self._blink_other
        self.arrange()

    def show_regions(self, shown: bool) -> None:
        """Show or hide the regions on all pictures."""
        for pane in self.panes:
            pane.regions_shown = shown
        self.repaint_all()

    def mouse_source(self) -> tuple[float, float] | None:
        """The source pixel under the mouse, None when it is over no picture."""
        for pane in self.shown:
            camera = pane.camera
            if pane.mouse_at is not None and camera is not None:
                return camera.to_source(pane.mouse_at)
        return None

    def focus(self) -> None:
        """Give the keyboard back to the pictures."""
        target = self.shown[0] if self.shown and self._session.current is not None else self
        target.setFocus(Qt.FocusReason.OtherFocusReason)

    def repaint_all(self) -> None:
        """Paint all panes again, in one go, at the session's frame."""
        for pane in self.panes:
            pane.update()

    def _on_current(self) -> None:
        self.pictures.clear()
        self._state.set(zoom=1.0, centre=None)
        opened = self._session.current
        self._stack.setCurrentIndex(0 if opened is None else 1)
        if self._session.opening.files:
            name = next(iter(self._session.opening.files.values())).name
            self._say(f"Reading {name}…")
        else:
            self._welcome.setText(WELCOME.format(text=theme.TEXT, muted=theme.MUTED))
        self.arrange()

    def _say(self, text: str) -> None:
        self._welcome.setText(f"<div style='color: {theme.MUTED}'>{text}</div>")

    def _on_opening(self, name: str, done: int, total: int) -> None:
        if self._session.current is None and total > 1:
            self._say(f"Reading {Path(name).name}… {done} of {total} frames")

    def _on_results(self, method: str, indices: list[int]) -> None:
        if not indices:
            self.pictures.clear(method)
        if not indices or self._session.frame in indices:
            self.repaint_all()
        elif not self._captions.isActive():
            self._captions.start()

    def _on_fps(self, fps: float) -> None:
        for pane in self.panes:
            pane.shown_fps = fps
        self.panes[0].update()
