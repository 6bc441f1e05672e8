"""What the window remembers between runs, in one readable ini file: layout, recent files, keys, looks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import platformdirs
from PySide6.QtCore import QByteArray, QSettings

RECENT = 12


def settings_path() -> Path:
    """Where preferences are kept: ECHOQ_SETTINGS, else the system's folder for settings."""
    chosen = os.environ.get("ECHOQ_SETTINGS")
    return Path(chosen) if chosen else Path(platformdirs.user_config_dir("echoq", appauthor=False)) / "echoq.ini"


class Preferences:
    """A thin face over the ini file; a damaged value reads as its default."""

    def __init__(self, path: Path | None = None) -> None:
        self._store = QSettings(str(path or settings_path()), QSettings.Format.IniFormat)

    def sync(self) -> None:
        """Write to the disk now."""
        self._store.sync()

    # layout

    def layout(self) -> tuple[QByteArray | None, QByteArray | None]:
        """Geometry and state of the main window as they were left, or None."""
        geometry, state = self._store.value("window/geometry"), self._store.value("window/state")
        return (
            geometry if isinstance(geometry, QByteArray) else None,
            state if isinstance(state, QByteArray) else None,
        )

    def set_layout(self, geometry: QByteArray, state: QByteArray) -> None:
        """Remember the main window's geometry and docks."""
        self._store.setValue("window/geometry", geometry)
        self._store.setValue("window/state", state)

    # recent loops

    def recent(self) -> list[Path]:
        """Paths opened lately, newest first."""
        stored = self._store.value("recent/paths", [])
        texts = stored if isinstance(stored, list) else [stored]
        return [Path(text) for text in texts if isinstance(text, str) and text]

    def add_recent(self, path: Path) -> None:
        """Put a path on top of the recent ones."""
        absolute = Path(path).absolute()
        paths = [absolute, *(other for other in self.recent() if other != absolute)]
        self._store.setValue("recent/paths", [str(one) for one in paths[:RECENT]])

    def clear_recent(self) -> None:
        """Forget all recent paths."""
        self._store.remove("recent/paths")

    # keys

    def keys(self, action: str, default: str) -> str:
        """Keys of an action, several separated by ", "; as the person rebound them or as shipped."""
        found = self._store.value(f"keys/{action}", default)
        return ", ".join(found) if isinstance(found, list) else str(found)

    def set_keys(self, action: str, keys: str | None) -> None:
        """Rebind an action; None puts the shipped keys back."""
        if keys is None:
            self._store.remove(f"keys/{action}")
        else:
            self._store.setValue(f"keys/{action}", keys)

    # looks

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """A stored number, inside its limits."""
        try:
            return min(max(float(self._store.value(name, default)), low), high)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return default

    def text(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        """A stored choice, the default when it is not allowed."""
        found = self._store.value(name, default)
        return found if isinstance(found, str) and found in allowed else default

    def free_text(self, name: str, default: str) -> str:
        """A stored text, the default when there is none."""
        found = self._store.value(name, default)
        return found if isinstance(found, str) and found else default

    def store(self, name: str, value: Any) -> None:
        """Remember a number or a text."""
        self._store.setValue(name, value)
