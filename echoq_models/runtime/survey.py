"""The same question to every loop of a folder: a bad file is reported and the rest goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from echoq_models.denoise.base import Cancel, never
from echoq_models.errors import InputError
from echoq_models.runtime.batch import Outcome, attempt, exit_code
from echoq_models.runtime.export import Progress, silent

Ask = Callable[[Path, Progress], Mapping[str, Any]]


@dataclass(frozen=True)
class Answer:
    """What a loop gave. file: relative to the folder.  reason: one sentence for a failed one.  code: its exit code.

    facts: what was asked, empty for a failed one.
    """

    file: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    reason: str | None = None
    code: int = 0


@dataclass(frozen=True)
class Survey:
    """How it ended: the answers in order, and whether it was cancelled before all were there."""

    answers: tuple[Answer, ...]
    total: int
    cancelled: bool

    @property
    def exit_code(self) -> int:
        """As `BatchReport.exit_code`."""
        return exit_code([answer.code for answer in self.answers if answer.code], self.total, self.cancelled)


def survey(
    folder: Path, loops: Sequence[Path], ask: Ask, progress: Progress = silent, cancel: Cancel = never
) -> Survey:
    """Ask each of `loops` under `folder`; what goes wrong with one is its answer. Raises InputError for no loop."""
    if not loops:
        raise InputError(f"{folder}: there is no loop in this folder")
    answers: list[Answer] = []
    for number, source in enumerate(loops, start=1):
        name = source.relative_to(folder).as_posix()
        facts: dict[str, Any] = {}

        def inside(done: int, total: int, text: str, head: str = f"[{number}/{len(loops)}] {name}") -> None:
            progress(done, total, f"{head}: {text}")

        def work(source: Path = source, facts: dict[str, Any] = facts, inside: Progress = inside) -> None:
            facts.update(ask(source, inside))

        outcome: Outcome | None = None if cancel() else attempt(source.name, work, cancel)
        if outcome is None:
            break
        answers.append(Answer(name, facts, outcome[1], outcome[2]))
    return Survey(tuple(answers), len(loops), len(answers) < len(loops))
