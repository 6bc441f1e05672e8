"""A folder of loops denoised one by one: a bad file is reported and the rest goes on."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from echoq_models.denoise.base import Cancel, Settings, never
from echoq_models.errors import Cancelled, EchoQError, InputError, OutputError
from echoq_models.files import write_csv
from echoq_models.runtime.export import ExportOptions, Progress, check_methods, check_picture, denoise_file, panes_of

State = Literal["running", "done", "failed", "skipped"]
Outcome = tuple[State, str | None, int]

SUMMARY = "echoq-summary.csv"
STILLS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")  # how PNG and JPEG begin
LOOP_SUFFIXES = frozenset(
    f".{each}"
    for each in ("dcm", "dicom", "ima", "avi", "mp4", "m4v", "mov", "mkv", "webm", "gif", "npz", "png", "jpg", "jpeg")
)
# Files that lie beside loops and are none. Everything else is tried, so that a damaged loop is reported.
_OTHER = """json csv tsv txt md rst pdf xml html htm log toml yaml yml ini cfg doc docx xls xlsx ppt pptx
zip gz tar 7z py ipynb m r h5 pt pkl safetensors part tmp lnk exe dll"""
OTHER_SUFFIXES = frozenset(f".{each}" for each in _OTHER.split())
TRUTH = ".truth.npz"  # beside a phantom's loop: what is known of it
OTHER_NAMES = frozenset({"thumbs.db", "desktop.ini", "dicomdir"})


@dataclass(frozen=True)
class BatchOptions:
    """What to do with every loop of a folder.

    suffix: of each output (".mp4", ".avi", ".gif", ".npz"; "" for folders of PNG).
    existing: "skip" leaves an output that is there, "overwrite" replaces it.
    leave_out: (file relative to the folder, reason) of loops that are reported as failed and not opened again,
    such as one that brought a worker process down.
    """

    method: str = "fast"
    settings: Settings = field(default_factory=Settings)
    suffix: str = ".mp4"
    existing: Literal["skip", "overwrite"] = "skip"
    side_by_side: tuple[str, ...] = ()
    lossless: bool = False
    leave_out: tuple[tuple[str, str], ...] = ()

    def export(self) -> ExportOptions:
        """The options of one file."""
        return ExportOptions(self.method, self.settings, self.side_by_side, self.lossless)


@dataclass(frozen=True)
class BatchEvent:
    """News of one file of a batch.

    file, output: relative to the two folders.  reason: one sentence for "failed" and "skipped".
    index, total: which file of how many, from 0.  done_frames, frames: progress inside the file (0 of 0: unknown).
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


@dataclass(frozen=True)
class BatchReport:
    """How a batch ended: the last event of each file that was tried, in order."""

    files: tuple[BatchEvent, ...]
    total: int
    cancelled: bool
    summary: Path

    def of(self, state: State) -> tuple[BatchEvent, ...]:
        """The files that ended in `state`."""
        return tuple(event for event in self.files if event.state == state)

    @property
    def exit_code(self) -> int:
        """What the command line leaves with, see `exit_code`."""
        return exit_code([event.code for event in self.of("failed")], self.total, self.cancelled)


def exit_code(failures: Sequence[int], total: int, cancelled: bool) -> int:
    """0 all well, 4 some failed, 130 cancelled; when all of `total` failed, what the first failure means (3 or 5)."""
    if cancelled:
        return 130
    if not failures:
        return 0
    return failures[0] if len(failures) == total else 4


def find_loops(folder: Path, leave_out: Path | None = None) -> list[Path]:
    """Loops under `folder`, sorted: files, and folders that hold nothing but stills (each is one loop).

    leave_out: a folder whose content is not looked at (the output, where it lies inside the input).
    Content decides where the suffix is silent; notes, tables and archives are passed over. Raises InputError.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: this is not a folder")
    found: list[Path] = []
    for name, folders, files in os.walk(folder):
        here = Path(name)
        folders[:] = sorted(
            each
            for each in folders
            if not each.startswith(".") and not (leave_out and (here / each).resolve() == leave_out.resolve())
        )
        candidates = [here / each for each in sorted(files) if _may_be_loop(here / each)]
        if here != folder and candidates and all(_is_still(each) for each in candidates):
            found.append(here)
        else:
            found.extend(candidates)
    return sorted(found)


def holds_only_stills(folder: Path) -> bool:
    """True for a folder whose every loop file is a still: it is one loop, not a batch."""
    candidates = [each for each in folder.iterdir() if each.is_file() and _may_be_loop(each)]
    inside = any(each.is_dir() and not each.name.startswith(".") for each in folder.iterdir())
    return bool(candidates) and not inside and all(_is_still(each) for each in candidates)


def _may_be_loop(path: Path) -> bool:
    suffix = path.suffix.lower()
    name = path.name.lower()
    if name.startswith(".") or name.endswith(TRUTH) or name in OTHER_NAMES or suffix in OTHER_SUFFIXES:
        return False
    return suffix in LOOP_SUFFIXES or not _is_text(path)


def _is_text(path: Path) -> bool:
    """Whether a file without a telling suffix is a note (README, LICENSE) and not a DICOM file without suffix."""
    try:
        with path.open("rb") as file:
            head = file.read(512)
        return bool(head) and b"\0" not in head and bool(head.decode("utf-8", errors="ignore").strip())
    except OSError:
        return False


def _is_still(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(8).startswith(STILLS)
    except OSError:
        return False


def plan(folder: Path, output: Path, suffix: str) -> list[tuple[Path, Path]]:
    """(source, target) of each loop. The folder's structure is kept; two loops never share a target."""
    sources = find_loops(folder, leave_out=output)
    plain = [output / _bare(source.relative_to(folder), suffix) for source in sources]
    crowd = Counter(str(target).lower() for target in plain)  # file systems may ignore case
    return [
        (source, target if crowd[str(target).lower()] == 1 else output / _full(source.relative_to(folder), suffix))
        for source, target in zip(sources, plain, strict=True)
    ]


