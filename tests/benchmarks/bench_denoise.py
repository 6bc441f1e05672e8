"""`make bench`: reading a long DICOM loop, and the time from the command to the window and to the first denoised frame.

What the methods themselves take is measured by bench_networks.py.
"""

from __future__ import annotations

import io
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from echoq_models import resources
from echoq_models.runtime import device
from tests.shared import ROOT, fan_frames

Row = tuple[str, str]


@dataclass(frozen=True)
class Bench:
    """What is measured: a loop of so many frames (height, width)."""

    long_frames: int = 300
    long_size: tuple[int, int] = (768, 1024)


def long_loop(path: Path, bench: Bench) -> None:
    """A DICOM loop of many YBR_FULL_422 JPEG frames, each of its own."""
    import pydicom
    from pydicom.encaps import encapsulate

    height, width = bench.long_size
    base = fan_frames(4, height, width)
    frames = []
    for t in range(bench.long_frames):
        grey = np.roll(base[t % 4], t, axis=0)
        content = io.BytesIO()
        Image.fromarray(np.repeat(grey[..., None], 3, axis=2)).save(content, "JPEG", quality=80, subsampling=1)
        frames.append(content.getvalue())
    dataset = pydicom.dcmread(resources.sample()[0])
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = height, width, bench.long_frames
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)


READ = """
import sys, time, psutil, threading
from pathlib import Path
from echoq_models import cine
process, peak, stop = psutil.Process(), 0, False
def watch():
    global peak
    while not stop:
        peak = max(peak, process.memory_info().rss)
        time.sleep(0.01)
thread = threading.Thread(target=watch); thread.start()
started = time.perf_counter()
loop = cine.read(Path(sys.argv[1]))
seconds = time.perf_counter() - started
stop = True; thread.join()
print(len(loop), seconds, peak / 2**20)
"""


def reading(bench: Bench) -> list[Row]:
    """Seconds and peak memory of reading the long loop in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.dcm"
        long_loop(path, bench)
        out = subprocess.run(
            [sys.executable, "-c", READ, path], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split()
    height, width = bench.long_size
    what = f"read {out[0]} JPEG frames of {height} x {width}"
    return [(what, f"{float(out[1]):.1f} s, peak {float(out[2]):.0f} MiB")]


# The real command with two stopwatches: at the window's first paint and at the first denoised frame.
WINDOW = """
import sys, time
started = float(sys.argv[1])
seen = set()
def mark(what):
    if what not in seen:
        seen.add(what)
        print(what, time.time() - started, flush=True)
if __name__ == "__main__":
    from echoq_desktop import app, cli
    class Window(app.MainWindow):
        def paintEvent(self, event):
            super().paintEvent(event)
            mark("window")
    class Engine(app.Engine):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.opened.connect(lambda *_: mark("opened"))
            self.frames_ready.connect(lambda loop, method, frames: mark(method))
    app.MainWindow, app.Engine = Window, Engine
    sys.exit(cli.main(["open", sys.argv[2], "--snapshot", sys.argv[3]]))
"""


def window() -> list[Row]:
    """Seconds from the command to the first paint, the loop, and each method's first frame."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "timed.py"
        script.write_text(WINDOW, encoding="utf-8")
        environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "PYTHONPATH": str(ROOT)}
        ended = subprocess.run(
            [sys.executable, script, str(time.time()), resources.sample()[0], Path(folder) / "window.png"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    if ended.returncode != 0:
        return [("window", f"failed: {ended.stderr.strip().splitlines()[-1:]}")]
    names = {"window": "command to first window", "opened": "command to the loop"}
    marks = [line.split() for line in ended.stdout.splitlines()]
    return [(names.get(what, f"command to first {what} frame"), f"{float(took):.2f} s") for what, took in marks]


def main() -> None:
    bench = Bench()
    print(f"{platform.system()} {platform.machine()}, {device.cpu_count()} CPUs, Python {platform.python_version()}")
    for rows in (window(), reading(bench)):
        for what, value in rows:
            print(f"{what:44} {value}", flush=True)


if __name__ == "__main__":
    main()
