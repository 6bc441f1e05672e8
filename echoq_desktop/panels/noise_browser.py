"""The channel browser of the noise dock: what single channels do to the frame, tried, named and kept in a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QSignalBlocker, QSize, Qt
from PySide6.QtGui import QIcon, QPixmap
from PySide6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QGroupBox,
    QLineEdit,
    QListView,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
)

from echoq_desktop.panels import noise_pictures as pictures
from echoq_desktop.panels.noise_controls import JobLine, Strength
from echoq_desktop.panels.notes import Notes
from echoq_desktop.panels.region_boxes import button, row
from echoq_desktop.theme import SPACE
from echoq_models.errors import EchoQError
from echoq_models.generative.noise_channels import STRONGEST

if TYPE_CHECKING:
    from echoq_desktop.session import Session

THUMB = 64
CHANNEL = Qt.ItemDataRole.UserRole
AMOUNT = Qt.ItemDataRole.UserRole + 1
BRIGHTEST = 99.0  # percentile of all changes that is shown in full colour
START = 3.0  # standard deviations by which a channel called by its name is moved at first
FILES = "Noise channels (*.json)"


class ChannelBox(QGroupBox):
    """Channels with a picture of what each does; the chosen one can be moved, named, and the set saved."""

    def __init__(self, session: Session) -> None:
        super().__init__("Channels")
        self._session = session
        self._work = work = session.noise
        self.try_button = button(
            "&Try channels on this frame",
            "Show what each of the foremost channels does to this frame, those that look most like noise first",
            work.browse,
        )
        self.job = JobLine(work, "try", "Trying channels")
        self.list = QListWidget()
        self.list.setAccessibleName("Channels of the generator")
        self.list.setToolTip("Blue is added, amber taken away. Choose one to add it to the frame.")
        self.list.setViewMode(QListView.ViewMode.IconMode)
        self.list.setMovement(QListView.Movement.Static)
        self.list.setResizeMode(QListView.ResizeMode.Adjust)
        self.list.setIconSize(QSize(THUMB, THUMB))
        self.list.setMinimumHeight(2 * THUMB + 70)
        self.list.setTextElideMode(Qt.TextElideMode.ElideNone)
        self.list.currentItemChanged.connect(self._choose)
        self.by_name = QLineEdit()
        self.by_name.setPlaceholderText("or by name, such as b16.conv1:7")
        self.by_name.setAccessibleName("Channel by name")
        self.by_name.setToolTip("Any channel of the generator, by layer and number; Enter moves it by 3 σ")
        self.by_name.returnPressed.connect(self._call)
        self.amount = Strength("Move it", STRONGEST, "By how many of its standard deviations the channel is moved")
        self.amount.turned.connect(self._move)
        self.component = QComboBox()
        words = QLineEdit()
        self.component.setEditable(True)
        self.component.setLineEdit(words)
        for each in (self.component, words):
            each.setAccessibleName("What noise the channel makes")
            each.setToolTip("What noise the channel makes: one of these, or your own word")
        tip = "this channel alone makes it, the way it is moved now"
        self.name_button = button("&Name it", f"Name the noise: {tip}", lambda: self._name(add=False))
        self.add_button = button(
            "&Add to it",
            "The channel makes this noise together with those that do so already",
            lambda: self._name(add=True),
        )
        self.forget_button = button(
            "&Forget it", "No channel makes this noise any more", self._forget, "Forget the noise"
        )
        self.notes = Notes()
        self._build()
        work.tried_changed.connect(self._fill)
        work.channels_changed.connect(self._fill_components)
        work.strengths_changed.connect(self._follow)
        work.changed.connect(self._follow)
        session.current_changed.connect(self._follow)
        self._fill_components()
        self._follow()

    def _build(self) -> None:
        self.save_button = button("&Save set…", "Save which channels make which noise to a file", self._ask_save)
        self.load_button = button("&Load set…", "Load which channels make which noise from a file", self._ask_load)
        self.restore_button = button(
            "Generator's o&wn", "Back to the noise channels that came with the generator", self._work.restore
        )
        column = QVBoxLayout(self)
        column.setSpacing(SPACE)
        column.addWidget(self.try_button)
        column.addWidget(self.job)
        column.addWidget(self.list, 1)
        column.addWidget(self.by_name)
        column.addWidget(self.amount)
        column.addLayout(row(self.component, self.name_button, self.add_button, self.forget_button))
        column.addLayout(row(self.save_button, self.load_button, self.restore_button))
        column.addWidget(self.notes)

    # what is shown

    def _fill(self) -> None:
        """The channels that were tried."""
        tried = self._work.tried
        strongest = float(np.percentile(np.abs([each.picture for each in tried]), BRIGHTEST)) if tried else 1.0
        with QSignalBlocker(self.list):
            self.list.clear()
            for each in tried:
                image = pictures.effect(each.picture, strongest)
                mode = Qt.TransformationMode.SmoothTransformation
                scaled = image.scaled(THUMB, THUMB, Qt.AspectRatioMode.KeepAspectRatio, mode)
                item = QListWidgetItem(QIcon(QPixmap.fromImage(scaled)), "")
                item.setData(CHANNEL, each.channel)
                item.setData(AMOUNT, each.amount)
                item.setTextAlignment(Qt.AlignmentFlag.AlignHCenter)
                item.setSizeHint(QSize(THUMB + 38, THUMB + 2 * self.fontMetrics().height() + 8))
                self.list.addItem(item)
        self._label()
        self._follow()

    def _label(self) -> None:
        """Each channel's name, and the noise it makes."""
        made = self._work.channels.components
        for place in range(self.list.count()):
            item = self.list.item(place)
            channel, amount = item.data(CHANNEL), item.data(AMOUNT)
            names = ", ".join(name for name, channels in made.items() if channel in channels)
            item.setText(f"{channel}\n{names}" if names else channel)
            item.setToolTip(f"{channel}, moved by {amount:+g} standard deviations{f': {names}' if names else ''}")

    def _fill_components(self) -> None:
        kept = self.component.currentText()
        self.component.clear()
        self.component.addItems(list(self._work.components))
        self.component.setCurrentText(kept or self._work.components[0])
        self._label()

    def _follow(self, *_: object) -> None:
        """Enable what can be done now."""
        work, trial = self._work, self._work.trial
        ready = work.missing is None and self._session.current is not None
        self.try_button.setEnabled(ready and work.job("try") is None)
        self.list.setVisible(bool(self.list.count()))
        self.by_name.setEnabled(ready)
        self.amount.setEnabled(trial is not None)
        self.amount.show_value(0.0 if trial is None else trial[1])
        self.amount.label.setText("Move it" if trial is None else trial[0])
        for each in (self.name_button, self.add_button):
            each.setEnabled(trial is not None and bool(trial[1]))
        self.forget_button.setEnabled(self.component.currentText() in work.channels.components)
        self.save_button.setEnabled(bool(work.channels.components))
        self.load_button.setEnabled(work.missing is None)
        self.restore_button.setEnabled(work.missing is None)
        if trial is None:
            with QSignalBlocker(self.list):
                self.list.setCurrentRow(-1)

    # what a person does

    def _choose(self, item: QListWidgetItem | None, *_: object) -> None:
        if item is not None:
            self._work.try_channel(item.data(CHANNEL), item.data(AMOUNT))

    def _call(self) -> None:
        channel = self.by_name.text().strip()
        self._work.try_channel(channel or None, START)

    def _move(self, value: float) -> None:
        if self._work.trial is not None:
            self._work.try_channel(self._work.trial[0], value)

    def _name(self, *, add: bool) -> None:
        self._work.name(self.component.currentText(), add=add)

    def _forget(self) -> None:
        self._work.forget(self.component.currentText())

    def _ask_save(self) -> None:
        chosen, _ = QFileDialog.getSaveFileName(self, "Save noise channels", "noise_channels.json", FILES)
        if chosen:
            self._try(lambda: self._work.save(Path(chosen)))

    def _ask_load(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(self, "Load noise channels", "", f"{FILES};;All files (*)")
        if chosen:
            self._try(lambda: self._work.load(Path(chosen)))

    def _try(self, step: Callable[[], object]) -> None:
        try:
            step()
        except EchoQError as error:
            self.notes.show_all([(str(error), True)])
        else:
            self.notes.show_all([])
