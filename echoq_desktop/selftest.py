"""`echoq --selftest`: whether this installation does what a person's work needs, without a display.

It takes the window's own road: loops are opened, denoised, segmented and exported by the worker process through
the engine, what was exported is read again, and the worker is killed in the middle of a job. torch stays outside
this process, as in the window.
"""

from __future__ import annotations

import base64
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import echoq_models
from echoq_models import resources
from echoq_models.denoise.base import Settings
from echoq_models.denoise.registry import BUILT_IN, GROUP
from echoq_models.errors import EchoQError

if TYPE_CHECKING:
    from echoq_desktop.engine import Engine
    from echoq_desktop.engine_types import OpenedLoop

NAP_MS = 20
LOSSY_GREY_LEVELS = 3.0  # that the default MP4 may differ by, on average
# 8 x 8 pixels, 3 times their index, as JPEG lossless; EchoQ has encoders for the other two kinds, not for this one
JPEG_LOSSLESS = base64.b64decode(
    "/9j/wwALCAAIAAgBAREA/8QAJAAAAAAAEQAAAAAAAAAAAAAAAAECAwQFBgcICQoLDA0ODxD/2gAIAQEAAQAAQ/ixYsWLFiy4FixYsWLFlwLFixYs"
    "WLLgWLFixYsWXAsWLFixYsuBYsWLFixZcCxYsWLFiy4FixYsWLF//9kA"
)


@dataclass(frozen=True)
class SelftestOptions:
    """Knobs of the self-test.

    patience_s: how long one step may wait for the worker.  bm3d_frames: how many frames of BM3D are waited for
    before the worker is killed.
    """

    patience_s: float = 300.0
    bm3d_frames: int = 2


def run(say: Callable[[str], None], options: SelftestOptions | None = None) -> None:
    """Do every step in turn and `say` one line for each, with its seconds. Raises EchoQError at the first failure."""
    started = time.monotonic()
    with TemporaryDirectory(prefix="echoq-selftest-") as folder:
        for name, step in _steps(Path(folder), options or SelftestOptions()):
            began = time.monotonic()
            try:
                found = step()
            except EchoQError as error:
                raise EchoQError(f"selftest failed, {name}: {error}") from error
            except Exception as error:  # a library that is missing or broken raises whatever it likes
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                raise EchoQError(f"selftest failed, {name}: unexpected {reason}") from error
            say(f"{time.monotonic() - began:7.2f} s  {name}: {found}")
    say(f"{time.monotonic() - started:7.2f} s  all steps passed")


def _steps(folder: Path, options: SelftestOptions) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "installation", _check_installation
    yield "decoders", _check_decoders
    yield "figure", lambda: _check_figure(folder / "figure.png")
    with _Bench(folder, options) as bench:
        yield "worker", bench.start
        yield "open", bench.open
        yield "fast", bench.denoise
        yield "left ventricle", bench.segment
        yield "export", bench.export
        yield "bm3d", bench.begin_bm3d
        yield "worker killed", bench.kill


def _check_installation() -> str:
    """Versions, data, entry points and ffmpeg."""
    from echoq_models.cine import ffmpeg

    frozen = bool(getattr(sys, "frozen", False))
    points = {point.name for point in metadata.entry_points(group=GROUP)}
    if frozen and not set(BUILT_IN) <= points:
        raise EchoQError(f"the entry points {sorted(set(BUILT_IN) - points)} are missing")
    if not Path(ffmpeg.executable()).is_file():
        raise EchoQError("the bundled ffmpeg is missing")
    resources.root()
    kind = "frozen" if frozen else "not frozen"
    return f"EchoQ {echoq_models.__version__}, Python {sys.version.split()[0]}, {kind}, {len(points)} denoisers offered"


def _check_decoders() -> str:
    """One exact frame through each decoder of compressed DICOM that is no part of pydicom."""
    from echoq_models.cine import dicom_pixels
    from echoq_models.cine.isolated import IsolatedDecoder, decoder_for

    apart = 0
    for syntax, frame, codestream in _codestreams():
        rows, columns = frame.shape
        layout = dicom_pixels.PixelFormat(syntax, rows, columns, 1, "MONOCHROME2", 8, 8, False, 0)
        decoder = decoder_for(layout)
        try:
            decoded, _ = decoder.decode(codestream)
        finally:
            decoder.close()
        if not np.array_equal(decoded, frame):
            raise EchoQError(f"transfer syntax {syntax} is not decoded exactly")
        apart += isinstance(decoder, IsolatedDecoder)
    if apart != 2:
        raise EchoQError("damaged JPEG lossless and JPEG-LS would be decoded in the program's own process")
    return "JPEG lossless and JPEG-LS in a process of their own, JPEG 2000"


