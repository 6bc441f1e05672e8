"""The worker: a Qt-free process that owns torch, reads, denoises, segments, exports; the window talks to it by a pipe.

One duplex pipe, plain messages with generation and job number, no Queue, Lock or Event across processes (a killed
holder never releases). Frames travel in files of a `SharedFolder` that the window owns, so that they outlive a
worker. A thread receives, sets cancel and priority and acknowledges; all work is done by the main thread, in pieces
short enough to change its mind between them. torch loads beside it, so that a loop opens before. When the window
is gone the pipe ends and so does the worker.
"""

from __future__ import annotations

import faulthandler
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from echoq_models.errors import Cancelled, EchoQError, NotClean
from echoq_models.runtime.batching import device_is_lost
from echoq_models.runtime.device import STACK_BYTES, be_polite, set_thread_defaults
from echoq_models.runtime.inbox import Inbox
from echoq_models.runtime.messages import Message, pack_loop, pack_segmentation, pack_spacing
from echoq_models.runtime.noise_desk import NoiseDesk
from echoq_models.runtime.noise_types import EditJob, NoiseJob
from echoq_models.runtime.schedule import Level, Work
from echoq_models.runtime.tasks import BatchJob, DenoiseTask, ExportJob, OpenJob, SegmentJob

DEVICE_LOST = 70  # exit code: after a CUDA error nothing runs in this process any more
LEAVE_SECONDS = 3.0  # that a job may take to clear up after the window went
WARM_UP_SECONDS = 0.5  # loading torch, which holds up everything, waits this long for a file to be read


@dataclass(frozen=True)
class WorkerSetup:
    """What a worker is born with.

    generation: which worker of this window it is.  folder: the shared folder.  extra_denoisers: "module:object"
    of denoisers to offer besides the registered ones (see `registry.add`).  warm_up: whether to load torch at all.
    cpu: hide CUDA.  slice_s: seconds of denoising between two looks at what else there is.
    """

    generation: int
    folder: str
    extra_denoisers: tuple[str, ...] = ()
    warm_up: bool = True
    cpu: bool = False
    slice_s: float = 0.05


