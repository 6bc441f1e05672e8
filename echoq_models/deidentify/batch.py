"""Loops of a file, a folder tree or a DICOMDIR, de-identified one by one under one key, and what is told of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import echoq_models
from echoq_models.deidentify.files import Cancel, Cleaned, LeftOut, Options, Progress, clean_file, facts, pixel_facts
from echoq_models.deidentify.profile import EDITION
from echoq_models.deidentify.pseudonyms import Pseudonyms
from echoq_models.errors import EchoQError, InputError, OutputError
from echoq_models.files import replacing, write_csv

REPORT, SUMMARY = "deidentified.json", "deidentified.csv"
State = Literal["done", "left out", "failed"]


@dataclass(frozen=True)
class Entry:
    """What became of one input, the `number`th from 1 in order of path.

    source, sentence: for the person at this computer, never for a report that goes out.  reason: for both.
    facts: as `files.facts`.
    """

    number: int
    source: Path
    state: State
    output: Path | None = None
    patient: str = ""
    reason: str = ""
    sentence: str = ""
    code: int = 0
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """How a batch ended: an entry for each input that was tried, and the files that tell of it.

    complaints: one sentence for each file that a DICOMDIR lists and that is not there.
    """

    entries: tuple[Entry, ...]
    total: int
    cancelled: bool
    files: tuple[Path, ...]
    complaints: tuple[str, ...] = ()

    def of(self, state: State) -> tuple[Entry, ...]:
        """The entries that ended in `state`."""
        return tuple(entry for entry in self.entries if entry.state == state)

    @property
    def exit_code(self) -> int:
        """What the command line leaves with: 4 when anything was left out or missing."""
        from echoq_models.runtime.batch_types import exit_code

        failures = [entry.code for entry in self.entries if entry.code]
        return exit_code(failures, self.total, self.cancelled) or (4 if self.complaints else 0)


def sources_of(source: Path, output: Path) -> tuple[list[Path], list[str]]:
    """The inputs: a file, a folder of stills (one loop), the loops under a folder, or the images of a DICOMDIR.

    And a sentence for each that a DICOMDIR lists and that is not there. Raises InputError when there is none.
    """
    from echoq_models.cine.dicom_study import is_dicomdir, read_study
    from echoq_models.runtime.batch_plan import find_loops, holds_only_stills

    if not source.exists():
        raise InputError(f"{source}: there is no such file or folder")
    if source.is_file():
        if not is_dicomdir(source):
            return [source], []
        study = read_study(source)
        found, complaints = list(study.loops), study.complaints()
    else:
        found, complaints = [source] if holds_only_stills(source) else find_loops(source, leave_out=output), []
    if not found:
        raise InputError(f"{source}: there is no loop in it")
    return found, complaints


def deidentify(
    source: Path,
    output: Path,
    options: Options,
    names: Pseudonyms,
    progress: Callable[[int, int, str], None],
    cancel: Cancel,
    on_end: Callable[[Entry, int], None] = lambda entry, total: None,
    map_file: Path | None = None,
) -> Report:
    """De-identify `source` into the folder `output`, or for a single loop into the file `output` that has a suffix.

    Outputs are named by pseudonyms: a folder for each patient, files by 16 letters that are the same under the same
    key. A bad file is told of and the rest goes on; whole files only. The report (JSON) and summary (CSV) beside them
    name no input; map_file: CSV of input and output, for the person alone. on_end: called after each input with the
    number of all.
    Raises InputError for no loop, OutputError when `output` or a report cannot be written.
    """
    found, complaints = sources_of(source, output)
    single = bool(output.suffix) and not output.is_dir()
    _check_output(source, output, found, single)
    if not single:
        _make(output)
    batch = _Batch(output, single, options, names, progress, cancel)
    entries: list[Entry] = []
    for number, each in enumerate(found, start=1):
        entry = None if cancel() else batch.one(number, each, len(found))
        if entry is None:
            break
        entries.append(entry)
        on_end(entry, len(found))
    files = _write_reports(output, single, options, entries)
    if map_file is not None:
        write_map(map_file, entries)
    return Report(tuple(entries), len(found), len(entries) < len(found), files, tuple(complaints))


def _check_output(source: Path, output: Path, found: list[Path], single: bool) -> None:
    if single and (len(found) > 1 or source.is_dir()):
        raise OutputError(f"{output}: there are several loops; name a folder")
    if output.resolve() == source.resolve():
        raise OutputError(f"{output}: this is the input itself; choose another output")
    if single and not output.parent.is_dir():
        raise OutputError(f"{output}: the folder {output.parent} does not exist")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: the folder cannot be made ({error.strerror or error})") from error


class _Batch:
    """One pass over the inputs."""

    def __init__(
        self, output: Path, single: bool, options: Options, names: Pseudonyms, progress: Progress, cancel: Cancel
    ) -> None:
        self._output, self._single, self._options, self._names = output, single, options, names
        self._progress, self._cancel = progress, cancel
        self._taken: set[Path] = set()

    def one(self, number: int, source: Path, total: int) -> Entry | None:
        """De-identify one input; None when that was cancelled."""
        head = f"[{number}/{total}] " if total > 1 else ""

        def inside(done: int, all_: int, text: str) -> None:
            self._progress(done, all_, f"{head}{source.name}: {text}")

        try:
            done = clean_file(source, self._place, self._names, self._options, inside, self._cancel)
        except Exception as error:  # one file's surprise must not cost the others
            if isinstance(error, EchoQError) and self._cancel():
                return None
            return _failure(number, source, error)
        return _success(number, source, done)

    def _place(self, patient: str, name: str, suffix: str) -> Path:
        """Where a file goes; the same object a second time gets a number."""
        if self._single:
            if (suffix == ".dcm") != (self._output.suffix.lower() == ".dcm"):
                kind = "DICOM file, so name it .dcm" if suffix == ".dcm" else "plain loop, so it cannot be .dcm"
                raise OutputError(f"{self._output}: this is a {kind}")
            return self._output
        target = self._output / patient / f"{name}{suffix}"
        again = 1
        while target in self._taken:
            again += 1
            target = target.with_name(f"{name}-{again}{suffix}")
        self._taken.add(target)
        return target


def _success(number: int, source: Path, done: Cleaned) -> Entry:
    from echoq_models.deidentify.files import reason_of

    reason = "" if done.judgement.clean else reason_of(done.judgement)
    sentence = f"{source}: its pixels may still show a name: {reason}" if reason else ""
    return Entry(number, source, "done", done.output, done.patient, reason, sentence, 0, facts(done))


def _failure(number: int, source: Path, error: Exception) -> Entry:
    """What an error means. The reason is one of few, as an error's own text may quote the path or the header."""
    if isinstance(error, LeftOut):
        reason = str(error).removeprefix(f"{source}: left out: ")
        return Entry(number, source, "left out", None, "", reason, str(error), 4, pixel_facts(error.judgement))
    if isinstance(error, EchoQError):
        reason = "the input cannot be read" if isinstance(error, InputError) else "the output cannot be written"
        return Entry(number, source, "failed", None, "", reason, str(error), error.exit_code)
    what = "it needs more memory than there is" if isinstance(error, MemoryError) else f"({type(error).__name__})"
    return Entry(
        number, source, "failed", None, "", "it cannot be de-identified", f"{source}: cannot be de-identified {what}", 5
    )


