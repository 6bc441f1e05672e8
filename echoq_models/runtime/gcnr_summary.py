"""What gCNR was measured over a folder of loops: a table, a CSV file and a notched box plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from echoq_models.errors import OutputError
from echoq_models.files import write_csv
from echoq_models.metrics.gcnr import MedianCI, median_ci
from echoq_models.runtime.survey import Answer

TABLE = "gcnr.csv"
FIGURE = "gcnr.png"
CSV_HEAD = ("file", "state", "frames", "lv_found_percent")


def found_percent(facts: Mapping[str, Any]) -> float:
    """Frames measured of a loop in percent, from what `measure_automatically` gave."""
    return round(100 * facts["lv"]["found"] / facts["lv"]["frames"], 1)


def over_loops(answers: Sequence[Answer], methods: Sequence[str]) -> dict[str, MedianCI]:
    """Median over the loops of each loop's median, loops drawn one by one for the interval; absent for no loop."""
    return {name: median_ci(np.array(values), block=1) for name, values in _medians(answers, methods).items()}


def _medians(answers: Sequence[Answer], methods: Sequence[str]) -> dict[str, list[float]]:
    """The median of each loop that was measured, by method."""
    measured = [answer.facts["methods"] for answer in answers if "methods" in answer.facts]
    return {name: [each[name]["median"] for each in measured] for name in methods if measured}


def write(folder: Path, answers: Sequence[Answer], methods: Sequence[str]) -> list[Path]:
    """Write gcnr.csv, and gcnr.png where anything was measured, into `folder`; returns their paths.

    CSV: file, state ("done", "no LV found" or "failed"), frames, share of frames measured, then for each method the
    median of the loop's frames and its 95 % interval, and the reason. Raises OutputError.
    """
    columns = [f"{name}_{part}" for name in methods for part in ("median", "low", "high")]
    rows: list[list[object]] = [[*CSV_HEAD, *columns, "reason"]]
    for answer in answers:
        facts = answer.facts
        numbers = (
            [facts["methods"][name][part] for name in methods for part in ("median", "low", "high")]
            if ("methods" in facts)
            else [None] * len(columns)
        )
        seen = [facts["lv"]["frames"], found_percent(facts)] if facts else [None, None]
        rows.append([answer.file, state_of(answer), *seen, *numbers, reason_of(answer)])
    write_csv(folder / TABLE, rows)
    values = _medians(answers, methods)
    if not values:
        return [folder / TABLE]
    _draw(folder / FIGURE, values, over_loops(answers, methods))
    return [folder / TABLE, folder / FIGURE]


def state_of(answer: Answer) -> str:
    """ "done", "no LV found" or "failed"."""
    if answer.reason is not None:
        return "failed"
    return "done" if "methods" in answer.facts else "no LV found"


def reason_of(answer: Answer) -> str:
    """Why a loop was not measured, "" when it was."""
    if answer.reason is not None or "methods" in answer.facts:
        return answer.reason or ""
    return str(next(iter(answer.facts["lv"]["reasons"]), ""))


def _draw(path: Path, values: Mapping[str, Sequence[float]], intervals: Mapping[str, MedianCI]) -> None:
    from echoq_models.figures import notched_boxes, sheet

    loops = len(next(iter(values.values())))
    try:
        with sheet(path, 1, 1, (1.6 + 1.1 * len(values), 3.9)) as axes:
            ax = axes[0][0]
            notched_boxes(ax, values, intervals)
            ax.set_title(f"median gCNR of {loops} loop{'' if loops == 1 else 's'}")
            ax.set_ylabel("gCNR, left ventricle and myocardium")
            ax.set_ylim(0.0, 1.02)
    except OSError as error:
        raise OutputError(f"{path}: the figure cannot be written ({error.strerror or error})") from error
