"""The parts of the noise dock above its channel browser: the frame encoded and drawn, and the strengths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QImage
from PySide6.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QComboBox,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
)

from echoq_desktop.panels import noise_pictures as pictures
from echoq_desktop.panels.noise_controls import JobLine, Strength
from echoq_desktop.panels.noise_pictures import Picture
from echoq_desktop.panels.notes import Notes
from echoq_desktop.panels.quality_report import number
from echoq_desktop.panels.quality_sweep import find_cut
from echoq_desktop.panels.region_boxes import button, row
from echoq_desktop.panels.throttle import Throttle, on_screen
from echoq_desktop.theme import MUTED, SPACE
from echoq_models.generative import editor

if TYPE_CHECKING:
    from echoq_desktop.noise_work import NoiseWork
    from echoq_desktop.session import Session

DRAG_MS = 16  # how often figures follow a slider
NAMED = 8  # channels that a tip names: a component may have a hundred
SHOWN = {
    "after": ("After", "The frame with noise: what the generator changed, added to the frame"),
    "difference": ("Difference", "What the noise adds, blue, and takes away, amber; twice as bright as life"),
    "reconstruction": (
        "Reconstruction",
        "The frame as the generator draws it: the nearer, the more the noise is worth",
    ),
}
UNKNOWN = "This frame is outside what the generator knows: its noise may fall in the wrong places."


class FrameBox(QGroupBox):
    """Encoding, the frame before and after, how near the reconstruction is, and gCNR."""

    def __init__(self, session: Session) -> None:
        super().__init__("Frame")
        self._session, self._work = session, session.noise
        work = self._work
        self.encode_button = button(
            "&Encode this frame", "Find the frame in the generator; frames you stop at follow (U)", work.encode
        )
        self.refine_button = button(
            "&Refine",
            "Bring the reconstruction of each frame nearer to it, which takes some seconds a frame",
            lambda: work.set_refine(self.refine_button.isChecked()),
            "Refine the reconstruction",
        )
        self.refine_button.setCheckable(True)
        self.job = JobLine(work, "edit", "Encoding")
        self.before = Picture("Before", "The frame as it is")
        self.after = Picture("After", SHOWN["after"][1])
        self.choices: dict[str, QPushButton] = {}
        self.in_panes = QCheckBox("Show it large, in a pane of its own")
        self.in_panes.setToolTip("The noisy frame beside the other pictures; the Quality dock measures it too (4)")
        self.in_panes.setAccessibleName("Show the noisy frame in a pane")
        self.in_panes.clicked.connect(work.show_in_panes)
        self.figures = QLabel()
        self.figures.setWordWrap(True)
        self.figures.setTextFormat(Qt.TextFormat.RichText)
        self.figures.setAccessibleName("Reconstruction and gCNR")
        self.figures.setToolTip("How near the reconstruction is to the frame inside the sector, both without speckle")
        self.notes = Notes()
        column = QVBoxLayout(self)
        column.setSpacing(SPACE)
        column.addLayout(row(self.encode_button, self.refine_button))
        column.addWidget(self.job)
        column.addLayout(row(self.before, self.after))
        column.addLayout(self._choices())
        column.addWidget(self.figures)
        column.addWidget(self.notes)
        column.addWidget(self.in_panes)
        self._redraw = Throttle(self._show, self)
        for signal in (work.picture_changed, session.regions_changed, work.changed):
            signal.connect(lambda: self._redraw.ask(DRAG_MS))
        self._show()

    def _choices(self) -> QHBoxLayout:
        group = QButtonGroup(self)
        line = QHBoxLayout()
        line.setSpacing(4)
        for name, (title, tip) in SHOWN.items():
            made = button(title, tip, lambda: self._redraw.ask(0), f"Show beside the frame: {title}")
            made.setCheckable(True)
            group.addButton(made)
            line.addWidget(made)
            self.choices[name] = made
        self.choices["after"].setChecked(True)
        return line

    def wake(self) -> None:
        """The dock came to the front."""
        self._redraw.ask(0)

    @property
    def chosen(self) -> str:
        """What the right picture shows."""
        return next(name for name, made in self.choices.items() if made.isChecked())

    # what is shown

    def _show(self) -> None:
        work, opened = self._work, self._session.current
        ready = opened is not None and work.missing is None
        self.encode_button.setEnabled(ready and work.job("edit") is None)
        self.refine_button.setEnabled(ready)
        self.refine_button.setChecked(work.refine)
        self.in_panes.setChecked(work.in_panes)
        self.in_panes.setEnabled(work.missing is None)
        if not on_screen(self):
            return
        title = SHOWN[self.chosen][0]
        if opened is None:
            self.before.show_image(None, "Before", "")
            self.after.show_image(None, title, "")
        else:
            frame = np.asarray(opened.loop.frames[self._session.frame])
            self.before.show_image(pictures.grey(pictures.crop(frame, opened.sector_box)), "Before")
            self.after.show_image(self._right(), title, "Encode this frame to see it with noise.")
        self.figures.setText("<br>".join(self._figures()))
        self.figures.setVisible(bool(self.figures.text()))
        self._show_notes()

    def _right(self) -> QImage | None:
        """The right picture, None while the frame is not encoded."""
        opened, edited = self._session.current, self._work.edited
        noisy = self._work.frame(self._session.frame)
        if opened is None or edited is None or noisy is None:
            return None
        if self.chosen == "reconstruction":
            drawn = editor.enlarged(edited.reconstruction)
            return pictures.grey(np.clip(drawn * 255 + 0.5, 0, 255).astype(np.uint8))
        after = pictures.crop(noisy, opened.sector_box)
        if self.chosen == "after":
            return pictures.grey(after)
        before = pictures.crop(np.asarray(opened.loop.frames[edited.frame]), opened.sector_box)
        return pictures.changed(before, after)

    def _figures(self) -> list[str]:
        edited = self._work.edited
        if edited is None:
            return []
        near = edited.likeness
        said = f"<span style='color:{MUTED}'>Reconstruction:</span> "
        lines = [f"{said}PSNR {number(near.psnr, 1)} dB, SSIM {number(near.ssim, 2)}"]
        opened, noisy = self._session.current, self._work.frame(edited.frame)
        cut = None
        if opened is not None:
            cut = find_cut(self._session.regions, opened.loop.size, edited.frame).cut
        if opened is not None and noisy is not None and cut is not None:
            before, after = (cut.numbers(np.asarray(each)).gcnr for each in (opened.loop.frames[edited.frame], noisy))
            told = f"{number(before, 3)} → <b>{number(after, 3)}</b>"
            lines.append(f"<span style='color:{MUTED}'>gCNR, before → after:</span> {told}")
        return lines

    def _show_notes(self) -> None:
        work = self._work
        notes: list[tuple[str, bool]] = []
        if work.problem:
            notes.append((work.problem, True))
        if work.edited is not None and not work.edited.likeness.known:
            notes.append((UNKNOWN, True))
        self.notes.show_all(notes)


class StrengthBox(QGroupBox):
    """A slider for each kind of noise, in standard deviations of its channels."""

    def __init__(self, work: NoiseWork) -> None:
        super().__init__("Strength")
        self._work = work
        self.rows: dict[str, Strength] = {}
        self.generator = QComboBox()
        self.generator.setAccessibleName("Generator")
        self.generator.setToolTip("Generator that draws the frame")
        self.generator.activated.connect(lambda place: work.choose(self.generator.itemData(place)))
        self.reset_button = button("&No noise", "All noise back to zero (Ctrl+U)", work.reset, "All noise to zero")
        self._column = QVBoxLayout()
        self._column.setSpacing(4)
        column = QVBoxLayout(self)
        column.setSpacing(SPACE)
        column.addWidget(self.generator)
        column.addLayout(self._column)
        line = QHBoxLayout()
        hint = QLabel("Right of the middle: more. Double-click: zero.")
        hint.setStyleSheet(f"color: {MUTED};")
        line.addWidget(hint, 1)
        line.addWidget(self.reset_button)
        column.addLayout(line)
        work.channels_changed.connect(self.refresh)
        work.changed.connect(self._show_generators)
        work.strengths_changed.connect(self._show_values)
        self.refresh()
        self._show_generators()

    def refresh(self) -> None:
        """A row for each component, those without channels disabled."""
        work = self._work
        for gone in set(self.rows) - set(work.components):
            self.rows.pop(gone).deleteLater()
        for place, name in enumerate(work.components):
            if name not in self.rows:
                made = self.rows[name] = Strength(name, work.channels.limit(name), "")
                made.turned.connect(lambda value, name=name: work.set_strength(name, value))
            known = work.channels.components.get(name)
            self.rows[name].set_limit(work.channels.limit(name))
            self.rows[name].setEnabled(known is not None)
            self.rows[name].set_tip(_tip(name, known))
            self._column.insertWidget(place, self.rows[name])
        self._show_values()

    def _show_values(self) -> None:
        for name, made in self.rows.items():
            made.show_value(self._work.strengths.get(name, 0.0))

    def _show_generators(self) -> None:
        """A choice only where there is one."""
        there = self._work.generators
        if [self.generator.itemData(place) for place in range(self.generator.count())] != list(there):
            self.generator.clear()
            for name, title in there.items():
                self.generator.addItem(f"{title} ({name})", name)
        self.generator.setCurrentIndex(self.generator.findData(self._work.generator))
        self.generator.setVisible(len(there) > 1)


def _tip(name: str, channels: Mapping[str, float] | None) -> str:
    if channels is None:
        return f"No channel makes {name} noise yet: try channels below, and name one."
    falling = sorted(channels.items(), key=lambda each: -abs(each[1]))
    made = ", ".join(f"{channel} ({weight:+.2g})" for channel, weight in falling[:NAMED])
    more = f" and {len(falling) - NAMED} more" if len(falling) > NAMED else ""
    return f"{name}: standard deviations of {made}{more}"