def _bare(relative: Path, suffix: str) -> Path:
    """a/b.dcm -> a/b.mp4, but a/1.2.840.113 -> a/1.2.840.113.mp4: only a loop's suffix is one."""
    name = relative.stem if relative.suffix.lower() in LOOP_SUFFIXES else relative.name
    return relative.with_name(name + suffix)


def _full(relative: Path, suffix: str) -> Path:
    return relative.with_name(relative.name + suffix)


def batch(
    folder: Path,
    output: Path,
    options: BatchOptions,
    progress: Callable[[BatchEvent], None] = lambda event: None,
    cancel: Cancel = never,
) -> BatchReport:
    """Denoise every loop under `folder` into `output` and write a summary table beside the results.

    Only whole files appear in `output`. A file that fails is reported with its reason and the rest goes on.
    Raises InputError (no folder, no loop in it), WeightsError and OutputError only before any work.
    """
    jobs = plan(folder, output, options.suffix)
    if not jobs:
        raise InputError(f"{folder}: there is no loop in this folder")
    check_methods(panes_of(options.export()))
    check_picture(Path(f"x{options.suffix}"), options.export())
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{output}: the folder cannot be made ({error.strerror})") from error
    runner = _Runner(folder, output, options, progress, cancel, jobs)
    ended = runner.run()
    summary = output / SUMMARY
    _write_summary(summary, ended)
    return BatchReport(tuple(ended), len(jobs), runner.cancelled, summary)


class _Runner:
    """One pass over the files, with the clock for the time left."""

    def __init__(
        self,
        folder: Path,
        output: Path,
        options: BatchOptions,
        progress: Callable[[BatchEvent], None],
        cancel: Cancel,
        jobs: list[tuple[Path, Path]],
    ) -> None:
        self.cancelled = False
        self._folder, self._output, self._options = folder, output, options
        self._progress, self._cancel, self._jobs = progress, cancel, jobs
        self._worked_seconds = 0.0
        self._worked_files = 0

    def run(self) -> list[BatchEvent]:
        ended: list[BatchEvent] = []
        for index, (source, target) in enumerate(self._jobs):
            if self._cancel():
                self.cancelled = True
                break
            event = self._one(index, source, target)
            if event is None:
                self.cancelled = True
                break
            ended.append(event)
            self._progress(event)
        return ended

    def _one(self, index: int, source: Path, target: Path) -> BatchEvent | None:
        """The last event of one file, None when it was cancelled."""
        started = time.monotonic()

        def event(state: State, reason: str | None = None, done: int = 0, frames: int = 0, code: int = 0) -> BatchEvent:
            seconds = time.monotonic() - started
            running = state == "running"
            share = done / frames if running and frames else 0.0
            return BatchEvent(
                source.relative_to(self._folder).as_posix(),
                target.relative_to(self._output).as_posix(),
                state,
                reason,
                index,
                len(self._jobs),
                done,
                frames,
                round(seconds, 3),
                self._left(index if running else index + 1, share, seconds),
                code,
            )

        if (reason := dict(self._options.leave_out).get(source.relative_to(self._folder).as_posix())) is not None:
            return event("failed", reason, code=5)
        if self._options.existing == "skip" and target.exists():
            return event("skipped", "the output exists already")
        self._progress(event("running"))
        frames = 0

        def inside(done: int, total: int, text: str) -> None:
            nonlocal frames
            if text.startswith("writing"):
                frames = total
                self._progress(event("running", None, done, total))

        outcome = attempt(source.name, lambda: self._denoise(source, target, inside), self._cancel)
        if outcome is None:
            return None
        self._worked_seconds += time.monotonic() - started
        self._worked_files += 1
        state, reason, code = outcome
        return event(state, reason, frames if state == "done" else 0, frames, code)

    def _denoise(self, source: Path, target: Path, progress: Progress) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        denoise_file(source, target, self._options.export(), progress, self._cancel)

    def _left(self, ended: int, share: float, seconds: float) -> float | None:
        """Seconds until all is done, from the files worked on and `share` of the present one; None before that."""
        units = self._worked_files + share
        spent = self._worked_seconds + (seconds if share else 0.0)
        if units <= 0:
            return None
        return round(spent / units * max(0.0, len(self._jobs) - ended - share), 1)


def attempt(name: str, action: Callable[[], None], cancel: Cancel) -> Outcome | None:
    """Do it for the loop `name`. What became of it: state, reason, exit code; None when it was cancelled."""
    try:
        action()
        return "done", None, 0
    except Cancelled:
        return None
    except EchoQError as error:
        if cancel():  # Ctrl-C reaches ffmpeg too
            return None
        return "failed", str(error), error.exit_code
    except MemoryError:
        return "failed", f"{name}: this loop needs more memory than there is", 5
    except OSError as error:
        return "failed", f"{name}: {error.strerror or error}", 5
    except Exception as error:  # one file's surprise must not cost the others
        return "failed", f"{name}: unexpected {type(error).__name__}: {error}", 5


def _write_summary(path: Path, ended: list[BatchEvent]) -> None:
    """One line for each file: what became of it and why. Raises OutputError."""
    rows = [
        [e.file, e.state, e.output if e.state != "failed" else "", e.frames, e.seconds, e.reason or ""] for e in ended
    ]
    write_csv(path, [["file", "state", "output", "frames", "seconds", "reason"], *rows])
