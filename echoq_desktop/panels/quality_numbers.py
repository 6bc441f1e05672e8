"""Figures of the current loop's panes, frame by frame: measured in a thread, kept until they age."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, QThreadPool, QTimer, Signal

from echoq_desktop.panels.quality_cut import Cut, FrameNumbers
from echoq_desktop.panels.quality_sweep import Bootstrap, Found, Relay, Sweep, find_cut
from echoq_models.errors import RegionError
from echoq_models.metrics.gcnr import MedianCI

if TYPE_CHECKING:
    from echoq_desktop.session import Session

ORIGINAL = "original"
SETTLE_MS = 100  # after the last change of a region, before the rest of the loop is measured again
_VERSIONS = count()  # no two series and no two sweeps share one, also not those of two loops


@dataclass
class Series:
    """One pane over the loop: values (T, 3) of FrameNumbers, NaN where there is none; fresh (T,): still true.

    median: over the frames that have a value, only once every frame is looked at; a part of a beat would be compared
    with a whole one.
    """

    values: NDArray[np.float64]
    fresh: NDArray[np.bool_]
    median: MedianCI | None = None
    asked: bool = False  # whether the median is on its way
    version: int = field(default_factory=lambda: next(_VERSIONS))  # a median of another version is thrown away

    @property
    def measured(self) -> NDArray[np.bool_]:
        """Which frames have a value that still holds, bool (T,)."""
        return self.fresh & np.isfinite(self.values[:, 0])

    def drop(self, frames: Sequence[int] | None = None) -> None:
        """Forget that these frames (or all) are up to date."""
        self.version = next(_VERSIONS)
        self.median, self.asked = None, False
        self.fresh[... if frames is None else frames] = False

    def keep(self, t: int, numbers: FrameNumbers | None) -> None:
        """A frame's figures; None: it has none, since its regions cannot be measured."""
        self.values[t] = np.nan if numbers is None else numbers
        self.fresh[t] = True


@dataclass
class _State:
    series: dict[str, Series] = field(default_factory=dict)
    cuts: dict[int, Cut] = field(default_factory=dict)
    flaws: dict[int, str] = field(default_factory=dict)  # frame -> why its regions cannot be measured
    areas: NDArray[np.float64] | None = None


