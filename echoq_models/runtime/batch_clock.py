"""How far a batch is, and how long it still takes: counted in frames, since loops differ in length."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

LONG_WAIT_S = 1.0  # a look at what else there is that takes longer was a pause, or another job


@dataclass
class _Loop:
    kind: str  # its suffix: bytes a frame differ between formats
    size: int  # bytes
    frames: int | None = None
    done: int = 0


@dataclass
class Clock:
    """Frames done and left of the loops that are to be worked on.

    Frames of a loop not read yet are estimated from its bytes, by those of its kind, or of any kind, read so far.
    Speed is that of late: half of what is known is forgotten in `memory_s` seconds of work.
    """

    memory_s: float = 60.0
    now: Callable[[], float] = time.monotonic
    _loops: dict[int, _Loop] = field(default_factory=dict)
    _known: Counter[str] = field(default_factory=Counter)  # frames read, by kind
    _bytes: Counter[str] = field(default_factory=Counter)  # and their bytes
    _done: int = 0  # frames, of loops that ended too
    _recent: float = 0.0  # frames of late
    _spent: float = 0.0  # and the seconds they took
    _last: float | None = None
    _share: float = 0.0

    def add(self, number: int, kind: str, size: int) -> None:
        """A loop that is to be done."""
        self._loops[number] = _Loop(kind, max(1, size))

    def read(self, number: int, frames: int) -> None:
        """It has so many frames."""
        loop = self._loops[number]
        loop.frames = frames
        self._known[loop.kind] += frames
        self._bytes[loop.kind] += loop.size

    def start(self) -> None:
        """Work begins now, unless it did before."""
        if self._last is None:
            self._last = self.now()

    def step(self, number: int) -> None:
        """One more frame is done."""
        self._loops[number].done += 1
        self._done += 1
        now = self.now()
        span = 0.0 if self._last is None else now - self._last
        keep = 0.5 ** (span / self.memory_s)
        self._recent = keep * self._recent + 1
        self._spent = keep * self._spent + span
        self._last = now

    def waited(self, seconds: float) -> None:
        """Work stood still for something else: when it was long it does not count."""
        if seconds > LONG_WAIT_S and self._last is not None:
            self._last += seconds

    def end(self, number: int) -> None:
        """Nothing more is to be done about a loop."""
        self._loops.pop(number, None)

    def left(self) -> float | None:
        """Seconds until all is done, None while nothing is known."""
        if not self._loops:
            return 0.0
        frames = self._frames_left()
        if frames is None or not self._spent:
            return None
        return round(frames * self._spent / self._recent, 1)

    def share(self) -> float:
        """Of all frames, how much is done: 0 to 1, never less than before."""
        if not self._loops:
            return 1.0
        frames = self._frames_left()
        if frames is not None and self._done + frames > 0:
            self._share = max(self._share, self._done / (self._done + frames))
        return self._share

    def _frames_left(self) -> float | None:
        left = 0.0
        for loop in self._loops.values():
            if loop.frames is not None:
                left += loop.frames - loop.done
                continue
            here = loop.kind if self._bytes[loop.kind] else None
            known = self._known[here] if here is not None else self._known.total()
            read = self._bytes[here] if here is not None else self._bytes.total()
            if not read:
                return None
            left += loop.size * known / read
        return left
