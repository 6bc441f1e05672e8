"""The window's client of the worker process: Qt signals in front, a pipe behind. No torch in this process."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import QCoreApplication, QObject, Qt, QTimer, Signal

from echoq_desktop.engine_types import EngineOptions, HeldLoop, Life, OpenedLoop, Pane, Result
from echoq_desktop.worker_jobs import Blame, Job
from echoq_desktop.worker_link import Message, WorkerLink
from echoq_models.cine.writer import remove_unfinished
from echoq_models.denoise.base import Settings
from echoq_models.runtime.batch import clear_up
from echoq_models.runtime.jobs import BatchOptions, ExportOptions
from echoq_models.runtime.messages import loop_files, unpack_loop, unpack_segmentation, unpack_spacing
from echoq_models.runtime.noise_types import unpack_edited, unpack_tried
from echoq_models.runtime.shared_files import SharedFolder, sweep, view
from echoq_models.runtime.worker import WorkerSetup

WATCH_MS = 100
RESTARTED = "The worker stopped unexpectedly and was started again; what is open goes on."
STOPPED_HARD = "Stopping took too long, so the worker was started again; what is open goes on."
NO_WORKER = "The worker cannot be started on this machine, so nothing can be read or denoised."

__all__ = ["Engine", "EngineOptions", "OpenedLoop", "Result"]


class Engine(QObject):
    """Opens, denoises, segments and exports loops in the worker process; everything here returns at once.

    All methods belong to the GUI thread. A worker that dies is replaced: open loops and finished frames stay, jobs
    go on; the second death on one job sends it to the CPU, the third ends it.
    """

    ready = Signal()
    methods = Signal(object)  # name -> {"title": str, "missing": None | sentence}
    segmenters = Signal(object)  # the same of the networks that find the left ventricle
    opened = Signal(int, object)  # loop_id (the job of open()), OpenedLoop
    frames_ready = Signal(int, str, object)  # loop_id, method, list[int]: frames now in the result
    prepared = Signal(int, str, object)  # loop_id, method, facts
    progress = Signal(int, int, int, str)  # job, done, total, text
    segmented = Signal(int, object)  # loop_id, Segmentation; `finished` of the job follows
    edited = Signal(int, object)  # job, Edited: a frame drawn by the generator
    tried = Signal(int, object)  # job, list[Tried]: what single channels do to a frame
    file_event = Signal(int, object)  # job, news of one file of a batch (BatchEvent)
    finished = Signal(int, object)  # job, result dict
    failed = Signal(int, str)  # job, one sentence
    left_out = Signal(int, str)  # an export that `keep_unjudged` would write, one sentence that says why it did not
    cancelled = Signal(int)  # job
    restarted = Signal(str)  # one sentence

    _arrived = Signal(object)
    _ended = Signal(int, object)

    def __init__(self, parent: QObject | None = None, *, options: EngineOptions | None = None) -> None:
        super().__init__(parent)
        self.options = options or EngineOptions()
        self.worker_pid: int | None = None
        self._folder: SharedFolder | None = None
        self._link: WorkerLink | None = None
        self._life = Life()
        self._generation = 0
        self._last_job = 0
        self._jobs: dict[int, Job] = {}
        self._loops: dict[int, HeldLoop] = {}
        self._panes: dict[tuple[int, str], Pane] = {}
        self._dropped: dict[int, list[str]] = {}  # job or loop -> files to delete once the worker let go of them
        self._blame = Blame()
        self._watched = 0.0
        self._watchdog = QTimer(self, interval=WATCH_MS)
        self._watchdog.timeout.connect(self._watch)
        self._arrived.connect(self._on_message, Qt.ConnectionType.QueuedConnection)
        self._ended.connect(self._on_ended, Qt.ConnectionType.QueuedConnection)
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.close)

    # for the window

    def start(self) -> None:
        """Start the worker in the background. Raises OutputError when no temporary folder can be made."""
        if self._folder is not None:
            return
        self._folder = SharedFolder(self.options.temporary)
        threading.Thread(target=sweep, args=(self.options.temporary,), name="sweep", daemon=True).start()
        self._start_worker()

    def close(self) -> None:
        """End the worker and delete the shared frames; views of them that live on stay readable. Idempotent."""
        self._watchdog.stop()
        self._generation += 1  # whatever still arrives is stale
        link, self._link = self._link, None
        if link is not None:
            link.close(self.options.close_s)
        self.worker_pid = None
        self._jobs.clear()
        self._loops.clear()
        self._panes.clear()
        if self._folder is not None:
            self._folder.close()

    def open(self, path: Path) -> int:
        """Read a file or a folder of stills: `opened`, `failed` or `cancelled` follows with the number given back."""
        return self._begin(Job(self._new(), "open", {"path": str(path)}, what=Path(path).name))

    def denoise(self, loop_id: int, method: str, settings: Settings, around: int) -> int:
        """Fill the result of a method on a loop, from frame `around` outward; takes the place of an earlier call.

        Frames that an earlier call with the same settings left are kept. Raises ValueError for a loop not open.
        """
        if loop_id not in self._loops:
            raise ValueError(f"no loop {loop_id} is open")
        job = self._new()
        before = self._panes.get((loop_id, method))
        kept = before is not None and before.settings == settings
        if before is not None:
            self._forget(before.job)
            self._drop(before, delete=not kept)
        if before is not None and kept:
            pane = before
            pane.job = job
        else:
            frames = len(self._loops[loop_id].opened.loop)
            file = self._shared.file(f"result-{job}.frames")
            pane = self._panes[loop_id, method] = Pane(job, settings, file, np.zeros(frames, dtype=bool))
        content = {"loop_id": loop_id, "method": method, "settings": asdict(settings), "around": int(around)}
        content |= {"file": str(pane.file), "facts": {} if pane.result is None else dict(pane.result.facts)}
        self._begin(Job(job, "denoise", content, what=method, loop_id=loop_id, pane=pane))
        if pane.done.all():  # nothing is left to do, but the worker holds it for exports
            QTimer.singleShot(0, self, lambda: self._tell_complete(job, loop_id, method))
        return job

    def look_at(self, loop_id: int, index: int) -> None:
        """The playhead moved: fill from there outward, this loop first."""
        for job in self._jobs.values():
            if job.do == "denoise" and job.loop_id == loop_id:
                job.content["around"] = int(index)
        self._send("look", loop_id=loop_id, index=int(index))

    def result(self, loop_id: int, method: str) -> Result | None:
        """The frames of a method as far as they are computed; None before the worker has prepared it."""
        pane = self._panes.get((loop_id, method))
        return None if pane is None else pane.result

    def export(self, loop_id: int, output: Path, options: ExportOptions) -> int:
        """Write a loop; frames that are computed already are used. Raises ValueError for a loop not open."""
        if loop_id not in self._loops:
            raise ValueError(f"no loop {loop_id} is open")
        content = {"loop_id": loop_id, "output": str(output), "options": asdict(options)}
        return self._begin(Job(self._new(), "export", content, what=Path(output).name, loop_id=loop_id))

    def batch(self, folder: Path, output: Path, options: BatchOptions) -> int:
        """Denoise every loop of a folder: `file_event` for each file, then `finished` with the report."""
        content = {"folder": str(folder), "output": str(output), "options": asdict(options), "paused": False}
        return self._begin(Job(self._new(), "batch", content, what=Path(folder).name))

    def pause(self, job: int, paused: bool) -> None:
        """Let a batch rest where it is, or go on; what is open has the worker for itself meanwhile."""
        entry = self._jobs.get(job)
        if entry is not None and entry.do == "batch":
            entry.content["paused"] = paused
            self._send("pause", job, paused=paused)

    def segment(
        self, loop_id: int, frames: Sequence[int] | None = None, network: str = "lv", device: str = "auto"
    ) -> int:
        """Find the left ventricle in `frames` (all when None): `segmented` follows, then `finished` with the facts.

        Raises ValueError for a loop not open or a frame it does not have.
        """
        if loop_id not in self._loops:
            raise ValueError(f"no loop {loop_id} is open")
        asked = None if frames is None else [int(t) for t in frames]
        if asked and not 0 <= min(asked) <= max(asked) < len(self._loops[loop_id].opened.loop):
            raise ValueError(f"loop {loop_id} has no such frame")
        content = {"loop_id": loop_id, "network": network, "frames": asked, "device": device}
        what = self._loops[loop_id].opened.path.name
        return self._begin(Job(self._new(), "segment", content, what=what, loop_id=loop_id))

    def noise(self, do: str, loop_id: int, **content: Any) -> int:
        """Work on a loop with a generator; see `runtime.noise_types`. Raises ValueError for a loop not open.

        do: "edit" (EditJob: `edited` follows), "try" (EffectsJob: `tried`) or "noisy" (NoisyJob: the new loop is
        `opened`, as if it were read).
        """
        if loop_id not in self._loops:
            raise ValueError(f"no loop {loop_id} is open")
        what = self._loops[loop_id].opened.path.name
        return self._begin(Job(self._new(), do, {"loop_id": loop_id, **content}, what=what, loop_id=loop_id))

    def cancel(self, job: int) -> None:
        """Stop a job: `cancelled` follows, at the latest when the worker was ended for not answering."""
        entry = self._jobs.get(job)
        if entry is None or entry.cancelling:
            return
        entry.cancelling = True
        entry.due(self.options.acknowledge_s)
        self._send("cancel", job)
        self._start_watch()

    def close_loop(self, loop_id: int) -> None:
        """Forget a loop, its results and its jobs, and delete their shared frames."""
        entry = self._loops.pop(loop_id, None)
        if entry is None:
            return
        files = loop_files(entry.message)
        for key in [key for key in self._panes if key[0] == loop_id]:
            files.append(str(self._panes.pop(key).file))
        for job in [job for job in self._jobs.values() if job.loop_id == loop_id]:
            if job.do == "denoise":
                self._forget(job.number)
            else:
                self.cancel(job.number)
        self._dropped[loop_id] = files
        self._send("close_loop", loop_id)

    # within

    @property
    def _shared(self) -> SharedFolder:
        if self._folder is None:
            raise RuntimeError("start() the engine first")
        return self._folder

    def _new(self) -> int:
        self._last_job += 1
        return self._last_job

    def _begin(self, job: Job) -> int:
        self._jobs[job.number] = job
        if job.do == "open":
            job.due(self.options.read_s)
            self._start_watch()
        if self._blame.hopeless:
            QTimer.singleShot(0, self, lambda: self._fail(job.number, NO_WORKER))
        else:
            self._send_job(job)
        return job.number

    def _send(self, do: str, job: int = 0, **content: Any) -> None:
        if self._link is not None:
            self._link.send(do, job, **content)

    def _send_job(self, job: Job) -> None:
        self._send(job.do, job.number, **job.message())

    def _drop(self, pane: Pane, *, delete: bool) -> None:
        """Let the worker forget a result; its file goes once it has."""
        self._dropped[pane.job] = [str(pane.file)] if delete else []
        self._send("drop", pane.job)

    def _forget(self, number: int) -> None:
        """Nobody wants this job any more; the worker may be in the middle of it, but not for long."""
        if self._jobs.pop(number, None) is not None and self._life.working == number:
            self._life.ghost = number
            self._life.ghost_deadline = time.monotonic() + self.options.stop_s
            self._start_watch()

    def _fail(self, number: int, sentence: str) -> None:
        if self._jobs.pop(number, None) is not None:
            self.failed.emit(number, sentence)

    def _tell_complete(self, job: int, loop_id: int, method: str) -> None:
        pane = self._panes.get((loop_id, method))
        if pane is None or pane.result is None or self._jobs.pop(job, None) is None:
            return
        self.prepared.emit(loop_id, method, dict(pane.result.facts))
        self.frames_ready.emit(loop_id, method, list(range(len(pane.done))))
        self.finished.emit(job, dict(pane.result.facts))

    # the worker's life

    def _start_worker(self) -> None:
        """A new worker that takes over loops, results and jobs."""
        self._generation += 1
        self._life = Life()
        setup = WorkerSetup(
            self._generation,
            str(self._shared.path),
            self.options.extra_denoisers,
            warm_up=self._blame.warm_up,
            cpu=self._blame.cpu,
        )
        self._link = WorkerLink(setup, self._arrived.emit, self._ended.emit)
        for loop_id, entry in self._loops.items():
            self._send("adopt", loop_id, loop=entry.message)
        for (loop_id, method), pane in self._panes.items():
            if pane.done.all() and pane.job not in self._jobs:
                content = {"loop_id": loop_id, "method": method, "settings": asdict(pane.settings), "around": 0}
                content |= {"file": str(pane.file), "facts": dict(pane.result.facts) if pane.result else {}}
                self._send_job(Job(pane.job, "denoise", content, what=method, pane=pane))
        for job in self._jobs.values():
            self._send_job(job)
        self._link.start()

    def _on_ended(self, generation: int, _code: int | None) -> None:
        """A worker is gone that nobody asked to go."""
        if generation != self._generation or self._link is None:
            return
        self._clear_up(self.worker_pid)
        self.worker_pid = self._link = None
        life = self._life
        stopped = [job for job in self._jobs.values() if job.cancelling]
        for job in stopped:
            del self._jobs[job.number]
            self.cancelled.emit(job.number)
        culprit = self._jobs.get(life.working)
        for number in life.overdue:
            if life.working in (0, number) and number in self._jobs:
                self._fail(number, f"{self._jobs[number].what}: reading did not get on and was stopped; is it damaged?")
        if culprit is not None and culprit.number in self._jobs:
            sentence = self._blame.job(culprit)
            if sentence is not None:
                self._fail(culprit.number, sentence)
        elif not life.overdue:
            self._blame.worker(hello=life.hello, warming=life.warming and not life.ready)
        if self._blame.hopeless:
            for number in list(self._jobs):
                self._fail(number, NO_WORKER)
            self.restarted.emit(NO_WORKER)
            return
        self._start_worker()
        self.restarted.emit(STOPPED_HARD if life.overdue else RESTARTED)

    def _start_watch(self) -> None:
        if not self._watchdog.isActive():
            self._watched = time.monotonic()
            self._watchdog.start()

    def _clear_up(self, process: int | None) -> None:
        """The dead hold nothing: delete dropped frames and half-written exports."""
        for files in self._dropped.values():
            self._shared.discard(files)
        self._dropped.clear()
        for job in self._jobs.values():
            if job.target is not None and process is not None:
                remove_unfinished(job.target, process)
            if job.do == "batch" and job.cancelling:
                clear_up(Path(job.content["output"]))

    def _watch(self) -> None:
        """End a worker that does not answer a cancel, or that reads without getting on."""
        now = time.monotonic()
        slept, self._watched = now - self._watched, now
        if slept > 10 * WATCH_MS / 1000:  # this window was held up, or the computer slept: nobody was listening
            for job in self._jobs.values():
                job.deadline = None if job.deadline is None else job.deadline + slept
            self._life.ghost_deadline += slept
        deadlines = {job.number: job.deadline for job in self._jobs.values() if job.deadline is not None}
        if self._life.ghost:
            deadlines[self._life.ghost] = self._life.ghost_deadline
        if not deadlines:
            self._watchdog.stop()
        late = {number for number, deadline in deadlines.items() if deadline < now}
        if late and self._link is not None and not self._life.overdue:
            self._life.overdue = late
            self._link.kill()

    # the worker's words

    def _on_message(self, message: Message) -> None:
        if message["generation"] != self._generation:
            return
        getattr(self, f"_on_{message['say']}")(message["job"], message)

    def _on_hello(self, _job: int, message: Message) -> None:
        self.worker_pid = message["pid"]
        self._life.hello = True

    def _on_warming(self, _job: int, _message: Message) -> None:
        self._life.warming = True

    def _on_methods(self, _job: int, message: Message) -> None:
        self.methods.emit(message["methods"])
        self.segmenters.emit(message["segmenters"])

    def _on_ready(self, _job: int, _message: Message) -> None:
        self._life.ready = True
        self.ready.emit()

    def _on_working(self, job: int, _message: Message) -> None:
        self._life.working = job
        self._life.ghost = 0
        self._got_on(job)

    def _got_on(self, number: int) -> None:
        """Reading got on: its clock starts again."""
        job = self._jobs.get(number)
        if job is not None and job.do == "open" and not job.cancelling:
            job.due(self.options.read_s)
            self._start_watch()

    def _on_acknowledged(self, job: int, _message: Message) -> None:
        entry = self._jobs.get(job)
        if entry is not None and entry.cancelling:
            entry.due(self.options.acknowledge_s if entry.do == "open" else self.options.stop_s)

    def _on_opened(self, job: int, message: Message) -> None:
        entry = self._jobs.pop(job, None)
        try:
            loop = unpack_loop(message["loop"])
        except OSError as error:
            self.failed.emit(job, f"{Path(message['path']).name}: its frames cannot be shared ({error.strerror}).")
            return
        opened = OpenedLoop(
            job,
            Path(message["path"]),
            loop,
            message["sector_box"],
            message["sector_mask"],
            unpack_spacing(message["spacing"]),
            message["summary"],
            self._clean_of(entry),
        )
        self._loops[job] = HeldLoop(opened, message["loop"])
        if entry is None or entry.cancelling:  # the cancel came a moment too late
            self.close_loop(job)
            if entry is not None:
                self.cancelled.emit(job)
            return
        self.opened.emit(job, opened)

    def _clean_of(self, entry: Job | None) -> OpenedLoop | None:
        """The loop from which a noisy one was made."""
        made_from = None if entry is None else entry.loop_id
        return self._loops[made_from].opened if made_from in self._loops else None

    def _on_prepared(self, job: int, message: Message) -> None:
        entry = self._jobs.get(job)
        if entry is None or entry.pane is None:
            return
        pane: Pane = entry.pane
        loop_id, method = entry.content["loop_id"], entry.content["method"]
        if pane.result is None:
            frames = view(message["frames"]["file"], message["frames"]["shape"])
            pane.result = Result(method, pane.settings, frames, pane.done, {})
        pane.result.facts.update(message["facts"])
        self.prepared.emit(loop_id, method, dict(message["facts"]))
        done = np.flatnonzero(pane.done).tolist()
        if done:
            self.frames_ready.emit(loop_id, method, done)

    def _on_frames(self, job: int, message: Message) -> None:
        entry = self._jobs.get(job)
        if entry is None or entry.pane is None or not message["indices"]:
            return
        entry.pane.done[message["indices"]] = True
        self.frames_ready.emit(entry.content["loop_id"], entry.content["method"], message["indices"])
        self.progress.emit(job, int(entry.pane.done.sum()), len(entry.pane.done), "denoising")

    def _on_progress(self, job: int, message: Message) -> None:
        self._got_on(job)
        if job in self._jobs:
            self.progress.emit(job, message["done"], message["total"], message["text"])

    def _on_event(self, job: int, message: Message) -> None:
        entry = self._jobs.get(job)
        if entry is not None and entry.note_file(message["content"]):
            self.file_event.emit(job, message["content"])

    def _on_segmented(self, job: int, message: Message) -> None:
        entry = self._jobs.pop(job, None)
        if entry is not None:
            found = unpack_segmentation(message["segmentation"])
            self.segmented.emit(entry.loop_id, found)
            self.finished.emit(job, dict(found.facts))

    def _on_edited(self, job: int, message: Message) -> None:
        if self._jobs.pop(job, None) is not None:
            self.edited.emit(job, unpack_edited(message["edited"]))

    def _on_tried(self, job: int, message: Message) -> None:
        if self._jobs.pop(job, None) is not None:
            self.tried.emit(job, unpack_tried(message["tried"]))

    def _on_finished(self, job: int, message: Message) -> None:
        if self._jobs.pop(job, None) is not None:
            self.finished.emit(job, message["result"])

    def _on_failed(self, job: int, message: Message) -> None:
        self._fail(job, message["sentence"])

    def _on_left_out(self, job: int, message: Message) -> None:
        if self._jobs.pop(job, None) is not None:
            self.left_out.emit(job, message["sentence"])

    def _on_cancelled(self, job: int, _message: Message) -> None:
        if job in self._jobs:
            self._forget(job)
            self.cancelled.emit(job)

    def _on_dropped(self, job: int, _message: Message) -> None:
        self._shared.discard(self._dropped.pop(job, ()))

    _on_closed = _on_dropped

    def _on_unused(self, _job: int, message: Message) -> None:
        wanted = {str(pane.file) for pane in self._panes.values()}
        self._shared.discard(set(message["files"]) - wanted)
