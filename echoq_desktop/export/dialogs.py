"""Export of the current loop: what to write, in which format, where. The work is the worker's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Qt
from PySide6.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMainWindow,
    QMessageBox,
    QPushButton,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from echoq_desktop.export.batch import BatchDialog
from echoq_desktop.export.choices import encoding_box, format_box, lossless_box, method_box, without_names_box
from echoq_desktop.export.files import nameless, remember, suggestion
from echoq_desktop.export.formats import FORMATS, LOSSY_NOTE, REPORT_NOTE, Format, format_of, with_format
from echoq_desktop.export.progress import ExportProgress
from echoq_desktop.noise_work import NOISE
from echoq_desktop.panels.notes import Notes
from echoq_desktop.theme import MUTED, WIDE
from echoq_models.regions import to_data
from echoq_models.runtime.cleaning import repeats_name
from echoq_models.runtime.export import DICOM
from echoq_models.runtime.jobs import ORIGINAL, ExportOptions

if TYPE_CHECKING:
    from echoq_desktop.engine import OpenedLoop
    from echoq_desktop.session import Session

__all__ = ["BatchDialog", "ExportDialog"]

CAPTION_NOTE = (
    'Every export says in a caption (exact files in their metadata) what was computed: "denoised, research use" or '
    '"simulated noise, research use".'
)


LOOK_NOTE = (
    "Look at the loop. If it names nobody, it can be written all the same; "
    "the report, and the header of DICOM, then say that it may show a name."
)
ENDING = "_denoised"  # of the names that are offered
BAR_WIDTH = 520  # pixels of the status bar that a running export takes


class ExportDialog(QDialog):
    """Asks what to write; on Export it closes, and a bar with time left and cancel goes on in the window."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.progress: ExportProgress | None = None
        self.setWindowTitle("Export denoised loop")
        self.setAccessibleName("Export denoised loop")
        self.setMinimumWidth(480)
        self._nameless: Path | None = None  # the name that was offered in place of the loop's
        self._opened = session.current  # the loop shown when the dialog came up, whatever is shown later
        self._build()
        self._follow()

    # how it is laid out

    def _build(self) -> None:
        self.method, self.format, self.lossless = method_box(self.session), format_box(), lossless_box()
        self.encoding, self.without_names = encoding_box(), without_names_box()
        self.format_note = QLabel()
        self.format_note.setWordWrap(True)
        self.format_note.setStyleSheet(f"color: {MUTED};")
        self.notes = Notes()
        self.replace = QCheckBox("Replace it")
        self.replace.setToolTip("Tick to overwrite what is there")
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.export_button = self.buttons.addButton("&Export", QDialogButtonBox.ButtonRole.AcceptRole)
        self.export_button.setToolTip("Start writing; the window stays usable")
        self.buttons.accepted.connect(self.start)
        self.buttons.rejected.connect(self.reject)
        form = QFormLayout()
        form.setVerticalSpacing(WIDE)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("&Method", self.method)
        form.addRow("Show", self._layout_choice())
        form.addRow("&Format", self.format)
        form.addRow("", self.format_note)
        form.addRow("", self.lossless)
        form.addRow("&Encoding", self.encoding)
        form.addRow("", self.without_names)
        form.addRow("Wri&te to", self._path_line())
        caption = QLabel(CAPTION_NOTE)
        caption.setWordWrap(True)
        caption.setStyleSheet(f"color: {MUTED};")
        self.form = form
        layout = self._layout = QVBoxLayout(self)
        layout.setSpacing(WIDE)
        layout.addLayout(form)
        layout.addWidget(self.notes)
        layout.addWidget(self.replace)
        layout.addWidget(caption)
        layout.addStretch(1)
        layout.addWidget(self.buttons)
        for signal in (
            self.method.currentIndexChanged,
            self.lossless.toggled,
            self.replace.toggled,
            self.alone.toggled,
            self.path.textChanged,
        ):
            signal.connect(self._follow)
        self.format.currentIndexChanged.connect(self._follow_format)
        self.without_names.toggled.connect(self._rename)

    def _layout_choice(self) -> QWidget:
        self.alone = QRadioButton("The denoised loop alone")
        self.alone.setToolTip("Same size and place as the source; colour, text and ECG stay as they are")
        self.alone.setChecked(True)
        self.beside = QRadioButton("Side by side:")
        self.beside.setToolTip("Panes next to each other under their titles, in one picture")
        group = QButtonGroup(self)
        group.addButton(self.alone)
        group.addButton(self.beside)
        self.panes: dict[str, QCheckBox] = {}
        line = QHBoxLayout()
        line.addWidget(self.beside)
        for pane in [each for each in self.session.panes if each != NOISE]:
            box = QCheckBox(self.session.title_of(pane))
            box.setAccessibleName(f"Side by side: {self.session.title_of(pane)}")
            missing = self.session.missing(pane)
            box.setChecked(missing is None)
            box.setProperty("missing", missing is not None)
            box.setToolTip(missing or f"Show {self.session.title_of(pane)}")
            box.toggled.connect(self._follow)
            self.panes[pane] = box
            line.addWidget(box)
        line.addStretch(1)
        whole = QWidget()
        column = QVBoxLayout(whole)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.alone)
        column.addLayout(line)
        return whole

    def _path_line(self) -> QWidget:
        start = "" if self._opened is None else str(suggestion(self._opened.path, f"{ENDING}{FORMATS[0].suffix}"))
        self.path = QLineEdit(start)
        self.path.setAccessibleName("File to write")
        self.path.setToolTip("Where to write; the suffix follows the format")
        self.path.setMinimumWidth(300)
        self.browse = QPushButton("&Browse…")
        self.browse.setToolTip("Choose where to write")
        self.browse.clicked.connect(self._ask_path)
        whole = QWidget()
        line = QHBoxLayout(whole)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.path, 1)
        line.addWidget(self.browse)
        whole.setFocusProxy(self.path)
        return whole

    # what is shown

    def chosen_format(self) -> Format:
        """The format of the combo box."""
        return FORMATS[max(0, self.format.currentIndex())]

    def output(self) -> Path:
        """Where to write."""
        return Path(self.path.text().strip()).expanduser()

    def options(self) -> ExportOptions:
        """What the worker is asked for."""
        side = self.beside.isChecked()
        panes = tuple(pane for pane, box in self.panes.items() if box.isChecked()) if side else ()
        return ExportOptions(
            method=self.method.currentData() or ORIGINAL,
            settings=self.session.settings,
            side_by_side=panes,
            lossless=self.lossless.isChecked() and self.lossless.isEnabled(),
            overwrite=self.replace.isChecked(),
            dicom_encoding=self.encoding.currentData(),
            regions=self._regions(),
            deidentify=self.without_names.isChecked(),
        )

    def _regions(self) -> dict[str, Any] | None:
        """The loop's regions as they stand now, for the file beside a DICOM loop."""
        if self._opened is None or self.chosen_format().suffix != DICOM:
            return None
        regions = self.session.regions_of(self._opened.loop_id)
        return to_data(regions) if regions else None

    def _follow_format(self) -> None:
        if self.path.text().strip():
            self.path.setText(str(with_format(self.output(), self.chosen_format())))
        self._follow()

    def _rename(self, nameless_wanted: bool) -> None:
        """Offer a name that tells nothing in place of the loop's, and the other way round; a typed one stays."""
        if self._opened is not None and self.path.text().strip():
            output, ending = self.output(), f"{ENDING}{self.chosen_format().suffix}"
            own = suggestion(self._opened.path, ending)
            if nameless_wanted and (output.name == own.name or repeats_name(self._opened.path, output)):
                self._nameless = nameless(output.parent, ending)
                self.path.setText(str(self._nameless))
            elif not nameless_wanted and self._nameless is not None and output.stem == self._nameless.stem:
                self.path.setText(str(output.with_name(own.name)))
        self._follow()

    def _follow(self) -> None:
        """Make every part of the dialog fit what is chosen."""
        chosen = self.chosen_format()
        self.lossless.setEnabled(chosen.lossless is not None)
        self.lossless.setVisible(not chosen.always_lossless)
        self.form.setRowVisible(self.encoding, chosen.suffix == DICOM)
        lossless = self.lossless.isChecked() and chosen.lossless is not None
        clean = self.without_names.isChecked()
        self.format_note.setText(
            (chosen.lossless if lossless else None) or (chosen.without_names if clean else None) or chosen.note
        )
        self.beside.setEnabled(chosen.picture)
        if not chosen.picture and self.beside.isChecked():
            self.alone.setChecked(True)
        side = self.beside.isChecked()
        self.method.setEnabled(not side)
        for box in self.panes.values():
            box.setEnabled(side and not box.property("missing"))
        problem = self._problem()
        exists = problem is None and self.output().exists()
        notes = [(problem, True)] if problem else []
        if exists:
            notes.append((f"{self.output().name} exists already.", True))
        if clean and self._opened is not None and repeats_name(self._opened.path, self.output()):
            notes.append(("The file is named after the loop: does that name the patient?", True))
        if clean:
            notes.append((REPORT_NOTE, False))
        if not lossless and not chosen.always_lossless:
            notes.append((LOSSY_NOTE, False))
        self.notes.show_all(notes)
        self.replace.setVisible(exists)
        self.export_button.setEnabled(problem is None and (not exists or self.replace.isChecked()))
        needed = self._layout.totalHeightForWidth(self.width())
        if self.isVisible() and needed > self.height():
            self.resize(self.width(), needed)  # Qt squeezes labels of several lines instead

    def _problem(self) -> str | None:
        """Why nothing can be exported as things stand, None when it can."""
        if self._opened is None:
            return "Open a loop first."
        if self.beside.isChecked():
            if sum(box.isChecked() for box in self.panes.values()) < 2:
                return "Choose at least two panes for side by side."
        elif self.method.currentData() is None:
            return "No denoiser can run yet: import or train weights first."
        text = self.path.text().strip()
        if not text or not self.output().name:
            return "Choose a file to write."
        if not self.output().parent.is_dir():
            return f"The folder {self.output().parent} does not exist."
        found = format_of(self.output())
        if found is None or (not found.suffix and self.chosen_format().suffix):
            return f"The file name must end in {self.chosen_format().suffix}."
        if self.output() == self._opened.path:
            return "This is the loop itself: choose another name."
        return None

    def _ask_path(self) -> None:
        chosen = self.chosen_format()
        if chosen.suffix:
            kinds = f"{chosen.title} (*{chosen.suffix})"
            no_question = QFileDialog.Option.DontConfirmOverwrite  # this dialog asks
            name, _ = QFileDialog.getSaveFileName(self, "Export to", self.path.text(), kinds, options=no_question)
            if name:
                self.path.setText(str(with_format(Path(name), chosen)))
        else:
            name = QFileDialog.getExistingDirectory(self, "Export a folder into", str(self.output().parent))
            if name:
                self.path.setText(str(Path(name) / self.output().name))

    # what happens

    def start(self) -> ExportProgress | None:
        """Hand the job to the worker and close; the bar that shows it goes into the window's status bar."""
        if not self.export_button.isEnabled() or self._opened is None:
            return None
        output, window = self.output(), self.parentWidget()
        remember(output)
        if self._opened not in self.session.loops:
            self.session.message.emit("The loop was closed meanwhile: nothing was exported.")
            self.reject()
            return None
        self.progress = _Keeper(self.session, self._opened, output, self.options(), window).bar
        self.accept()
        return self.progress


