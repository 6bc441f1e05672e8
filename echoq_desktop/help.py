"""About, the list of shortcuts, and the dialog of last resort (its report holds no patient data)."""

from __future__ import annotations

import platform
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from html import escape
from importlib import metadata
from pathlib import Path
from types import TracebackType

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QAction, QGuiApplication
from PySide6.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QDialogButtonBox,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QTableWidget,
    QTableWidgetItem,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from echoq_models import __version__, resources

RESEARCH_USE = "For research use only. Not a medical device: not for diagnosis, treatment or any clinical decision."


@dataclass(frozen=True)
class Component:
    """A bundled piece of software: what to call it, its distribution's name, its licence, what it does here."""

    title: str
    distribution: str
    licence: str
    role: str


COMPONENTS = (
    Component("Qt and PySide6", "PySide6-Essentials", "LGPL-3.0", "the window"),
    Component("PyTorch", "torch", "BSD-3-Clause", "runs the networks"),
    Component("NumPy", "numpy", "BSD-3-Clause", "arrays"),
    Component("OpenCV", "opencv-python-headless", "Apache-2.0", "resizing, contours"),
    Component("pyqtgraph", "pyqtgraph", "MIT", "images and curves"),
    Component("pydicom", "pydicom", "MIT", "reads and writes DICOM"),
    Component("GDCM", "python-gdcm", "Apache-2.0, BSD-3-Clause", "decodes JPEG in DICOM"),
    Component("pyjpegls and CharLS", "pyjpegls", "MIT, BSD-3-Clause", "reads and writes JPEG-LS"),
    Component("pylibjpeg", "pylibjpeg", "MIT", "decodes JPEG 2000"),
    Component("OpenJPEG", "pylibjpeg-openjpeg", "MIT, BSD-2-Clause", "decodes JPEG 2000"),
    Component("pylibjpeg-rle", "pylibjpeg-rle", "MIT", "reads and writes RLE in DICOM"),
    Component("Pillow", "pillow", "MIT-CMU", "stills and GIF"),
    Component("FFmpeg (imageio-ffmpeg)", "imageio-ffmpeg", "GPL-3.0-or-later, BSD-2-Clause", "reads and writes video"),
    Component("safetensors", "safetensors", "Apache-2.0", "weights"),
    Component("Typer", "typer", "MIT", "the command line"),
    Component("platformdirs", "platformdirs", "MIT", "where settings live"),
)
FFMPEG_NOTICE = (
    "FFmpeg is a separate program, carried by imageio-ffmpeg under the GNU General Public License, version 3 or later. "
    "EchoQ starts it as a process of its own and is not linked to it. Its source code: ffmpeg.org."
)


def version_of(distribution: str) -> str:
    """Installed version of a distribution, or "not installed". Imports nothing of it (torch stays outside)."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


def versions() -> dict[str, str]:
    """Versions for a report: EchoQ, Python, the system and every bundled component; no names, no paths."""
    return {
        "EchoQ": __version__,
        "Python": platform.python_version(),
        "System": f"{platform.system()} {platform.release()} {platform.machine()}",
        **{part.title: version_of(part.distribution) for part in COMPONENTS},
    }


class AboutDialog(QDialog):
    """Version, what it is for, and the licences of what is bundled."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("About EchoQ")
        self.setAccessibleName("About EchoQ")
        self.resize(620, 560)
        text = QTextBrowser()
        text.setAccessibleName("Versions and licences")
        text.setOpenLinks(False)
        text.setHtml(_about_html())
        text.setMinimumHeight(240)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        copy = buttons.addButton("Copy versions", QDialogButtonBox.ButtonRole.ActionRole)
        copy.setToolTip("Copy the versions to the clipboard, for a report")
        copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(_lines(versions())))
        licences = buttons.addButton("Licences", QDialogButtonBox.ButtonRole.ActionRole)
        licences.setToolTip("Show the notices and the licences of what EchoQ brings along")
        licences.clicked.connect(lambda: LicencesDialog(self).exec())
        layout = QVBoxLayout(self)
        layout.addWidget(text)
        layout.addWidget(buttons)
        self.text = text


