"""What belongs to a loop's regions besides their shape: the moments of the beat, and a person's verdict."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from echoq_models.errors import RegionError

DECISIONS = ("accepted", "corrected", "rejected")


@dataclass(frozen=True)
class Marks:
    """End diastole and end systole: frame indices, sorted.  by_hand: whether a person set or moved them."""

    ed: tuple[int, ...] = ()
    es: tuple[int, ...] = ()
    by_hand: bool = False

    def __post_init__(self) -> None:
        for name in ("ed", "es"):
            frames = tuple(sorted({int(t) for t in getattr(self, name)}))
            if frames and frames[0] < 0:
                raise RegionError("A mark of the beat cannot have a negative frame number.")
            object.__setattr__(self, name, frames)

    def __bool__(self) -> bool:
        return bool(self.ed or self.es)


@dataclass(frozen=True)
class Review:
    """A person's verdict on the regions of a loop, as the physician's review in the paper.

    decision: "accepted", "corrected" or "rejected".  who: a name.  when: ISO 8601 with an offset from UTC.
    Raises RegionError for any other decision or time.
    """

    decision: str
    who: str
    when: str
    note: str = ""

    def __post_init__(self) -> None:
        if self.decision not in DECISIONS:
            raise RegionError(
                f"A review says {', '.join(DECISIONS[:-1])} or {DECISIONS[-1]}, not {self.decision[:40]!r}."
            )
        try:
            zone = datetime.fromisoformat(self.when).tzinfo
        except ValueError:
            zone = None
        if zone is None:
            raise RegionError(f"A review's time must be like 2025-01-31T09:30:00+01:00, not {self.when[:40]!r}.")
