"""What belongs to one open loop: its regions and where they are kept, its undo history, its running jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
from PySide6.QtGui import QUndoCommand, QUndoStack

from echoq_models import regions as region_files
from echoq_models import resources
from echoq_models.errors import EchoQError, RegionError
from echoq_models.regions import Regions

if TYPE_CHECKING:
    from echoq_desktop.engine import OpenedLoop


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
    """Say in one sentence why regions cannot be measured yet (one is missing, they overlap)."""
    try:
        regions.check(opened.loop.size)
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


class SetRegions(QUndoCommand):
    """One change of a loop's regions: a vertex moved, a polygon drawn, a file loaded."""

    def __init__(self, put: Callable[[Regions], None], before: Regions, after: Regions, text: str) -> None:
        super().__init__(text)
        self._put, self._before, self._after = put, before, after

    def redo(self) -> None:
        """Do it, or do it again."""
        self._put(self._after)

    def undo(self) -> None:
        """Go back to what was there before."""
        self._put(self._before)
