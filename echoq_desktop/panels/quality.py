"""The quality dock: gCNR, contrast and CNR of every pane, both histograms, and gCNR over the loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QBuffer, QByteArray, QIODevice, QPoint, Qt
from PySide6.QtGui import QGuiApplication, QImage, QImageWriter, QKeySequence, QPainter, QPalette, QShortcut, QShowEvent
from PySide6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from echoq_desktop.export.files import remember, suggestion, write_whole
from echoq_desktop.panels.gcnr_curve import GcnrCurve
from echoq_desktop.panels.histogram_strip import HistogramStrip
from echoq_desktop.panels.notes import Notes
from echoq_desktop.panels.quality_cut import Cut, FrameNumbers, numbers_of
from echoq_desktop.panels.quality_numbers import LoopNumbers
from echoq_desktop.panels.quality_report import (
    NOTHING,
    WAITING,
    cells,
    counted,
    loop_csv,
    number,
    small_note,
    table_text,
)
from echoq_desktop.panels.quality_table import QualityTable
from echoq_desktop.panels.scrolled import scrolled
from echoq_desktop.panels.throttle import Throttle, on_screen
from echoq_desktop.theme import LV, MYOCARDIUM, TEXT, pane_colour
from echoq_models import __version__
from echoq_models.errors import EchoQError, RegionError

if TYPE_CHECKING:
    from echoq_desktop.session import Session

DRAG_MS = 16  # a dragged vertex: as often as the machine can
PLAY_MS = 80  # playback: figures faster than this cannot be read
CURVE_MS = 120  # the curve while it fills
ALL_PANES = ""


class QualityPanel(QWidget):
    """Content of the quality dock; measures arrays in memory through `echoq_models.metrics`, never a video file."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.setAccessibleName("Quality")
        self.numbers = LoopNumbers(session, self)
        self._now = Throttle(self._measure_now, self)
        self._loop = Throttle(self._show_loop, self)
        self._problem = ""
        self.table = QualityTable()
        self.notes = Notes()
        self.curve = GcnrCurve()
        self.strips: dict[str, HistogramStrip] = {}
        self._build()
        session.frame_changed.connect(self._on_frame)
        session.regions_changed.connect(self._on_regions)
        session.results_changed.connect(self._on_results)
        session.current_changed.connect(self._start_over)
        session.panes_changed.connect(self._start_over)
        session.methods_changed.connect(self._start_over)
        self.numbers.changed.connect(lambda: self._loop.ask(CURVE_MS))
        self.curve.frame_chosen.connect(session.set_frame)
        self.curve.stepped.connect(lambda step: session.set_frame(session.frame + step))
        self.curve.mark_moved.connect(session.work.move_mark)
        self._start_over()

    # how it is laid out

    def _build(self) -> None:
        self._figure = QWidget()
        inside = QVBoxLayout(self._figure)
        inside.setContentsMargins(8, 8, 8, 4)
        inside.setSpacing(6)
        inside.addWidget(self.table)
        inside.addWidget(self.notes)
        inside.addLayout(self._histogram_bar())
        self._strip_box = QVBoxLayout()
        self._strip_box.setSpacing(4)
        inside.addLayout(self._strip_box, 3)
        inside.addWidget(self.curve, 2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 8)
        layout.addWidget(scrolled(self._figure))
        layout.addLayout(self._buttons())

    def _histogram_bar(self) -> QHBoxLayout:
        legend = QLabel(
            f"<span style='color:{LV}'>■</span> LV &nbsp;"
            f"<span style='color:{MYOCARDIUM}'>■</span> Myocardium &nbsp;"
            f"<span style='color:{TEXT}'>■</span> Overlap"
        )
        legend.setAccessibleName("Histogram colours: left ventricle, myocardium, overlap")
        self.choice = QComboBox()
        self.choice.setAccessibleName("Histograms of")
        self.choice.setToolTip("Show the histograms of all panes or of one")
        self.choice.currentIndexChanged.connect(self._choose_strips)
        bar = QHBoxLayout()
        bar.addWidget(legend)
        bar.addStretch(1)
        bar.addWidget(self.choice)
        return bar

    def _buttons(self) -> QHBoxLayout:
        bar = QHBoxLayout()
        bar.setContentsMargins(8, 0, 8, 0)
        steps: tuple[tuple[str, str, Callable[[], None]], ...] = (
            (
                "&Copy table",
                "Copy the table to the clipboard, for a spreadsheet (Ctrl+C in the table)",
                self.copy_table,
            ),
            ("Save CS&V…", "Save gCNR, contrast and CNR of every frame and pane as CSV", self._ask_csv),
            ("Save &figure…", "Save table, histograms and curve as a PNG picture", self._ask_figure),
        )
        for text, tip, slot in steps:
            button = QPushButton(text)
            button.setToolTip(tip)
            button.setAccessibleName(text.replace("&", "").rstrip("…"))
            button.clicked.connect(slot)
            bar.addWidget(button)
        copy = QShortcut(QKeySequence(QKeySequence.StandardKey.Copy), self.table)
        copy.setContext(Qt.ShortcutContext.WidgetShortcut)
        copy.activated.connect(self.copy_table)
        return bar

    # what happens

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.wake()

    def wake(self) -> None:
        """The dock came to the front."""
        self.numbers.resume()
        self._now.ask(0)
        self._loop.ask(0)

    def _on_frame(self, _: int) -> None:
        if on_screen(self):
            self._now.ask(PLAY_MS)

    def _on_regions(self) -> None:
        self._now.ask(DRAG_MS)
        marks = self.session.regions.marks
        self.curve.set_marks(marks.ed, marks.es)

    def _on_results(self, method: str, frames: list[int]) -> None:
        if not frames or self.session.frame in frames:
            self._now.ask(CURVE_MS)

    def _start_over(self, *_: object) -> None:
        """Another loop, or other panes: new columns, strips and lines."""
        panes = self.numbers.panes
        titles = {pane: self.session.title_of(pane) for pane in panes}
        self.table.set_panes([(titles[pane], pane_colour(pane)) for pane in panes])
        self.table.set_lossy(self._lossy())
        self.curve.set_panes(panes, titles, self._count())
        if [self.choice.itemData(i) for i in range(1, self.choice.count())] != panes:
            self._fill_choice(panes)
        for pane in set(self.strips) - set(panes):
            gone = self.strips.pop(pane)
            gone.hide()
            gone.deleteLater()
        for place, pane in enumerate(panes):
            strip = self.strips.setdefault(pane, HistogramStrip())
            strip.show_pane(titles[pane], pane_colour(pane))
            self._strip_box.insertWidget(place, strip)
        self._choose_strips()
        self._on_regions()
        self._loop.ask(0)

    def _fill_choice(self, panes: list[str]) -> None:
        kept = self.choice.currentData()
        self.choice.blockSignals(True)
        self.choice.clear()
        self.choice.addItem("All panes", ALL_PANES)
        for pane in panes:
            self.choice.addItem(self.session.title_of(pane), pane)
        self.choice.setCurrentIndex(max(0, self.choice.findData(kept)))
        self.choice.blockSignals(False)

    def _choose_strips(self) -> None:
        chosen = self.choice.currentData()
        for pane, strip in self.strips.items():
            strip.setVisible(not chosen or pane == chosen)
        self._now.ask(0)

    def _count(self) -> int:
        return 0 if self.session.current is None else len(self.session.current.loop)

    def _lossy(self) -> tuple[str, ...]:
        return () if self.session.current is None else tuple(self.session.current.loop.lossy)

    # figures

    def _measure_now(self) -> None:
        """Figures and histograms of the frame shown."""
        if not on_screen(self):
            return
        t = self.session.frame
        self.curve.set_frame(t)
        try:
            cut = self.numbers.cut(t)
            self._problem = ""
        except RegionError as error:
            cut, self._problem = None, str(error)
        for column, pane in enumerate(self.numbers.panes):
            self._fill_column(column, pane, self._measure_pane(pane, t, cut))
        self._show_notes()

    def _measure_pane(self, pane: str, t: int, cut: Cut | None) -> FrameNumbers | None:
        """A pane's figures of frame `t`, and its histograms on screen; None while its frame or a region is missing."""
        strip = self.strips[pane]
        frame = self.session.frame_of(pane, t) if cut is not None else None
        if cut is None or frame is None:
            strip.set_shares(None, None, self._empty_word(pane) if cut is not None else "")
            return None
        shares = cut.histograms(frame)
        now = numbers_of(*shares)
        self.numbers.keep(pane, t, now)
        strip.set_shares(*shares, f"gCNR {number(now.gcnr, 3)}")
        return now

    def _fill_column(self, column: int, pane: str, now: FrameNumbers | None) -> None:
        self.table.set_column(
            column, cells(now, self.numbers.series(pane), self._empty_word(pane)), self.session.missing(pane)
        )

    def _empty_word(self, pane: str) -> str:
        """What stands in an empty cell: a figure may still come, or not."""
        if self.session.current is None or self._problem or not self._both_drawn() or self.session.missing(pane):
            return NOTHING
        return WAITING

    def _both_drawn(self) -> bool:
        shown = self.session.regions.at(self.session.frame)
        return bool(shown.lv and shown.myocardium)

    def _show_loop(self) -> None:
        """The curve and the medians, as far as they are measured."""
        if not on_screen(self):
            return
        t, opened, areas = self.session.frame, self.session.current, self.numbers.areas
        if opened is None or opened.spacing is None or areas is None:
            self.curve.set_area(areas, "pixels")
        else:
            self.curve.set_area(areas / 100.0, "cm²")
        for column, pane in enumerate(self.numbers.panes):
            series = self.numbers.series(pane)
            if series is None:
                continue
            if len(series.fresh) == self._count():
                self.curve.set_values(pane, series.values[:, 0], series.fresh)
            now = FrameNumbers(*series.values[t].tolist()) if series.measured[t] else None
            self._fill_column(column, pane, now)
        self._show_notes()

    def _show_notes(self) -> None:
        self.notes.show_all(self._notes())

    def _notes(self) -> list[tuple[str, bool]]:
        """Sentences for the person, each with whether it is a warning."""
        opened = self.session.current
        if opened is None:
            return [("Open a loop to measure it.", False)]
        out: list[tuple[str, bool]] = []
        if self._problem:
            out.append((self._problem, True))
        elif not self._both_drawn():
            out.append((self._what_to_draw(), False))
        else:
            cut = self.numbers.cut(self.session.frame)
            small = small_note(*cut.pixels) if cut is not None else None
            if small:
                out.append((small, True))
        regions = self.session.regions
        left_out = sum(t < self._count() for t in regions.left_out)
        out += counted(left_out, self.numbers.flawed, self.numbers.overlapping)
        review = regions.review
        if review is not None and review.decision == "rejected":
            out.append(("The regions were rejected in review: these figures do not count.", True))
        for pane in self.numbers.panes:
            missing = self.session.missing(pane)
            if missing:
                out.append((f"{self.session.title_of(pane)}: {missing}", False))
        return out

    def _what_to_draw(self) -> str:
        if self.session.frame in self.session.regions.left_out:
            return "This frame is left out of the measurement."
        shown = self.session.regions.at(self.session.frame)
        if not shown.lv and not shown.myocardium:
            return "Draw both regions, left ventricle and myocardium, to measure gCNR."
        other = "myocardium" if shown.lv else "left ventricle"
        return f"Draw the {other} too: gCNR needs both regions."

    # taking it along

    def copy_table(self) -> None:
        """Put the table on the clipboard, tab separated."""
        QGuiApplication.clipboard().setText(self.text())
        self.session.message.emit("Table copied")

    def text(self) -> str:
        """The table and its notes as text with tabs."""
        count = self._count()
        where = [f"Frame {self.session.frame + 1} of {count}. Research use."] if count else []
        lossy = [f"Lossy source ({', '.join(self._lossy())}): compression can raise gCNR."] if self._lossy() else []
        titles = [self.session.title_of(pane) for pane in self.numbers.panes]
        return table_text(titles, self.table.columns(), where + lossy + [text for text, _ in self._notes()])

    def save_csv(self, path: Path) -> None:
        """Write gCNR, contrast and CNR of each frame and pane. Raises OutputError."""
        if self.session.current is not None:
            series = {pane: self.numbers.series(pane) for pane in self.numbers.panes}
            area = self.numbers.areas, "mm2" if self.session.current.spacing is not None else "pixels"
            write_whole(path, loop_csv(self.session.current.loop.times_ms, series, area).encode())

    def save_figure(self, path: Path) -> None:
        """Write table, histograms and curve as PNG at twice the screen's resolution. Raises OutputError."""
        size, bar = self._figure.size(), self.fontMetrics().height() + 8
        image = QImage(size.width() * 2, (size.height() + bar) * 2, QImage.Format.Format_RGB32)
        image.setDevicePixelRatio(2.0)
        image.fill(self.palette().color(QPalette.ColorRole.Window))
        painter = QPainter(image)
        self._figure.render(painter, QPoint(0, 0))
        painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
        where = f"Frame {self.session.frame + 1} of {self._count()}. EchoQ {__version__}, research use."
        painter.drawText(8, size.height() + self.fontMetrics().ascent(), where)
        painter.end()
        buffer = QBuffer()
        buffer.open(QIODevice.OpenModeFlag.WriteOnly)
        QImageWriter(buffer, QByteArray(b"png")).write(image)
        write_whole(path, bytes(buffer.data().data()))

    def _ask_csv(self) -> None:
        self._ask("Save gCNR of every frame", "_gcnr.csv", "Table (*.csv)", self.save_csv)

    def _ask_figure(self) -> None:
        self._ask("Save figure", "_gcnr.png", "Picture (*.png)", self.save_figure)

    def _ask(self, title: str, ending: str, kinds: str, save: Callable[[Path], None]) -> None:
        opened = self.session.current
        if opened is None:
            self.session.message.emit("Open a loop first.")
            return
        start = suggestion(opened.path, ending)
        chosen, _ = QFileDialog.getSaveFileName(self, title, str(start), kinds)
        if not chosen:
            return
        try:
            save(Path(chosen))
        except EchoQError as error:
            self.session.message.emit(str(error))
        else:
            remember(Path(chosen))
            self.session.message.emit(f"Saved {chosen}")
