"""Films through the bundled ffmpeg: a default that plays everywhere, and exact ones to measure."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from echoq_models.cine import ffmpeg
from echoq_models.errors import OutputError

if TYPE_CHECKING:
    from echoq_models.cine.writer import WriteOptions

U8 = NDArray[np.uint8]

_TICKS = 90_000  # per second, MP4's usual clock
_STEADY_MS = 0.05  # frame times within this of a constant rate are that rate
_LONG_FILTER = 8000  # characters; longer filters go through a file, command lines are short on Windows
_STILL_FPS = 10.0
_PATIENCE = 300.0  # seconds without progress; an encoder may think long over its last frames


class VideoSink:
    """One video file. Frame times are kept to a tick in MP4 and MOV, to 1 ms in MKV; AVI has the mean rate."""

    def __init__(self, path: Path, size: tuple[int, int], times_ms: NDArray[np.float64], options: WriteOptions) -> None:
        self._path, self._size, self._times, self._options = path, size, times_ms, options
        self._process: ffmpeg.Process | None = None
        self._script: Path | None = None
        self._colour = False

    def add(self, frame: U8) -> None:
        """The first frame decides whether the film is grey (H, W) or colour (H, W, 3)."""
        if self._process is None:
            self._colour = frame.ndim == 3
            self._process = ffmpeg.Process(self._arguments(), feed=True, quiet_seconds=_PATIENCE)
        if frame.ndim == 3 and not self._colour:
            raise ValueError("a colour frame follows grey ones; give RGB from the first frame on")
        if frame.ndim == 2 and self._colour:
            frame = np.repeat(frame[..., None], 3, axis=2)
        if not self._process.write(np.ascontiguousarray(frame).data):
            raise OutputError(self._complaint())

    def finish(self) -> None:
        """Close the film. Raises OutputError when ffmpeg did not succeed."""
        if self._process is None:
            raise OutputError("a film needs at least one frame.")
        code = self._process.finish()
        failed = code != 0 or self._process.timed_out
        complaint = self._complaint()
        self.abort()
        if failed:
            raise OutputError(complaint)

    def abort(self) -> None:
        """Kill ffmpeg when it still runs."""
        if self._process is not None:
            self._process.__exit__()
            self._process = None
        if self._script is not None:
            self._script.unlink(missing_ok=True)
            self._script = None

    def _complaint(self) -> str:
        assert self._process is not None
        if self._process.timed_out:
            return "the video encoder stopped answering; try another format."
        # ffmpeg names the cause first and its consequences after
        cause = next((line for line in self._process.tail if line.strip()), "no reason given")
        cause = cause.rpartition("] ")[2].replace(str(self._path), "the file")
        return f"the video encoder failed ({cause.strip().rstrip('.')}); is the disk full?"

    def _arguments(self) -> list[str]:
        height, width = self._size
        rate, steady = self._rate()
        arguments = ["-loglevel", "error", "-y", "-f", "rawvideo"]
        arguments += ["-pix_fmt", "rgb24" if self._colour else "gray", "-video_size", f"{width}x{height}"]
        arguments += ["-framerate", f"{rate.numerator}/{rate.denominator}", "-i", "pipe:0"]
        filters = self._timing(steady) + self._codec_filters()
        arguments += self._filter_arguments(",".join(filters))
        arguments += self._codec()
        if not steady:
            arguments += ["-fps_mode", "passthrough", "-enc_time_base", f"1:{_TICKS}"]
            if self._container in (".mp4", ".mov"):
                arguments += ["-video_track_timescale", str(_TICKS)]
        exact = self._options.lossless
        comment = " - ".join(t for t in (self._options.comment, self._options.caption if exact else "") if t)
        for key, text in (("title", self._options.title), ("comment", comment)):
            if text:
                arguments += ["-metadata", f"{key}={text}"]
        return [*arguments, ffmpeg.file_argument(self._path)]

    @property
    def _container(self) -> str:
        return self._path.suffix.lower()

    def _rate(self) -> tuple[Fraction, bool]:
        """Mean frame rate, and whether it says all about the frame times."""
        count = len(self._times)
        if count < 2:
            return Fraction(_STILL_FPS), True
        step = float(self._times[-1] - self._times[0]) / (count - 1)
        if step <= 0:
            raise OutputError("the frame times do not increase; a film cannot be written.")
        rate = Fraction(1000.0 / step).limit_denominator(30_000)
        steady = bool(np.abs(self._times - np.arange(count) * step).max() < _STEADY_MS)
        return rate, steady or self._container == ".avi"

    def _timing(self, steady: bool) -> list[str]:
        """Filters that give every frame its own time: a balanced tree of comparisons of the frame number."""
        if steady:
            return []
        ticks = np.rint(self._times * _TICKS / 1000.0).astype(np.int64)
        ticks = np.maximum.accumulate(ticks + np.arange(len(ticks))) - np.arange(len(ticks))
        return [f"settb=1/{_TICKS}", f"setpts='{_tree(ticks.tolist(), 0, len(ticks))}'"]

    def _codec_filters(self) -> list[str]:
        if self._options.lossless or self._container == ".avi":
            return []
        return [
            "pad=ceil(iw/2)*2:ceil(ih/2)*2",  # H.264's 4:2:0 needs even sides; never scale
            "scale=out_range=tv:out_color_matrix=bt709:flags=accurate_rnd+full_chroma_int",
        ]

    def _filter_arguments(self, graph: str) -> list[str]:
        if not graph:
            return []
        if len(graph) <= _LONG_FILTER:
            return ["-filter:v", graph]
        self._script = self._path.with_suffix(".filter")
        self._script.write_text(graph)
        return ["-/filter:v", str(self._script)]

    def _codec(self) -> list[str]:
        options = self._options
        if options.lossless and self._container in (".avi", ".mkv"):
            return ["-c:v", "ffv1", "-level", "3", "-pix_fmt", "bgr0" if self._colour else "gray"]
        if options.lossless and self._colour:
            return ["-c:v", "libx264rgb", "-crf", "0", "-preset", options.preset, "-pix_fmt", "rgb24"]
        if options.lossless:
            grey = ["-pix_fmt", "gray", "-color_range", "pc"]
            return ["-c:v", "libx264", "-crf", "0", "-preset", options.preset, *grey]
        if self._container == ".avi":
            return ["-c:v", "mjpeg", "-q:v", str(options.quality), "-pix_fmt", "yuvj420p"]
        colours = ["-color_range", "tv", "-colorspace", "bt709"]
        colours += ["-color_primaries", "bt709", "-color_trc", "bt709"]
        quality = ["-crf", str(options.crf), "-preset", options.preset, "-profile:v", "high", "-g", "30"]
        fast = ["-movflags", "+faststart"] if self._container != ".mkv" else []
        return ["-c:v", "libx264", "-pix_fmt", "yuv420p", *quality, *colours, *fast]


def _tree(ticks: list[int], low: int, high: int) -> str:
    """ffmpeg expression that gives ticks[N] for low <= N < high."""
    if high - low == 1:
        return str(ticks[low])
    middle = (low + high) // 2
    return f"if(lt(N,{middle}),{_tree(ticks, low, middle)},{_tree(ticks, middle, high)})"
