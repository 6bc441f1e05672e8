"""Work that the worker can put down and take up again: a loop denoised frame by frame, and jobs that wait for it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echoq_models.cine.loop import CineLoop
from echoq_models.denoise.base import Denoiser, Prepared, Settings
from echoq_models.runtime.jobs import ORIGINAL, BatchOptions, ExportOptions
from echoq_models.runtime.shared_files import allocate, attach


class Outward:
    """Frame indices still to do, the nearest to the playhead first, ahead of it before behind it.

    The loop plays round and round, so the distance does too: from the last frame the first is one step ahead.
    `around` may be changed between two steps, also by another thread.  taken: how many were given out.
    """

    def __init__(self, total: int, around: int = 0, done: Iterable[int] = ()) -> None:
        self.total = total
        self.around = around
        self.taken = 0
        self._left = set(range(total)) - set(done)

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        here = self.around
        for distance in range(self.total // 2 + 1):
            for index in ((here + distance) % self.total, (here - distance) % self.total):
                if index in self._left:
                    self._left.remove(index)
                    self.taken += 1
                    return index
        raise StopIteration


@dataclass(eq=False)  # each is itself
class DenoiseTask:
    """A method on a loop, written into a shared file from the playhead outward.

    owner: the job that hears of it (an export's own tasks are its, `shown` is False then).
    """

    owner: int
    loop_id: int
    method: str
    settings: Settings
    order: Outward
    done: NDArray[np.bool_]
    file: Path
    shown: bool = True
    cancelled: bool = False
    prepared: Prepared | None = None
    facts: dict[str, Any] = field(default_factory=dict)  # as `prepare` or an earlier worker found them
    seconds: float = 0.0  # of work since it was prepared
    _written: int = 0
    _in_flight: int = 0  # frames of the batch in work that the denoiser still holds
    _batch_s: float = 0.0  # what the last batch took
    _frames: NDArray[np.uint8] | None = None
    _running: Iterator[tuple[int, NDArray[np.uint8]]] | None = None

    @classmethod
    def new(cls, owner: int, loop_id: int, loop: CineLoop, method: str, settings: Settings, file: Path) -> DenoiseTask:
        """A task with everything still to do."""
        return cls(owner, loop_id, method, settings, Outward(len(loop)), np.zeros(len(loop), bool), file)

    @property
    def complete(self) -> bool:
        """Whether every frame is in the file."""
        return bool(self.done.all())

    @property
    def frames(self) -> NDArray[np.uint8]:
        """The result, uint8 (T, H, W); only frames that are done mean something. Not before `prepare`."""
        assert self._frames is not None
        return self._frames

    def serves(self, loop_id: int, method: str, settings: Settings) -> bool:
        """Whether its frames are what this loop, method and settings give (device and batch change nothing)."""
        return (self.loop_id, self.method, _essence(self.settings)) == (loop_id, method, _essence(settings))

    def map(self, loop: CineLoop) -> None:
        """Map the shared file, making it where it is not there yet. Raises OutputError when the disk is full."""
        if self._frames is None:
            there = self.file.exists() and self.file.stat().st_size == loop.frames.size
            self._frames = (attach if there else allocate)(self.file, loop.frames.shape)

    def prepare(self, denoiser: Denoiser, loop: CineLoop) -> None:
        """Fix what the denoiser needs and map the file. Raises WeightsError, EchoQError, OutputError."""
        self.map(loop)
        self.prepared = denoiser.prepare(loop, self.settings)
        self.facts = dict(self.prepared.facts)
        self._running = denoiser.run(loop, self.prepared, self.order, lambda: self.cancelled)

    def step(self, budget_s: float) -> list[int]:
        """Write frames for about `budget_s` seconds, at least one. Returns the indices now in the file.

        Ends where a batch ends when the next would take longer than that, so that no finished frame waits for it.
        """
        assert self._running is not None
        started = before = time.monotonic()
        written: list[int] = []
        for index, frame in self._running:
            self.frames[index] = frame
            self.done[index] = True
            written.append(index)
            now = time.monotonic()
            if self._in_flight == 0:
                self._batch_s = now - before
            before = now
            self._written += 1
            self._in_flight = self.order.taken - self._written
            ahead = self._batch_s if self._in_flight == 0 else 0.0
            if now - started + ahead >= budget_s:
                break
        self.seconds += time.monotonic() - started
        return written

    def stop(self) -> None:
        """End the denoiser's generator, so that it lets go of its memory."""
        self.cancelled = True
        self._running = None


@dataclass(eq=False)  # each is itself
class OpenJob:
    """A file to read."""

    job: int
    path: Path
    cancelled: bool = False


@dataclass(eq=False)  # each is itself
class ExportJob:
    """A loop to write once the frames it needs are there. needs: by method, None until it was looked at."""

    job: int
    loop_id: int
    output: Path
    options: ExportOptions
    cancelled: bool = False
    needs: dict[str, DenoiseTask] | None = None

    @property
    def ready(self) -> bool:
        """Whether it can be looked at for the first time, or written."""
        return self.needs is None or all(task.complete for task in self.needs.values())

    @property
    def methods(self) -> list[str]:
        """The denoisers it needs."""
        names = self.options.side_by_side or (self.options.method,)
        return [name for name in dict.fromkeys(names) if name != ORIGINAL]


@dataclass(eq=False)  # each is itself
class BatchJob:
    """A folder of loops to denoise. paused: it stays where it is."""

    job: int
    folder: Path
    output: Path
    options: BatchOptions
    cancelled: bool = False
    paused: bool = False


@dataclass(eq=False)  # each is itself
class SegmentJob:
    """A loop in which to find the left ventricle. frames: which ones, None for all."""

    job: int
    loop_id: int
    network: str
    frames: list[int] | None
    device: str
    cancelled: bool = False


def _essence(settings: Settings) -> Settings:
    return replace(settings, device="auto", batch=0)