def _check_figure(path: Path) -> str:
    """A figure with axes and text, which needs matplotlib's data."""
    from PIL import Image

    from echoq_models.figures import sheet

    with sheet(path, 1, 1, (3.0, 2.0)) as axes:
        axes[0][0].plot([0.0, 1.0])
        axes[0][0].set_title("gCNR")
    with Image.open(path) as picture:
        if len(picture.convert("L").getcolors(256) or ()) < 2:
            raise EchoQError("it is blank")
        return f"{picture.width} x {picture.height} pixels"


def _codestreams() -> Iterator[tuple[str, NDArray[np.uint8], bytes]]:
    """(transfer syntax, frame, codestream) of small frames."""
    import jpeg_ls
    from openjpeg import utils as openjpeg

    from echoq_models.cine import dicom_pixels

    small = np.arange(0, 192, 3, dtype=np.uint8).reshape(8, 8)
    ramp = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    yield dicom_pixels.JPEG_LOSSLESS[1], small, JPEG_LOSSLESS
    yield dicom_pixels.JPEG_LS[0], ramp, bytes(jpeg_ls.encode_array(ramp))
    yield dicom_pixels.JPEG_2000[0], ramp, openjpeg.encode_array(ramp)


class _Bench:
    """An engine, what it said so far, and the sample loops on it."""

    def __init__(self, folder: Path, options: SelftestOptions) -> None:
        self._folder = folder
        self._options = options
        self._methods: dict[str, Any] = {}
        self._networks: dict[str, Any] = {}
        self._opened: dict[int, OpenedLoop] = {}
        self._segmented: dict[int, Any] = {}
        self._finished: set[int] = set()
        self._failures: list[str] = []
        self._restarts: list[str] = []
        self._ready = 0
        self._bm3d = 0

    def __enter__(self) -> _Bench:
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "_engine"):
            self._engine.close()

    def start(self) -> str:
        """Start the worker; both kinds of network must be there when their weights ship."""
        from PySide6.QtCore import QCoreApplication

        from echoq_desktop.engine import Engine, EngineOptions

        self._application = QCoreApplication.instance() or QCoreApplication(["echoq"])
        self._engine: Engine = Engine(options=EngineOptions(temporary=self._folder))
        self._listen(self._engine)
        self._engine.start()
        self._until(lambda: self._ready > 0, "the worker to be ready")
        for name, offered in (("fast", self._methods), ("lv", self._networks)):
            if resources.path("weights", f"{name}.safetensors").is_file() and offered[name]["missing"]:
                raise EchoQError(offered[name]["missing"])
        return f"ready with {', '.join(name for name, facts in self._methods.items() if not facts['missing'])}"

    def open(self) -> str:
        """Both sample loops; the phantom, which is exact and grey, is the one that the other steps use."""
        loops = [self._open(path) for path in (resources.sample()[0], resources.phantom_sample()[0])]
        self._loop = loops[-1]
        return ", ".join(
            f"{len(opened.loop)} frames of {opened.loop.size[1]} x {opened.loop.size[0]}" for opened in loops
        )

    def denoise(self) -> str:
        """Every frame by `fast`: it changes the sector and nothing else."""
        job = self._engine.denoise(self._loop.loop_id, "fast", Settings(), 0)
        self._until(lambda: job in self._finished, "denoising")
        return f"{len(self._frames('fast'))} frames, {self._difference('fast')}"

    def segment(self) -> str:
        """The left ventricle in every frame of the phantom."""
        if self._networks["lv"]["missing"]:
            return f"left out: {self._networks['lv']['missing']}"
        self._engine.segment(self._loop.loop_id)
        self._until(lambda: self._loop.loop_id in self._segmented, "the left ventricle")
        found = self._segmented[self._loop.loop_id]
        if not found.found.all():
            raise EchoQError(f"found in only {found.found.sum()} of {len(found.found)} frames of the phantom")
        return f"found in {len(found.found)} frames"

    def export(self) -> str:
        """Write the result and read it again: identical from an exact file, close from the default film."""
        from echoq_models import cine
        from echoq_models.cine.writer import SUFFIXES
        from echoq_models.runtime.jobs import ExportOptions

        sent = self._frames("fast")
        exact = [".npz", ".avi", *([".dcm"] if ".dcm" in SUFFIXES else [])]
        for suffix in [*exact, ".mp4"]:
            path = self._folder / f"export{suffix}"
            job = self._engine.export(self._loop.loop_id, path, ExportOptions("fast", lossless=suffix in exact))
            self._until(lambda job=job: job in self._finished, f"the export to {suffix}")  # type: ignore[misc]
            came = cine.read(path).frames
            if suffix in exact and not np.array_equal(came, sent):
                raise EchoQError(f"{suffix}: what is read is not what was written")
            off = float(np.abs(came.astype(np.int16) - sent).mean()) if came.shape == sent.shape else 255.0
            if off > LOSSY_GREY_LEVELS:
                raise EchoQError(f"{suffix}: what is read is far from what was written ({off:.1f} grey levels)")
        return f"{', '.join(exact)} identical when read again, .mp4 within {off:.2f} grey levels"

    def begin_bm3d(self) -> str:
        """The first frames by BM3D; its job goes on."""
        self._bm3d = self._engine.denoise(self._loop.loop_id, "bm3d", Settings(), 0)
        self._until(lambda: self._done("bm3d") >= self._options.bm3d_frames, "BM3D")
        return f"{self._done('bm3d')} frames so far, {self._difference('bm3d')}"

    def kill(self) -> str:
        """Kill the worker in the middle of that job: another goes on with it, and ends a job of its own."""
        first = self._engine.worker_pid
        assert first is not None
        os.kill(first, getattr(signal, "SIGKILL", signal.SIGTERM))
        self._until(lambda: bool(self._restarts), "the restart")
        before = self._done("bm3d")
        self._until(lambda: self._done("bm3d") > before or self._bm3d in self._finished, "BM3D to go on")
        self._engine.cancel(self._bm3d)
        job = self._engine.denoise(self._loop.loop_id, "fast", Settings(strength=0.5), 0)
        self._until(lambda: job in self._finished, "a job of the new worker")
        if self._engine.worker_pid == first:
            raise EchoQError("it was not replaced")
        return f"started again, BM3D went on from {before} to {self._done('bm3d')} frames, another job was ended"

    def _listen(self, engine: Engine) -> None:
        engine.methods.connect(self._methods.update)
        engine.segmenters.connect(self._networks.update)
        engine.opened.connect(self._opened.__setitem__)
        engine.segmented.connect(self._segmented.__setitem__)
        engine.finished.connect(lambda job, _result: self._finished.add(job))
        engine.failed.connect(lambda _job, sentence: self._failures.append(sentence))
        engine.restarted.connect(self._restarts.append)
        engine.ready.connect(self._count_ready)

    def _count_ready(self) -> None:
        self._ready += 1

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        """Run the event loop until it is so. Raises EchoQError when a job fails or patience ends."""
        from PySide6.QtCore import QEventLoop

        deadline = time.monotonic() + self._options.patience_s
        while not condition():
            self._application.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, NAP_MS)
            if self._failures:
                raise EchoQError(self._failures[0])
            if time.monotonic() > deadline:
                raise EchoQError(f"waited {self._options.patience_s:.0f} s for {what}")
            time.sleep(NAP_MS / 1000)

    def _open(self, path: Path) -> OpenedLoop:
        job = self._engine.open(path)
        self._until(lambda: job in self._opened, "a loop to open")
        return self._opened[job]

    def _frames(self, method: str) -> NDArray[np.uint8]:
        result = self._engine.result(self._loop.loop_id, method)
        assert result is not None
        return result.frames

    def _done(self, method: str) -> int:
        result = self._engine.result(self._loop.loop_id, method)
        return 0 if result is None else int(result.done.sum())

    def _difference(self, method: str) -> str:
        """How far the finished frames are from the source. Raises EchoQError unless only the sector changed."""
        result = self._engine.result(self._loop.loop_id, method)
        mask = self._loop.sector_mask
        assert result is not None and mask is not None
        change = np.abs(result.frames[result.done].astype(np.int16) - self._loop.loop.frames[result.done])
        if change[:, ~mask].any():
            raise EchoQError(f"{method} changed pixels outside the sector")
        if not change[:, mask].any():
            raise EchoQError(f"{method} changed nothing")
        return f"sector changed by {change[:, mask].mean():.1f} grey levels, the rest identical"
