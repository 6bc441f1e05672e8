"""What the worker does next: one thread, many wishes."""

from __future__ import annotations

from collections import deque
from enum import IntEnum

from echoq_models.runtime.noise_types import EditJob, EffectsJob, NoisyJob
from echoq_models.runtime.tasks import BatchJob, DenoiseTask, ExportJob, OpenJob, SegmentJob

Work = OpenJob | ExportJob | BatchJob | SegmentJob | EditJob | EffectsJob | NoisyJob | DenoiseTask

LIGHT_FIRST = ("fast", "pairs", "unet")  # then whatever else there is, bm3d last
HEAVY_LAST = ("bm3d",)


class Level(IntEnum):
    """What is on its way when something else is let in: the higher, the less may be."""

    IDLE = 0
    BATCH = 1
    EXPORT = 2
    SEGMENT = 3


class Turns:
    """Two sides that share the time by halves while both want it."""

    def __init__(self) -> None:
        self._ahead = 0.0  # seconds that the first side had more than the second

    @property
    def first(self) -> bool:
        """Whether it is the first side's turn."""
        return self._ahead <= 0

    def spend(self, first: bool, seconds: float) -> None:
        """Count work of one side."""
        self._ahead += seconds if first else -seconds

    def even(self) -> None:
        """Forget the count: one side wants nothing, and nobody saves up time."""
        self._ahead = 0.0


class Schedule:
    """Opens first, then frames that a person turns the noise of, then ventricles to find, channels to try and loops to
    make noisy, since somebody waits for them, then exports whose frames are there, then batches; and the panes always
    get their share.

    Among the panes: those of the loop a person looks at before others, each one's first frame before any
    second, then the light method before the heavy one. While any of the long jobs works, half of the time goes to
    the panes. Not thread-safe: its user holds a lock.
    """

    def __init__(self) -> None:
        self.opens: deque[OpenJob] = deque()
        self.exports: deque[ExportJob] = deque()
        self.batches: deque[BatchJob] = deque()
        self.edits: deque[EditJob] = deque()
        self.segments: deque[SegmentJob | EffectsJob | NoisyJob] = deque()
        self.tasks: list[DenoiseTask] = []
        self.current = 0  # the loop that a person looks at
        self.panes_or_exports = Turns()  # among tasks: what is shown, what exports wait for
        self.tasks_or_long = Turns()  # while a long job works: all tasks, and that

    def next(self, level: Level = Level.IDLE, warm: bool = True) -> Work | None:
        """The next piece of work, taken off its queue (tasks stay); None when there is nothing to do now."""
        if self.opens:
            return self.opens.popleft()
        if not warm:
            return None
        if self.edits:
            return self.edits.popleft()
        if level < Level.SEGMENT and self.segments:
            return self.segments.popleft()
        if level < Level.EXPORT:
            for export in self.exports:
                if export.ready:
                    self.exports.remove(export)
                    return export
        if level < Level.BATCH and self.batches:
            return self.batches.popleft()
        return self._next_task(level)

    def _next_task(self, level: Level) -> DenoiseTask | None:
        active = [task for task in self.tasks if not task.complete and not task.cancelled]
        if not active:
            self.tasks_or_long.even()
            return None
        if level > Level.IDLE and not self.tasks_or_long.first:
            return None
        needed = self._needed()
        shown = [task for task in active if task.shown]
        waited_for = [task for task in active if id(task) in needed]
        if not shown or not waited_for:
            self.panes_or_exports.even()
            side = shown or waited_for
        else:
            side = shown if self.panes_or_exports.first else waited_for
        return min(side, key=self._rank) if side else None

    def spent(self, task: DenoiseTask, seconds: float, level: Level) -> None:
        """Count the time of a task's step."""
        self.panes_or_exports.spend(task.shown and id(task) not in self._needed(), seconds)
        if level > Level.IDLE:
            self.tasks_or_long.spend(True, seconds)

    def _needed(self) -> set[int]:
        return {id(task) for export in self.exports for task in (export.needs or {}).values()}

    def _rank(self, task: DenoiseTask) -> tuple[bool, bool, int, int]:
        weight = len(LIGHT_FIRST)
        if task.method in LIGHT_FIRST:
            weight = LIGHT_FIRST.index(task.method)
        elif task.method in HEAVY_LAST:
            weight += 1
        return task.loop_id != self.current, bool(task.done.any()), weight, task.owner
