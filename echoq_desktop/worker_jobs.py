"""The window's record of a job, and who is blamed when a worker dies."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DEATHS_TO_CPU = 2
DEATHS_TO_FAIL = 3

_VERBS = {
    "open": "reading it",
    "denoise": "denoising",
    "export": "writing it",
    "batch": "the batch",
    "segment": "finding the left ventricle",
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
    running: str | None = None  # the file of a batch in work, relative to its folder
    writing: str | None = None  # and its output, relative to the output folder
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
        """The file that it writes just now, if any."""
        if self.do == "export":
            return Path(self.content["output"])
        if self.do == "batch" and self.writing is not None:
            return Path(self.content["output"]) / self.writing
        return None

    def note_file(self, event: dict[str, Any]) -> bool:
        """Remember where a batch is. Returns whether the event is news, not an echo after a restart."""
        name, state = event["file"], event["state"]
        if name in self.ended:
            return False
        self.running = name if state == "running" else None
        self.writing = event["output"] if state == "running" else None
        if state != "running":
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

        A batch does not end for one file: that file is left out.
        """
        if job.running is not None:
            job.file_deaths[job.running] += 1
            deaths = job.file_deaths[job.running]
        else:
            job.deaths += 1
            deaths = job.deaths
        if deaths == DEATHS_TO_CPU:
            job.go_to_cpu()
        if deaths < DEATHS_TO_FAIL:
            return None
        if job.running is not None:
            reason = f"{job.running}: working on it stopped the worker again and again; is it damaged?"
            job.content["options"]["leave_out"] = (*job.content["options"]["leave_out"], (job.running, reason))
            job.running = job.writing = None
            return None
        return f"{job.what}: {_VERBS[job.do]} stopped the worker three times, so it was given up."
