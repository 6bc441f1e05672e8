"""Read films through the bundled ffmpeg: real frame times, full-range luminance, nothing guessed."""

from __future__ import annotations

import mmap
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echoq_models.cine import ffmpeg, timing
from echoq_models.cine.colour import FrameCollector
from echoq_models.cine.limits import MAX_FRAME_PIXELS, check_size
from echoq_models.cine.loop import CineLoop, ColourPixels
from echoq_models.cine.sniff import FILMS
from echoq_models.errors import InputError

U8 = NDArray[np.uint8]
Progress = Callable[[int, int], None]

_MAX_ALLOCATION = 1 << 29  # bytes ffmpeg may ask for at once
_LOSSLESS = ("ffv1", "rawvideo", "huffyuv", "ffvhuff", "utvideo", "png", "bmp", "qtrle", "msrle", "ljpeg", "magicyuv")
_NAMES = {
    "h264": "H.264",
    "hevc": "HEVC",
    "mjpeg": "MJPEG",
    "mpeg4": "MPEG-4",
    "mpeg2video": "MPEG-2",
    "mpeg1video": "MPEG-1",
    "vp8": "VP8",
    "vp9": "VP9",
    "av1": "AV1",
}
NOT_SQUARE = "Its pixels are not square; the picture is shown as stored, so shapes are stretched."
_TIME_BASE = re.compile(r"config in time_base: (\d+)/(\d+)")
_FRAME = re.compile(r"\bn: *\d+ pts: *(-?\d+|NOPTS) .*?\bsar:(\d+)/(\d+)")
# ffmpeg's threads share a line: an error that comes in the middle of showinfo's has no "[error]" of its own
_MIXED_IN = re.compile(r"\[Parsed_showinfo.*(prematurely|error|invalid|corrupt|truncated|missing)", re.I)
_MAPPED = re.compile(r"Stream #0:(\d+) -> #0:0 \((\w+)")


@dataclass
class _Facts:
    """What ffmpeg says about the film while it decodes."""

    codec: str = ""
    streams: dict[int, str] = field(default_factory=dict)
    stream: int = 0
    time_base: Fraction = Fraction(1, 1000)
    ticks: list[int | None] = field(default_factory=list)
    square: bool = True
    errors: list[str] = field(default_factory=list)

    def line(self, text: str) -> None:
        if "[error]" in text or "[fatal]" in text or _MIXED_IN.match(text):
            self.errors.append(text)
        if match := _FRAME.search(text):
            self.ticks.append(None if match[1] == "NOPTS" else int(match[1]))
            self.square &= match[2] == match[3] or "0" in (match[2], match[3])
        elif match := _TIME_BASE.search(text):
            if int(match[2]):
                self.time_base = Fraction(int(match[1]), int(match[2]))
        elif match := _MAPPED.search(text):
            self.stream, self.codec = int(match[1]), match[2]
        elif " Video: " in text and (found := re.search(r"Stream #0:(\d+)", text)):
            self.streams.setdefault(int(found[1]), text)

    def times_ms(self) -> list[float]:
        """Presentation times (ms); not a number where the film has none."""
        return [float("nan") if t is None else float(t * self.time_base * 1000) for t in self.ticks]


class _Decoder(ffmpeg.Process):
    """ffmpeg decoding one film to PAM pictures, which carry their own size."""

    def __init__(self, path: Path, demuxer: str) -> None:
        self.facts = _Facts()
        self.mapped = threading.Event()
        limits = ["-max_alloc", str(_MAX_ALLOCATION), "-threads", str(min(4, os.cpu_count() or 1))]
        limits += ["-max_pixels", str(MAX_FRAME_PIXELS), "-protocol_whitelist", "file"]
        source = ["-f", demuxer, "-i", ffmpeg.file_argument(path), "-map", "0:V:0"]
        convert = "showinfo=checksum=0,format=gray|rgb24"
        scaler = ["-sws_flags", "accurate_rnd+full_chroma_int+bicubic"]
        target = ["-fps_mode", "passthrough", *scaler, "-vf", convert, "-c:v", "pam", "-f", "image2pipe", "pipe:1"]
        super().__init__(["-loglevel", "level+info", *limits, *source, *target], feed=False)

    def line(self, text: str) -> None:
        self.facts.line(text)
        if self.facts.codec:
            self.mapped.set()

    def frames(self, path: Path) -> Iterator[U8]:
        """Frames (H, W) or (H, W, 3) until the film ends."""
        while header := self._header(path):
            height, width, depth = header
            check_size(path, height, width)
            data = self.read(height * width * depth)
            if len(data) < height * width * depth:
                return
            shape = (height, width) if depth == 1 else (height, width, depth)
            yield np.frombuffer(data, dtype=np.uint8).reshape(shape)

    def _header(self, path: Path) -> tuple[int, int, int] | None:
        """Height, width and samples of the next picture; None at the end."""
        values: dict[bytes, int] = {}
        for _ in range(16):
            line = self.read_line()
            if not line or line == b"ENDHDR\n":
                break
            key, _, number = line.strip().partition(b" ")
            if number.isdigit():
                values[key] = int(number)
        if not values:
            return None
        return values[b"HEIGHT"], values[b"WIDTH"], values[b"DEPTH"]