def _about_html() -> str:
    rows = "".join(
        f"<tr><td>{escape(part.title)}</td><td>{escape(version_of(part.distribution))}</td>"
        f"<td>{escape(part.licence)}</td><td>{escape(part.role)}</td></tr>"
        for part in COMPONENTS
    )
    system = versions()
    return (
        f"<h2>EchoQ {escape(system['EchoQ'])}</h2>"
        "<p>Opens echo loops, shows them denoised beside BM3D, and measures gCNR.<br>"
        "Licence: Apache-2.0 (see LICENSE and NOTICE.md).</p>"
        f"<p><b>{RESEARCH_USE}</b></p>"
        f"<p>{FFMPEG_NOTICE}</p>"
        f"<p>Python {escape(system['Python'])}, {escape(system['System'])}. No network access, no telemetry.</p>"
        "<table cellspacing='0' cellpadding='4'><tr><th align='left'>Component</th><th align='left'>Version</th>"
        f"<th align='left'>Licence</th><th align='left'>For</th></tr>{rows}</table>"
    )


def licence_texts() -> str:
    """EchoQ's notices; an installed program adds the licences of everything inside (made by installer/licences.py)."""
    texts = []
    with suppress(metadata.PackageNotFoundError):
        texts.append(metadata.distribution("echoq").read_text("licenses/NOTICE.md") or "")
    gathered = resources.path("licences", "THIRD-PARTY.txt")
    if gathered.is_file():
        texts.append(gathered.read_text(encoding="utf-8"))
    return "\n\n".join(filter(None, texts)) or "See NOTICE.md and the licences in the installed packages."