def main(pipe: Connection, setup: WorkerSetup) -> None:
    """Run a worker until the window says so or goes away. The entry point of the spawned process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the window, which then closes us
    if sys.stderr is not None:  # a windowed program has none
        faulthandler.enable()
    threading.stack_size(STACK_BYTES)
    if setup.cpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    set_thread_defaults()
    be_polite()
    Worker(pipe, setup).run()
    _leave(setup, 0)


def _leave(setup: WorkerSetup, code: int) -> None:
    """End at once, without waiting for threads that still import torch; no images stay behind a dead window."""
    parent = parent_process()
    if parent is not None and not parent.is_alive():
        shutil.rmtree(setup.folder, ignore_errors=True)
    os._exit(code)


class Worker:
    """The main thread's side: takes work from the inbox, does it, tells the window."""

    def __init__(self, pipe: Connection, setup: WorkerSetup) -> None:
        self._pipe = pipe
        self._setup = setup
        self._sending = threading.Lock()
        self._inbox = Inbox(self.send, Path(setup.folder))
        self._cold: str | None = None  # why nothing can be denoised
        self._told = 0  # the job that the window knows to be in work
        self._long_since = 0.0
        self._noise = NoiseDesk(self.send, self._inbox, Path(setup.folder), lambda: self._let_in(Level.SEGMENT))

    def run(self) -> None:
        """Work until the inbox closes."""
        self.send("hello", pid=os.getpid())
        threading.Thread(target=self._receive, name="receiver", daemon=True).start()
        threading.Thread(target=self._warm_up, name="warm-up", daemon=True).start()
        while (work := self._inbox.wait()) is not None:
            self._do(work, Level.IDLE)

    def send(self, say: str, job: int = 0, **content: Any) -> None:
        """Tell the window; a window that is gone is noticed by the receiver."""
        message: Message = {"say": say, "generation": self._setup.generation, "job": job, **content}
        try:
            with self._sending:
                self._pipe.send(message)
        except OSError:
            pass

    # the other threads

    def _receive(self) -> None:
        while True:
            try:
                message = self._pipe.recv()
            except (EOFError, OSError):
                break
            if message["do"] == "leave":
                break
            if message["generation"] == self._setup.generation:
                self._inbox.take(message)
        if self._inbox.close():
            time.sleep(LEAVE_SECONDS)
        _leave(self._setup, 0)

    def _warm_up(self) -> None:
        """Find the methods, then load torch and the networks; the first file goes first."""
        self._inbox.wait_until_idle(WARM_UP_SECONDS)
        self.send("warming")
        try:
            from echoq_models.denoise import registry

            for target in self._setup.extra_denoisers:
                registry.add(target)
            if not self._setup.warm_up:
                raise EchoQError("The networks cannot be loaded on this machine: loading them stopped the worker.")
            self._tell_methods()
            from echoq_models.runtime.device import limit_threads

            limit_threads()
            registry.preload()
        except EchoQError as error:
            self._cold = str(error)
        except Exception as error:  # a broken torch raises OSError, ImportError, RuntimeError, ...
            self._cold = f"The networks cannot be loaded: {_one_line(error)}."
        if self._cold is not None:
            self._tell_methods(self._cold)
        self._inbox.warm()
        self.send("ready")

    def _tell_methods(self, missing: str | None = None) -> None:
        from echoq_models import segment
        from echoq_models.denoise import registry

        methods = {
            name: {"title": found.title, "missing": missing or found.available()}
            for name, found in registry.denoisers().items()
        }
        networks = {
            name: {"title": title, "missing": missing or segment.available(name)}
            for name, title in segment.networks().items()
        }
        self.send("methods", methods=methods, segmenters=networks)

    # the main thread

    def _do(self, work: Work, level: Level) -> None:
        if isinstance(work, DenoiseTask):
            self._denoise(work, level)
            return
        if isinstance(work, ExportJob) and work.needs is None:
            if self._guard(work.job, work.output.name, lambda: self._plan(work)):
                return  # it is back in the queue, until its frames are there
        elif isinstance(work, ExportJob):
            self._guard(work.job, work.output.name, lambda: self._export(work))
        elif isinstance(work, OpenJob):
            self._guard(work.job, work.path.name, lambda: self._open(work))
        elif isinstance(work, SegmentJob):
            self._guard(work.job, work.network, lambda: self._segment(work))
        elif isinstance(work, NoiseJob):
            self._guard(work.job, "noise", lambda: self._turn_noise(work))
        else:
            self._guard(work.job, work.folder.name, lambda: self._batch(work))
        self._inbox.release(work)

    def _guard(self, job: int, what: str, action: Callable[[], None]) -> bool:
        """Do it; what goes wrong becomes one sentence for the window. Returns whether all went well."""
        with self._working(job):
            try:
                action()
                return True
            except Cancelled:
                self.send("cancelled", job)
            except NotClean as error:
                self.send("left_out", job, sentence=str(error))
            except EchoQError as error:
                self.send("failed", job, sentence=str(error))
            except MemoryError:
                self.send("failed", job, sentence=f"{what}: there is not enough memory for this.")
            except Exception as error:
                if device_is_lost(error):
                    os._exit(DEVICE_LOST)  # the window starts another worker and counts this as a death
                traceback.print_tb(error.__traceback__)  # without the message, which may hold a patient's name
                self.send("failed", job, sentence=f"{what}: unexpected {_one_line(error)}.")
        return False

    @contextmanager
    def _working(self, job: int) -> Iterator[None]:
        """Let the window know which job is in work, since it must know whom to blame for a death."""
        before = self._told
        self._tell_working(job)
        try:
            yield
        finally:
            self._tell_working(before)

    def _tell_working(self, job: int) -> None:
        if job != self._told:
            self._told = job
            self.send("working", job)

    def _let_in(self, level: Level) -> None:
        """Between two batches of long work: opens at once, and the panes for their share of the time."""
        self._inbox.spent_long(time.monotonic() - self._long_since)
        while (work := self._inbox.next(level)) is not None:
            self._do(work, level)
        self._long_since = time.monotonic()

    def _open(self, work: OpenJob) -> None:
        from echoq_models.cine import read, sector
        from echoq_models.runtime import describe

        told = 0.0

        def progress(done: int, total: int) -> None:
            nonlocal told
            if work.cancelled:
                raise Cancelled("Cancelled while reading.")
            now = time.monotonic()
            if now - told >= self._setup.slice_s or done == total:
                told = now
                self.send("progress", work.job, done=done, total=total, text="reading")

        loop = read(work.path, progress=progress)
        found = sector.fit(loop)
        spacing = sector.usable_spacing(loop, found)
        summary = describe.lines(describe.facts(loop, found, spacing))
        loop, packed = pack_loop(loop, Path(self._setup.folder), f"loop-{work.job}")
        self._inbox.add_loop(work.job, loop)
        self.send(
            "opened",
            work.job,
            path=str(work.path),
            loop=packed,
            sector_box=(found.x0, found.y0, found.side),
            sector_mask=found.mask,
            spacing=pack_spacing(spacing),
            summary=summary,
        )

    def _denoise(self, task: DenoiseTask, level: Level) -> None:
        """One piece of a loop."""
        started = time.monotonic()
        well = self._guard(task.owner, task.method, lambda: self._step(task))
        if not well:
            for export in self._inbox.fail(task):
                if export.job != task.owner:
                    self.send("failed", export.job, sentence=f"{export.output.name}: {task.method} failed.")
        elif task.complete and task.shown:
            self.send("finished", task.owner, result={**task.facts, "seconds": round(task.seconds, 3)})
        self._inbox.spent(task, time.monotonic() - started, level)

    def _step(self, task: DenoiseTask) -> None:
        from echoq_models.denoise import registry

        if self._cold is not None:
            raise EchoQError(self._cold)
        loop = self._inbox.loop(task.loop_id)
        if task.prepared is None:
            task.prepare(registry.get(task.method), loop)
            if task.shown:
                place = {"file": str(task.file), "shape": loop.frames.shape}
                self.send("prepared", task.owner, facts=task.facts, frames=place)
            return
        written = task.step(self._setup.slice_s)
        if task.cancelled:
            return
        if not written and not task.complete:
            raise EchoQError(f"The method {task.method} gave back fewer frames than it was given.")
        if task.shown:
            self.send("frames", task.owner, indices=written)
        else:
            done = int(task.done.sum())
            self.send("progress", task.owner, done=done, total=len(loop), text=f"denoising ({task.method})")

    def _plan(self, job: ExportJob) -> None:
        """Refuse at once what cannot work, and find or start the frames that the export needs."""
        from echoq_models.runtime.export import check_methods, check_output, cleaning_of

        loop = self._inbox.loop(job.loop_id)
        if loop.source is not None:
            check_output(loop.source, job.output, job.options)
        check_methods(job.methods)
        cleaning_of(loop, job.options)
        self._inbox.plan(job)

    def _export(self, job: ExportJob) -> None:
        from echoq_models.runtime import jobs

        loop = self._inbox.loop(job.loop_id)
        needs = job.needs or {}
        for task in needs.values():
            task.map(loop)

        def cancel() -> bool:
            self._let_in(Level.EXPORT)
            return job.cancelled

        def progress(done: int, total: int, text: str) -> None:
            self.send("progress", job.job, done=done, total=total, text=text)

        self._long_since = time.monotonic()
        facts = {name: task.facts for name, task in needs.items()}
        result = jobs.export_loop(
            loop, job.output, job.options, lambda name: needs[name].frames, progress, cancel, facts
        )
        self.send("finished", job.job, result={**result, "methods": facts})

    def _segment(self, job: SegmentJob) -> None:
        from echoq_models import segment

        if self._cold is not None:
            raise EchoQError(self._cold)
        loop = self._inbox.loop(job.loop_id)

        def cancel() -> bool:
            self._let_in(Level.SEGMENT)
            return job.cancelled

        def progress(done: int, total: int, text: str) -> None:
            self.send("progress", job.job, done=done, total=total, text=text)

        self._long_since = time.monotonic()
        found = segment.segment(
            loop, job.frames, network=job.network, device=job.device, progress=progress, cancel=cancel
        )
        self.send("segmented", job.job, segmentation=pack_segmentation(found))

    def _turn_noise(self, job: NoiseJob) -> None:
        if self._cold is not None:
            raise EchoQError(self._cold)
        if not isinstance(job, EditJob):  # one is let in while others work
            self._long_since = time.monotonic()
        self._noise.do(job)

    def _batch(self, job: BatchJob) -> None:
        from echoq_models.runtime import jobs

        def cancel() -> bool:
            self._let_in(Level.BATCH)
            while job.paused and not job.cancelled:
                work = self._inbox.next_in_pause(job)
                if work is not None:
                    self._do(work, Level.BATCH)
                self._long_since = time.monotonic()
            return job.cancelled

        def progress(event: jobs.BatchEvent) -> None:
            self.send("event", job.job, content=asdict(event))

        self._long_since = time.monotonic()
        report = jobs.batch(job.folder, job.output, job.options, progress=progress, cancel=cancel)
        if report.cancelled:
            raise Cancelled("Cancelled.")
        if report.stopped is not None:
            raise EchoQError(report.stopped)
        content = {"files": [asdict(each) for each in report.files], "summary": str(report.summary)}
        content |= {"page": str(report.page), "notes": list(report.notes)}
        self.send("finished", job.job, result={**content, "total": report.total, "exit_code": report.exit_code})


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
