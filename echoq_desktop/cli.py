"""`echoq`: without a subcommand the window; with one, the same jobs without a display.

Neither Qt nor torch is imported here: a spawned worker imports this module again, and the window must appear
before torch loads. Exit codes are in the README.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

import echoq_models
from echoq_desktop import cli_deidentify, cli_noise, cli_regions, cli_study, terminal
from echoq_desktop.cli_options import (
    Device,
    DeviceOption,
    DicomEncoding,
    JsonFlag,
    Method,
    Sigma,
    Strength,
    is_batch,
    is_study,
    known,
    print_json,
    settings,
)
from echoq_desktop.cli_regions import medians
from echoq_desktop.terminal import complain, progress_line, stop
from echoq_models.errors import EchoQError, InputError, NotClean, WeightsError
from echoq_models.runtime.device import set_thread_defaults

if TYPE_CHECKING:
    from echoq_models.runtime.jobs import BatchEvent, BatchReport, ExportOptions


class Format(StrEnum):
    """What a batch writes."""

    mp4 = "mp4"
    avi = "avi"
    gif = "gif"
    dcm = "dcm"
    npz = "npz"
    png = "png"


ONE_LOOP = (  # of films, `echoq deidentify` would blank the caption that says what they are
    "one loop at a time, since a batch lists the inputs' names beside the results: denoise the folder into DICOM "
    "(--format dcm) without it, then run `echoq deidentify` on the folder of results"
)

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
weights = typer.Typer(rich_markup_mode=None, no_args_is_help=False, help="List, verify and import weights.")
app.add_typer(weights, name="weights")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `echoq` and give back its exit code."""
    multiprocessing.freeze_support()
    set_thread_defaults()
    with stop.listening():
        return terminal.run(app, arguments)


def _version(asked: bool) -> None:
    if asked:
        print(f"echoq {echoq_models.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _window(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    selftest: Annotated[bool, typer.Option("--selftest", help="Try this installation, without a display.")] = False,
) -> None:
    """Denoise echo loops, compare with BM3D, measure gCNR. Without a command: the window. Research use only."""
    if context.invoked_subcommand is not None:
        return
    if selftest:
        from echoq_desktop import selftest as trial

        trial.run(partial(print, flush=True))
        return
    from echoq_desktop import display

    reason = display.missing()
    if reason is not None:
        _without_window(reason)
        return
    _show([])


def _show(files: Sequence[Path], snapshot: Path | None = None) -> None:
    """The window, until it is closed; leaves with its exit code."""
    from echoq_desktop import app as window

    code = window.run(files, snapshot)
    raise typer.Exit(terminal.CANCELLED if stop() else code)


def _without_window(reason: str) -> None:
    """Say that no window can be shown and do the sample job into files."""
    from echoq_models.runtime import headless

    print(f"No window can be shown here: {reason}.")
    print("The same job on the sample loop, into files instead:", flush=True)
    with progress_line() as progress:
        made = headless.run(headless.HeadlessOptions(), progress, stop, complain)
    for path, what in zip(made["files"], ("denoised loop", "side by side", "gCNR of each frame"), strict=True):
        print(f"  {path.resolve()}  ({what})")
    print(f"Denoised with {made['method']}. gCNR, median over {made['gcnr']['frames']} frames:")
    print(medians(made["gcnr"]))


@app.command("open")
def open_(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", help="Loops, each a file or a folder of stills; the sample when none is named."),
    ] = None,
    snapshot: Annotated[
        Path | None,
        typer.Option(help="Write a 1600 x 900 picture of the window once every pane shows its frame, then leave."),
    ] = None,
) -> None:
    """Open FILE in the window."""
    import os

    from echoq_desktop import display

    for file in files or ():
        if not file.exists():
            raise InputError(f"{file}: there is no such file")
    if snapshot is None:
        if reason := display.missing():
            raise EchoQError(f"No window can be shown here: {reason}; `echoq denoise` works without one.")
    elif "QT_QPA_PLATFORM" not in os.environ and display.missing():
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    _show(files or [], snapshot)


