"""A folder of loops denoised into another folder, as a run that can be broken off anywhere and taken up again.

This is the door for the command line and the worker; `batch_run` does the work. Beside the results lie the manifest
(`manifest.NAME`), a table (SUMMARY) and a page with small pictures (PAGE).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from echoq_models import __version__
from echoq_models.denoise.base import Cancel, never
from echoq_models.errors import InputError, OutputError, WeightsError
from echoq_models.files import settle
from echoq_models.runtime.batch_plan import LOOP_SUFFIXES, find_loops, holds_only_stills, is_study, plan, top_of
from echoq_models.runtime.batch_run import Run
from echoq_models.runtime.batch_summary import write_page, write_table
from echoq_models.runtime.batch_types import (
    DONE_ALREADY,
    PAGE,
    SUMMARY,
    BatchEvent,
    BatchOptions,
    BatchReport,
    BatchStopped,
    Outcome,
    attempt,
    exit_code,
)
from echoq_models.runtime.export import DICOM, ORIGINAL, check_methods, check_picture, panes_of
from echoq_models.runtime.manifest import Manifest, Recipe

__all__ = [
    "DONE_ALREADY",
    "LOOP_SUFFIXES",
    "PAGE",
    "SUMMARY",
    "BatchEvent",
    "BatchOptions",
    "BatchReport",
    "Outcome",
    "attempt",
    "batch",
    "clear_up",
    "exit_code",
    "find_loops",
    "holds_only_stills",
    "is_study",
    "plan",
]

PARTS = ".echoq-part"  # where files are made; what lies in it while nobody holds the manifest is left of a dead run


def batch(
    folder: Path,
    output: Path,
    options: BatchOptions,
    progress: Callable[[BatchEvent], None] = lambda event: None,
    cancel: Cancel = never,
) -> BatchReport:
    """Denoise every loop under `folder`, or that a DICOMDIR lists, into `output`; table and page say how each ended.

    What an earlier run, however it ended, did with the same loops, regions, settings, weights and version of EchoQ
    is left as it is, as long as the outputs are there unaltered; see `BatchOptions.existing`. Only whole files appear
    in `output`. A file that fails is reported with its reason and the rest goes on; a full disk or a folder that
    vanished stops the run (`BatchReport.stopped`). progress: called by two threads, never at once.
    cancel: is looked at by the calling thread alone, within one batch of the network; it may pause in there.
    Raises InputError (no folder, no loop in it), WeightsError and OutputError (the folder cannot be written, another
    run writes into it) only before any work.
    """
    jobs = plan(folder, output, options.suffix)
    if not jobs:
        raise InputError(f"{folder}: there is no loop in this folder")
    check_methods(panes_of(options.export()))
    check_picture(Path(f"x{options.suffix}"), options.export())
    with _workplace(output) as (manifest, parts):
        run = Run(top_of(folder), output, options, _recipe(options), manifest, parts, progress, cancel)
        run.run(jobs)
        notes = _left_out(folder) if manifest.note is None else [manifest.note, *_left_out(folder)]
        stopped = run.stopped
        try:
            for name, write in ((SUMMARY, write_table), (PAGE, write_page)):
                write(parts / name, manifest, panes_of(options.export()))
                settle(parts / name, output / name)
        except BatchStopped as error:
            stopped = stopped or error
        except (OutputError, OSError) as error:
            notes.append(f"{output}: table and page could not be written ({error})")
    return BatchReport(
        run.events,
        len(jobs),
        run.cancelled,
        output / SUMMARY,
        output / PAGE,
        None if stopped is None else str(stopped),
        5 if stopped is None else stopped.code,
        tuple(notes),
    )


def _left_out(place: Path) -> list[str]:
    """A sentence for each file that a DICOMDIR lists and that is not there."""
    from echoq_models.cine.dicom_study import read_study

    return read_study(place).complaints() if is_study(place) else []


def clear_up(output: Path) -> None:
    """Delete what a run that died left half-made, unless another run is at work there."""
    if not (output / PARTS).is_dir():
        return
    with suppress(OutputError), _workplace(output):
        pass


@contextmanager
def _workplace(output: Path) -> Iterator[tuple[Manifest, Path]]:
    """The manifest, and an empty folder to make files in; what dead runs left in it is gone. Raises OutputError."""
    parts = output / PARTS
    try:
        parts.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{output}: the folder cannot be made or written ({error.strerror})") from error
    manifest = Manifest(output)
    try:
        shutil.rmtree(parts, ignore_errors=True)
        try:
            parts.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{output}: the folder cannot be written ({error.strerror})") from error
        yield manifest, parts
    finally:
        shutil.rmtree(parts, ignore_errors=True)
        manifest.close()


def _recipe(options: BatchOptions) -> Recipe:
    """All that makes a result besides the loop and its regions; the device and the batch size change nothing."""
    from echoq_models.weights import store

    weights: dict[str, str] = {}
    for name in panes_of(options.export()):
        with suppress(WeightsError):  # a method without weights, such as bm3d
            card = None if name == ORIGINAL else store.find(name).card
            if card is not None:
                weights[name] = card.sha256
    settings = {
        "method": options.method,
        "side_by_side": list(options.side_by_side),
        "suffix": options.suffix,
        "lossless": options.lossless,
        "dicom_encoding": options.dicom_encoding if options.suffix == DICOM else None,
        "sigma": options.settings.sigma,
        "strength": options.settings.strength,
    }
    return Recipe(json.dumps(settings, sort_keys=True), json.dumps(weights, sort_keys=True), __version__)
