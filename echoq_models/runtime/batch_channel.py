"""What connects the three threads of a batch: reader, denoiser and writer. Nothing here waits for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from queue import Empty, Full, Queue, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

POLL_S = 0.05  # how soon a waiting thread hears that it need not wait any more
ROOM = 16  # frames of each method between denoiser and writer

U8 = NDArray[np.uint8]


class Channel:
    """Denoised frames of one loop on their way to the writer, a few at a time.

    The denoiser's side puts, finishes or fails; the writer's side reads the streams and closes. facts: what each
    method said when it was prepared.
    """

    def __init__(self, methods: Sequence[str], total: int, facts: Mapping[str, Mapping[str, Any]]) -> None:
        self.facts = facts
        self._total = total
        self._queues: dict[str, Queue[U8]] = {name: Queue(ROOM) for name in methods}
        self._closed = threading.Event()
        self._error: Exception | None = None

    def put(self, method: str, frame: U8, look: Callable[[], None]) -> bool:
        """Hand over the next frame. look: called while there is no room, may raise.

        Returns False when nobody takes frames any more.
        """
        while not self._closed.is_set():
            try:
                self._queues[method].put(frame, timeout=POLL_S)
                return True
            except Full:
                look()
        return False

    def fail(self, error: Exception) -> None:
        """No more frames come: the writer's side raises this."""
        self._error = error

    def close(self) -> None:
        """Nobody takes frames any more."""
        self._closed.set()

    def stream(self, method: str) -> Stream:
        """The frames of a method, for the writer."""
        return Stream(self, method)

    def take(self, method: str) -> U8:
        """The next frame of a method. Raises what `fail` was given."""
        while True:
            if self._error is not None:
                raise self._error
            try:
                return self._queues[method].get(timeout=POLL_S)
            except Empty:
                continue

    def __len__(self) -> int:
        return self._total


class Stream:
    """Frames uint8 (H, W) of a loop in order; iterating waits for each."""

    def __init__(self, channel: Channel, method: str) -> None:
        self._channel, self._method = channel, method

    def __len__(self) -> int:
        return len(self._channel)

    def __iter__(self) -> Iterator[U8]:
        for _ in range(len(self)):
            yield self._channel.take(self._method)


class Slots:
    """Bounds the loops in memory: one is read while one is denoised and one is written; or one has all for itself."""

    def __init__(self, count: int = 3) -> None:
        self._count = self._free = count
        self._changed = threading.Condition()

    def enter(self, halt: threading.Event, *, alone: bool) -> bool:
        """Wait for room. Returns False when `halt` was set meanwhile."""
        wanted = self._count if alone else 1
        with self._changed:
            while self._free < wanted:
                if halt.is_set():
                    return False
                self._changed.wait(POLL_S)
            self._free -= wanted
        return not halt.is_set()

    def leave(self, *, alone: bool) -> None:
        """A loop is done with."""
        with self._changed:
            self._free += self._count if alone else 1
            self._changed.notify_all()


def wait_for(queue: SimpleQueue[Any], look: Callable[[], None]) -> Any:
    """The next thing in a queue. look: called while there is none, may raise."""
    while True:
        try:
            return queue.get(timeout=POLL_S)
        except Empty:
            look()


def join(thread: threading.Thread, look: Callable[[], None]) -> None:
    """Wait for a thread to end."""
    while thread.is_alive():
        thread.join(POLL_S)
        look()


class Timed:
    """A cancel token that tells how long each look at it took: the caller may be paused in it."""

    def __init__(self, cancel: Callable[[], bool], waited: Callable[[float], None]) -> None:
        self._cancel, self._waited = cancel, waited

    def __call__(self) -> bool:
        before = time.monotonic()
        asked = self._cancel()
        self._waited(time.monotonic() - before)
        return asked