@app.command()
def info(
    file: Annotated[
        Path, typer.Argument(help="A loop: a file or a folder of stills; or a DICOMDIR.", show_default=False)
    ],
    as_json: JsonFlag = False,
) -> None:
    """Say what is in FILE."""
    from echoq_models import cine
    from echoq_models.cine import dicom_study, sector
    from echoq_models.runtime import describe, jobs

    if dicom_study.is_dicomdir(file):
        cli_study.info(file, as_json)
        return
    with progress_line() as progress:
        loop = cine.read(file, progress=jobs.reading(progress, stop))
    found = sector.fit(loop)
    facts = {"file": str(file), **describe.facts(loop, found, sector.usable_spacing(loop, found))}
    if as_json:
        print_json(facts)
        return
    lines = {"File": str(file), **describe.lines(facts)}
    width = max(map(len, lines))
    for label, text in lines.items():
        print(f"{label.ljust(width)}  {text}")


@app.command()
def denoise(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="A loop, a folder of stills (one loop) or a folder of loops.")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help=".dcm, .mp4, .avi, .gif or .npz; a folder of PNG; for a batch, a folder."),
    ],
    method: Method = None,
    device: DeviceOption = Device.auto,
    side_by_side: Annotated[bool, typer.Option("--side-by-side", help="Show the original beside it.")] = False,
    sigma: Sigma = None,
    strength: Strength = 1.0,
    lossless: Annotated[bool, typer.Option("--lossless", help="Lossless video, for metrics.")] = False,
    format_: Annotated[Format, typer.Option("--format", help="What a batch writes.")] = Format.mp4,
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Leave outputs that are there.")] = False,
    dicom_encoding: Annotated[
        DicomEncoding, typer.Option("--dicom-encoding", help="Of .dcm; each keeps every grey level.")
    ] = DicomEncoding.rle,
    deidentify: Annotated[
        bool,
        typer.Option(
            "--deidentify",
            help="Leave out what names the patient, and all but the ultrasound picture. For one loop; for folders, "
            "shifted dates or a key, run `echoq deidentify` on the .dcm without it.",
        ),
    ] = False,
    keep_unjudged: Annotated[
        bool, typer.Option("--keep-unjudged", help="Then also write a loop whose pixels may still show a name.")
    ] = False,
) -> None:
    """Denoise INPUT into OUTPUT. Progress goes to stderr."""
    from echoq_models.runtime import jobs

    methods = known(method or ["fast"])
    if len(methods) > 1 and not side_by_side:
        raise typer.BadParameter("several methods need --side-by-side", param_hint="--method")
    if keep_unjudged and not deidentify:
        raise typer.BadParameter("it is for --deidentify", param_hint="--keep-unjudged")
    panes = (jobs.ORIGINAL, *methods) if side_by_side else ()
    options = jobs.ExportOptions(
        methods[0],
        settings(device, sigma, strength),
        panes,
        lossless,
        dicom_encoding=dicom_encoding.value,
        deidentify=deidentify,
        keep_unjudged=keep_unjudged,
    )
    if is_batch(source) or is_study(source, output):
        if deidentify:
            raise typer.BadParameter(ONE_LOOP, param_hint="--deidentify")
        suffix = "" if format_ is Format.png else f".{format_.value}"
        _denoise_folder(source, output, options, suffix, "skip" if skip_existing else "overwrite")
    elif skip_existing and output.exists():
        complain(f"{output} exists already: left as it is")
    else:
        _denoise_loop(source, output, options)


def _denoise_loop(source: Path, output: Path, options: ExportOptions) -> None:
    """One loop into one output."""
    from echoq_models.cine.writer import SUFFIXES
    from echoq_models.runtime import jobs

    films = [suffix for suffix in SUFFIXES if suffix]
    if output.suffix.lower() not in ("", *films) and not output.is_dir():
        raise typer.BadParameter(
            f"{output.suffix} is no format that EchoQ writes ({', '.join(films)} or a folder)", param_hint="-o"
        )
    try:
        with progress_line() as progress:
            done = jobs.denoise_file(source, output, options, progress, stop)
    except NotClean as error:
        raise NotClean(f"{error}; look at the loop, and if it names nobody add --keep-unjudged") from error
    for warning in done["warnings"]:
        complain(f"warning: {warning}")
    print(f"{done['output']}: {done['frames']} frames in {done['seconds']:.1f} s")
    if "sidecar" in done:
        print(f"{done['sidecar']}: the regions, and gCNR before and after")
    if "report" in done:
        print(f"{done['report']}: what was removed, and what could not be judged")


