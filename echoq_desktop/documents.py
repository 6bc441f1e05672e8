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
REGION_SUFFIX = ".json"


class Documents(QObject):
    """What the File menu does."""

    _found = Signal(object, object)  # folder, list[Path] or a sentence

    def __init__(self, session: Session, preferences: Preferences, window: QWidget) -> None:
        super().__init__(window)
        self._session, self._preferences, self._window = session, preferences, window
        self._complaint: QMessageBox | None = None
        self._found.connect(self._open_found)
        session.opening.failed.connect(lambda _path, sentence: self.complain(sentence))

    # opening

    def open(self, paths: Iterable[Path]) -> None:
        """Open files and folders; a region file is loaded into the loop shown."""
        for path in paths:
            if path.is_dir():
                self._open_folder(path)
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

    def _open_folder(self, folder: Path) -> None:
        """Look through a folder beside the window's own thread: it may be large or on a network."""
        self._preferences.add_recent(folder)
        self._session.message.emit(f"Looking through {folder.name}…")
        threading.Thread(target=self._search, args=(folder,), name="open folder", daemon=True).start()

    def _search(self, folder: Path) -> None:
        from echoq_models.runtime.batch import find_loops, holds_only_stills

        try:
            found: object = [folder] if holds_only_stills(folder) else find_loops(folder)
        except (OSError, EchoQError) as error:
            found = f"{folder.name}: the folder cannot be read ({error})."
        self._found.emit(folder, found)

    def _open_found(self, folder: Path, found: list[Path] | str) -> None:
        if isinstance(found, str):
            self.complain(found)
        elif not found:
            self.complain(f"{folder.name}: there is no loop in this folder; EchoQ reads DICOM, video and stills.")
        elif len(found) <= MANY or self._agreed(folder, len(found)):
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
