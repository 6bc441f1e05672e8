"""What a batch is asked for, what it tells on the way, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from echoq_models.denoise.base import Cancel, Settings
from echoq_models.errors import Cancelled, EchoQError, OutputError
from echoq_models.runtime.export import ExportOptions

State = Literal["running", "done", "failed", "skipped"]
Outcome = tuple[State, str | None, int]

SUMMARY = "echoq-summary.csv"
PAGE = "echoq-summary.html"
DONE_ALREADY = "done already, with the same settings"
EXISTS = "the output exists already and is not from a batch into this folder"


@dataclass(frozen=True)
class BatchOptions:
    """What to do with every loop of a folder.

    suffix: of each output (".mp4", ".avi", ".gif", ".npz", ".dcm"; "" for folders of PNG).
    existing: of an output that is there and that the manifest does not know: "skip" leaves it, "overwrite" replaces
    it. What the manifest knows is dealt with alike in both cases: a result of the same loop, regions, settings,
    weights and version that nobody altered is left, any other is made anew.
    alone: files, relative to the folder, that were in work when a worker process died: each is done with nothing
    else in work, and on the CPU.
    leave_out: (file, reason) of loops that are reported as failed and not opened again, such as one that brought a
    worker down twice.
    dicom_encoding: of .dcm, "rle", "raw" or "jpeg-ls".
    """

    method: str = "fast"
    settings: Settings = field(default_factory=Settings)
    suffix: str = ".mp4"
    existing: Literal["skip", "overwrite"] = "skip"
    side_by_side: tuple[str, ...] = ()
    lossless: bool = False
    alone: tuple[str, ...] = ()
    leave_out: tuple[tuple[str, str], ...] = ()
    dicom_encoding: str = "rle"

    def export(self) -> ExportOptions:
        """The options of one file."""
        return ExportOptions(
            self.method, self.settings, self.side_by_side, self.lossless, dicom_encoding=self.dicom_encoding
        )


@dataclass(frozen=True)
class BatchEvent:
    """News of one file of a batch.

    file, output: relative to the two folders.  reason: one sentence for "failed" and "skipped".
    stage: of a running file: "reading", "read", "denoising" or "writing"; up to three files are running at once.
    index, total: which file of how many, from 0.  done_frames, frames: denoised so far (0 of 0: unknown).
    share: of the whole batch's frames that are done, 0-1, estimated from bytes for files not read yet.
    seconds_left: until the whole batch is done, None while nothing is known.
    code: what the command line would return for a failure alone, else 0.
    """

    file: str
    output: str
    state: State
    reason: str | None = None
    index: int = 0
    total: int = 0
    done_frames: int = 0
    frames: int = 0
    seconds: float = 0.0
    seconds_left: float | None = None
    code: int = 0
    stage: str = ""
    share: float = 0.0


@dataclass(frozen=True)
class BatchReport:
    """How a batch ended: the last event of each file that came to an end, in order.

    stopped: the sentence that says why it could not go on (a full disk, a drive that went), None when it did; the
    rest is done by running the same batch again, as after a cancel.  stop_code: its exit code.
    notes: sentences worth knowing.
    """

    files: tuple[BatchEvent, ...]
    total: int
    cancelled: bool
    summary: Path
    page: Path
    stopped: str | None = None
    stop_code: int = 5
    notes: tuple[str, ...] = ()

    def of(self, state: State) -> tuple[BatchEvent, ...]:
        """The files that ended in `state`."""
        return tuple(event for event in self.files if event.state == state)

    @property
    def exit_code(self) -> int:
        """What the command line leaves with: as `exit_code`, or that of what stopped it."""
        if self.stopped is not None and not self.cancelled:
            return self.stop_code
        return exit_code([event.code for event in self.of("failed")], self.total, self.cancelled)


class BatchStopped(OutputError):
    """The whole batch cannot go on; it can be resumed once the cause is mended. code: the exit code."""

    def __init__(self, sentence: str, code: int = 5) -> None:
        super().__init__(sentence)
        self.code = code


def exit_code(failures: Sequence[int], total: int, cancelled: bool) -> int:
    """0 all well, 4 some failed, 130 cancelled; when all of `total` failed, what the first failure means (3 or 5)."""
    if cancelled:
        return 130
    if not failures:
        return 0
    return failures[0] if len(failures) == total else 4


def attempt(name: str, action: Callable[[], None], cancel: Cancel) -> Outcome | None:
    """Do it for the loop `name`. What became of it: state, reason, exit code; None when it was cancelled."""
    try:
        action()
        return "done", None, 0
    except Exception as error:  # one file's surprise must not cost the others
        if isinstance(error, Cancelled) or (isinstance(error, EchoQError) and cancel()):  # Ctrl-C reaches ffmpeg too
            return None
        return failure(name, error)


def failure(name: str, error: Exception) -> Outcome:
    """What an exception means for the loop `name`: "failed", one sentence, exit code."""
    if isinstance(error, EchoQError):
        return "failed", str(error), error.exit_code
    if isinstance(error, MemoryError):
        return "failed", f"{name}: this loop needs more memory than there is", 5
    if isinstance(error, OSError):
        return "failed", f"{name}: {error.strerror or error}", 5
    return "failed", f"{name}: unexpected {type(error).__name__}: {error}", 5
