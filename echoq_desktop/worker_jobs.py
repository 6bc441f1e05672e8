"""The window's record of a job, and who is blamed when a worker dies."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echoq_models.runtime.batch_types import DONE_ALREADY

DEATHS_TO_CPU = 2
DEATHS_TO_FAIL = 3
FILE_DEATHS_TO_FAIL = 2  # of a batch's file

_VERBS = {
    "open": "reading it",
    "denoise": "denoising",
    "export": "writing it",
    "batch": "the batch",
    "segment": "finding the left ventricle",
    "edit": "drawing a frame",
    "try": "trying noise channels",
    "noisy": "adding noise",
}


@dataclass(eq=False)
class Job:
    """One job from its beginning to its end, across workers.

    content: what the worker is told.  what: what to call it in a sentence.  pane: the result it fills.
    deadline: monotonic seconds when the worker counts as stuck.
    """

    number: int
    do: str
    content: dict[str, Any]
    what: str
    loop_id: int | None = None
    pane: Any = None
    cancelling: bool = False
    deadline: float | None = None
    deaths: int = 0
    running: set[str] = field(default_factory=set)  # files of a batch in work, relative to its folder
    file_deaths: Counter[str] = field(default_factory=Counter)
    ended: set[str] = field(default_factory=set)  # files of a batch that are done with

    def due(self, seconds: float) -> None:
        """Set the clock: something must be heard within `seconds`."""
        self.deadline = time.monotonic() + seconds

    def message(self) -> dict[str, Any]:
        """The content as it stands now."""
        if self.pane is None:
            return dict(self.content)
        return {**self.content, "done": self.pane.done.nonzero()[0].tolist()}

    def go_to_cpu(self) -> None:
        """Ask for the CPU from now on."""
        if "device" in self.content:
            self.content["device"] = "cpu"
        if "settings" in self.content:
            self.content["settings"]["device"] = "cpu"
        if "options" in self.content:
            self.content["options"]["settings"]["device"] = "cpu"

    @property
    def target(self) -> Path | None:
        """The file that an export writes."""
        return Path(self.content["output"]) if self.do == "export" else None

    def note_file(self, event: dict[str, Any]) -> bool:
        """Remember where a batch is. Returns whether the event is news, not an echo after a restart.

        A file that was finished just before a worker died, and is found done by the next, is told as done.
        """
        name = event["file"]
        if name in self.ended:
            return False
        if name in self.file_deaths and event["state"] == "skipped" and event["reason"] == DONE_ALREADY:
            event |= {"state": "done", "reason": None}
        state = event["state"]
        if state == "running":
            self.running.add(name)
        else:
            self.running.discard(name)
            self.ended.add(name)
        return True


class Blame:
    """Counts deaths: of a job, of a batch's file, of a worker that only just began."""

    def __init__(self) -> None:
        self.stillborn = 0
        self.warm_deaths = 0

    @property
    def hopeless(self) -> bool:
        """Whether no worker even says hello."""
        return self.stillborn >= DEATHS_TO_FAIL

    @property
    def cpu(self) -> bool:
        """Whether loading torch seems to die of CUDA."""
        return self.warm_deaths >= DEATHS_TO_CPU

    @property
    def warm_up(self) -> bool:
        """Whether to load torch at all."""
        return self.warm_deaths < DEATHS_TO_FAIL

    def worker(self, *, hello: bool, warming: bool) -> None:
        """A worker died without a job."""
        if not hello:
            self.stillborn += 1
        elif warming:
            self.warm_deaths += 1

    def job(self, job: Job) -> str | None:
        """A worker died on `job`. Returns the sentence that ends it, None when it gets another try.

        A batch does not end for its files: those that were in work are tried again, each alone and on the CPU, and
        the one that brings the worker down again is left out.
        """
        job.deaths += 1
        if job.deaths == DEATHS_TO_CPU:
            job.go_to_cpu()
        if job.running:
            self._files(job)
            return None
        if job.deaths < DEATHS_TO_FAIL:
            return None
        return f"{job.what}: {_VERBS[job.do]} stopped the worker three times, so it was given up."

    @staticmethod
    def _files(job: Job) -> None:
        options = job.content["options"]
        for name in sorted(job.running):
            job.file_deaths[name] += 1
            if job.file_deaths[name] < FILE_DEATHS_TO_FAIL:
                options["alone"] = (*options["alone"], name)
            else:
                reason = f"{name}: working on it stopped the worker twice; is it damaged?"
                options["leave_out"] = (*options["leave_out"], (name, reason))
        job.running.clear()
