"""What belongs to one open loop: its regions and where they are kept, its undo history, its running jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
from PySide6.QtGui import QUndoCommand, QUndoStack

from echoq_models import regions as region_files
from echoq_models import resources
from echoq_models.errors import EchoQError, OutputError, RegionError
from echoq_models.regions import Regions

if TYPE_CHECKING:
    from echoq_desktop.engine import OpenedLoop

MERGE_S = 1.5  # small steps that follow each other faster are one to undo


def sample_path() -> Path:
    """The cardiac loop that ships inside pydicom, shown on the first start."""
    from pydicom import examples  # late: the window appears before pydicom is needed

    return Path(examples.get_path("ybr_color"))


def phantom_path() -> Path:
    """The simulated loop that ships with EchoQ."""
    return resources.phantom_sample()[0]


def is_sample(loop_path: Path) -> bool:
    """Whether a loop is one of those that come with EchoQ, whose folders are not the person's."""
    return loop_path in (sample_path(), phantom_path())


def region_path(loop_path: Path) -> Path:
    """Where a loop's regions are kept: beside it; for a shipped sample, in the person's own folder."""
    if is_sample(loop_path):
        name = "sample" if loop_path == sample_path() else loop_path.stem
        return Path(platformdirs.user_data_dir("echoq", appauthor=False)) / f"{name}.roi.json"
    return region_files.sidecar(loop_path)


def stored_regions(opened: OpenedLoop, path: Path, tell: Callable[[str], None]) -> Regions:
    """Regions saved earlier at `path`; for a sample else the shipped ones; empty when there are none.

    A file that cannot be read is reported through `tell` and passed over; half-drawn regions are kept and reported.
    """
    places = [path]
    if is_sample(opened.path):
        places.append(resources.path("sample", region_files.sidecar(opened.path).name))
    for place in places:
        if not place.is_file():
            continue
        try:
            stored = region_files.load(place)
        except EchoQError as error:
            tell(str(error))
            continue
        tell_flaws(stored, opened, tell)
        return stored
    return Regions()


def tell_flaws(regions: Regions, opened: OpenedLoop, tell: Callable[[str], None]) -> None:
    """Say in one sentence why the regions of the first frame cannot be measured yet (one is missing, they overlap)."""
    try:
        regions.check(opened.loop.size, [0])
    except RegionError as error:
        tell(str(error))


@dataclass
class LoopState:
    """All that belongs to one open loop; owned by the Session."""

    opened: OpenedLoop
    stack: QUndoStack
    regions: Regions
    region_path: Path
    preview: Regions | None = None
    frame: int = 0
    jobs: dict[str, int] = field(default_factory=dict)  # method -> job that was asked for
    complete: set[str] = field(default_factory=set)  # methods whose job has finished
    failures: dict[str, str] = field(default_factory=dict)  # method -> one sentence
    facts: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def save(self, path: Path | None = None) -> Path:
        """Write the regions beside the loop, or to `path`; returns where. Raises OutputError."""
        target = Path(path) if path is not None else self.region_path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            region_files.save(self.regions, target)
        except OSError as error:
            raise OutputError(f"The regions cannot be saved to {target}: {error.strerror}.") from error
        self.stack.setClean()
        return target


class SetRegions(QUndoCommand):
    """One change of a loop's regions: a handle moved, a contour drawn, a mark set, a file loaded.

    Small steps in a row that carry the same `merge` become one.
    """

    def __init__(
        self, put: Callable[[Regions], None], before: Regions, after: Regions, text: str, merge: str = ""
    ) -> None:
        super().__init__(text)
        self._put, self._before, self._after, self._merge = put, before, after, merge
        self._at = time.monotonic()

    def id(self) -> int:
        """Which commands Qt offers to merge: -1 for none."""
        return 1 if self._merge else -1

    def mergeWith(self, other: QUndoCommand) -> bool:
        """Take in a step that follows at once."""
        if not isinstance(other, SetRegions) or other._merge != self._merge or other._at - self._at > MERGE_S:
            return False
        self._after, self._at = other._after, other._at
        return True

    def redo(self) -> None:
        """Do it, or do it again."""
        self._put(self._after)

    def undo(self) -> None:
        """Go back to what was there before."""
        self._put(self._before)
