"""Measures the frames of a whole loop in a thread, a few milliseconds at a time, and tells what it found."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, QRunnable, Signal

from echoq_desktop.panels.quality_cut import Cut, FrameNumbers, cut_of
from echoq_models.errors import RegionError
from echoq_models.metrics.gcnr import median_ci
from echoq_models.regions import Regions, beat

if TYPE_CHECKING:
    from echoq_desktop.engine import OpenedLoop

TELL_S = 0.05  # what is found is told this often


@dataclass(frozen=True)
class Found:
    """A frame's cut, or in one sentence why there is none (both None: a region is not drawn), and its figures."""

    t: int
    cut: Cut | None
    flaw: str | None
    numbers: Mapping[str, FrameNumbers] = field(default_factory=dict)


class Relay(QObject):
    """Brings figures home from the thread; it outlives the panel while a thread still holds it."""

    areas = Signal(int, object)  # sweep, float64 (T,)
    found = Signal(int, object, bool)  # sweep, list[Found], whether it was the last
    median = Signal(str, int, object)  # pane, version, MedianCI


def find_cut(regions: Regions, size: tuple[int, int], t: int, beside: Cut | None = None) -> Found:
    """Both regions of frame `t` as pixels; those of the frame `beside` where the regions are the same."""
    shown = regions.at(t)
    if not (shown.lv and shown.myocardium):
        return Found(t, None, None)
    if beside is not None and beside.shown == shown:
        return Found(t, beside, None)
    try:
        return Found(t, cut_of(shown, size, overlap=bool(regions.generated)), None)
    except RegionError as error:
        return Found(t, None, str(error))


class Sweep(QRunnable):
    """Measures the LV's area, then frames of some panes in the order given, until told to stop.

    cuts: what is known already.  work: frame and its pictures, pane -> uint8 (T, H, W), of which frame t is there.
    """

    def __init__(
        self,
        relay: Relay,
        number: int,
        regions: Regions,
        loop: OpenedLoop,
        cuts: Mapping[int, Cut],
        work: Sequence[tuple[int, Mapping[str, NDArray[np.uint8]]]],
    ) -> None:
        super().__init__()
        self._relay, self._number = relay, number
        self._regions, self._cuts, self._work = regions, cuts, work
        self._size, self._total, self._spacing = loop.loop.size, len(loop.loop), loop.spacing
        self.stopped = False

    def run(self) -> None:
        self._relay.areas.emit(self._number, beat.areas(self._regions, self._total, self._spacing))
        found: list[Found] = []
        told = time.perf_counter()
        last: Cut | None = None
        for t, pictures in self._work:
            if self.stopped:
                return
            cut = self._cuts.get(t)
            known = find_cut(self._regions, self._size, t, last) if cut is None else Found(t, cut, None)
            if known.cut is not None:
                last = known.cut
                numbers = {pane: last.numbers(frames[t]) for pane, frames in pictures.items()}
                known = Found(t, last, None, numbers)
            found.append(known)
            time.sleep(0)  # the window's turn, should it wait for the interpreter
            if time.perf_counter() - told > TELL_S:
                self._relay.found.emit(self._number, found, False)
                found, told = [], time.perf_counter()
        self._relay.found.emit(self._number, found, True)


class Bootstrap(QRunnable):
    """The median's confidence interval over the frames that have a value."""

    def __init__(self, relay: Relay, pane: str, version: int, values: NDArray[np.float64]) -> None:
        super().__init__()
        self._relay, self._key, self._values = relay, (pane, version), values

    def run(self) -> None:
        self._relay.median.emit(*self._key, median_ci(self._values))
