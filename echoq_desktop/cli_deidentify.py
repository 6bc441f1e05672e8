"""`echoq deidentify`: loops without what names a person, for handing on."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echoq_desktop.cli_options import JsonFlag, print_json
from echoq_desktop.terminal import complain, progress_line, stop

if TYPE_CHECKING:
    from echoq_models.deidentify import Entry, Report


class Dates(StrEnum):
    """What becomes of dates and times."""

    remove = "remove"
    shift = "shift"


def deidentify(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="A loop, a folder with loops (batch) or a DICOMDIR.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A folder; for a single loop also a file with a suffix.")
    ],
    dates: Annotated[
        Dates, typer.Option(help="Remove dates and times, or shift them by a number of days for each patient.")
    ] = Dates.remove,
    characteristics: Annotated[
        bool, typer.Option("--keep-characteristics", help="Keep age (over 89: 90), sex, height and weight.")
    ] = False,
    strict: Annotated[
        bool,
        typer.Option("--strict/--keep-unjudged", help="Leave out loops whose pixels may show a name, or write them."),
    ] = True,
    key: Annotated[
        Path | None,
        typer.Option(help="A file with the secret key: the same key gives the same pseudonyms. Made if not there."),
    ] = None,
    map_: Annotated[
        Path | None, typer.Option("--map", help="Write which input became which output. It identifies: keep it apart.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write INPUT without what names a person: header cleaned, all but the ultrasound sector blanked.

    What could not be judged is left out and told of, with exit code 4.
    """
    from echoq_models import deidentify as work

    _keep_apart(output, key, "--key")
    _keep_apart(output, map_, "--map")
    names = work.Pseudonyms(None if key is None else work.load_key(key))
    options = work.Options(work.HeaderOptions(dates.value, characteristics), keep_unjudged=not strict)
    with progress_line() as progress:

        def ended(entry: Entry, total: int) -> None:
            progress.clear()
            if entry.sentence:
                complain(entry.sentence)

        report = work.deidentify(source, output, options, names, progress, stop, ended, map_)
    for complaint in report.complaints:
        complain(complaint)
    _tell(report, as_json)
    if map_ is not None:
        complain(f"{map_} says who is who: never hand it on with the files")
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _keep_apart(output: Path, secret: Path | None, option: str) -> None:
    """The key and the map may not lie where the cleaned files go out from."""
    if secret is not None and secret.resolve().is_relative_to(output.resolve()):
        raise typer.BadParameter(f"{secret} would lie among the files that go out", param_hint=option)


def _tell(report: Report, as_json: bool) -> None:
    if as_json:
        print_json({"files": [_line(entry) for entry in report.entries], "cancelled": report.cancelled})
        return
    counts = ", ".join(f"{len(report.of(state))} {state}" for state in ("done", "left out", "failed"))
    rest = report.total - len(report.entries)
    told = " and ".join(str(path) for path in report.files)
    print(f"{counts}{f', {rest} not begun (cancelled)' if rest else ''}; see {told}")


def _line(entry: Entry) -> dict[str, Any]:
    return {
        "input": str(entry.source),
        "output": None if entry.output is None else str(entry.output),
        "state": entry.state,
        "reason": entry.reason or None,
        **entry.facts,
    }
