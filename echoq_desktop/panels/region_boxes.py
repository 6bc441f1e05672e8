"""The parts of the regions dock above and below its list: generating, the beat, the review."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from echoq_desktop.region_work import DECISIONS, MARKS
from echoq_desktop.theme import ERROR, GOOD, MUTED, SPACE, WARNING
from echoq_models.regions import Review

if TYPE_CHECKING:
    from echoq_desktop.session import Session

SHADES = {"accepted": GOOD, "corrected": WARNING, "rejected": ERROR}
DECISION_TIPS = {
    "accepted": "The regions sit where they should",
    "corrected": "The regions sit where they should, after corrections by hand",
    "rejected": "The regions cannot be used: their figures do not count",
}
FEW = 6  # frame numbers that are listed one by one


def button(text: str, tip: str, slot: Callable[[], object], name: str = "") -> QPushButton:
    """A push button with its words, tooltip and accessible name."""
    made = QPushButton(text)
    made.setToolTip(tip)
    made.setAccessibleName(name or text.replace("&", "").rstrip("…"))
    made.setStyleSheet("padding-left: 4px; padding-right: 4px;")
    made.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    made.clicked.connect(lambda: slot())
    return made


def row(*widgets: QWidget) -> QHBoxLayout:
    """Widgets side by side."""
    line = QHBoxLayout()
    line.setSpacing(4)
    for widget in widgets:
        line.addWidget(widget)
    return line


def frame_list(frames: list[int]) -> str:
    """ "3, 12 and 5 more": frame numbers from 1, as people read them."""
    shown = [str(t + 1) for t in frames[:FEW]]
    return ", ".join(shown) + (f" and {len(frames) - FEW} more" if len(frames) > FEW else "")


class GenerateBox(QGroupBox):
    """Both regions from the network: on this frame or the whole loop, with how sure it is or why there is none."""

    def __init__(self, session: Session) -> None:
        super().__init__("Generate")
        self._session = session
        generation = session.generation
        self.frame_button = button(
            "This frame",
            "Find the left ventricle in this frame and fill both regions (A)",
            lambda: generation.start([session.frame]),
            "Generate on this frame",
        )
        self.loop_button = button(
            "Whole loop",
            "Find the left ventricle in every frame and fill both regions (Shift+A)",
            lambda: generation.start(),
            "Generate on the whole loop",
        )
        self.network = QComboBox()
        self.network.setAccessibleName("Network that finds the left ventricle")
        self.network.setToolTip("Network that finds the left ventricle")
        self.network.activated.connect(self._choose)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(8)
        self.bar.setAccessibleName("Frames looked through")
        self.cancel_button = button("Cancel", "Stop looking for the left ventricle", generation.cancel)
        self.cancel_button.setAccessibleName("Cancel generating")
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.status.setAccessibleName("What the network found")
        column = QVBoxLayout(self)
        column.setSpacing(SPACE)
        column.addLayout(row(self.frame_button, self.loop_button))
        column.addWidget(self.network)
        column.addLayout(row(self.bar, self.cancel_button))
        column.addWidget(self.status)
        generation.changed.connect(self.refresh)
        session.current_changed.connect(self.refresh)
        session.frame_changed.connect(lambda _: self._show_status())
        session.regions_changed.connect(self._show_status)  # an undo takes back what was said
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show what can be done, how far it is, what was found."""
        generation = self._session.generation
        missing = generation.missing
        for each, tip in ((self.frame_button, "in this frame"), (self.loop_button, "in every frame")):
            each.setEnabled(self._session.current is not None and missing is None and not generation.busy)
            each.setToolTip(missing or f"Find the left ventricle {tip} and fill both regions")
        self._show_networks()
        self.bar.setVisible(generation.busy)
        self.cancel_button.setVisible(generation.busy)
        done, total = generation.progress
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        self._show_status()

    def _show_networks(self) -> None:
        """A choice only where there is one."""
        generation = self._session.generation
        ready = [name for name, known in generation.networks.items() if known["missing"] is None]
        if [self.network.itemData(place) for place in range(self.network.count())] != ready:
            self.network.clear()
            for name in ready:
                self.network.addItem(generation.networks[name]["title"] or name, name)
        self.network.setCurrentIndex(self.network.findData(generation.network))
        self.network.setVisible(len(ready) > 1)

    def _choose(self, place: int) -> None:
        self._session.generation.network = self.network.itemData(place)
        self.refresh()

    def _show_status(self) -> None:
        generation, t = self._session.generation, self._session.frame
        lines = []
        if generation.busy:
            lines.append("Looking for the left ventricle…")
        elif self._session.regions.findings:
            lines = [generation.summary(), self._about_frame(t)]
        elif generation.missing is not None and generation.networks:
            lines = [generation.missing]
        self.status.setText("\n".join(line for line in lines if line))
        self.status.setVisible(bool(self.status.text()))

    def _about_frame(self, t: int) -> str:
        findings = self._session.regions.findings
        if not findings.found:
            return ""
        if t in findings.reasons:
            return f"This frame: {findings.reasons[t]}"
        return f"This frame: confidence {findings.confidence[t]:.2f}." if t in findings.confidence else ""