@dataclass(frozen=True)
class Film:
    """What could be decoded of a film.

    frames: uint8 (T, H, W), luminance; colour and tint as in CineLoop.  times_ms: presentation times, T or fewer, not
    a number where there is none.  damaged: something of it could not be decoded.  square: its pixels are.
    """

    frames: U8
    colour: ColourPixels | None
    tint: U8 | None
    times_ms: list[float]
    lossy: tuple[str, ...]
    damaged: bool
    square: bool


def decode(film: Path, demuxer: str, progress: Progress | None = None, *, source: Path, expected: int = 0) -> Film:
    """Decode a film with one of ffmpeg's demuxers.

    source: the file that the person knows, named in complaints.  expected: frames in all, 0 while unknown.
    Raises InputError when there is no frame in it.
    """
    with _Decoder(film, demuxer) as decoder, FrameCollector(source) as collector:
        for frame in decoder.frames(source):
            if len(collector) == 0:
                decoder.mapped.wait(5.0)  # ffmpeg names the codec before it gives the first frame
                collector.lossy = bool(_lossy(film, decoder.facts))
            if collector.size not in (None, frame.shape[:2]):
                decoder.kill()  # ffmpeg scales to the first frame's size; this cannot be trusted
                break
            if frame.ndim == 2:
                collector.add_grey(frame)
            else:
                collector.add_rgb(frame)
            if progress is not None:
                progress(len(collector), max(expected, len(collector)) if expected else 0)
        decoder.finish()
        facts = decoder.facts
        if len(collector) == 0:
            raise InputError(f"{source}: {_why_nothing(decoder)}")
        frames, colour, tint = collector.finish()
    damaged = bool(facts.errors or decoder.timed_out)
    times = facts.times_ms()[: len(frames)]
    return Film(frames, colour, tint, times, _lossy(film, facts), damaged, facts.square)


def read_video(path: Path, kind: str, progress: Progress | None = None) -> CineLoop:
    """Read a film of one of sniff.FILMS. Raises InputError."""
    film = decode(path, FILMS[kind], progress, source=path)
    times, assumed, warnings = timing.checked(film.times_ms, len(film.frames))
    if film.damaged or _cut_off(path, kind):
        warnings += (f"The film is damaged or cut off; {len(film.frames)} frames could be read.",)
    if not film.square:
        warnings += (NOT_SQUARE,)
    return CineLoop(
        frames=film.frames,
        times_ms=times,
        kind=kind,
        source=path,
        colour=film.colour,
        tint=film.tint,
        lossy=film.lossy,
        times_assumed=assumed,
        warnings=warnings,
    )


def _why_nothing(decoder: _Decoder) -> str:
    if decoder.timed_out:
        return "decoding the film took too long; the file is probably damaged."
    if not decoder.facts.streams:
        return "the film holds no picture that can be read; it is empty, damaged or cut off."
    return "no frame of the film can be decoded; the file is damaged, cut off, or of absurd size."


def _cut_off(path: Path, kind: str) -> bool:
    """True for an AVI that is shorter than its own header says."""
    if kind != "AVI":
        return False
    with path.open("rb") as file:
        stated = int.from_bytes(file.read(8)[4:], "little")
        return file.seek(0, 2) < stated


def _lossy(path: Path, facts: _Facts) -> tuple[str, ...]:
    if facts.codec in _LOSSLESS:
        return ()
    exact_profile = "High 4:4:4 Predictive" in facts.streams.get(facts.stream, "")
    if facts.codec == "h264" and exact_profile and _x264_exact(path):
        return ()
    return (_NAMES.get(facts.codec, facts.codec.upper() or "unknown video codec"),)


def _x264_exact(path: Path) -> bool:
    """True when x264's note of its own settings, kept in the stream, says quantiser 0 (lossless)."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = data.find(b"x264 - core")
        return at >= 0 and re.search(rb"rc=cqp .*? qp=0(\s|$|\x00)", data[at : at + 2000]) is not None
