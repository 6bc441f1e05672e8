"""How fast figures follow the hand: from a mouse move on a handle to the painted gCNR, and the whole loop after it.

Run: python -m tests.benchmarks.bench_quality [--moves 150]. Needs no display (QT_QPA_PLATFORM=offscreen is set when
there is none). The window is whole, 1600 x 900, with three panes of a synthetic loop of 100 frames of 600 x 800 whose
regions differ in every frame. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import QEvent, QObject, QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from echoq_models.regions import Contour, FrameRegions, Regions
from tests.benchmarks.bench_player import offscreen_without_display, wait, write_loop

FRAMES = 100
AIM_MS, AIM_LOOP_S = 33.0, 1.0
LONGEST_S = 10.0
LEFT = Qt.MouseButton.LeftButton


def heart(t: int) -> FrameRegions:
    """A ventricle that beats, and a wall on either side."""
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    size = 1.0 - 0.12 * np.sin(np.pi * t / 25) ** 2
    ring = np.stack([np.cos(angle) * 70 * size, np.sin(angle) * 120 * size], axis=1)
    walls = [Contour(ring * np.array([0.25, 0.9]) + np.array([x, 260.0]), smooth=True) for x in (290, 510)]
    return FrameRegions((Contour(ring + np.array([400.0, 260.0]), smooth=True),), tuple(walls))


class Painted(QObject):
    """Notices when a widget is painted."""

    def __init__(self, widget: Any) -> None:
        super().__init__(widget)
        self.times = 0
        widget.installEventFilter(self)

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
        self.times += event.type() == QEvent.Type.Paint
        return False


def drag(app: Any, window: Any, moves: int) -> list[float]:
    """Milliseconds from each mouse move on a handle of the LV until its histogram and gCNR are painted."""
    window.session.tool = "edit"
    pane, strip = window.panes.shown[0], window.quality.strips["original"]
    start = window.session.regions.at(0).lv[0].points[3]
    painted = Painted(strip)
    spent = []
    QTest.mousePress(pane, LEFT, pos=pane.source_point(*start).toPoint())
    for number in range(moves):
        shift = 12.0 * np.sin(number), 12.0 * np.cos(number)
        where: QPoint = pane.source_point(start[0] + shift[0], start[1] + shift[1]).toPoint()
        shown, seen = strip.lv, painted.times
        began = time.perf_counter()
        QTest.mouseMove(pane, where)
        while painted.times == seen or strip.lv is shown:
            app.processEvents()
            if time.perf_counter() - began > LONGEST_S:
                raise TimeoutError("the figures do not follow the hand")
        spent.append((time.perf_counter() - began) * 1000.0)
        quiet = time.perf_counter() + 0.01  # a hand does not move faster than the screen
        wait(app, lambda until=quiet: time.perf_counter() > until)
    QTest.mouseRelease(pane, LEFT, pos=where)
    return spent


def complete(window: Any) -> bool:
    """Whether every pane has its whole curve and its median."""
    numbers = window.quality.numbers
    series = [numbers.series(pane) for pane in numbers.panes]
    return all(each is not None and each.fresh.all() and each.median is not None for each in series)


def whole_loop(app: Any, window: Any) -> float:
    """Seconds from a change of every frame's regions until all curves and medians are there anew."""
    session = window.session
    changed = {t: FrameRegions(shown.lv, shown.myocardium[:1]) for t, shown in session.regions.frames.items()}
    began = time.perf_counter()
    session.set_regions(Regions(frames=changed), "all frames change")
    wait(app, lambda: complete(window))
    return time.perf_counter() - began


def measure(path: Path, moves: int) -> dict[str, Any]:
    """Open, drag, let go, wait for the curve."""
    from echoq_desktop import theme
    from echoq_desktop.engine import Engine, EngineOptions
    from echoq_desktop.main_window import MainWindow
    from echoq_desktop.preferences import Preferences
    from echoq_desktop.session import Session

    app = QApplication.instance() or QApplication([])
    theme.apply(app)  # type: ignore[arg-type]
    denoisers = tuple(f"tests.benchmarks.bench_player:{name}" for name in ("half", "third"))
    engine = Engine(options=EngineOptions(extra_denoisers=denoisers))
    session = Session(engine)
    session.panes = ["original", "half", "third"]
    session.set_middle("half")
    window = MainWindow(session, Preferences(path.with_suffix(".ini")))
    window.player.autoplay = False
    window.resize(1600, 900)
    window.show()
    engine.start()
    wait(app, lambda: bool(session.methods))
    session.open_path(path)
    wait(app, lambda: session.current is not None)
    session.set_regions(Regions(frames={t: heart(t) for t in range(FRAMES)}), "regions")
    wait(app, lambda: complete(window))
    drag(app, window, 5)  # caches warm up
    wait(app, lambda: complete(window))
    spent = drag(app, window, moves)
    result = {
        "loop": f"{FRAMES} frames of 800 x 600, three panes, whole window",
        "drag_to_painted_ms": {
            "median": round(float(np.median(spent)), 1),
            "95th percentile": round(float(np.quantile(spent, 0.95)), 1),
            "aim": AIM_MS,
        },
        "whole_loop_s": {"measured": round(whole_loop(app, window), 2), "aim": AIM_LOOP_S},
    }
    session.undo_stack.setClean()
    window.close()
    engine.close()
    return result


def main() -> None:
    """Measure, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moves", type=int, default=150)
    moves = parser.parse_args().moves
    offscreen_without_display()
    with tempfile.TemporaryDirectory() as folder:
        json.dump(measure(write_loop(Path(folder) / "bench.npz", FRAMES), moves), sys.stdout)
    print()


if __name__ == "__main__":
    main()