class LoopNumbers(QObject):
    """Measures every pane of the session's current loop in the background, from the playhead outward."""

    changed = Signal()  # some values are new, or the work stopped

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._state = _State()
        self._pool = QThreadPool(self)
        self._pool.setMaxThreadCount(1)
        self._pool.setStackSize(8 * 2**20)  # macOS gives 512 KiB, too little for BLAS
        self._settle = QTimer(self, singleShot=True, interval=SETTLE_MS)
        self._settle.timeout.connect(self._start_sweep)
        self._sweep: Sweep | None = None
        self._sweep_number = -1
        self._relay = Relay()
        self._relay.areas.connect(self._keep_areas)
        self._relay.found.connect(self._keep)
        self._relay.median.connect(self._keep_median)
        session.current_changed.connect(self.restart)
        session.regions_changed.connect(self._on_regions)
        session.results_changed.connect(self._on_results)
        session.panes_changed.connect(self.resume)

    # what is known

    @property
    def panes(self) -> list[str]:
        """What is measured: the panes shown, and always the original to compare with."""
        shown = self._session.shown_panes
        return shown if ORIGINAL in shown else [ORIGINAL, *shown]

    @property
    def flawed(self) -> int:
        """How many frames have regions that cannot be measured, as far as the loop is looked through."""
        return len(self._state.flaws)

    @property
    def overlapping(self) -> int:
        """In how many frames the regions share pixels, which count in neither; as far as they are looked through."""
        return sum(cut.shared > 0 for cut in self._state.cuts.values())

    @property
    def areas(self) -> NDArray[np.float64] | None:
        """Area of the LV in each frame, float64 (T,) in mm², or pixels without spacing; NaN where there is none."""
        return self._state.areas

    def series(self, pane: str) -> Series | None:
        """What is known of a pane over the loop, None while nothing is."""
        return self._state.series.get(pane)

    def cut(self, t: int) -> Cut | None:
        """Both regions of frame `t`; None while one is not drawn. Raises RegionError that says what is wrong."""
        opened = self._session.current
        if opened is None:
            return None
        if t not in self._state.cuts and t not in self._state.flaws:
            self._remember(find_cut(self._session.regions, opened.loop.size, t))
        if t in self._state.flaws:
            raise RegionError(self._state.flaws[t])
        return self._state.cuts.get(t)

    def keep(self, pane: str, t: int, numbers: FrameNumbers) -> None:
        """Figures of a frame that were measured to be shown at once."""
        series = self._series(pane)
        if series is not None:
            series.keep(t, numbers)

    # the work

    def restart(self, *_: object) -> None:
        """Forget everything and measure again: another loop is shown."""
        self.stop()
        self._state = _State()
        self.resume()
        self.changed.emit()

    def resume(self) -> None:
        """Go on with what is missing, unless a region was moved a moment ago."""
        if self._session.current is not None and not self._settle.isActive() and self._sweep is None:
            self._start_sweep()

    def stop(self) -> None:
        """Stop measuring; `resume` goes on."""
        self._settle.stop()
        if self._sweep is not None:
            self._sweep.stopped = True
            self._sweep = None

    def _on_regions(self) -> None:
        """Forget the frames whose regions are others now."""
        state, regions = self._state, self._session.regions
        changed = [t for t, cut in state.cuts.items() if regions.at(t) != cut.shown]
        for t in changed:
            del state.cuts[t]
        opened = self._session.current
        uncut = [t for t in range(len(opened.loop)) if t not in state.cuts] if opened is not None else []
        state.flaws.clear()
        for series in state.series.values():
            if uncut:
                series.drop(uncut)
            if not regions:
                series.values[:] = np.nan
        state.areas = state.areas if regions else None
        self.stop()
        self._settle.start()

    def _on_results(self, method: str, frames: list[int]) -> None:
        series = self._state.series.get(method)
        if series is not None and not frames:  # computed anew, with other settings
            series.drop()
            series.values[:] = np.nan
        elif series is not None and series.fresh[frames].any():
            series.drop(frames)
        self.resume()

    def _series(self, pane: str) -> Series | None:
        opened = self._session.current
        if opened is None:
            return None
        if pane not in self._state.series:
            frames = len(opened.loop)
            self._state.series[pane] = Series(np.full((frames, 3), np.nan), np.zeros(frames, dtype=bool))
        return self._state.series[pane]

    def _start_sweep(self) -> None:
        """Send what can be measured and is not yet to the thread, nearest to the playhead first."""
        opened = self._session.current
        if opened is None or not self._session.regions:
            self.changed.emit()
            return
        frames, lacking = {}, {}
        for pane in self.panes:
            series, known = self._series(pane), self._frames(pane)
            if series is not None and known is not None:
                frames[pane] = known[0]
                lacking[pane] = ~series.fresh & known[1]
        some = np.flatnonzero(np.any(list(lacking.values()), axis=0)) if lacking else np.empty(0, dtype=int)
        if not some.size:
            self._ask_medians()
            return
        order = some[np.argsort(np.abs(some - self._session.frame), kind="stable")].tolist()
        work = [(t, {pane: frames[pane] for pane in frames if lacking[pane][t]}) for t in order]
        self._sweep_number = next(_VERSIONS)
        cuts = dict(self._state.cuts)
        self._sweep = Sweep(self._relay, self._sweep_number, self._session.regions, opened, cuts, work)
        self._sweep.setAutoDelete(False)  # Python's reference ends it, not the pool
        self._pool.start(self._sweep)

    def _frames(self, pane: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_]] | None:
        """A pane's frames uint8 (T, H, W) and which of them there are, bool (T,); None before any is."""
        opened = self._session.current
        if opened is not None and pane == ORIGINAL:
            return opened.loop.frames, np.ones(len(opened.loop), dtype=bool)
        result = self._session.result(pane)
        return None if result is None else (result.frames, np.array(result.done, dtype=bool))

    def _keep_areas(self, number: int, areas: NDArray[np.float64]) -> None:
        if number == self._sweep_number:
            self._state.areas = areas
            self.changed.emit()

    def _keep(self, number: int, found: list[Found], last: bool) -> None:
        if number != self._sweep_number or self._sweep is None:  # a region was moved meanwhile
            return
        for one in found:
            self._remember(one)
            for pane in one.numbers if one.cut is not None else self.panes:
                series = self._series(pane)
                if series is not None:
                    series.keep(one.t, one.numbers.get(pane))
        if last:
            self._sweep = None
            self._start_sweep()  # frames that came meanwhile, then the medians
        self.changed.emit()

    def _remember(self, found: Found) -> None:
        if found.cut is not None:
            self._state.cuts[found.t] = found.cut
        elif found.flaw is not None:
            self._state.flaws[found.t] = found.flaw

    def _ask_medians(self) -> None:
        """Start the confidence interval of each pane whose last frame was just measured."""
        for pane, series in self._state.series.items():
            if series.fresh.all() and not series.asked and series.measured.any():
                series.asked = True
                values = series.values[series.measured, 0]
                self._pool.start(Bootstrap(self._relay, pane, series.version, values))

    def _keep_median(self, pane: str, version: int, median: MedianCI) -> None:
        series = self._state.series.get(pane)
        if series is not None and series.version == version:
            series.median = median
            self.changed.emit()
