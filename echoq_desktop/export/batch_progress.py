"""A running batch as a bar: the file in work, the whole, the time left; it can rest and go on, and be cancelled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from PySide6.QtWidgets import QPushButton, QWidget

from echoq_desktop.export.progress import JobProgress

if TYPE_CHECKING:
    from echoq_desktop.engine import Engine

STEPS = 10_000


class BatchProgress(JobProgress):
    """The bar of a batch. paused: whether a person let it rest."""

    def __init__(self, engine: Engine, job: int, title: str, parent: QWidget | None = None) -> None:
        super().__init__(engine, job, title, parent)
        self.paused = False
        self.pause_button = QPushButton("&Pause")
        self.pause_button.setAccessibleName(f"Pause {title}")
        self.pause_button.setToolTip("Let the batch rest where it is; the window has the computer for itself")
        self.pause_button.setStyleSheet("padding: 0 10px;")
        self.pause_button.clicked.connect(self.toggle)
        for button in (self.pause_button, self.cancel_button):
            button.setAutoDefault(False)
        layout = self.layout()
        assert layout is not None
        layout.removeWidget(self.cancel_button)
        layout.addWidget(self.pause_button)
        layout.addWidget(self.cancel_button)
        self.cancel_button.setToolTip("Stop; what is done stays, and the same batch goes on from there")

    def toggle(self) -> None:
        """Rest, or go on."""
        if self.state != "running":
            return
        self.paused = not self.paused
        self.engine.pause(self.job, self.paused)
        self.pause_button.setText("&Resume" if self.paused else "&Pause")
        self.pause_button.setAccessibleName(f"{'Resume' if self.paused else 'Pause'} {self.title}")
        self.time.setText("paused" if self.paused else "")

    def cancel(self) -> None:
        """Stop; a batch at rest too."""
        self.pause_button.setEnabled(False)
        super().cancel()

    def show_news(self, news: Mapping[str, Any]) -> None:
        """Show the news of a file (`BatchEvent` as a dict)."""
        if self.state != "running" or not self.cancel_button.isEnabled():
            return
        self.show_share(round(STEPS * news.get("share", 0.0)), STEPS, news.get("seconds_left"))
        if self.paused:
            self.time.setText("paused")
        if news.get("stage") == "denoising":
            frame = f"frame {news['done_frames']} of {news['frames']}"
            self.label.set_text(f"{news['index'] + 1} of {news['total']}: {news['file']}, {frame}")
