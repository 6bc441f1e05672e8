"""What tests of the window share: no screen needed, nothing of the person's settings touched."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from hands import HEART, METHOD, destroy, open_path

from echoq_desktop.engine import Engine, EngineOptions
from echoq_desktop.main_window import MainWindow
from echoq_desktop.preferences import Preferences
from echoq_desktop.session import Session

PLUGINS = Path(__file__).parent.parent / "runtime" / "plugins"


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Settings and user data of this test alone; gives back the settings file."""
    path = tmp_path / "settings" / "echoq.ini"
    monkeypatch.setenv("ECHOQ_SETTINGS", str(path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return path


@pytest.fixture(scope="session")
def window_engine(qapp: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One worker for all tests here, with a simple denoiser of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PLUGINS))
        options = EngineOptions(
            extra_denoisers=(f"quick_denoisers:{METHOD}",), temporary=tmp_path_factory.mktemp("frames")
        )
        made = Engine(options=options)
        heard: list[object] = []
        made.methods.connect(heard.append)
        made.start()
        while not heard:
            qapp.processEvents()
        made.setProperty("known", heard[0])
        yield made
        made.close()


@pytest.fixture
def window(window_engine: Engine, qtbot: Any, own_settings: Path) -> Iterator[MainWindow]:
    """An empty window; the middle pane is the simple denoiser, BM3D is hidden since it takes its time."""
    session = Session(window_engine)
    session.set_middle(METHOD)
    session.set_shown("bm3d", False)
    made = MainWindow(session, Preferences())
    session._on_methods(window_engine.property("known"))  # the worker said it before this window was there
    made.show()
    qtbot.waitExposed(made)
    yield made
    destroy(made)


@pytest.fixture
def heart(window: MainWindow, qtbot: Any, tmp_path: Path) -> Path:
    """A copy of pydicom's cardiac loop, open and paused, without regions."""
    path = tmp_path / "heart.dcm"
    shutil.copyfile(HEART, path)
    open_path(window, qtbot, path)
    window.player.clock.pause()
    window.player.clock.seek(0)
    return path