def _denoise_folder(
    source: Path, output: Path, one: ExportOptions, suffix: str, existing: Literal["skip", "overwrite"]
) -> None:
    """A folder of loops, going on where an earlier run stopped; leaves with 4 when some failed."""
    from echoq_models.cine.writer import SUFFIXES
    from echoq_models.runtime import batch as batches
    from echoq_models.runtime import jobs

    if not batches.find_loops(source, leave_out=output):
        raise InputError(f"{source}: there is no loop in this folder")
    if output.suffix and output.suffix.lower() in SUFFIXES:
        raise typer.BadParameter(f"{source} is a folder of loops: OUTPUT must be a folder", param_hint="-o")
    options = jobs.BatchOptions(
        one.method, one.settings, suffix, existing, one.side_by_side, one.lossless, dicom_encoding=one.dicom_encoding
    )
    with progress_line() as progress:

        def show(event: BatchEvent) -> None:
            head = f"[{event.index + 1}/{event.total}] {event.file}"
            if event.stage == "denoising":
                left = f", {terminal.duration(event.seconds_left)} left" if event.seconds_left is not None else ""
                whole = f"{100 * event.share:.0f} % of all{left}"
                progress(event.done_frames, 0, f"{head} {event.done_frames}/{event.frames}, {whole}")
            elif event.state != "running" and event.reason != batches.DONE_ALREADY:
                progress.clear()
                complain(f"{head}: {event.state}{f' ({event.reason})' if event.reason else ''}")

        report = jobs.batch(source, output, options, show, stop)
    _tell(report)
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _tell(report: BatchReport) -> None:
    """How a batch ended: counts on stdout, what to know on stderr."""
    from echoq_models.runtime.batch import DONE_ALREADY

    counts = ", ".join(f"{len(report.of(state))} {state}" for state in ("done", "failed", "skipped"))
    already = len([event for event in report.of("skipped") if event.reason == DONE_ALREADY])
    rest = report.total - len(report.files)
    left = f", {rest} left for the next run" if rest else ""
    print(
        f"{counts}{f' ({already} done before)' if already else ''}{left}; see {report.page} and {report.summary.name}"
    )
    for note in report.notes:
        complain(note)
    if report.cancelled:
        complain("cancelled; the same command goes on where it stopped")
    elif report.stopped is not None:
        complain(report.stopped)


app.command()(cli_regions.segment)
app.command()(cli_regions.gcnr)
app.command()(cli_deidentify.deidentify)
app.command("simulate-noise")(cli_noise.simulate_noise)


@weights.command("list")
def list_weights() -> None:
    """Show the weights that are here and the methods and networks that lack them."""
    from echoq_models import segment
    from echoq_models.denoise import registry
    from echoq_models.weights import store

    rows = [["name", "title", "size", "from", "output"]]
    for entry in store.list_weights():
        size = f"{entry.path.stat().st_size / 2**20:.1f} MiB" if entry.path.is_file() else "-"
        title = entry.card.title if entry.card else "unreadable"
        output = entry.card.output if entry.card else "-"
        rows.append([entry.name, title, size, "user" if entry.user else "shipped", output])
    print(terminal.table(rows) if len(rows) > 1 else "no weights")
    for entry in store.list_weights():
        if entry.problem:
            complain(entry.problem)
    for name, denoiser in registry.denoisers().items():
        if missing := denoiser.available():
            print(f"{name} cannot run: {missing}")
    for name in segment.networks():
        if missing := segment.available(name):
            print(f"{name} cannot run: {missing}")


@weights.command("verify")
def verify_weights(
    names: Annotated[list[str] | None, typer.Argument(help="Which; all when none is named.")] = None,
) -> None:
    """Check every file against its card: checksum, architecture, shapes."""
    from echoq_models.weights import store

    entries = [store.find(name) for name in names] if names else store.list_weights()
    problems = 0
    for entry in entries:
        problem = store.verify(entry)
        problems += problem is not None
        print(f"{entry.name}: {problem or 'ok'}")
    if problems:
        raise WeightsError(f"{problems} of {len(entries)} weights cannot be used.")
    if not entries:
        print("no weights")


@weights.command("import")
def import_weights(
    file: Annotated[Path, typer.Argument(help="Released weights (.pt, .pkl) or a .safetensors file with its card.")],
    name: Annotated[str | None, typer.Option(help="The name to keep them under.")] = None,
) -> None:
    """Import a file of weights. Only tensors are read: nothing in the file is executed."""
    from echoq_models.weights import upstream

    if not file.exists():
        raise InputError(f"{file}: there is no such file")
    for entry in upstream.import_file(file, name):
        print(f"{entry.name}: {entry.path}")
