"""Batch export: a folder of loops denoised into another folder, file by file, while the window stays usable."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from PySide6.QtCore import QUrl
from PySide6.QtGui import QCloseEvent, QDesktopServices, QGuiApplication
from PySide6.QtWidgets import (
    QButtonGroup,
    QDialog,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMessageBox,
    QPushButton,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from echoq_desktop.export.batch_progress import BatchProgress
from echoq_desktop.export.batch_table import BatchTable
from echoq_desktop.export.choices import encoding_box, fill_methods, format_box, lossless_box, method_box
from echoq_desktop.export.formats import FORMATS
from echoq_desktop.panels.notes import Notes
from echoq_desktop.theme import MUTED, WIDE
from echoq_models.runtime.batch import PAGE, SUMMARY
from echoq_models.runtime.export import DICOM
from echoq_models.runtime.jobs import BatchOptions

if TYPE_CHECKING:
    from echoq_desktop.session import Session


KEPT = "Results of a batch are kept while loop, settings and weights stay the same."


class BatchDialog(QDialog):
    """Asks for folders, method and format, then shows each file's state, the time left, and what failed and why."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.progress: BatchProgress | None = None
        self.setWindowTitle("Batch export")
        self.setAccessibleName("Batch export")
        self.setModal(False)
        self.resize(720, 620)
        self.table = BatchTable()
        self.notes = Notes()
        self.summary = QLabel()
        self.summary.setWordWrap(True)
        self.summary.setAccessibleName("Summary")
        self._started = 0.0
        self._build()
        session.engine.file_event.connect(self._on_event)
        session.methods_changed.connect(self._refill)
        self._follow()

    # how it is laid out

    def _build(self) -> None:
        self.choices = QWidget()
        form = QFormLayout(self.choices)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.folder = self._folder_line(form, "&From", "Folder of loops", "Every loop in it and in its subfolders")
        self.target = self._folder_line(
            form, "Wri&te to", "Folder to write into", "Subfolders are kept; made if need be"
        )
        self.method, self.format, self.lossless = method_box(self.session), format_box(), lossless_box()
        self.encoding = encoding_box()
        line = QHBoxLayout()
        for box in (self.format, self.lossless, self.encoding):
            line.addWidget(box)
        line.addStretch(1)
        form.addRow("&Method", self.method)
        form.addRow("Fo&rmat", line)
        _befriend(form, line, self.format)
        form.addRow("If a result exists", self._existing_choice())
        form.addRow("", _muted(KEPT))
        self._layout = QVBoxLayout(self)
        self._layout.setSpacing(WIDE)
        for widget in (self.choices, self.notes, self.table, self.summary):
            self._layout.addWidget(widget, 1 if widget is self.table else 0)
        self._layout.addLayout(self._buttons())
        self.format.currentIndexChanged.connect(self._follow)
        self.method.currentIndexChanged.connect(self._follow)

    def _buttons(self) -> QHBoxLayout:
        bar = QHBoxLayout()
        self.start_button = QPushButton("&Start")
        self.start_button.setToolTip("Denoise every loop of the folder")
        self.start_button.clicked.connect(self.start)
        self.copy_button = QPushButton("&Copy summary")
        self.copy_button.setToolTip("Copy what became of each file to the clipboard")
        self.copy_button.clicked.connect(self.copy_summary)
        self.open_button = QPushButton("&Open folder")
        self.open_button.setToolTip("Show the results in the file manager")
        self.open_button.clicked.connect(lambda: self._show(self._target()))
        self.page_button = QPushButton("Open pa&ge")
        self.page_button.setToolTip("Show a page with a picture of each loop before and after, in the browser")
        self.page_button.clicked.connect(lambda: self._show(self._target() / PAGE))
        self.close_button = QPushButton("Close")
        self.close_button.setToolTip("Close this dialog")
        self.close_button.clicked.connect(self.close)
        left = (self.copy_button, self.open_button, self.page_button)
        for button in (*left, self.start_button, self.close_button):
            button.setAutoDefault(False)
        for button in left:
            bar.addWidget(button)
        bar.addStretch(1)
        bar.addWidget(self.start_button)
        bar.addWidget(self.close_button)
        return bar

    def _folder_line(self, form: QFormLayout, label: str, name: str, tip: str) -> QLineEdit:
        field = QLineEdit()
        field.setAccessibleName(name)
        field.setToolTip(tip)
        field.setPlaceholderText(tip)
        field.textChanged.connect(self._follow)
        browse = QPushButton("Browse…")
        browse.setToolTip(f"Choose: {name.lower()}")
        browse.setAccessibleName(f"Browse: {name.lower()}")
        browse.setAutoDefault(False)
        browse.clicked.connect(lambda: self._ask_folder(field, name))
        line = QHBoxLayout()
        line.addWidget(field, 1)
        line.addWidget(browse)
        form.addRow(label, line)
        _befriend(form, line, field)
        return field

    def _existing_choice(self) -> QHBoxLayout:
        self.skip = QRadioButton("Skip the loop")
        self.skip.setToolTip("Leave files that are there and that no batch has written")
        self.skip.setChecked(True)
        self.overwrite = QRadioButton("Overwrite it")
        self.overwrite.setToolTip("Replace files that are there and that no batch has written")
        group = QButtonGroup(self)
        line = QHBoxLayout()
        for button in (self.skip, self.overwrite):
            group.addButton(button)
            line.addWidget(button)
        line.addStretch(1)
        return line

    # what is shown

    def options(self) -> BatchOptions:
        """What the worker is asked for."""
        existing: Literal["skip", "overwrite"] = "overwrite" if self.overwrite.isChecked() else "skip"
        return BatchOptions(
            method=self.method.currentData() or "",
            settings=self.session.settings,
            suffix=FORMATS[self.format.currentIndex()].suffix,
            existing=existing,
            lossless=self.lossless.isChecked() and self.lossless.isEnabled(),
            dicom_encoding=self.encoding.currentData(),
        )

    @property
    def running(self) -> bool:
        """Whether a batch is under way."""
        return self.progress is not None and self.progress.state == "running"

    def _refill(self) -> None:
        if not self.running:
            self.method.clear()
            fill_methods(self.method, self.session)
            self._follow()

    def _follow(self) -> None:
        chosen = FORMATS[self.format.currentIndex()]
        self.lossless.setEnabled(chosen.lossless is not None)
        self.lossless.setVisible(not chosen.always_lossless)
        self.encoding.setVisible(chosen.suffix == DICOM)
        problem = self._problem()
        self.notes.show_all([(problem, False)] if problem and not self.running else [])
        self.choices.setEnabled(not self.running)
        self.start_button.setEnabled(problem is None and not self.running)
        ended = self.table.rowCount() > 0 and not self.running
        self.copy_button.setEnabled(ended)
        self.open_button.setEnabled(ended and self._target().is_dir())
        self.page_button.setEnabled(ended and (self._target() / PAGE).is_file())

    def _problem(self) -> str | None:
        folder, target = self.folder.text().strip(), self.target.text().strip()
        if not folder or not target:
            return "Choose a folder of loops and a folder to write into."
        if not Path(folder).expanduser().is_dir():
            return f"The folder {folder} does not exist."
        if Path(folder).expanduser().resolve() == self._target().resolve():
            return "Choose another folder to write into than the loops' own."
        if self.method.currentData() is None:
            return "No denoiser can run yet: import or train weights first."
        return None

    def _target(self) -> Path:
        return Path(self.target.text().strip()).expanduser()

    def _ask_folder(self, field: QLineEdit, name: str) -> None:
        chosen = QFileDialog.getExistingDirectory(self, name, field.text())
        if chosen:
            field.setText(chosen)
            if field is self.folder and not self.target.text():
                self.target.setText(f"{chosen}_denoised")

    # what happens

    def start(self) -> None:
        """Hand the batch to the worker."""
        if not self.start_button.isEnabled():
            return
        if self.progress is not None:
            self.progress.deleteLater()
        self.table.clear_files()
        self.summary.clear()
        folder = Path(self.folder.text().strip()).expanduser()
        job = self.session.engine.batch(folder, self._target(), self.options())
        self.progress = BatchProgress(self.session.engine, job, f"Batch export of {folder.name}", self)
        self.progress.ended.connect(self._ended)
        self._layout.insertWidget(self._layout.indexOf(self.summary), self.progress)
        self._started = time.monotonic()
        self.start_button.setText("&Start")
        self._follow()

    def _on_event(self, job: int, news: dict[str, Any]) -> None:
        if self.progress is None or job != self.progress.job:
            return
        self.table.put(news)
        self.progress.show_news(news)
        if news["state"] == "running" and news.get("done_frames", 0) > 0:
            return  # counts are as they were
        counts = self.table.counts()
        over = sum(counts[state] for state in ("done", "failed", "skipped"))
        self.summary.setText(f"{over} of {news['total']} files: {_in_words(counts)}")

    def _ended(self, state: str, result: object) -> None:
        self.table.stop_running("cancelled" if state == "cancelled" else "waiting")
        counts = self.table.counts()
        seconds = round(time.monotonic() - self._started)
        head = {"finished": "Finished", "cancelled": "Cancelled", "failed": "Stopped"}[state]
        lines = [f"{head} after {seconds // 60} min {seconds % 60:02d} s: {_in_words(counts) or 'no file was tried'}."]
        if state == "failed":
            lines.append(str(result))
        if state == "cancelled":
            lines.append("Only whole files were kept. Continue goes on from there, also another day.")
        if state == "finished":
            lines.append(f"A table ({SUMMARY}) and a page ({PAGE}) are in {self._target()}.")
            lines += result["notes"] if isinstance(result, dict) else []
        self.start_button.setText("&Start" if state == "finished" else "Con&tinue")
        self.summary.setText("\n".join(lines))
        self.session.message.emit(f"Batch export: {lines[0]}")
        if self.progress is not None:
            self.progress.hide()
        self._follow()

    def copy_summary(self) -> None:
        """Put the summary and one line a file (state, output, reason) on the clipboard."""
        QGuiApplication.clipboard().setText(f"{self.summary.text()}\n\n{self.table.text()}")
        self.session.message.emit("Summary copied")

    def _show(self, path: Path) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(path)))

    def reject(self) -> None:
        """Escape closes as the button does."""
        self.close()

    def closeEvent(self, event: QCloseEvent) -> None:
        """A running batch is not lost by closing a dialog: ask first."""
        if self.running and not self._agrees_to_cancel():
            event.ignore()
            return
        if self.running and self.progress is not None:
            self.progress.cancel()
        event.accept()  # QDialog.closeEvent would reject(), which comes back here

    def _agrees_to_cancel(self) -> bool:
        box = QMessageBox(
            QMessageBox.Icon.Question,
            "Batch export",
            "The batch is still running. The window stays usable meanwhile; closing this dialog cancels the batch. "
            "Files that are done stay, and the same batch goes on from there.",
            parent=self,
        )
        stay = box.addButton("&Keep running", QMessageBox.ButtonRole.RejectRole)
        box.addButton("&Cancel the batch", QMessageBox.ButtonRole.DestructiveRole)
        box.setDefaultButton(stay)
        box.setEscapeButton(stay)
        box.exec()
        return box.clickedButton() is not stay


def _befriend(form: QFormLayout, line: QHBoxLayout, field: QWidget) -> None:
    """Let the label of a row of several widgets lead the keyboard to `field`."""
    label = form.labelForField(line)
    if isinstance(label, QLabel):
        label.setBuddy(field)


def _muted(text: str) -> QLabel:
    label = QLabel(text)
    label.setWordWrap(True)
    label.setStyleSheet(f"color: {MUTED};")
    return label


def _in_words(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count)
