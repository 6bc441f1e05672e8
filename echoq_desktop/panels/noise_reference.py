"""How near each pane of a noisy loop is to the clean loop it was made from: PSNR and SSIM with a true reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, QRunnable, Qt, QThreadPool, Signal
from PySide6.QtWidgets import (
    QAbstractItemView,
    QGroupBox,
    QHeaderView,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
)

from echoq_desktop.noise_work import NOISE
from echoq_desktop.panels.quality_report import NOTHING, WAITING, number
from echoq_desktop.panels.region_boxes import button, row
from echoq_desktop.panels.throttle import on_screen
from echoq_desktop.theme import MUTED, PANEL, SPACE
from echoq_models.metrics.fidelity import psnr, ssim

if TYPE_CHECKING:
    from echoq_desktop.engine import OpenedLoop
    from echoq_desktop.session import Session

Figures = tuple[float, float]  # PSNR in dB, SSIM
COLUMNS = ("PSNR\nframe", "SSIM\nframe", "PSNR\nloop", "SSIM\nloop")
TIPS = (
    "Of this frame: peak signal-to-noise ratio to the clean frame inside the sector, in dB",
    "Of this frame: structural similarity to the clean frame inside the sector, 1 for the same picture",
    "Median of PSNR over the frames measured so far, in dB",
    "Median of SSIM over the frames measured so far",
)


class _Relay(QObject):
    """Brings figures home; it outlives the window while a thread still holds it."""

    measured = Signal(int, int, object)  # loop, frame, {pane: Figures}


class _Measuring(QRunnable):
    """Compares pictures of one frame with the clean one, inside the sector."""

    def __init__(
        self,
        relay: _Relay,
        key: tuple[int, int],
        clean: NDArray[np.uint8],
        pictures: Mapping[str, NDArray[np.uint8]],
        mask: NDArray[np.bool_] | None,
    ) -> None:
        super().__init__()
        self._relay, self._key, self._clean, self._pictures, self._mask = relay, key, clean, pictures, mask

    def run(self) -> None:
        whole: tuple[slice, slice] = (slice(None), slice(None))
        if self._mask is not None and self._mask.any():
            rows, columns = (np.flatnonzero(self._mask.any(axis=axis)) for axis in (1, 0))
            whole = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        clean, mask = self._clean[whole], None if self._mask is None else self._mask[whole]
        found = {
            pane: (psnr(clean, frame[whole], mask), ssim(clean, frame[whole], mask))
            for pane, frame in self._pictures.items()
        }
        self._relay.measured.emit(*self._key, found)


class ReferenceBox(QGroupBox):
    """Shown for a loop made noisy here: a row for each pane, this frame and the loop so far."""

    def __init__(self, session: Session) -> None:
        super().__init__("Against the clean source")
        self._session = session
        self._values: dict[str, dict[int, Figures]] = {}  # by pane and frame
        self._loop_id = 0
        self._busy = False
        self._pool = QThreadPool(self)
        self._pool.setMaxThreadCount(1)
        self._pool.setStackSize(8 * 2**20)
        self._relay = _Relay()
        self._relay.measured.connect(self._keep)
        self.told = QLabel()
        self.told.setWordWrap(True)
        self.told.setStyleSheet(f"color: {MUTED};")
        self.told.setAccessibleName("What the loop was made from")
        self.table = QTableWidget(0, len(COLUMNS))
        self.source_button = button(
            "Show the &source", "Show the clean loop that this one was made from", self._show_source
        )
        self._build()
        session.current_changed.connect(self._start_over)
        session.frame_changed.connect(self._refresh)
        session.panes_changed.connect(self._refresh)
        session.results_changed.connect(self._on_results)
        session.loops_changed.connect(self._refresh)
        self._start_over()

    def _build(self) -> None:
        table = self.table
        table.setAccessibleName("PSNR and SSIM against the clean source")
        table.setToolTip("How near each pane is to the clean loop, inside the sector")
        table.setStyleSheet(f"QTableWidget, QTableCornerButton::section {{ background: {PANEL}; border: none; }}")
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setTabKeyNavigation(False)
        table.setShowGrid(False)
        table.setFrameShape(QTableWidget.Shape.NoFrame)
        table.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        table.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 8)
        for column, (title, tip) in enumerate(zip(COLUMNS, TIPS, strict=True)):
            item = QTableWidgetItem(title)
            item.setToolTip(tip)
            table.setHorizontalHeaderItem(column, item)
        column_box = QVBoxLayout(self)
        column_box.setSpacing(SPACE)
        column_box.addWidget(self.told)
        column_box.addWidget(table)
        column_box.addLayout(row(self.source_button))

    # what is known

    @property
    def _clean(self) -> OpenedLoop | None:
        opened = self._session.current
        return None if opened is None else opened.clean

    @property
    def panes(self) -> list[str]:
        """What is compared: the noisy loop itself and the denoised panes on screen."""
        shown = [pane for pane in self._session.shown_panes if pane != NOISE]
        return shown if "original" in shown else ["original", *shown]

    def figures(self, pane: str, t: int) -> Figures | None:
        """PSNR in dB and SSIM of a pane's frame; None while they are not measured."""
        return self._values.get(pane, {}).get(t)

    # what is shown

    def _start_over(self, *_: object) -> None:
        self._values = {}
        opened = self._session.current
        self._loop_id = 0 if opened is None else opened.loop_id
        clean = self._clean
        self.setVisible(clean is not None)
        if opened is not None and clean is not None:
            self.told.setText(f"Made from {clean.path.name} with {opened.summary['Noise']} σ.")
            self.told.setToolTip(opened.loop.simulated)
        self._refresh()

    def wake(self) -> None:
        """The dock came to the front."""
        self._refresh()

    def _on_results(self, method: str, frames: list[int]) -> None:
        known = self._values.get(method, {})
        for t in frames or list(known):
            known.pop(t, None)
        self._refresh()

    def _refresh(self, *_: object) -> None:
        if self._clean is None:
            return
        self._fill()
        self.source_button.setEnabled(self._session.opened(self._clean.loop_id) is not None)
        self._go_on()

    def _fill(self) -> None:
        panes, t = self.panes, self._session.frame
        self.table.setRowCount(len(panes))
        for place, pane in enumerate(panes):
            self.table.setVerticalHeaderItem(place, QTableWidgetItem(self._session.title_of(pane)))
            for column, text in enumerate(self._cells(pane, t)):
                item = QTableWidgetItem(text)
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                item.setToolTip(TIPS[column])
                self.table.setItem(place, column, item)
        height = self.table.horizontalHeader().sizeHint().height()
        self.table.setFixedHeight(height + len(panes) * self.table.verticalHeader().defaultSectionSize() + 2)

    def _cells(self, pane: str, t: int) -> list[str]:
        now, known = self.figures(pane, t), list(self._values.get(pane, {}).values())
        empty = NOTHING if self._session.missing(pane) else WAITING
        here = [empty, empty] if now is None else [number(now[0], 1), number(now[1], 3)]
        if not known:
            return [*here, empty, empty]
        medians = np.median(np.array(known), axis=0)
        return [*here, number(float(medians[0]), 1), number(float(medians[1]), 3)]

    def _show_source(self) -> None:
        if self._clean is not None:
            self._session.select(self._clean.loop_id)

    # measuring

    def _go_on(self) -> None:
        """Measure the frame shown, or else the nearest that lacks a figure: one frame at a time."""
        opened, clean = self._session.current, self._clean
        if self._busy or opened is None or clean is None or not on_screen(self):
            return
        for t in sorted(range(len(opened.loop)), key=lambda t: abs(t - self._session.frame)):
            lacking = [pane for pane in self.panes if t not in self._values.get(pane, {})]
            there = {pane: frame for pane in lacking if (frame := self._session.frame_of(pane, t)) is not None}
            if there:
                self._busy = True
                key = opened.loop_id, t
                self._pool.start(_Measuring(self._relay, key, clean.loop.frames[t], there, opened.sector_mask))
                return

    def _keep(self, loop_id: int, t: int, found: dict[str, Figures]) -> None:
        self._busy = False
        if loop_id == self._loop_id:
            for pane, figures in found.items():
                self._values.setdefault(pane, {})[t] = figures
        self._refresh()
