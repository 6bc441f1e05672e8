"""One worker process as the window sees it: started, listened to, written to and ended without ever waiting."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import wait
from queue import SimpleQueue
from typing import Any

from echoq_models.runtime import worker
from echoq_models.runtime.worker import WorkerSetup

Message = dict[str, Any]


class WorkerLink:
    """A spawned worker, a thread that waits on its pipe and its sentinel, and a thread that writes to it.

    arrived(message) and ended(generation, exit code) are called by the listening thread: emit a signal there.
    A pipe that the worker does not empty blocks the writing thread only.
    """

    def __init__(
        self,
        setup: WorkerSetup,
        arrived: Callable[[Message], None],
        ended: Callable[[int, int | None], None],
    ) -> None:
        self.setup = setup
        self._arrived = arrived
        self._ended = ended
        self._outgoing: SimpleQueue[Message | None] = SimpleQueue()
        context = multiprocessing.get_context("spawn")
        self._pipe, self._child_pipe = context.Pipe(duplex=True)
        self._process = context.Process(
            target=worker.main, args=(self._child_pipe, setup), name="echoq-worker", daemon=True
        )
        self._started = threading.Event()
        self._kill_asked = False
        self._listener = threading.Thread(target=self._listen, name="worker-listener", daemon=True)
        self._writer = threading.Thread(target=self._write, name="worker-writer", daemon=True)

    def start(self) -> None:
        """Start the process in the background; returns at once."""
        self._listener.start()
        self._writer.start()

    def send(self, do: str, job: int = 0, **content: Any) -> None:
        """Put a message on its way."""
        self._outgoing.put({"do": do, "generation": self.setup.generation, "job": job, **content})

    def kill(self) -> None:
        """End the process without asking it."""
        self._kill_asked = True
        if self._started.is_set() and self._process.is_alive():
            self._process.kill()

    def close(self, patience_s: float) -> None:
        """Ask the process to leave, kill it if it has not after `patience_s` seconds, and wait for that."""
        self.send("leave")
        self._listener.join(patience_s)
        if self._listener.is_alive():
            self.kill()
            self._listener.join()

    def _listen(self) -> None:
        try:
            self._process.start()
        except OSError:
            self._finish(None)
            return
        self._child_pipe.close()  # ours would keep the pipe open after the worker's death
        self._started.set()
        if self._kill_asked:
            self._process.kill()
        while True:
            ready = wait([self._pipe, self._process.sentinel])
            if self._pipe in ready:  # first, since a dead worker's last words tell whom to blame
                try:
                    message = self._pipe.recv()
                except (EOFError, OSError):
                    break
                self._tell(self._arrived, message)
            else:
                break
        self._process.join(1.0)
        if self._process.exitcode is None:  # the pipe is closed but it lives on
            self._process.kill()
            self._process.join()
        self._finish(self._process.exitcode)

    def _finish(self, code: int | None) -> None:
        self._outgoing.put(None)
        self._writer.join()
        self._pipe.close()
        self._tell(self._ended, self.setup.generation, code)

    @staticmethod
    def _tell(receiver: Callable[..., None], *content: Any) -> None:
        with suppress(RuntimeError):  # the receiving object is gone, at the end of the program
            receiver(*content)

    def _write(self) -> None:
        while (message := self._outgoing.get()) is not None:
            try:
                self._pipe.send(message)
            except OSError:  # it died; the listener knows
                return
