"""What belongs to a loop's regions besides their shape: the beat, what the network said, a person's verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from echoq_models.errors import RegionError

DECISIONS = ("accepted", "corrected", "rejected")
LONGEST_REASON = 400  # characters


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
class Findings:
    """What a segmentation network said of the frames it looked at; other frames are in neither.

    confidence: {frame: 0-1}.  reasons: {frame: one sentence}, of the frames in which it found no left ventricle.
    Raises RegionError for a confidence out of range, a negative frame or a sentence that is too long.
    """

    confidence: Mapping[int, float] = field(default_factory=dict)
    reasons: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        confidence = {int(t): round(float(self.confidence[t]), 4) for t in sorted(self.confidence)}
        reasons = {int(t): self.reasons[t] for t in sorted(self.reasons)}
        if any(not 0.0 <= sure <= 1.0 for sure in confidence.values()):
            raise RegionError("A confidence must lie between 0 and 1.")
        if any(t < 0 for t in (*confidence, *reasons)):
            raise RegionError("A finding cannot have a negative frame number.")
        if any(len(why) > LONGEST_REASON for why in reasons.values()):
            raise RegionError(f"The reason why there is no ventricle is longer than {LONGEST_REASON} characters.")
        object.__setattr__(self, "confidence", confidence)
        object.__setattr__(self, "reasons", reasons)

    def __bool__(self) -> bool:
        return bool(self.confidence or self.reasons)

    @property
    def found(self) -> tuple[int, ...]:
        """The frames in which there is a left ventricle."""
        return tuple(t for t in self.confidence if t not in self.reasons)

    def renewed(self, said: Findings) -> Findings:
        """With what was said now of some frames; of the others stays what was said before."""
        asked = {*said.confidence, *said.reasons}
        sure = {t: known for t, known in self.confidence.items() if t not in asked}
        why = {t: known for t, known in self.reasons.items() if t not in asked}
        return Findings({**sure, **said.confidence}, {**why, **said.reasons})


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
