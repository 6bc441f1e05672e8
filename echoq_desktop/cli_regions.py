"""`echoq segment` and `echoq gcnr`: the left ventricle, and gCNR in regions drawn by hand or made from it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from echoq_desktop import terminal
from echoq_desktop.cli_options import (
    Device,
    DeviceOption,
    JsonFlag,
    Method,
    Sigma,
    Strength,
    is_batch,
    known,
    print_json,
    settings,
)
from echoq_desktop.terminal import complain, progress_line, stop
from echoq_models.errors import InputError, OutputError

if TYPE_CHECKING:
    from echoq_models.runtime.automatic import AutoOptions
    from echoq_models.runtime.export import Progress
    from echoq_models.runtime.survey import Answer, Survey


class Preset(StrEnum):
    """How regions are made from the left ventricle."""

    default = "default"
    paper = "paper"


Source = Annotated[
    Path, typer.Argument(metavar="INPUT", help="A loop, a folder of stills (one loop) or a folder of loops.")
]
Network = Annotated[str, typer.Option(help="What finds the left ventricle: lv, deeplab, or your own weights.")]


def segment(
    source: Source,
    output: Annotated[Path, typer.Option("--output", "-o", help="Masks (.npz); for a folder of loops, a folder.")],
    network: Network = "lv",
    device: DeviceOption = Device.auto,
    as_json: JsonFlag = False,
) -> None:
    """Find the left ventricle in INPUT: masks `lv` of 0 and 1 in source pixels."""
    from echoq_models.runtime import automatic

    _known_network(network)
    if is_batch(source):
        _segment_folder(source, output, network, device, as_json)
        return
    if output.suffix.lower() != automatic.MASKS:
        raise typer.BadParameter(f"{output}: masks are written to a file that ends in .npz", param_hint="-o")
    with progress_line() as progress:
        found = automatic.segment_file(source, output, network, device.value, progress, stop)
    if not found["found"]:
        complain(f"{source}: {_main(found)}")
    if as_json:
        print_json(found)
        return
    share = f"{found['found']} of {found['frames']} frames"
    print(f"{found['output']}: left ventricle in {share}, {found['seconds']:.1f} s")
    for reason, count in found["reasons"].items() if found["found"] else ():
        complain(f"{count} frame{'s' if count > 1 else ''}: {reason}")


def gcnr(
    source: Source,
    roi: Annotated[
        Path | None, typer.Option("--roi", help="The regions: a JSON file with `lv` and `myocardium`.")
    ] = None,
    auto: Annotated[bool, typer.Option("--auto", help="Make the regions with the left-ventricle network.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="For a folder of loops: where table and box plot go.")
    ] = None,
    method: Method = None,
    network: Network = "lv",
    preset: Annotated[Preset, typer.Option(help="How --auto makes regions.")] = Preset.default,
    device: DeviceOption = Device.auto,
    sigma: Sigma = None,
    strength: Strength = 1.0,
    as_json: JsonFlag = False,
) -> None:
    """Measure gCNR in regions: each frame, and the median with its 95 % confidence interval.

    The original is always measured; with --method, the denoised loop too. Regions are drawn (--roi) or made frame by
    frame (--auto). A folder of loops gives a summary.
    """
    from echoq_models import cine, regions
    from echoq_models.runtime import automatic, batch, jobs

    if (roi is None) != auto:
        raise typer.BadParameter("give either --roi ROI.json or --auto", param_hint="--roi")
    methods, how = known(method or []), settings(device, sigma, strength)
    options = automatic.AutoOptions(network, preset.value, how)
    if auto:
        _known_network(network)
    if is_batch(source):
        loops = batch.find_loops(source, leave_out=output)
        if not loops:
            raise InputError(f"{source}: there is no loop in this folder")
        if not auto:
            raise typer.BadParameter(f"{source} is a folder of loops: its regions need --auto", param_hint="--roi")
        _gcnr_folder(source, loops, output, methods, options, as_json)
        return
    if output is not None:
        raise typer.BadParameter("only a folder of loops has an OUTPUT", param_hint="-o")
    with progress_line() as progress:
        loop = cine.read(source, progress=jobs.reading(progress, stop))
        if roi is not None:
            found = jobs.measure(loop, regions.load(roi), methods, how, progress, stop)
        else:
            found = automatic.measure_automatically(loop, methods, options, progress, stop)
    if auto and "methods" not in found:
        complain(f"{source}: {_main(found['lv'])}")
    if as_json:
        print_json({"input": str(source), "roi": None if roi is None else str(roi), "level": 0.95, **found})
    elif "methods" in found:
        _tell(found)


def _tell(found: dict[str, Any]) -> None:
    """Every frame, the medians, and what to beware of."""
    names = list(found["methods"])
    rows = [["frame", "time ms", *names]]
    for i, (t, time_ms) in enumerate(zip(found["indices"], found["times_ms"], strict=True)):
        rows.append([str(t + 1), f"{time_ms:.1f}", *(f"{found['methods'][name]['gcnr'][i]:.3f}" for name in names)])
    print(terminal.table(rows))
    print()
    print(medians(found))
    for warning in found["warnings"]:
        complain(f"warning: {warning}")
    lv = found.get("lv")
    if lv is not None and lv["found"] < lv["frames"]:
        complain(f"{lv['frames'] - lv['found']} of {lv['frames']} frames are left out: {_main(lv)}")
    if found["small_regions"]:
        complain(
            f"warning: regions of {found['lv_pixels']} and {found['myocardium_pixels']} pixels are small: "
            f"two equal distributions would read {found['null_gcnr']:.2f}"
        )
    if found["lossy"]:
        complain(f"warning: lossy source ({', '.join(found['lossy'])}): lossy compression can raise gCNR")


def medians(found: dict[str, Any]) -> str:
    """The median of each method with its interval, as a table."""
    rows = [["method", "median", "95 % CI"]]
    for name, result in found["methods"].items():
        interval = "-" if result["low"] is None else f"{result['low']:.3f} to {result['high']:.3f}"
        rows.append([name, f"{result['median']:.3f}", interval])
    return terminal.table(rows)


def _segment_folder(source: Path, output: Path, network: str, device: Device, as_json: bool) -> None:
    """Every loop of a folder, each with its masks; leaves with 4 when some failed."""
    from echoq_models.files import write_csv
    from echoq_models.runtime import automatic, batch
    from echoq_models.runtime.survey import survey

    targets = dict(batch.plan(source, output, automatic.MASKS))
    automatic.check_network(network)
    if targets:
        _make(output)

    def ask(loop: Path, progress: Progress) -> dict[str, Any]:
        targets[loop].parent.mkdir(parents=True, exist_ok=True)
        return automatic.segment_file(loop, targets[loop], network, device.value, progress, stop)

    with progress_line() as progress:
        done = survey(source, list(targets), ask, progress, stop)
    rows: list[list[str]] = [["file", "state", "frames", "found", "confidence", "reason"]]
    for answer in done.answers:
        facts = answer.facts
        state = "failed" if answer.reason else "done" if facts["found"] else "no LV found"
        sure = "" if not facts or facts["confidence"] is None else f"{facts['confidence']:.2f}"
        counts = [str(facts.get(name, "")) for name in ("frames", "found")]
        rows.append([answer.file, state, *counts, sure, answer.reason or _main(facts)])
    write_csv(output / batch.SUMMARY, rows)
    answers = [_answer(answer, {"state": row[1]}) for answer, row in zip(done.answers, rows[1:], strict=True)]
    _end(done, rows, [output / batch.SUMMARY], {"input": str(source), "loops": answers}, as_json)


def _gcnr_folder(
    source: Path, loops: list[Path], output: Path | None, methods: list[str], options: AutoOptions, as_json: bool
) -> None:
    """Every loop of a folder, measured in automatic regions; leaves with 4 when some failed."""
    from echoq_models import cine
    from echoq_models.runtime import automatic, gcnr_summary, jobs
    from echoq_models.runtime.export import check_methods
    from echoq_models.runtime.survey import survey

    names = [jobs.ORIGINAL, *methods]
    automatic.check_network(options.network)
    check_methods(methods)

    def ask(loop: Path, progress: Progress) -> dict[str, Any]:
        opened = cine.read(loop, progress=jobs.reading(progress, stop))
        return automatic.measure_automatically(opened, methods, options, progress, stop)

    with progress_line() as progress:
        done = survey(source, loops, ask, progress, stop)
    files: list[Path] = []
    if output is not None:
        _make(output)
        files = gcnr_summary.write(output, done.answers, names)
    rows = [["file", "frames", "LV found", *names]]
    for answer in done.answers:
        facts = answer.facts
        cells = [_interval(facts["methods"][name]) if "methods" in facts else "-" for name in names]
        seen = [str(facts["lv"]["frames"]), f"{gcnr_summary.found_percent(facts):.0f} %"] if facts else ["-", "-"]
        rows.append([answer.file, *seen, *cells])
    over = {name: vars(ci) for name, ci in gcnr_summary.over_loops(done.answers, names).items()}
    if over:
        rows.append(["all loops", "", "", *(_interval(over[name]) for name in names)])
    answers = [_answer(answer, {"state": gcnr_summary.state_of(answer)}) for answer in done.answers]
    found = {"input": str(source), "roi": None, "level": 0.95, "loops": answers, "methods": over}
    _end(done, rows, files, found, as_json)


def _end(done: Survey, rows: list[list[str]], files: list[Path], found: dict[str, Any], as_json: bool) -> None:
    """Show what a folder gave, say what failed, leave with its exit code."""
    if as_json:
        print_json({**found, "files": [str(path) for path in files], "cancelled": done.cancelled})
    else:
        print(terminal.table(rows))
        if files:
            print(f"see {' and '.join(str(path) for path in files)}")
    for answer in done.answers:
        if answer.reason:
            complain(f"{answer.file}: {answer.reason}")
        elif "methods" not in answer.facts and not answer.facts.get("found"):
            complain(f"{answer.file}: {_main(answer.facts.get('lv', answer.facts))}")
    if done.exit_code:
        raise typer.Exit(done.exit_code)


def _answer(answer: Answer, more: dict[str, Any]) -> dict[str, Any]:
    return {"file": answer.file, **more, "reason": answer.reason, **answer.facts}


def _interval(result: dict[str, Any]) -> str:
    middle = f"{result['median']:.3f}"
    return middle if result["low"] is None else f"{middle} ({result['low']:.3f} to {result['high']:.3f})"


def _main(found: Any) -> str:
    """The most frequent reason, "" for none."""
    return str(next(iter(found.get("reasons", {})), ""))


def _known_network(name: str) -> None:
    """An unknown network is wrong usage; one without weights is told when it is to run."""
    from echoq_models import segment

    there = segment.networks()
    if name not in there:
        raise typer.BadParameter(f"'{name}' is not one of {', '.join(there)}", param_hint="--network")


def _make(folder: Path) -> None:
    if folder.suffix.lower() in (".npz", ".csv", ".png"):
        raise typer.BadParameter("INPUT is a folder of loops: OUTPUT must be a folder", param_hint="-o")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: the folder cannot be made ({error.strerror})") from error
