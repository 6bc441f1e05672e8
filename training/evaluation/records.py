"""What was measured, one record for each frame and method: picked by name, written as one CSV."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echoq_models.files import replacing
from echoq_models.metrics.gcnr import MedianCI
from training.evaluation.statistics import loops_median_ci

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Record:
    """One frame through one method.

    part: the set it belongs to ("held-out", "clean", "chamberless", ...).  loop: which loop.  frame: its index there.
    values: figures by name, nan where one does not apply.  patient: whose loop it is, where one may have several.
    """

    part: str
    loop: str
    frame: int
    method: str
    values: Mapping[str, float]
    patient: str = ""


@dataclass
class Records:
    """All records of a run, in the order they were measured."""

    rows: list[Record] = field(default_factory=list)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.rows)

    def add(self, rows: Iterable[Record]) -> None:
        """Take more records."""
        self.rows.extend(rows)

    def find(self, part: str, method: str, key: str) -> dict[tuple[str, int], float]:
        """The finite values called `key`, by (loop, frame)."""
        return {
            (r.loop, r.frame): r.values[key]
            for r in self.rows
            if r.part == part and r.method == method and math.isfinite(r.values.get(key, math.nan))
        }

    def values(self, part: str, method: str, key: str) -> Floats:
        """The finite values called `key`, float64 (n,), n may be 0."""
        return np.array(list(self.find(part, method, key).values()))

    def median(self, part: str, method: str, key: str) -> float:
        """Their median, nan for none."""
        found = self.values(part, method, key)
        return float(np.median(found)) if found.size else math.nan

    def interval(self, part: str, method: str, key: str) -> MedianCI | None:
        """Their median with its 95 % interval (whole loops, or patients, resampled), None for none."""
        found = self.find(part, method, key)
        whose = {r.loop: r.patient or r.loop for r in self.rows if r.part == part}
        return loops_median_ci(np.array(list(found.values())), [whose[k] for k, _ in found]) if found else None

    def gain(self, part: str, method: str, over: str, key: str) -> float:
        """Median of `method` minus median of `over`, on the frames that both have; nan for none."""
        ours, theirs = self.find(part, method, key), self.find(part, over, key)
        shared = [k for k in ours if k in theirs]
        if not shared:
            return math.nan
        return float(np.median([ours[k] for k in shared]) - np.median([theirs[k] for k in shared]))

    def methods(self, part: str) -> list[str]:
        """The methods that have records in `part`, in the order of their first."""
        return list(dict.fromkeys(r.method for r in self.rows if r.part == part))

    def write(self, path: Path) -> None:
        """One line for each record: set, loop, frame, method, then every figure (empty where there is none)."""
        keys = list(dict.fromkeys(key for r in self.rows for key in r.values))
        with replacing(path) as new, new.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["set", "loop", "frame", "method", *keys])
            for r in self.rows:
                figures = [r.values.get(key, math.nan) for key in keys]
                cells = [f"{v:.6g}" if math.isfinite(v) else "" for v in figures]
                writer.writerow([r.part, r.loop, r.frame, r.method, *cells])