class BeatBox(QGroupBox):
    """ED and ES: where they are, and how they are moved."""

    def __init__(self, session: Session) -> None:
        super().__init__("Beat")
        self._session = session
        work = session.work
        self.where = QLabel()
        self.where.setWordWrap(True)
        self.where.setAccessibleName("Where ED and ES are")
        self.go: dict[str, QPushButton] = {}
        self.mark: dict[str, QPushButton] = {}
        for kind, title in MARKS.items():
            long = "end diastole" if kind == "ed" else "end systole"
            self.go[kind] = button(f"Go to {title}", f"Go to {long}", partial(work.go_to_mark, kind))
            self.mark[kind] = button(
                f"Mark {title} here",
                f"This frame is {long}; a second time takes the mark away",
                partial(work.mark_here, kind),
            )
        self.find_button = button("Find", "Find ED and ES again from the area of the left ventricle", work.find_marks)
        self.find_button.setAccessibleName("Find ED and ES")
        column = QVBoxLayout(self)
        column.setSpacing(SPACE)
        column.addWidget(self.where)
        column.addLayout(row(self.go["ed"], self.go["es"], self.find_button))
        column.addLayout(row(self.mark["ed"], self.mark["es"]))
        session.regions_changed.connect(self.refresh)
        session.current_changed.connect(self.refresh)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show where the marks are."""
        marks, opened = self._session.regions.marks, self._session.current is not None
        known = [
            f"{title} {frame_list(list(frames))}" for title, frames in (("ED", marks.ed), ("ES", marks.es)) if frames
        ]
        by = ("set by hand" if marks.by_hand else "from the LV's area") if known else ""
        self.where.setText(f"Frames: {' · '.join(known)} ({by})" if known else "ED and ES are not marked.")
        for kind in MARKS:
            self.go[kind].setEnabled(bool(getattr(marks, kind)))
            self.mark[kind].setEnabled(opened)
        self.find_button.setEnabled(opened and bool(self._session.regions))


class ReviewBox(QGroupBox):
    """Accept, corrected or reject: by whom and when."""

    def __init__(self, session: Session) -> None:
        super().__init__("Review")
        self._session = session
        self.buttons: dict[str, QPushButton] = {}
        group = QButtonGroup(self)
        group.setExclusive(False)  # a second press takes the review back
        for decision, text in DECISIONS.items():
            made = button(text, DECISION_TIPS[decision], partial(self._decide, decision))
            made.setCheckable(True)
            group.addButton(made)
            self.buttons[decision] = made
        self.name = QLineEdit(session.work.reviewer)
        self.name.setAccessibleName("Name of the reviewer")
        self.name.setToolTip("Your name, kept with the review; remembered")
        self.name.setPlaceholderText("Your name")
        self.name.editingFinished.connect(self._rename)
        self.state = QLabel()
        self.state.setWordWrap(True)
        self.state.setAccessibleName("Review")
        column = QVBoxLayout(self)
        column.setSpacing(SPACE)
        column.addLayout(row(*self.buttons.values()))
        column.addLayout(row(QLabel("By"), self.name))
        column.addWidget(self.state)
        session.regions_changed.connect(self.refresh)
        session.current_changed.connect(self.refresh)
        session.work.reviewer_changed.connect(self.name.setText)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show the review."""
        regions = self._session.regions
        review = regions.review
        for decision, made in self.buttons.items():
            made.setEnabled(bool(regions))
            made.setChecked(review is not None and review.decision == decision)
        self.state.setText(review_text(review))
        colour = SHADES[review.decision] if review is not None else MUTED
        self.state.setStyleSheet(f"color: {colour};")

    def _decide(self, decision: str) -> None:
        self._rename()
        self._session.work.decide(decision)
        self.refresh()

    def _rename(self) -> None:
        self._session.work.reviewer = self.name.text()
        self.name.setText(self._session.work.reviewer)


def review_text(review: Review | None) -> str:
    """ "Accepted by A. Person, 31 Jan 2025 09:30"."""
    if review is None:
        return "Not reviewed."
    when = datetime.fromisoformat(review.when).astimezone()
    return f"{review.decision.capitalize()} by {review.who or 'somebody'}, {when:%d %b %Y %H:%M}"
