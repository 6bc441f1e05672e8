"""Run the bundled ffmpeg as a separate program: no shell, no network, with a watchdog."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self

from echoq_models.errors import EchoQError

QUIET_SECONDS = 60.0  # no byte in or out for this long: the process hangs
_TAIL_LINES = 40


def executable() -> str:
    """Path of the ffmpeg binary that imageio-ffmpeg carries. Raises EchoQError when there is none."""
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise EchoQError("ffmpeg is missing: install imageio-ffmpeg, or set IMAGEIO_FFMPEG_EXE.") from error


def file_argument(path: Path) -> str:
    """A path that ffmpeg takes for a local file, whatever its name looks like."""
    return f"file:{path.absolute()}"


class Process:
    """ffmpeg with pipes; its messages are gathered, and it is killed when nothing moves for too long.

    Use as a context manager: leaving it early kills the process.
    """

    def __init__(self, arguments: list[str], *, feed: bool, quiet_seconds: float | None = None) -> None:
        command = [executable(), "-hide_banner", "-nostats", *arguments]
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if feed else subprocess.PIPE,
            stderr=subprocess.PIPE,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # Windows: no console flashes up
        )
        self._quiet = QUIET_SECONDS if quiet_seconds is None else quiet_seconds
        self._moved = threading.Event()
        self._done = threading.Event()
        self.timed_out = False
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._threads = [
            threading.Thread(target=self._gather, daemon=True),
            threading.Thread(target=self._watch, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._child.wait()
        self._done.set()
        self._moved.set()
        for thread in self._threads:
            thread.join()
        for pipe in (self._child.stdin, self._child.stdout, self._child.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def line(self, text: str) -> None:
        """Called with each line of ffmpeg's messages; subclasses may look closer."""
        self.tail.append(text)

    def _gather(self) -> None:
        assert self._child.stderr is not None
        for raw in _lines(self._child.stderr):
            self.line(raw.decode("utf-8", "replace"))

    def _watch(self) -> None:
        while not self._done.is_set():
            self._moved.clear()
            if not self._moved.wait(self._quiet) and self._child.poll() is None:
                self.timed_out = True
                self._child.kill()
                return

    def read(self, count: int) -> bytes:
        """Up to `count` bytes of output; fewer only at its end."""
        assert self._child.stdout is not None
        parts = []
        while count > 0:
            part = self._child.stdout.read1(min(count, 1 << 20))  # type: ignore[attr-defined]
            self._moved.set()
            if not part:
                break
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def read_line(self) -> bytes:
        """One line of output, at most 256 bytes; empty at its end."""
        assert self._child.stdout is not None
        line = self._child.stdout.readline(256)
        self._moved.set()
        return line

    def write(self, data: bytes | memoryview) -> bool:
        """Feed bytes; False when the process has gone."""
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(data)
        except (BrokenPipeError, OSError):
            return False
        self._moved.set()
        return True

    def kill(self) -> None:
        """End the process now; `finish` can still be called."""
        if self._child.poll() is None:
            self._child.kill()

    def finish(self) -> int:
        """Close the input, wait for the end, and return the exit code."""
        if self._child.stdin is not None:
            with contextlib.suppress(OSError):
                self._child.stdin.close()
        code = self._child.wait()  # the watchdog ends a process that hangs
        self._done.set()
        self._moved.set()
        for thread in self._threads:
            thread.join()
        return code


def _lines(pipe: IO[bytes]) -> Iterator[bytes]:
    """Lines of bounded length: a damaged file can provoke megabytes without a line end."""
    while line := pipe.readline(4096):
        yield line.rstrip(b"\r\n")
