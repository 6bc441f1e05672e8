"""The noise dock: the frame encoded, its noise turned live, channels tried and named, the whole loop made noisy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget

from echoq_desktop.panels.noise_boxes import FrameBox, StrengthBox
from echoq_desktop.panels.noise_browser import ChannelBox
from echoq_desktop.panels.noise_controls import JobLine
from echoq_desktop.panels.noise_reference import ReferenceBox
from echoq_desktop.panels.notes import Notes
from echoq_desktop.panels.region_boxes import button
from echoq_desktop.panels.scrolled import scrolled
from echoq_desktop.theme import SPACE

if TYPE_CHECKING:
    from echoq_desktop.session import Session


class NoisePanel(QWidget):
    """Content of the noise dock. What it asks for is the work of `session.noise`."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session, self._work = session, session.noise
        self.setAccessibleName("Noise")
        self.notes = Notes()
        self.reference = ReferenceBox(session)
        self.frame = FrameBox(session)
        self.strengths = StrengthBox(self._work)
        self.channels = ChannelBox(session)
        self.job = JobLine(self._work, "noisy", "Adding noise")
        self.apply_button = button(
            "&Apply to loop",
            "Make a noisy loop of the whole loop, to denoise and to measure against this one (Shift+U)",
            self._work.apply,
        )
        self._build()
        self._work.changed.connect(self._show)
        self._work.strengths_changed.connect(self._show)
        session.current_changed.connect(self._show)
        self._show()

    def _build(self) -> None:
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setSpacing(SPACE)
        for widget in (self.notes, self.reference, self.frame, self.strengths):
            column.addWidget(widget)
        column.addWidget(self.channels, 1)
        column.addStretch(0)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, SPACE)
        whole.addWidget(scrolled(inside), 1)
        below = QVBoxLayout()
        below.setContentsMargins(SPACE, 0, SPACE, 0)
        below.addWidget(self.job)
        below.addWidget(self.apply_button)
        whole.addLayout(below)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.wake()

    def wake(self) -> None:
        """The dock came to the front: a generator may have come meanwhile."""
        self._work.look_around()
        self.frame.wake()
        self.reference.wake()

    def _show(self, *_: object) -> None:
        work, opened = self._work, self._session.current
        ready = work.missing is None
        for box in (self.frame, self.strengths, self.channels):
            box.setVisible(ready)
        if not ready:
            self.notes.show_all([(str(work.missing), False)])
        elif opened is None:
            self.notes.show_all([("Open a loop to turn its noise.", False)])
        else:
            self.notes.show_all([])
        turned = any(work.changes().values())
        self.apply_button.setEnabled(ready and opened is not None and turned and work.job("noisy") is None)
