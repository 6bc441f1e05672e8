"""What tests of the window share: no screen needed, nothing of the person's settings touched."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from hands import HEART, METHOD, Network, destroy, open_path

from echoq_desktop.collector import Collector
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


@pytest.fixture(scope="package", autouse=True)
def collector(qapp: Any) -> Iterator[Collector]:
    """Garbage of one test must not be collected in the threads of the next."""
    made = Collector()
    yield made
    made.stop()


def _engine(qapp: Any, folder: Path, *methods: str) -> Iterator[Engine]:
    """A worker with simple denoisers of the tests; the property "known" keeps what it said it can run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PLUGINS))
        extra = tuple(f"quick_denoisers:{name}" for name in methods)
        made = Engine(options=EngineOptions(extra_denoisers=extra, temporary=folder))
        heard: list[object] = []
        made.methods.connect(heard.append)
        made.start()
        until = time.monotonic() + 60
        while not heard and time.monotonic() < until:
            qapp.processEvents()
            time.sleep(0.01)
        made.setProperty("known", heard[0])
        yield made
        made.close()


@pytest.fixture(scope="session")
def window_engine(qapp: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One worker for all tests of the window."""
    yield from _engine(qapp, tmp_path_factory.mktemp("frames"), METHOD)


@pytest.fixture(scope="module")
def engine(qapp: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One worker for the tests of a module of docks or dialogs."""
    yield from _engine(qapp, tmp_path_factory.mktemp("frames"), "darken", "slow", "refusing")


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


@pytest.fixture
def network(window: MainWindow, heart: Path, monkeypatch: pytest.MonkeyPatch) -> Network:
    """The heart loop is open; a network that knows a ventricle in each frame stands ready."""
    return Network(window, monkeypatch)
