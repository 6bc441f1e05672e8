"""The files that are being read: asked for, on the way, failed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

if TYPE_CHECKING:
    from echoq_desktop.engine import Engine


class Opening(QObject):
    """Asks the worker to read files and keeps which of them are on the way; what was read goes to the session."""

    changed = Signal()  # a file starts or stops being read
    progress = Signal(str, int, int)  # file name, done, total
    failed = Signal(object, str)  # Path, one sentence

    def __init__(self, engine: Engine, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._engine = engine
        self.files: dict[int, Path] = {}  # job -> file being read
        engine.opened.connect(self._on_opened)
        engine.cancelled.connect(self._drop)
        engine.failed.connect(self._on_failed)
        engine.progress.connect(self._on_progress)

    def read(self, path: Path) -> int:
        """Start reading a file or a folder of stills, once; returns the job."""
        for job, waiting in self.files.items():
            if waiting == path:
                return job
        job = self._engine.open(path)
        self.files[job] = path
        self.changed.emit()
        return job

    def cancel(self) -> None:
        """Stop reading the files that are not open yet; each is gone from `files` once the worker let go."""
        for job in list(self.files):
            self._engine.cancel(job)

    def _on_opened(self, job: int, _opened: object) -> None:
        self._drop(job)

    def _drop(self, job: int) -> None:
        if self.files.pop(job, None) is not None:
            self.changed.emit()

    def _on_failed(self, job: int, sentence: str) -> None:
        path = self.files.get(job)
        if path is not None:
            self._drop(job)
            self.failed.emit(path, sentence)

    def _on_progress(self, job: int, done: int, total: int, _text: str) -> None:
        if job in self.files:
            self.progress.emit(self.files[job].name, done, total)
