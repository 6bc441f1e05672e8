"""Engines with quick denoisers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_recorder import EXTRA, PLUGINS, Recorder, is_alive
from pydicom import examples

from echoq_desktop.engine import Engine, EngineOptions

Start = Callable[..., Recorder]


@pytest.fixture(scope="module")
def shared_engine(qapp: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One engine for the tests in which nothing dies; loading torch for each would take a minute."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PLUGINS))
        temporary = tmp_path_factory.mktemp("temporary")
        engine = Engine(options=EngineOptions(extra_denoisers=EXTRA, temporary=temporary))
        engine.start()
        yield engine
        pid = engine.worker_pid
        engine.close()
        assert pid is not None and not is_alive(pid)
        assert list(temporary.iterdir()) == []


@pytest.fixture
def heard(qtbot: Any, shared_engine: Engine) -> Iterator[Recorder]:
    """The shared engine and what it says during one test."""
    recorder = Recorder(qtbot, shared_engine)
    yield recorder
    recorder.hang_up()
    for loop_id in list(shared_engine._loops):
        shared_engine.close_loop(loop_id)
    assert not recorder.all("restarted")


@pytest.fixture
def start(qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts engines with the quick denoisers; at the end no process and no file of theirs is left."""
    monkeypatch.syspath_prepend(str(PLUGINS))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    started: list[Recorder] = []

    def begin(**options: Any) -> Recorder:
        engine = Engine(options=EngineOptions(extra_denoisers=EXTRA, temporary=temporary, **options))
        recorder = Recorder(qtbot, engine)
        started.append(recorder)
        engine.start()
        return recorder

    yield begin
    for recorder in started:
        pid = recorder.engine.worker_pid
        recorder.engine.close()
        assert pid is None or not is_alive(pid)
    assert list(temporary.iterdir()) == []


@pytest.fixture
def heart() -> Path:
    """The cardiac loop that pydicom ships: 30 frames of 320 x 240."""
    return Path(examples.get_path("ybr_color"))
