"""Opening, saving and leaving: the questions asked around files, and what is told when one cannot be read."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QMimeData, QObject, Qt, Signal
from PySide6.QtWidgets import QFileDialog, QMenu, QMessageBox, QWidget

from echoq_desktop.export import progress
from echoq_desktop.loop_state import phantom_path, region_path, sample_path
from echoq_models.errors import EchoQError, InputError

if TYPE_CHECKING:
    from PySide6.QtGui import QAction

    from echoq_desktop.engine import OpenedLoop
    from echoq_desktop.preferences import Preferences
    from echoq_desktop.session import Session

MANY = 24  # a folder of more loops than this is opened only after a question
MOST_COMPLAINTS = 8  # of files that a DICOMDIR lists and that are not there
DICOMDIR = "DICOMDIR"
REGION_SUFFIX = ".json"


class Documents(QObject):
    """What the File menu does."""

    _found = Signal(object, object, object)  # folder or DICOMDIR, list[Path] or a sentence, list[str] to tell

    def __init__(self, session: Session, preferences: Preferences, window: QWidget) -> None:
        super().__init__(window)
        self._session, self._preferences, self._window = session, preferences, window
        self._complaint: QMessageBox | None = None
        self._found.connect(self._open_found)
        session.opening.failed.connect(lambda _path, sentence: self.complain(sentence))

    # opening

    def open(self, paths: Iterable[Path]) -> None:
        """Open files, folders and what a DICOMDIR lists; a region file is loaded into the loop shown."""
        for path in paths:
            if path.is_dir() or path.name.upper() == DICOMDIR:
                self._open_several(path)
            elif path.suffix.lower() == REGION_SUFFIX:
                self._load_regions(path)
            else:
                self._preferences.add_recent(path)
                self._session.open_path(path)

    def open_sample(self) -> None:
        """Open the loop that comes with EchoQ."""
        self._session.open_path(sample_path())

    def open_phantom(self) -> None:
        """Open the simulated loop that comes with EchoQ."""
        self._session.open_path(phantom_path())

    def ask_open(self) -> None:
        """Ask for files and open them. All files are offered: DICOM files often have no suffix."""
        names, _ = QFileDialog.getOpenFileNames(self._window, "Open loops", self._start(), "Echo loops (*)")
        self.open(Path(name) for name in names)

    def ask_folder(self) -> None:
        """Ask for a folder and open it."""
        name = QFileDialog.getExistingDirectory(self._window, "Open a folder of loops or stills", self._start())
        if name:
            self.open([Path(name)])

    def dropped(self, data: QMimeData) -> list[Path]:
        """The local files and folders of a drag."""
        return [Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile()]

    def fill_recent(self, menu: QMenu, clear: QAction) -> None:
        """The loops opened lately, those that are still there."""
        menu.clear()
        paths = [path for path in self._preferences.recent() if path.exists()]
        for path in paths:
            entry = menu.addAction(path.name.replace("&", "&&"))
            entry.setToolTip(str(path))
            entry.triggered.connect(lambda _=False, chosen=path: self.open([chosen]))
        if not paths:
            menu.addAction("Nothing opened yet").setEnabled(False)
        menu.addSeparator()
        menu.addAction(clear)

    def _open_several(self, place: Path) -> None:
        """Look through a folder or a DICOMDIR beside the window's own thread: it may be large or on a network."""
        self._preferences.add_recent(place)
        self._session.message.emit(f"Looking through {place.name}…")
        threading.Thread(target=self._search, args=(place,), name="open folder", daemon=True).start()

    def _search(self, place: Path) -> None:
        from echoq_models.cine.dicom_study import read_study
        from echoq_models.runtime.batch import find_loops, holds_only_stills

        found: object
        left_out: list[str] = []
        try:
            if place.is_dir():
                found = [place] if holds_only_stills(place) else find_loops(place)
            else:
                study = read_study(place)
                found, left_out = list(study.loops), study.complaints()
        except EchoQError as error:
            found = str(error)
        except OSError as error:
            found = f"{place.name}: the folder cannot be read ({error})."
        self._found.emit(place, found, left_out)

    def _open_found(self, place: Path, found: list[Path] | str, left_out: list[str]) -> None:
        for sentence in left_out[:MOST_COMPLAINTS]:
            self.complain(sentence)
        if isinstance(found, str):
            self._session.opening.failed.emit(place, found)
        elif not found:
            nothing = f"{place.name}: there is no loop in it; EchoQ reads DICOM, video and stills."
            self._session.opening.failed.emit(place, nothing)
        elif len(found) <= MANY or self._agreed(place, len(found)):
            for path in found:
                self._session.open_path(path)

    def _agreed(self, folder: Path, count: int) -> bool:
        text = f"{folder.name} holds {count} loops. Open them all? Batch export denoises a folder without opening it."
        answer = QMessageBox.question(self._window, "Open folder", text)
        return answer == QMessageBox.StandardButton.Yes

    def _start(self) -> str:
        recent = self._preferences.recent()
        return str(recent[0].parent) if recent else ""

    # regions

    def ask_load_regions(self) -> None:
        """Ask for a region file and load it into the loop shown."""
        name, _ = QFileDialog.getOpenFileName(
            self._window, "Load regions", self._start(), "Regions (*.json);;All files (*)"
        )
        if name:
            self._load_regions(Path(name))

    def ask_save_regions(self) -> None:
        """Ask where to save the regions of the loop shown."""
        opened = self._session.current
        if opened is None:
            return
        start = str(region_path(opened.path))
        name, _ = QFileDialog.getSaveFileName(self._window, "Save regions", start, "Regions (*.json)")
        if name:
            self.save_regions(opened.loop_id, Path(name))

    def save_regions(self, loop_id: int | None = None, path: Path | None = None) -> bool:
        """Save a loop's regions; False, and a word about why, when that fails."""
        try:
            self._session.save_regions(loop_id, path)
        except EchoQError as error:
            self.complain(str(error))
            return False
        return True

    def _load_regions(self, path: Path) -> None:
        try:
            self._session.load_regions(path)
        except InputError as error:
            self.complain(str(error))

    # leaving

    def close_loop(self, loop_id: int) -> None:
        """Close a loop; asks first when its regions are not saved."""
        opened = next((one for one in self._session.unsaved() if one.loop_id == loop_id), None)
        if opened is None or self.may_lose([opened]):
            self._session.close_loop(loop_id)

    def may_leave(self) -> bool:
        """Whether the window may close: nothing is exported, nothing unsaved, or the person does not mind."""
        running = progress.running()
        if running:
            text = "\n".join(running) + "\n\nLeaving stops this; unfinished files are removed."
            answer = QMessageBox.question(self._window, "Still exporting", text + "\nLeave now?")
            if answer != QMessageBox.StandardButton.Yes:
                return False
        unsaved = self._session.unsaved()
        return not unsaved or self.may_lose(unsaved)

    def may_lose(self, loops: list[OpenedLoop]) -> bool:
        """Ask to save the regions of `loops`; False when the person wants to stay."""
        names = "\n".join(opened.path.name for opened in loops)
        box = QMessageBox(QMessageBox.Icon.Question, "Regions are not saved", f"{names}\n\nSave the regions?")
        button = QMessageBox.StandardButton
        box.setStandardButtons(button.Save | button.Discard | button.Cancel)
        box.setDefaultButton(button.Save)
        answer = box.exec()
        if answer == button.Save:
            return all(self.save_regions(opened.loop_id) for opened in loops)
        return bool(answer == button.Discard)

    # telling

    def complain(self, sentence: str) -> None:
        """Tell what went wrong, without stopping anything; several complaints share one box."""
        self._session.message.emit(sentence)
        if self._complaint is not None:
            lines = self._complaint.text().split("\n\n")
            if sentence not in lines:
                self._complaint.setText("\n\n".join([*lines, sentence][-8:]))
            return
        box = QMessageBox(QMessageBox.Icon.Warning, "EchoQ", sentence, parent=self._window)
        box.setTextFormat(Qt.TextFormat.PlainText)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.setModal(False)
        box.finished.connect(self._complaint_read)
        self._complaint = box
        box.show()

    def _complaint_read(self) -> None:
        self._complaint = None
