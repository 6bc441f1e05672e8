"""The one master clock: real elapsed time, the loop's own frame times, one frame index for all panes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Qt, QTimer, Signal

LATE_MS = 10.0  # a frame shown later than this after its time counts as late
SLOWEST, FASTEST = 0.05, 8.0
STILL_MS = 1000.0  # how long a loop of one frame "lasts"


@dataclass
class ClockStats:
    """What the clock measured since it was last started.

    ticks: frames shown.  late: those shown more than 10 ms after their time.  skipped: frames left out to
    keep up with real time.  worst_ms: the largest delay.
    """

    ticks: int = 0
    late: int = 0
    skipped: int = 0
    worst_ms: float = 0.0

    @property
    def late_share(self) -> float:
        """Share (0-1) of the ticks later than 10 ms."""
        return self.late / self.ticks if self.ticks else 0.0


class Clock(QObject):
    """Says which frame is due. Frames are picked by elapsed time, so a slow machine skips instead of dragging.

    In "every frame" mode nothing is skipped: the clock waits instead and playback may run slower than life.
    """

    frame_due = Signal(int)
    playing_changed = Signal(bool)
    settings_changed = Signal()  # speed, loop, every frame or trim
    fps_changed = Signal(float)  # frames per second achieved, 0 when paused

    def __init__(self, parent: QObject | None = None, now: Callable[[], float] = time.perf_counter) -> None:
        super().__init__(parent)
        self._now = now
        self._times: NDArray[np.float64] = np.zeros(1)
        self._ends: NDArray[np.float64] = np.array([STILL_MS])
        self._index = 0
        self._first, self._last = 0, 0
        self._speed, self._loop, self._every = 1.0, True, False
        self._playing = False
        self._due = 0.0  # clock time in seconds at which the next frame is due
        self._next = 0
        self._shown_at: deque[float] = deque(maxlen=64)
        self._told_at = 0.0
        self.stats = ClockStats()
        self._timer = QTimer(self, singleShot=True, timerType=Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)

    # what is played

    def set_times(self, times_ms: NDArray[np.float64], index: int = 0) -> None:
        """Play a loop with these frame times (T,), strictly increasing, in ms; stops, forgets the trim."""
        self.pause()
        self._times = np.asarray(times_ms, dtype=np.float64)
        gap = float(np.median(np.diff(self._times))) if len(self._times) > 1 else STILL_MS
        self._ends = np.append(self._times[1:], self._times[-1] + gap)
        self._first, self._last = 0, len(self._times) - 1
        self._index = max(0, min(index, self._last))
        self.settings_changed.emit()

    @property
    def index(self) -> int:
        """The frame shown."""
        return self._index

    @property
    def playing(self) -> bool:
        """Whether time runs."""
        return self._playing

    @property
    def trim(self) -> tuple[int, int]:
        """First and last frame played, both included."""
        return self._first, self._last

    @property
    def trimmed(self) -> bool:
        """Whether only a part of the loop is played."""
        return self.trim != (0, len(self._times) - 1)

    def set_trim(self, first: int, last: int) -> None:
        """Play only the frames first..last (clamped, put in order)."""
        first, last = sorted(max(0, min(frame, len(self._times) - 1)) for frame in (first, last))
        self._first, self._last = first, last
        if not first <= self._index <= last:
            self.seek(first)
        else:
            self._schedule()
        self.settings_changed.emit()

    def clear_trim(self) -> None:
        """Play the whole loop again."""
        self.set_trim(0, len(self._times) - 1)

    @property
    def speed(self) -> float:
        """1 is the file's own rate."""
        return self._speed

    @speed.setter
    def speed(self, factor: float) -> None:
        self._speed = max(SLOWEST, min(FASTEST, float(factor)))
        self._schedule()
        self.settings_changed.emit()

    @property
    def loop(self) -> bool:
        """Whether playback starts again at the end."""
        return self._loop

    @loop.setter
    def loop(self, on: bool) -> None:
        self._loop = bool(on)
        self._schedule()
        self.settings_changed.emit()

    @property
    def every_frame(self) -> bool:
        """Whether no frame may be skipped, even if that makes playback slower than life."""
        return self._every

    @every_frame.setter
    def every_frame(self, on: bool) -> None:
        self._every = bool(on)
        self.settings_changed.emit()

    # playing

    def play(self) -> None:
        """Let time run, from the start when the end was reached."""
        if self._playing:
            return
        self._playing = True
        self.stats = ClockStats()
        self._shown_at.clear()
        if not self._loop and self._index >= self._last:
            self._show(self._first)
        self._schedule()
        self.playing_changed.emit(True)

    def pause(self) -> None:
        """Stop at the frame shown."""
        if not self._playing:
            return
        self._playing = False
        self._timer.stop()
        self.playing_changed.emit(False)
        self.fps_changed.emit(0.0)

    def toggle(self) -> None:
        """Play or pause."""
        if self._playing:
            self.pause()
        else:
            self.play()

    def seek(self, index: int) -> None:
        """Show frame `index` (clamped to the loop); playing goes on from there."""
        self._show(max(0, min(int(index), len(self._times) - 1)))
        self._schedule()

    def step(self, frames: int) -> None:
        """Pause and go `frames` frames forward or back, round the trimmed part."""
        self.pause()
        span = self._last - self._first + 1
        inside = min(max(self._index, self._first), self._last)
        self.seek(self._first + (inside - self._first + frames) % span)

    # within

    def _following(self, index: int) -> int | None:
        """The frame after `index`; None at the end when nothing repeats."""
        if self._first <= index < self._last:
            return index + 1
        return self._first if self._loop else None

    def _length_s(self, index: int) -> float:
        return float(self._ends[index] - self._times[index]) / 1000.0 / self._speed

    def _schedule(self) -> None:
        """Plan the frame after the one shown, counted from now."""
        if not self._playing:
            return
        self._due = self._now()
        self._plan(self._index)

    def _plan(self, shown: int) -> None:
        """Plan the frame after `shown`, which was due at `self._due`."""
        following = self._following(shown)
        if following is None or self._first == self._last:
            self.pause()
            return
        self._next = following
        self._due += self._length_s(shown)
        self._timer.start(max(0, round((self._due - self._now()) * 1000.0)))

    def _tick(self) -> None:
        if not self._playing:
            return
        now = self._now()
        if now < self._due - 0.0005:  # the timer woke early: whole milliseconds only
            self._timer.start(max(1, round((self._due - now) * 1000.0)))
            return
        late_ms = (now - self._due) * 1000.0
        if self._every:
            if late_ms > LATE_MS:
                self._due = now  # wait rather than skip
        else:
            self._skip(now)
        self._count(late_ms, now)
        self._show(self._next)
        self._plan(self._next)

    def _skip(self, now: float) -> None:
        """Leave out the frames whose time is wholly over."""
        cycle = float(self._ends[self._last] - self._times[self._first]) / 1000.0 / self._speed
        if self._loop and now - self._due > cycle:  # the machine slept: no need to catch up whole rounds
            self._due += (now - self._due) // cycle * cycle
        while self._due + self._length_s(self._next) < now:
            following = self._following(self._next)
            if following is None:
                return
            self._due += self._length_s(self._next)
            self._next = following
            self.stats.skipped += 1

    def _count(self, late_ms: float, now: float) -> None:
        self.stats.ticks += 1
        self.stats.late += late_ms > LATE_MS
        self.stats.worst_ms = max(self.stats.worst_ms, late_ms)
        self._shown_at.append(now)
        if now - self._told_at > 0.5 and len(self._shown_at) > 2:
            self._told_at = now
            self.fps_changed.emit((len(self._shown_at) - 1) / (now - self._shown_at[0]))

    def _show(self, index: int) -> None:
        if index != self._index:
            self._index = index
            self.frame_due.emit(index)
