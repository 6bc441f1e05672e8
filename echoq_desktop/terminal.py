"""What the commands share: exit codes, Ctrl-C, progress and tables on a terminal."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TextIO

import typer

from echoq_models.errors import EchoQError

CANCELLED = 130
FAILED = 5
USAGE_ERROR: Any = typer.BadParameter.__mro__[2]  # click's ClickException, wherever this typer keeps click


class Stop:
    """Turns true at the first Ctrl-C, so that a job can leave tidily; the second one interrupts at once."""

    def __init__(self) -> None:
        self._asked = False

    def __call__(self) -> bool:
        return self._asked

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take over Ctrl-C and a polite kill inside the block, unless the caller had them ignored (nohup)."""
        before = {}
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, self._heard)
        self._asked = False
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


stop = Stop()


def run(app: typer.Typer, arguments: Sequence[str] | None) -> int:
    """Run a command line and give back its exit code; whatever goes wrong is one sentence on stderr."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # a library's remark is no news for the person
    try:
        code = app(list(arguments) if arguments is not None else None, prog_name="echoq", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except EchoQError as error:
        if stop():  # what broke did so because we were told to stop
            return _cancelled()
        complain(str(error))
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return _cancelled()
    except USAGE_ERROR as error:
        error.show()
        return int(error.exit_code)
    except SystemExit as leaving:  # click leaves so when the reader of a pipe is gone
        _forget_stdout()
        return FAILED if leaving.code == 1 else int(leaving.code or 0)
    except Exception as error:
        return _cancelled() if stop() else _unexpected(error)


def _cancelled() -> int:
    complain("cancelled")
    return CANCELLED


def _unexpected(error: Exception) -> int:
    if isinstance(error, OSError) and error.errno == errno.EPIPE:
        _forget_stdout()
        return FAILED
    if isinstance(error, MemoryError):
        complain("this job needs more memory than there is")
    elif isinstance(error, OSError) and error.strerror:
        complain(f"{error.filename or 'a file'}: {error.strerror}")
    else:
        complain(f"unexpected {type(error).__name__}: {error} (set ECHOQ_TRACEBACK=1 to see where)")
    if os.environ.get("ECHOQ_TRACEBACK"):
        traceback.print_exception(error)
    return FAILED


def _forget_stdout() -> None:
    """Point stdout nowhere, so that Python does not complain about the broken pipe once more as it leaves."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(sentence: str) -> None:
    """One line on stderr."""
    with suppress(OSError):
        sys.stderr.write(f"echoq: {sentence}\n")
        sys.stderr.flush()


class ProgressLine:
    """Progress on stderr: one line that is rewritten on a terminal, a line now and then in a log."""

    def __init__(self, stream: TextIO | None = None, every_s: float = 5.0) -> None:
        """every_s: seconds between two lines where lines cannot be rewritten."""
        self._stream = stream if stream is not None else sys.stderr
        self._live = self._stream.isatty()
        self._every = 0.1 if self._live else every_s
        self._text = ""
        self._started = self._last = time.monotonic()
        self._width = 0

    def __call__(self, done: int, total: int, text: str) -> None:
        """Report `done` of `total` (0: unknown) of what `text` names."""
        now = time.monotonic()
        if text != self._text:
            self._text, self._started = text, now
        elif now - self._last < self._every and done != total:
            return
        if not self._live and now - self._last < self._every:
            return
        self._last = now
        line = f"{text} {done}/{total}" if total else text
        if total and 0 < done < total:
            line += f", {duration((now - self._started) / done * (total - done))} left"
        self.show(line)

    def show(self, line: str) -> None:
        """Show one line now."""
        with suppress(OSError):
            if self._live:
                self._stream.write("\r" + line.ljust(self._width))
                self._width = len(line)
            else:
                self._stream.write(line + "\n")
            self._stream.flush()

    def clear(self) -> None:
        """Take the rewritten line away."""
        if self._live and self._width:
            with suppress(OSError):
                self._stream.write("\r" + " " * self._width + "\r")
                self._stream.flush()
            self._width = 0


@contextmanager
def progress_line() -> Iterator[ProgressLine]:
    """A progress line that is gone when the block ends, however it ends."""
    line = ProgressLine()
    try:
        yield line
    finally:
        line.clear()


def duration(seconds: float) -> str:
    """Seconds for people: "4 s", "2 min 5 s", "1 h 3 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as aligned columns, the first column to the left and the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    out = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        out.append("  ".join(cells).rstrip())
    return "\n".join(out)
