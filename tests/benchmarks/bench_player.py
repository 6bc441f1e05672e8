"""Three-pane playback of a 600 x 800 loop at its true rate: how late frames are, and what one costs.

Run: python tests/benchmarks/bench_player.py [--seconds 10]. Needs no display (QT_QPA_PLATFORM=offscreen is set when
there is none). The loop is synthetic; the two denoised panes come from the real worker by denoisers that are quick,
so that showing is measured and not denoising. Prints one JSON object: once while the worker fills the panes, once
when they are full.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echoq_models.cine.loop import CineLoop
from echoq_models.denoise.base import Cancel, Prepared, Settings, never

LV = np.array([[360.0, 200], [440, 200], [440, 330], [360, 330]])
MYOCARDIUM = np.array([[290.0, 200], [340, 200], [340, 330], [290, 330]])
SIZE, FRAMES, RATE = (600, 800), 90, 50.0


class Dim:
    """Divides the brightness: a real denoiser as far as the worker is concerned, only a quick one."""

    def __init__(self, name: str, divisor: int) -> None:
        self.name = self.title = name
        self._divisor = divisor

    def available(self) -> str | None:
        """It always can."""
        return None

    def prepare(self, loop: CineLoop, settings: Settings) -> Prepared:
        """Nothing to fix."""
        return Prepared(self.name, settings)

    def run(
        self, loop: CineLoop, prepared: Prepared, indices: Iterable[int], cancel: Cancel = never
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """One frame a batch."""
        for index in indices:
            if cancel():
                return
            yield index, loop.frames[index] // self._divisor


half, third = Dim("half", 2), Dim("third", 3)


def offscreen_without_display() -> None:
    """Let Qt draw into memory where there is no screen."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")


def write_loop(path: Path, count: int = FRAMES) -> Path:
    """Speckle in a fan, 600 x 800, 50 frames per second: faster than echo usually is."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    fan = (np.abs(np.arctan2(x - SIZE[1] / 2, y + 20.0)) < 0.7) & (np.hypot(x - SIZE[1] / 2, y) < 590)
    frames = np.stack([np.where(fan, rng.integers(0, 200, SIZE), 0).astype(np.uint8) for _ in range(count)])
    np.savez(path, frames=frames, times_ms=np.arange(count) * 1000.0 / RATE)
    return path


def main() -> None:
    """Play, measure, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    seconds = parser.parse_args().seconds
    offscreen_without_display()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(write_loop(Path(folder) / "bench.npz"), seconds)))


def measure(path: Path, seconds: float) -> dict[str, Any]:
    """Open, play and measure."""
    from PySide6.QtWidgets import QApplication

    from echoq_desktop import theme
    from echoq_desktop.engine import Engine, EngineOptions
    from echoq_desktop.main_window import MainWindow
    from echoq_desktop.preferences import Preferences
    from echoq_desktop.session import Session
    from echoq_models.regions import Regions

    app = QApplication([])
    theme.apply(app)
    engine = Engine(options=EngineOptions(extra_denoisers=("bench_player:half", "bench_player:third")))
    session = Session(engine)
    session.panes = ["original", "half", "third"]
    session.set_middle("half")
    window = MainWindow(session, Preferences(path.with_suffix(".ini")))
    window.resize(1600, 900)
    window.show()
    player, area = window.player, window.panes
    engine.start()
    wait(app, lambda: bool(session.methods))
    session.open_path(path)
    wait(app, lambda: session.current is not None)
    session.set_regions(Regions(lv=(LV,), myocardium=(MYOCARDIUM,)), "regions")  # the quality dock measures too
    filling = play(player.clock, seconds)
    wait(app, lambda: all((found := session.result(name)) and found.done.all() for name in ("half", "third")))
    full = play(player.clock, seconds)
    result = {
        "loop": f"{SIZE[1]} x {SIZE[0]}, {RATE:g} fps, three panes, whole window, gCNR live",
        "seconds": seconds,
        "while_filling": filling,
        "full": full,
        "frame_cost_ms": frame_cost(session, area),
    }
    session.undo_stack.setClean()
    window.close()
    engine.close()
    return result


def wait(app: Any, condition: Callable[[], bool], seconds: float = 120.0) -> None:
    """Let the event loop run until something is true."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            sys.exit("the worker did not get ready in time")
        app.processEvents()
        time.sleep(0.002)


def play(clock: Any, seconds: float) -> dict[str, float]:
    """Playback under the real event loop; what the clock measured."""
    from PySide6.QtCore import QEventLoop, QTimer

    clock.pause()
    clock.play()
    loop = QEventLoop()
    before = time.process_time()
    QTimer.singleShot(round(seconds * 1000), loop.quit)
    loop.exec()
    clock.pause()
    stats = clock.stats
    return {
        "ticks": stats.ticks,
        "share_later_than_10_ms": round(stats.late_share, 4),
        "skipped": stats.skipped,
        "worst_ms": round(stats.worst_ms, 1),
        "cpu_ms_per_tick": round((time.process_time() - before) / max(stats.ticks, 1) * 1000.0, 1),
    }


def frame_cost(session: Any, area: Any, rounds: int = 60) -> float:
    """Mean milliseconds to make and paint one frame in all three panes."""
    spent = 0.0
    for number in range(rounds):
        session.set_frame((number * 7 + 1) % FRAMES)
        start = time.perf_counter()
        for pane in area.shown:
            pane.repaint()
        spent += time.perf_counter() - start
    return round(spent / rounds * 1000.0, 2)


if __name__ == "__main__":
    main()
