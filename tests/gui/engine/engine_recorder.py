"""An engine with a memory, for its tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from echoq_desktop.engine import Engine, OpenedLoop

PLUGINS = Path(__file__).parent.parent.parent / "runtime" / "plugins"
SIGNALS = (
    *("ready", "methods", "opened", "frames_ready", "prepared", "progress"),
    *("file_event", "finished", "failed", "cancelled", "restarted", "segmenters", "segmented"),
)
EXTRA = tuple(
    f"quick_denoisers:{name}"
    for name in ("darken", "slow", "no_gpu", "deadly", "stubborn", "refusing", "broken", "missing")
)


class Recorder:
    """An engine and all it said, in order."""

    def __init__(self, qtbot: Any, engine: Engine) -> None:
        self.qtbot = qtbot
        self.engine = engine
        self.heard: list[tuple[Any, ...]] = []
        self.lines = [
            (name, getattr(engine, name).connect(lambda *content, name=name: self.heard.append((name, *content))))
            for name in SIGNALS
        ]

    def hang_up(self) -> None:
        """Hear nothing more."""
        for name, line in self.lines:
            getattr(self.engine, name).disconnect(line)

    def all(self, name: str, job: int | None = None) -> list[tuple[Any, ...]]:
        """What came by one signal, of one job."""
        return [item[1:] for item in self.heard if item[0] == name and (job is None or item[1] == job)]

    def until(self, condition: Callable[[], object], timeout_s: float = 60) -> None:
        """Run the event loop until it is so."""
        self.qtbot.waitUntil(lambda: bool(condition()), timeout=int(timeout_s * 1000))

    def end(self, job: int, timeout_s: float = 60) -> tuple[Any, ...]:
        """Wait for the end of a job: ("finished", result), ("failed", sentence) or ("cancelled",)."""

        def ends() -> list[tuple[Any, ...]]:
            return [item for item in self.heard if item[0] in ("finished", "failed", "cancelled") and item[1] == job]

        self.until(ends, timeout_s)
        assert len(ends()) == 1
        return (ends()[0][0], *ends()[0][2:])

    def open(self, path: Path) -> OpenedLoop:
        """Open a file and wait for it."""
        job = self.engine.open(path)
        self.until(lambda: self.all("opened", job) or self.all("failed", job))
        assert self.all("opened", job), self.all("failed", job)
        opened: OpenedLoop = self.all("opened", job)[0][1]
        return opened

    def frames_in_order(self, loop_id: int, method: str) -> list[int]:
        """Frames of a result in the order they were announced."""
        return [index for _, name, part in self.all("frames_ready", loop_id) if name == method for index in part]

    def kill(self) -> None:
        """End the worker the hard way."""
        assert self.engine.worker_pid is not None
        os.kill(self.engine.worker_pid, signal.SIGKILL)

    def freeze(self) -> None:
        """Stop the worker where it is, as a native call that holds everything would."""
        pid = self.engine.worker_pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        self.until(lambda: all("State:\tT" in each.read_text() for each in Path(f"/proc/{pid}/task").glob("*/status")))


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def npz(path: Path, frames: int, value: int = 100, size: tuple[int, int] = (64, 80)) -> Path:
    """A loop whose frame t is `value` + t everywhere."""
    pixels = np.full((frames, *size), value, dtype=np.uint8) + np.arange(frames, dtype=np.uint8)[:, None, None]
    np.savez(path, frames=pixels, times_ms=np.arange(frames) * 40.0)
    return path