def _write_reports(output: Path, single: bool, options: Options, entries: list[Entry]) -> tuple[Path, ...]:
    """The report, and for a folder the summary. Raises OutputError."""
    folder = output.parent if single else output
    told = [
        {
            "number": entry.number,
            "output": None if entry.output is None else entry.output.relative_to(folder).as_posix(),
            "state": entry.state,
            "reason": entry.reason or None,
            **entry.facts,
        }
        for entry in entries
    ]
    whole = {
        "program": f"EchoQ {echoq_models.__version__}",
        "profile": f"DICOM PS3.15 basic profile, table E.1-1 of {EDITION}, and nothing kept that a loop does not need",
        "options": asdict(options),
        "files": told,
    }
    report = output.with_name(f"{output.stem}.{REPORT}") if single else output / REPORT
    try:
        with replacing(report) as new:
            new.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{report}: the report cannot be written ({error.strerror or error})") from error
    if single:
        return (report,)
    write_csv(output / SUMMARY, list(_rows(told, entries)))
    return report, output / SUMMARY


def _rows(told: list[dict[str, Any]], entries: list[Entry]) -> Iterator[list[Any]]:
    yield ["number", "state", "patient", "output", "burned in", "attributes removed", "private removed", "reason"]
    for row, entry in zip(told, entries, strict=True):
        counts = [len(row.get("removed", ())), row.get("private_removed", 0)]
        burned = row.get("burned_in_annotation")
        yield [entry.number, entry.state, entry.patient, row["output"], burned, *counts, entry.reason]


def write_report(cleaned: Cleaned, options: Options) -> Path:
    """The report on one file that was written, beside it. Raises OutputError."""
    return _write_reports(cleaned.output, True, options, [_success(1, cleaned.output, cleaned)])[0]


def write_map(path: Path, entries: list[Entry]) -> None:
    """Which input became which output, readable by its owner alone. Raises OutputError."""
    rows = [[str(e.source), e.state, "" if e.output is None else str(e.output), e.patient] for e in entries]
    write_csv(path, [["input", "state", "output", "patient"], *rows])
    try:
        path.chmod(0o600)
    except OSError as error:
        raise OutputError(f"{path}: cannot be made private ({error.strerror or error})") from error
