"""What tests of the window share: no screen needed, nothing of the person's settings touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Settings and user data of this test alone; gives back the settings file."""
    path = tmp_path / "settings" / "echoq.ini"
    monkeypatch.setenv("ECHOQ_SETTINGS", str(path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return path
