"""Stage `evaluate`: is what the denoisers do true? One report folder on phantom loops, and on real ones if given.

Every frame goes through the same door as a person's loop. `training/evaluation` holds the pieces.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from echoq_models.errors import InputError, OutputError
from echoq_models.files import replacing
from training.evaluation import stages
from training.evaluation.methods import names_of
from training.evaluation.page import write_page
from training.evaluation.rows import NULL_PARTS, SPECKLE_PARTS, Row, must_hold
from training.evaluation.sections import NOTE, sections
from training.evaluation.stages import QUICK, Run, Say, Sizes

__all__ = ["QUICK", "Report", "Sizes", "evaluate"]


@dataclass(frozen=True)
class Report:
    """What an evaluation found. figures: flat, by name.  networks: those under test.  rows: what must hold."""

    figures: dict[str, float]
    networks: tuple[str, ...]
    rows: tuple[Row, ...]

    def of(self, network: str) -> dict[str, float]:
        """The figures for one network's card: its own and those of no network."""
        others = {name for name in self.networks if name != network}
        return {key: value for key, value in self.figures.items() if not others & set(key.split())}


def to_stderr(text: str) -> None:
    """Progress; stdout is for figures."""
    print(text, file=sys.stderr, flush=True)


def evaluate(
    wanted: Sequence[str],
    folder: Path,
    sizes: Sizes | None = None,
    *,
    real: Path | None = None,
    clear: Sequence[Path] = (),
    say: Say = to_stderr,
) -> Report:
    """Evaluate the networks called `wanted` (for none: those that have weights) and write the report into `folder`.

    real: a folder of loops with NAME.roi.json beside them.  clear: clear real loops, to be hazed.
    Writes index.html with its pictures (PNG), figures.json and frames.csv.
    Raises WeightsError without weights, InputError for real loops that cannot be used, OutputError for the folder.
    """
    _check(real, clear)
    names = names_of(wanted)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        run = Run(sizes or Sizes(), folder, say)
        _measure(run, names, real, clear)
        rows = must_hold(run.records, {m.name: run.certainty.get(m.name) for m in run.networks})
        report = Report(flat_figures(run), tuple(m.name for m in run.networks), tuple(rows))
        _write(run, report)
    except OSError as error:
        raise OutputError(f"{folder}: the report cannot be written ({error.strerror or error}).") from error
    run.tell(f"report: {folder / 'index.html'}")
    return report


def _check(real: Path | None, clear: Sequence[Path]) -> None:
    """Say what is missing before the long work starts."""
    for path in (*([real] if real else []), *clear):
        if not path.exists():
            raise InputError(f"{path}: no such file or folder.")


def _measure(run: Run, names: Sequence[str], real: Path | None, clear: Sequence[Path]) -> None:
    data = stages.held_out(run, names)
    stages.clean(run, data)
    del data  # some hundred MiB
    stages.beats(run)
    stages.null_tests(run)
    stages.confidence(run)
    stages.native_size(run)
    if clear:
        stages.hazed_real(run, clear)
    if real is not None:
        stages.real_loops(run, real)


def flat_figures(run: Run) -> dict[str, float]:
    """Medians by short readable names, for the card and for stdout; what was not measured is left out."""
    figures: dict[str, float] = {}
    for name in ("original", "bm3d", *(m.name for m in run.networks), "oracle", "clean"):
        figures[f"{name} gCNR median"] = run.records.median("held-out", name, "gcnr")
        if name != "clean":
            figures[f"{name} PSNR median dB"] = run.records.median("held-out", name, "psnr_db")
            figures[f"{name} SSIM median"] = run.records.median("held-out", name, "ssim")
    figures["bm3d best sigma"] = run.sigma
    for method in run.networks:
        figures |= _network_figures(run, method.name)
    return {key: round(value, 3) for key, value in figures.items() if math.isfinite(value)}


def _network_figures(run: Run, name: str) -> dict[str, float]:
    get = run.records
    sure = run.certainty.get(name)
    figures = {
        f"{name} over bm3d dB": get.gain("held-out", name, "bm3d", "psnr_db"),
        f"{name} KS septum": get.median("held-out", name, "ks_septum"),
        f"{name} KS LV": get.median("held-out", name, "ks_lv"),
        f"{name} PSNR to input on clean frames dB": get.median("clean", name, "psnr_db"),
        f"{name} confidence rank correlation": sure.rank_correlation if sure else math.nan,
        f"{name} native over enlarged dB": get.gain("native", name, f"{name} enlarged", "psnr_db"),
        f"{name} native over enlarged SSIM": get.gain("native", name, f"{name} enlarged", "ssim"),
        f"{name} on hazed real frames over input dB": get.gain("hazed", name, "hazed", "psnr_db"),
        f"{name} on hazed real frames over bm3d dB": get.gain("hazed", name, "bm3d", "psnr_db"),
        f"{name} on hazed real frames over input SSIM": get.gain("hazed", name, "hazed", "ssim"),
    }
    for part, title in NULL_PARTS.items():
        shares = get.values(part, name, "share")
        figures[f"{name} darkened beyond the oracle, {title} %"] = 100.0 * float(shares.mean())
        untrue = get.values(part, name, "untrue")
        figures[f"{name} darkened beyond oracle and clean twin, {title} %"] = 100.0 * float(untrue.mean())
    for part in SPECKLE_PARTS:
        gains = get.values(part, name, "gain")
        figures[f"{name} darkest local gain, {NULL_PARTS[part]}"] = float(gains.min())
    for loop in dict.fromkeys(r.loop for r in get if r.part == "real"):
        for method in ("original", "bm3d", name):
            values = [r.values["gcnr"] for r in get if (r.part, r.loop, r.method) == ("real", loop, method)]
            figures[f"{PurePath(loop).stem} {method} gCNR"] = float(np.median(values))
    return figures


def _write(run: Run, report: Report) -> None:
    """index.html, figures.json, frames.csv."""
    run.records.write(run.folder / "frames.csv")
    result: dict[str, Any] = {
        "sizes": dataclasses.asdict(run.sizes),
        "figures": report.figures,
        "must_hold": [dataclasses.asdict(row) for row in report.rows],
        "milliseconds": {name: float(np.median(ms)) for name, ms in run.milliseconds.items()},
    }
    with replacing(run.folder / "figures.json") as new:
        new.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    names = ", ".join(report.networks)
    subtitle = (
        f"{names} against BM3D, the oracle and the clean twin. Each frame's figures: frames.csv beside this page."
    )
    write_page(run.folder / "index.html", "EchoQ evaluation", subtitle, NOTE, sections(run, report.rows))
    for row in report.rows:
        if row.holds is False:
            run.tell(f"does not hold: {row.method}, {row.quantity}: {row.measured} (wanted {row.wanted})")
