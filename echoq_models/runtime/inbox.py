"""What the window asked of the worker and is not done yet: the receiver fills it, the main thread empties it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from echoq_models.cine.loop import CineLoop
from echoq_models.errors import Cancelled, EchoQError
from echoq_models.runtime.messages import Message, unpack_batch, unpack_export, unpack_loop, unpack_settings
from echoq_models.runtime.noise_types import EditJob, EffectsJob, NoiseJob, NoisyJob
from echoq_models.runtime.schedule import Level, Schedule, Work
from echoq_models.runtime.tasks import BatchJob, DenoiseTask, ExportJob, OpenJob, Outward, SegmentJob

GRACE_SECONDS = 0.05  # without work for this long counts as idle

Job = OpenJob | ExportJob | BatchJob | SegmentJob | NoiseJob


class Send(Protocol):
    """Tells the window something; may be called by any thread."""

    def __call__(self, say: str, job: int = 0, **content: Any) -> None: ...


class Inbox:
    """Open loops, jobs and tasks behind one lock."""

    def __init__(self, send: Send, folder: Path) -> None:
        self._send = send
        self._folder = folder
        self._changed = threading.Condition()
        self._schedule = Schedule()
        self._loops: dict[int, CineLoop] = {}
        self._jobs: dict[int, Job] = {}
        self._idle = threading.Event()
        self._warm = False
        self._closed = False

    # the receiver's side

    def take(self, message: Message) -> None:
        """Note one message of the window. What cannot be noted becomes that job's failure."""
        job = message.get("job", 0)
        try:
            with self._changed:
                getattr(self, f"_take_{message['do']}")(job, message)
                self._changed.notify_all()
        except Exception as error:
            self._send("failed", job, sentence=f"The worker could not start this ({type(error).__name__}: {error}).")

    def close(self) -> bool:
        """Nothing more will come: cancel everything. Returns whether a half-written file must be cleared up."""
        with self._changed:
            self._closed = True
            for job in self._jobs.values():
                job.cancelled = True
            for task in self._schedule.tasks:
                task.cancelled = True
            self._changed.notify_all()
            return any(isinstance(job, ExportJob | BatchJob) for job in self._jobs.values())

    def warm(self) -> None:
        """torch is there: from now on networks may run."""
        with self._changed:
            self._warm = True
            self._changed.notify_all()

    def _take_open(self, job: int, message: Message) -> None:
        work = OpenJob(job, Path(message["path"]))
        self._jobs[job] = work
        self._schedule.opens.append(work)

    def _take_adopt(self, job: int, message: Message) -> None:
        """A loop that an earlier worker read."""
        self._loops[job] = unpack_loop(message["loop"])

    def _take_denoise(self, job: int, message: Message) -> None:
        loop = self._loops[message["loop_id"]]
        done = np.zeros(len(loop), dtype=bool)
        done[message["done"]] = True
        task = DenoiseTask(
            job,
            message["loop_id"],
            message["method"],
            unpack_settings(message["settings"]),
            Outward(len(loop), message["around"], np.flatnonzero(done).tolist()),
            done,
            Path(message["file"]),
            facts=message["facts"],
        )
        self._schedule.tasks.append(task)
        if not task.complete:
            self._schedule.current = task.loop_id

    def _take_look(self, _job: int, message: Message) -> None:
        self._schedule.current = message["loop_id"]
        for task in self._schedule.tasks:
            if task.loop_id == message["loop_id"]:
                task.order.around = message["index"]

    def _take_export(self, job: int, message: Message) -> None:
        options = unpack_export(message["options"])
        work = ExportJob(job, message["loop_id"], Path(message["output"]), options)
        self._jobs[job] = work
        self._schedule.exports.append(work)

    def _take_batch(self, job: int, message: Message) -> None:
        options = unpack_batch(message["options"])
        work = BatchJob(job, Path(message["folder"]), Path(message["output"]), options, paused=message["paused"])
        self._jobs[job] = work
        self._schedule.batches.append(work)

    def _take_pause(self, job: int, message: Message) -> None:
        """A batch rests, or goes on."""
        work = self._jobs.get(job)
        if isinstance(work, BatchJob):
            work.paused = message["paused"]

    def _take_segment(self, job: int, message: Message) -> None:
        work = SegmentJob(job, message["loop_id"], message["network"], message["frames"], message["device"])
        self._jobs[job] = work
        self._schedule.segments.append(work)

    def _take_edit(self, job: int, message: Message) -> None:
        what = (message["generator"], message["changes"], message["device"], message["refine"])
        work = EditJob(job, message["loop_id"], message["frame"], *what)
        self._jobs[job] = work
        self._schedule.edits.append(work)

    def _take_try(self, job: int, message: Message) -> None:
        what = (message["generator"], message["device"], message["refine"])
        work = EffectsJob(job, message["loop_id"], message["frame"], *what)
        self._jobs[job] = work
        self._schedule.segments.append(work)

    def _take_noisy(self, job: int, message: Message) -> None:
        what = (message["generator"], message["changes"], message["label"], message["device"], message["refine"])
        work = NoisyJob(job, message["loop_id"], *what)
        self._jobs[job] = work
        self._schedule.segments.append(work)

    def _take_cancel(self, job: int, _message: Message) -> None:
        """Acknowledge; what waits goes at once, what works notices between two batches."""
        self._send("acknowledged", job)
        for task in [task for task in self._schedule.tasks if task.owner == job and task.shown]:
            self._remove(task)
            self._send("cancelled", job)
        if job in self._jobs:
            self._cancel(self._jobs[job])

    def _take_drop(self, job: int, _message: Message) -> None:
        """Another denoising takes the place of this one: its file may go."""
        for task in [task for task in self._schedule.tasks if task.owner == job and task.shown]:
            self._remove(task)
        self._send("dropped", job)

    def _take_close_loop(self, loop_id: int, _message: Message) -> None:
        for task in [task for task in self._schedule.tasks if task.loop_id == loop_id]:
            task.stop()
            self._schedule.tasks.remove(task)
        for job in list(self._jobs.values()):
            if isinstance(job, ExportJob | SegmentJob | NoiseJob) and job.loop_id == loop_id:
                self._cancel(job)
        self._loops.pop(loop_id, None)
        self._send("closed", loop_id)

    def _cancel(self, job: Job) -> None:
        job.cancelled = True
        schedule = self._schedule
        queues: tuple[Any, ...] = (
            *(schedule.opens, schedule.edits, schedule.segments, schedule.exports, schedule.batches),
        )
        for queue in queues:
            if job in queue:
                queue.remove(job)
                self._release(job)
                self._send("cancelled", job.job)

    def _remove(self, task: DenoiseTask) -> None:
        """Stop a task, unless an export waits for it: then it goes on as that export's own."""
        for export in self._jobs.values():
            if isinstance(export, ExportJob) and task in (export.needs or {}).values() and not export.cancelled:
                task.shown, task.owner = False, export.job
                return
        task.stop()
        self._schedule.tasks.remove(task)

    # the main thread's side

    def wait(self) -> Work | None:
        """Wait for work; None once the inbox is closed."""
        with self._changed:
            quiet = False
            while not self._closed:
                work = self._schedule.next(Level.IDLE, self._warm)  # also after a wait that timed out: while it
                if work is not None:  # ended, work may have come whose notice nobody heard
                    return work
                if quiet:
                    self._idle.set()
                quiet = not self._changed.wait(None if quiet else GRACE_SECONDS)
            return None

    def wait_until_idle(self, timeout_s: float) -> None:
        """Wait until there was nothing to do for a moment, at most `timeout_s` seconds."""
        self._idle.wait(timeout_s)

    def next(self, level: Level) -> Work | None:
        """What is let in while something of `level` works."""
        with self._changed:
            return None if self._closed else self._schedule.next(level, self._warm)

    def next_in_pause(self, job: BatchJob) -> Work | None:
        """Wait a moment for work beside a batch that rests: all of the time is the panes'."""
        with self._changed:
            self._schedule.tasks_or_long.even()
            work = None if self._closed else self._schedule.next(Level.BATCH, self._warm)
            if work is None and job.paused and not job.cancelled:
                self._changed.wait(GRACE_SECONDS)
            return work

    def loop(self, loop_id: int) -> CineLoop:
        """An open loop. Raises EchoQError when it was closed meanwhile."""
        with self._changed:
            if loop_id not in self._loops:
                raise EchoQError("The loop was closed.")
            return self._loops[loop_id]

    def add_loop(self, loop_id: int, loop: CineLoop) -> None:
        """Keep a loop that was read."""
        with self._changed:
            self._loops[loop_id] = loop
            self._schedule.current = loop_id

    def plan(self, export: ExportJob) -> None:
        """Find the frames that an export needs among what is there or in work; start what is missing.

        Raises Cancelled when the person was quicker.
        """
        with self._changed:
            if export.cancelled:
                raise Cancelled("Cancelled.")
            loop = self._loops[export.loop_id]
            needs: dict[str, DenoiseTask] = {}
            for method in export.methods:
                settings = export.options.settings
                known = (each for each in self._schedule.tasks if each.serves(export.loop_id, method, settings))
                task = next(known, None)
                if task is None:
                    file = self._folder / f"export-{export.job}-{method}.frames"
                    task = DenoiseTask.new(export.job, export.loop_id, loop, method, settings, file)
                    task.shown = False
                    self._schedule.tasks.append(task)
                needs[method] = task
            export.needs = needs
            self._schedule.exports.append(export)

    def release(self, job: Job) -> None:
        """A job has ended: forget it and what was made for it alone."""
        with self._changed:
            self._release(job)

    def _release(self, job: Job) -> None:
        self._jobs.pop(job.job, None)
        if isinstance(job, ExportJob):
            for task in (job.needs or {}).values():
                if not task.shown and task in self._schedule.tasks and not self._is_needed(task):
                    task.stop()
                    self._schedule.tasks.remove(task)
                    self._send("unused", job.job, files=[str(task.file)])

    def _is_needed(self, task: DenoiseTask) -> bool:
        exports = (job for job in self._jobs.values() if isinstance(job, ExportJob))
        return any(task in (export.needs or {}).values() for export in exports)

    def fail(self, task: DenoiseTask) -> list[ExportJob]:
        """A task went wrong: it ends, and so do the exports that waited for it, which are returned."""
        with self._changed:
            task.stop()
            if task in self._schedule.tasks:
                self._schedule.tasks.remove(task)
            waiting = [each for each in self._schedule.exports if task in (each.needs or {}).values()]
            for export in waiting:
                self._schedule.exports.remove(export)
                self._release(export)
            return waiting

    def spent(self, task: DenoiseTask, seconds: float, level: Level) -> None:
        """Count a task's time against its share."""
        with self._changed:
            self._schedule.spent(task, seconds, level)

    def spent_long(self, seconds: float) -> None:
        """Count the time of a long job against its share."""
        with self._changed:
            self._schedule.tasks_or_long.spend(False, seconds)
