"""Licences in About, the program's icon, and files that macOS asks for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QPushButton

from echoq_desktop import help as helping
from echoq_desktop import icons
from echoq_models import resources
from tests.shared import ROOT

ASKED = """
from PySide6.QtCore import QCoreApplication
from PySide6.QtGui import QFileOpenEvent
from echoq_desktop.app import Application
app = Application(["echoq"])
app.file_asked.connect(print)
QCoreApplication.sendEvent(app, QFileOpenEvent("/loops/a heart.dcm"))
"""


def test_about_leads_to_the_notices(qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(helping.LicencesDialog, "exec", lambda self: shown.append(self.text.toPlainText()))
    about = helping.AboutDialog()
    qtbot.addWidget(about)
    (button,) = [each for each in about.findChildren(QPushButton) if each.text() == "Licences"]
    button.click()
    assert "What EchoQ runs with" in shown[0]


def test_an_installed_program_shows_the_texts_it_carries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "resources" / "licences").mkdir(parents=True)
    (tmp_path / "resources" / "licences" / "THIRD-PARTY.txt").write_text("the text of a licence", encoding="utf-8")
    monkeypatch.setattr(sys, "_MEIPASS", str(tmp_path), raising=False)
    assert resources.root() == tmp_path / "resources"
    assert helping.licence_texts().endswith("the text of a licence")


def test_the_icon_is_drawn_at_every_size(qapp: Any) -> None:
    icon = icons.app_icon()
    for size in (16, 32, 48, 64, 128, 256):
        picture = icon.pixmap(size, size).toImage()
        assert picture.width() == size
        assert picture.pixelColor(0, 0).alpha() == 0
        fan = picture.pixelColor(size // 4, size * 5 // 8)
        assert fan.blue() > fan.red() + 40


def test_a_file_that_macos_asks_for_is_heard(echoq_environment: dict[str, str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ASKED],
        cwd=ROOT,
        env={**echoq_environment, "QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout.strip()) == (0, "/loops/a heart.dcm"), ended.stderr
