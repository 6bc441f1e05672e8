"""The review: a table (CSV) of channels that a person goes through, naming those that make noise.

Every row is a channel; those with "yes" under `keep` make up the noise channels, one set for each name under
`component`, with the sign and share under `weight`. What the ranking found is filled in to begin with.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from echoq_models.errors import InputError
from echoq_models.files import write_csv
from echoq_models.generative.noise_channels import COMPONENTS, NoiseChannels

NEEDED = ("keep", "component", "channel", "weight")
NAMES = (*NEEDED, "theta", "mean", *(f"{k} of {c}" for k in ("theta", "likeness") for c in COMPONENTS), "sheet")


@dataclass(frozen=True)
class Row:
    """keep: "yes" or "no".  component: the noise's name, "" while it has none.  channel: by name.  weight: which way,
    and how much beside the others of the component.  theta, mean: the paper's statistics.  paired: theta of each
    component on same-seed pairs, None without pairs.  like: how alike what the channel does is to what each component
    does, -1 to 1; None where that was not looked at.  sheet: file of the effect sheet, "" for none."""

    keep: str
    component: str
    channel: str
    weight: float
    theta: float
    mean: float
    paired: Sequence[float] | None
    like: Sequence[float] | None
    sheet: str

    def cells(self) -> list[object]:
        """As in the table, numbers with four digits."""
        figures = [f"{number:.4g}" for number in (self.weight, self.theta, self.mean)]
        paired, like = (
            [""] * len(COMPONENTS) if each is None else [f"{number:.4g}" for number in each]
            for each in (self.paired, self.like)
        )
        return [self.keep, self.component, self.channel, *figures, *paired, *like, self.sheet]


def write(path: Path, rows: Sequence[Row]) -> None:
    """Write the table. Raises OutputError."""
    write_csv(path, [NAMES, *(row.cells() for row in rows)])


def read(path: Path, generator: str) -> NoiseChannels:
    """The channels that are kept, as noise channels of the weights called `generator`.

    Raises InputError when the table is missing, damaged, keeps nothing, or keeps a row without a name or weight.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets begin with a mark
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise InputError(f"The review {path} cannot be read: {error.strerror or error}.") from None
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path} is no table: {error}.") from None
    kept: dict[str, dict[str, float]] = {}
    for number, row in enumerate(rows, start=2):
        if any(row.get(name) is None for name in NEEDED):
            raise InputError(f"{path}, line {number}: a review needs the columns {', '.join(NEEDED)}.")
        if row["keep"].strip().lower() not in ("yes", "y", "1", "true"):
            continue
        weight = _number(row["weight"])
        if not row["component"].strip() or weight is None:
            raise InputError(f"{path}, line {number}: a channel that is kept needs a component's name and a weight.")
        kept.setdefault(row["component"].strip(), {})[row["channel"].strip()] = weight
    if not kept:
        raise InputError(f"{path} keeps no channel: write yes under keep for those that make noise.")
    found = NoiseChannels(generator=generator)
    for component, channels in kept.items():
        found = found.named(component, channels)
    return found


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value != 0 else None