class _Keeper(QObject):
    """Hands a job to the worker, shows a bar while it runs, then says how it ended."""

    def __init__(
        self, session: Session, opened: OpenedLoop, output: Path, options: ExportOptions, window: QWidget | None
    ) -> None:
        job = session.engine.export(opened.loop_id, output, options)
        bar = ExportProgress(session.engine, job, f"Exporting {output.name}", opened, options)
        super().__init__(bar)
        self.session, self.bar, self.output, self.window = session, bar, output, window
        self.opened, self.options = opened, options
        if isinstance(window, QMainWindow):
            bar.setFixedWidth(BAR_WIDTH)
            window.statusBar().insertPermanentWidget(0, bar)
        else:
            bar.setWindowTitle(bar.title)
            bar.setMinimumWidth(420)
        bar.show()
        bar.ended.connect(self._ended)

    def _ended(self, state: str, result: object) -> None:
        if state == "finished":
            warnings = result["warnings"] if isinstance(result, dict) else []
            said = [warning.removeprefix(f"{self.output}: ") for warning in warnings]
            self.session.message.emit("; ".join([f"Exported {self.output}", *said]))
        elif state == "cancelled":
            self.session.message.emit(f"Export cancelled; {self.output.name} was not written")
        elif state == "left out":
            self.session.message.emit(f"{self.output.name} was not written: it may still show a name")
            self._offer(str(result))
        else:
            self.session.message.emit(f"Export failed: {result}")
            _show_box(QMessageBox(QMessageBox.Icon.Warning, "Export failed", str(result), parent=self.window))
        if isinstance(self.window, QMainWindow):
            self.window.statusBar().removeWidget(self.bar)
        self.bar.close()
        self.bar.deleteLater()

    def _offer(self, sentence: str) -> None:
        """Say why the loop was not written, and write it all the same when the person says so."""
        box = QMessageBox(QMessageBox.Icon.Warning, "Not written", sentence, parent=self.window)
        box.setInformativeText(LOOK_NOTE)
        write = box.addButton("&Write it anyway", QMessageBox.ButtonRole.AcceptRole)
        leave = box.addButton("&Leave it out", QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(leave)
        box.setEscapeButton(leave)
        session, opened, output, window = self.session, self.opened, self.output, self.window
        options = replace(self.options, keep_unjudged=True)

        def again() -> None:
            if opened in session.loops:
                _Keeper(session, opened, output, options, window)
            else:
                session.message.emit("The loop was closed meanwhile: nothing was exported.")

        write.clicked.connect(again)
        _show_box(box)


def _show_box(box: QMessageBox) -> None:
    """Let a message stand beside the window, which stays usable."""
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    box.setModal(False)
    box.show()
