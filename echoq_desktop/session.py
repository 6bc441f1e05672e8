"""What is open: the loops, the frame shown, the regions and their history. A QObject, no widgets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtGui import QUndoGroup, QUndoStack

from echoq_desktop.generation import Generation
from echoq_desktop.loop_state import LoopState, SetRegions, region_path, stored_regions, tell_flaws
from echoq_desktop.noise_work import NOISE, NoiseWork
from echoq_desktop.opening import Opening
from echoq_desktop.region_work import RegionWork
from echoq_models import regions as region_files
from echoq_models.denoise.base import Settings
from echoq_models.errors import InputError
from echoq_models.regions import Findings, FrameRegions, Regions

if TYPE_CHECKING:
    from echoq_desktop.engine import Engine, OpenedLoop, Result

ORIGINAL = "original"
NETWORKS = ("fast", "unet", "pairs")  # what the middle pane may show, first choice first
TOOLS = ("look", "draw_lv", "draw_myocardium", "edit")
LOOK_AT_MS = 100  # the playhead tells the worker where it is at most this often


class Session(QObject):
    """The open loops and the person's work on them; panels and panes read it and listen to its signals."""

    loops_changed = Signal()
    current_changed = Signal(object)  # OpenedLoop | None
    frame_changed = Signal(int)
    regions_changed = Signal()  # also while a handle is dragged
    results_changed = Signal(str, object)  # method, list[int] of the current loop; empty list: start again
    panes_changed = Signal()  # which panes there are, or which of them are shown
    methods_changed = Signal()  # what the worker can run
    settings_changed = Signal()
    facts_changed = Signal(str)  # a method of the current loop is prepared (sigma, device, ...)
    tool_changed = Signal(str)
    message = Signal(str)  # one sentence for the status bar

    def __init__(self, engine: Engine, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.engine = engine
        self.methods: dict[str, dict[str, str | None]] = {}  # name -> {"title", "missing"}, empty until known
        self.panes: list[str] = [ORIGINAL, NETWORKS[0], "bm3d"]
        self.hidden: set[str] = set()
        self._loops: dict[int, LoopState] = {}
        self._current: int | None = None
        self._settings = Settings()
        self._tool = TOOLS[0]
        self._middle_chosen = False
        self._group = QUndoGroup(self)
        self._empty_stack = QUndoStack(self._group)
        self._group.setActiveStack(self._empty_stack)
        self._look_timer = QTimer(self, singleShot=True, interval=LOOK_AT_MS)
        self._look_timer.timeout.connect(self._look_at)
        self.opening = Opening(engine, self)  # before this session hears of it: a file is on the way or open
        self.work = RegionWork(self)
        self.generation = Generation(self)
        self.noise = NoiseWork(self)
        engine.opened.connect(self._on_opened)
        engine.failed.connect(self._on_failed)
        engine.finished.connect(self._on_finished)
        engine.methods.connect(self._on_methods)
        engine.frames_ready.connect(self._on_frames)
        engine.prepared.connect(self._on_prepared)
        engine.restarted.connect(self.message)

    # what is open

    @property
    def loops(self) -> list[OpenedLoop]:
        """The open loops in the order they were opened."""
        return [entry.opened for entry in self._loops.values()]

    @property
    def current(self) -> OpenedLoop | None:
        """The loop shown, None when nothing is open."""
        return None if self._current is None else self._loops[self._current].opened

    def opened(self, loop_id: int | None = None) -> OpenedLoop | None:
        """A loop by its number, None when it is closed; without a number the loop shown."""
        key = self._current if loop_id is None else loop_id
        return None if key is None or key not in self._loops else self._loops[key].opened

    @property
    def frame(self) -> int:
        """Index of the frame shown; 0 when nothing is open."""
        return 0 if self._current is None else self._loops[self._current].frame

    def open_path(self, path: Path) -> int:
        """Start reading a file or a folder of stills: `current_changed` or `opening.failed` follows. Gives the job."""
        path = Path(path)
        for entry in self._loops.values():
            if entry.opened.path == path:
                self.select(entry.opened.loop_id)
                return entry.opened.loop_id
        return self.opening.read(path)

    def select(self, loop_id: int) -> None:
        """Show another open loop at the frame where it was left."""
        if loop_id not in self._loops or loop_id == self._current:
            return
        self._show(loop_id)

    def step_loop(self, step: int) -> None:
        """Show the next (+1) or previous (-1) open loop, round and round."""
        keys = list(self._loops)
        if self._current is not None and len(keys) > 1:
            self._show(keys[(keys.index(self._current) + step) % len(keys)])

    def close_loop(self, loop_id: int) -> None:
        """Forget a loop and its results; whether to save its regions is asked before, by the window."""
        entry = self._loops.get(loop_id)
        if entry is None:
            return
        keys = list(self._loops)
        neighbour = keys.index(loop_id)
        keys.remove(loop_id)
        if loop_id == self._current:  # first show another: listeners look at the current loop while this one goes
            self._show(keys[min(neighbour, len(keys) - 1)] if keys else None)
        del self._loops[loop_id]
        self._group.removeStack(entry.stack)
        self.engine.close_loop(loop_id)
        entry.stack.deleteLater()
        self.loops_changed.emit()

    def set_frame(self, index: int) -> None:
        """Show frame `index` of the current loop (clamped) in every pane."""
        if self._current is None:
            return
        entry = self._loops[self._current]
        index = max(0, min(int(index), len(entry.opened.loop) - 1))
        if index == entry.frame:
            return
        entry.frame = index
        if not self._look_timer.isActive():
            self._look_timer.start()
        self.frame_changed.emit(index)

    # panes and results

    @property
    def shown_panes(self) -> list[str]:
        """The panes that are not hidden, left to right."""
        return [pane for pane in self.panes if pane not in self.hidden]

    @property
    def middle(self) -> str:
        """The network of the middle pane, one of NETWORKS."""
        return self.panes[1]

    def set_middle(self, method: str) -> None:
        """Choose the network of the middle pane."""
        self._middle_chosen = True
        if method != self.middle:
            self.panes = [ORIGINAL, method, *self.panes[2:]]
            self.panes_changed.emit()
            self._denoise_current()

    def set_shown(self, pane: str, shown: bool) -> None:
        """Show or hide a pane. A hidden pane's method is not computed."""
        if shown != (pane in self.hidden) or (not shown and self.shown_panes == [pane]):
            return
        if shown:
            self.hidden.discard(pane)
        else:
            self.hidden.add(pane)
        self.panes_changed.emit()
        self._denoise_current()

    def show_noise(self, shown: bool) -> None:
        """Show or hide a pane for the frame with noise, right of the others."""
        self.panes = [pane for pane in self.panes if pane != NOISE] + [NOISE] * shown
        self.panes_changed.emit()

    def title_of(self, pane: str) -> str:
        """A pane's title for people."""
        if pane == ORIGINAL:
            return "Simulated noise" if self.current is not None and self.current.loop.simulated else "Original"
        if pane == NOISE:
            return "Noise preview"
        known = {"fast": "Fast network", "unet": "U-Net", "pairs": "Pair-trained network", "bm3d": "BM3D"}
        return (self.methods.get(pane) or {}).get("title") or known.get(pane, pane)

    def missing(self, pane: str) -> str | None:
        """One sentence when a pane cannot be computed (no weights, or it failed on this loop), else None."""
        if pane == ORIGINAL:
            return None
        if pane == NOISE:
            return self.noise.absent()
        if self._current is not None and pane in self._loops[self._current].failures:
            return self._loops[self._current].failures[pane]
        return (self.methods.get(pane) or {}).get("missing")

    def result(self, method: str) -> Result | None:
        """The frames of a method of the current loop as far as they are computed, None before it starts."""
        return None if self._current is None else self.engine.result(self._current, method)

    def frame_of(self, pane: str, index: int) -> NDArray[np.uint8] | None:
        """Luminance uint8 (H, W) of a pane's frame, read-only; None while it is not computed."""
        loop = self.current
        if loop is None:
            return None
        if pane == ORIGINAL:
            return loop.loop.frames[index]
        if pane == NOISE:
            return self.noise.frame(index)
        result = self.result(pane)
        return result.frames[index] if result is not None and result.done[index] else None

    def facts(self, method: str) -> Mapping[str, Any]:
        """What the worker told of a method on the current loop: sigma, weights' sha256, device, ..."""
        return {} if self._current is None else self._loops[self._current].facts.get(method, {})

    @property
    def settings(self) -> Settings:
        """How denoisers run: device, BM3D's sigma (None: estimated), strength."""
        return self._settings

    def set_settings(self, settings: Settings) -> None:
        """Change how denoisers run; what is on screen is computed again where it matters."""
        if settings == self._settings:
            return
        only_sigma = replace(settings, sigma=self._settings.sigma) == self._settings
        self._settings = settings
        for entry in self._loops.values():
            for method in list(entry.jobs):
                if method == "bm3d" or not only_sigma:
                    self.engine.cancel(entry.jobs.pop(method))
                    entry.complete.discard(method)
            entry.failures.clear()
        self.settings_changed.emit()
        self._denoise_current()

    # regions

    @property
    def undo_group(self) -> QUndoGroup:
        """The undo stacks of all loops; the current loop's is active."""
        return self._group

    @property
    def undo_stack(self) -> QUndoStack:
        """The current loop's undo stack; an empty one when nothing is open."""
        return self._empty_stack if self._current is None else self._loops[self._current].stack

    @property
    def regions(self) -> Regions:
        """The current loop's regions, as dragged at this moment."""
        if self._current is None:
            return Regions()
        entry = self._loops[self._current]
        return entry.regions if entry.preview is None else entry.preview

    def regions_of(self, loop_id: int) -> Regions | None:
        """The regions of a loop as they are kept, None when it is closed."""
        return self._loops[loop_id].regions if loop_id in self._loops else None

    @property
    def shown(self) -> FrameRegions:
        """The contours of the frame shown, as dragged at this moment."""
        return self.regions.at(self.frame)

    def preview_regions(self, regions: Regions) -> None:
        """Show regions while a handle is dragged: no undo step, nothing to save yet."""
        if self._current is not None:
            self._loops[self._current].preview = regions
            self.regions_changed.emit()

    def cancel_preview(self) -> None:
        """Go back to the regions before the drag."""
        if self._current is not None and self._loops[self._current].preview is not None:
            self._loops[self._current].preview = None
            self.regions_changed.emit()

    def set_regions(self, regions: Regions, text: str, merge: str = "", loop_id: int | None = None) -> None:
        """Change a loop's regions as one undo step called `text`; steps in a row with the same `merge` are one."""
        key = self._current if loop_id is None else loop_id
        if key is not None and key in self._loops:
            entry = self._loops[key]
            entry.stack.push(SetRegions(partial(self._put_regions, key), entry.regions, regions, text, merge))

    def keep_findings(self, loop_id: int, findings: Findings) -> None:
        """Keep what the network said of a loop where that changes no shape: there is nothing to undo, or to save."""
        if loop_id in self._loops:
            self._put_regions(loop_id, replace(self._loops[loop_id].regions, findings=findings))

    def load_regions(self, path: Path) -> None:
        """Read a region file into the current loop as one undo step. Raises InputError."""
        if self.current is None:
            raise InputError("Open a loop first, then load its regions.")
        loaded = region_files.load(Path(path))
        self.set_regions(loaded, "Load regions")
        tell_flaws(loaded, self.current, self.message.emit)

    def unsaved(self) -> list[OpenedLoop]:
        """The loops whose regions were changed since they were opened or saved."""
        return [entry.opened for entry in self._loops.values() if not entry.stack.isClean()]

    def save_regions(self, loop_id: int | None = None, path: Path | None = None) -> Path:
        """Write a loop's regions beside it (or to `path`); returns where. Raises EchoQError."""
        key = self._current if loop_id is None else loop_id
        if key is None:
            raise InputError("Open a loop first, then save its regions.")
        target = self._loops[key].save(path)
        self.message.emit(f"Regions saved to {target}")
        return target

    # tools

    @property
    def tool(self) -> str:
        """What the mouse does on a pane: "look", "draw_lv", "draw_myocardium" or "edit"."""
        return self._tool

    @tool.setter
    def tool(self, name: str) -> None:
        if name not in TOOLS:
            raise ValueError(f"tool must be one of {', '.join(TOOLS)}, not {name!r}")
        if name != self._tool:
            self._tool = name
            self.tool_changed.emit(name)

    # from the worker

    def _on_opened(self, loop_id: int, opened: OpenedLoop) -> None:
        path, regions = self._first_regions(opened)
        self._loops[loop_id] = LoopState(opened, QUndoStack(self._group), regions, path)
        self.loops_changed.emit()
        self._show(loop_id)

    def _first_regions(self, opened: OpenedLoop) -> tuple[Path, Regions]:
        """Where a loop's regions are kept, and those it begins with: a noisy loop shows its source's heart."""
        clean = opened.clean
        if clean is None:
            path = region_path(opened.path)
            return path, stored_regions(opened, path, self.message.emit)
        path = region_path(clean.path).with_name(f"{opened.path.stem}.roi.json")
        return path, self.regions_of(clean.loop_id) or Regions()

    def _on_failed(self, job: int, sentence: str) -> None:
        for key, entry in self._loops.items():
            for method in [name for name, number in entry.jobs.items() if number == job]:
                del entry.jobs[method]
                entry.failures[method] = sentence
                self.message.emit(f"{self.title_of(method)}: {sentence}")
                if key == self._current:
                    self.results_changed.emit(method, [])

    def _on_finished(self, job: int, _result: object) -> None:
        for entry in self._loops.values():
            entry.complete.update(name for name, number in entry.jobs.items() if number == job)

    def _on_methods(self, methods: dict[str, dict[str, str | None]]) -> None:
        self.methods = dict(methods)
        ready = [name for name in NETWORKS if name in methods and not methods[name]["missing"]]
        if ready and self.middle not in ready and not self._middle_chosen:
            self.panes = [ORIGINAL, ready[0], *self.panes[2:]]
        self.methods_changed.emit()
        self.panes_changed.emit()
        self._denoise_current()

    def _on_frames(self, loop_id: int, method: str, indices: list[int]) -> None:
        if loop_id == self._current:
            self.results_changed.emit(method, indices)

    def _on_prepared(self, loop_id: int, method: str, facts: Mapping[str, Any]) -> None:
        if loop_id in self._loops:
            self._loops[loop_id].facts[method] = dict(facts)
            if loop_id == self._current:
                self.facts_changed.emit(method)

    # within

    def _show(self, loop_id: int | None) -> None:
        self.cancel_preview()
        self._current = loop_id
        self._group.setActiveStack(self.undo_stack)
        self.current_changed.emit(self.current)
        self.frame_changed.emit(self.frame)
        self.regions_changed.emit()
        self._denoise_current()

    def _put_regions(self, loop_id: int, regions: Regions) -> None:
        entry = self._loops[loop_id]
        entry.regions, entry.preview = regions, None
        if loop_id == self._current:
            self.regions_changed.emit()

    def _denoise_current(self) -> None:
        """Ask for what the shown panes of the current loop lack, stop what no shown pane needs."""
        for key, entry in self._loops.items():
            shown = self.shown_panes if key == self._current else []
            for method in [name for name in entry.jobs if name not in shown and name not in entry.complete]:
                self.engine.cancel(entry.jobs.pop(method))
            for method in [pane for pane in shown if pane != ORIGINAL]:
                info = self.methods.get(method)
                if info is None or info["missing"] or method in entry.jobs or method in entry.failures:
                    continue
                entry.jobs[method] = self.engine.denoise(key, method, self._settings, entry.frame)
                self.results_changed.emit(method, [])

    def _look_at(self) -> None:
        if self._current is None:
            return
        results = [self.result(pane) for pane in self.shown_panes if pane != ORIGINAL]
        if any(result is not None and not result.done.all() for result in results):
            self.engine.look_at(self._current, self.frame)