class LicencesDialog(QDialog):
    """The notices and licences, to read."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Licences")
        self.setAccessibleName("Licences")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(760, 600)
        self.text = QPlainTextEdit(licence_texts())
        self.text.setReadOnly(True)
        self.text.setAccessibleName("Notices and licences")
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(self.text)
        layout.addWidget(buttons)


def _lines(facts: dict[str, str]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in facts.items())


def shortcuts_of(window: QWidget) -> list[tuple[str, str, str]]:
    """(what it does, keys, tooltip) of every QAction of `window` that has a key, in menu order, none twice."""
    found: dict[tuple[str, str], str] = {}
    for action in window.findChildren(QAction):
        keys = ", ".join(key.toString(key.SequenceFormat.NativeText) for key in action.shortcuts())
        title = action.text().replace("&&", "\0").replace("&", "").replace("\0", "&").rstrip(".…")
        if keys and title:
            found.setdefault((title, keys), action.toolTip() or title)
    return [(title, keys, tip) for (title, keys), tip in found.items()]


class ShortcutsDialog(QDialog):
    """Every key of the window, read from its actions, so that rebound keys show as they are now."""

    def __init__(self, window: QWidget, extra: Iterable[tuple[str, str, str]] = ()) -> None:
        super().__init__(window)
        self.setWindowTitle("Shortcuts")
        self.setAccessibleName("Shortcuts")
        self.resize(460, 560)
        self.search = QLineEdit()
        self.search.setPlaceholderText("Find an action or a key")
        self.search.setAccessibleName("Find an action or a key")
        self.search.setToolTip("Shows only the actions whose name or key holds this text")
        self.search.setClearButtonEnabled(True)
        self.search.textChanged.connect(self._filter)
        rows = shortcuts_of(window) + list(extra)
        self.table = QTableWidget(len(rows), 2)
        self.table.setAccessibleName("Shortcuts")
        self.table.setToolTip("What the window can do by key")
        self.table.setHorizontalHeaderLabels(["Action", "Keys"])
        self.table.verticalHeader().hide()
        self.table.horizontalHeader().setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setShowGrid(False)
        self.table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.table.horizontalHeader().setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        for row, (title, keys, tip) in enumerate(rows):
            for column, text in enumerate((title, keys)):
                item = QTableWidgetItem(text)
                item.setToolTip(tip)
                self.table.setItem(row, column, item)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(self.search)
        layout.addWidget(self.table)
        layout.addWidget(buttons)

    def _filter(self, text: str) -> None:
        for row in range(self.table.rowCount()):
            cells = [self.table.item(row, column) for column in (0, 1)]
            shown = any(cell is not None and text.lower() in cell.text().lower() for cell in cells)
            self.table.setRowHidden(row, not shown)


def crash_report(error: BaseException) -> str:
    """What broke and where, without patient data.

    Holds the kinds of error in the chain, module, function and line of each frame, and versions. Leaves out
    messages, values and file paths: an error's text may quote a file name, and a file name may be a patient's.
    """
    parts: list[str] = []
    step: BaseException | None = error
    while step is not None and len(parts) < 5:
        lines = [type(step).__name__]
        for frame, line in traceback.walk_tb(step.__traceback__):
            module = Path(str(frame.f_globals.get("__name__", "?"))).name
            lines.append(f"  {module}.{frame.f_code.co_name}, line {line}")
        parts.append("\n".join(lines))
        step = step.__cause__ or (None if step.__suppress_context__ else step.__context__)
    return "\n\ncaused by\n".join(parts) + "\n\n" + _lines(versions())


class CrashDialog(QDialog):
    """Says that something unexpected happened; what is open and drawn stays."""

    def __init__(self, report: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Something went wrong")
        self.setAccessibleName("Something went wrong")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(560, 400)
        label = QLabel(
            "EchoQ met an error it did not expect. Your loops and regions are still here: save the regions, "
            "then go on. The report below holds no patient data, no file names and no messages."
        )
        label.setWordWrap(True)
        self.report = QPlainTextEdit(report)
        self.report.setReadOnly(True)
        self.report.setAccessibleName("Error report without patient data")
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        copy = buttons.addButton("Copy report", QDialogButtonBox.ButtonRole.ActionRole)
        copy.setToolTip("Copy the report to the clipboard")
        copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(report))
        layout = QVBoxLayout(self)
        layout.addWidget(label)
        layout.addWidget(self.report)
        layout.addWidget(buttons)


class _CrashHandler(QObject):
    """Carries a report from whichever thread broke to the window's thread, one dialog at a time."""

    caught = Signal(str)

    def __init__(self, parent_of: Callable[[], QWidget | None]) -> None:
        super().__init__()
        self._parent_of = parent_of
        self._open: CrashDialog | None = None
        self.caught.connect(self._show, Qt.ConnectionType.QueuedConnection)

    def excepthook(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt | SystemExit):
            sys.__excepthook__(kind, error, trace)
            return
        report = crash_report(error.with_traceback(trace))
        print(report, file=sys.stderr)  # noqa: T201 - a console, where there is one, gets the same safe report
        self.caught.emit(report)

    def thread_excepthook(self, arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_value is not None:
            self.excepthook(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)

    def _show(self, report: str) -> None:
        if self._open is not None:  # an error in a timer would else bury the screen in dialogs
            return
        self._open = CrashDialog(report, self._parent_of())
        self._open.destroyed.connect(self._closed)
        self._open.show()

    def _closed(self) -> None:
        self._open = None


def install_crash_dialog(parent_of: Callable[[], QWidget | None] = lambda: None) -> QObject:
    """Show unexpected errors of any thread in a dialog instead of ending the program.

    parent_of: gives the widget to show it over at that moment. Returns the handler; keep a reference.
    Replaces sys.excepthook and threading.excepthook.
    """
    handler = _CrashHandler(parent_of)
    sys.excepthook = handler.excepthook
    threading.excepthook = handler.thread_excepthook
    return handler
