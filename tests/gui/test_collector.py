"""Garbage is collected in the window's thread, whichever thread makes it."""

from __future__ import annotations

import gc
import threading
from typing import Any

from echoq_desktop.collector import Collector

ENDED_IN: list[int] = []


class Circle:
    """Refers to itself and notes in which thread it ends."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        ENDED_IN.append(threading.get_ident())


def litter() -> None:
    for _ in range(3000):
        Circle()


def test_another_thread_s_rubbish_is_collected_here(qtbot: Any) -> None:
    collector = Collector()
    try:
        ENDED_IN.clear()
        thread = threading.Thread(target=litter)
        thread.start()
        thread.join()
        assert not ENDED_IN
        qtbot.waitUntil(lambda: len(ENDED_IN) >= 3000, timeout=5000)
        assert set(ENDED_IN) == {threading.get_ident()}
    finally:
        collector.stop()
    assert gc.isenabled()
