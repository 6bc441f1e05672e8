"""Left ventricle and myocardium made by the network and the recipe, for a frame or the whole loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QRunnable, QThreadPool, Signal

from echoq_models.errors import RegionError
from echoq_models.regions import Contour, Findings, FrameRegions, Regions, propagate, recipe
from echoq_models.regions.review import LONGEST_REASON

if TYPE_CHECKING:
    from echoq_desktop.engine import OpenedLoop
    from echoq_desktop.session import Session
    from echoq_models.segment.base import Segmentation

NETWORK = "lv"
TITLE = "Generate regions"


@dataclass(frozen=True)
class Made:
    """The recipe's regions, the whole ventricles they were made from, and why a frame has none; by frame."""

    regions: Mapping[int, FrameRegions]
    whole: Mapping[int, Contour]
    reasons: Mapping[int, str]


class _Relay(QObject):
    """Brings the regions home; it outlives the window while a thread still holds it."""

    made = Signal(int, object, object)  # loop_id, Segmentation, Made


class _Recipe(QRunnable):
    """Makes contours of masks, some milliseconds a frame, beside the window's thread."""

    def __init__(self, relay: _Relay, opened: OpenedLoop, found: Segmentation) -> None:
        super().__init__()
        self._relay, self._opened, self._found = relay, opened, found

    def run(self) -> None:
        made = make(self._found, self._opened)
        self._relay.made.emit(self._opened.loop_id, self._found, made)


def make(found: Segmentation, opened: OpenedLoop) -> Made:
    """Regions of every frame in which the network found a ventricle; the recipe may refuse one too."""
    regions, whole = {}, {}
    reasons = {t: found.reasons[t] for t in found.frames if not found.found[t]}
    for t in found.frames:
        if t in reasons:
            continue
        try:
            regions[t] = recipe.frame_regions(found.lv[t], opened.sector_mask, opened.spacing)
            whole[t] = recipe.whole_contour(found.lv[t])
        except RegionError as error:
            reasons[t] = str(error)
    return Made(regions, whole, reasons)


def said(found: Segmentation, made: Made) -> Findings:
    """What the network, and the recipe after it, said of the frames that were asked for."""
    sure = {t: float(found.confidence[t]) for t in found.frames}
    return Findings(sure, {t: why[:LONGEST_REASON] for t, why in made.reasons.items()})


@dataclass
class _Job:
    number: int
    loop_id: int
    frames: tuple[int, ...]
    one_by_one: bool  # not the whole loop
    done: int = 0
    total: int = 0


class Generation(QObject):
    """Asks the engine for the left ventricle and turns the answer into regions, as one undo step."""

    changed = Signal()  # a job began, got on or ended; or a network became available

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self.networks: dict[str, dict[str, str | None]] = {}  # name -> {"title", "missing"}, empty until known
        self.network = NETWORK
        self._job: _Job | None = None
        self._pool = QThreadPool(self)
        self._pool.setMaxThreadCount(1)
        self._pool.setStackSize(8 * 2**20)
        self._relay = _Relay()
        self._relay.made.connect(self._on_made)
        engine = session.engine
        engine.segmenters.connect(self._on_networks)
        engine.segmented.connect(self._on_segmented)
        engine.progress.connect(self._on_progress)
        engine.failed.connect(self._on_failed)
        engine.cancelled.connect(self._on_cancelled)

    # what is known

    @property
    def missing(self) -> str | None:
        """One sentence when nothing can be generated (no weights), else None."""
        if not self.networks:
            return "The worker is not ready yet."
        known = self.networks.get(self.network)
        return f"There is no network called {self.network}." if known is None else known["missing"]

    @property
    def busy(self) -> bool:
        """Whether a loop is being looked through."""
        return self._job is not None

    @property
    def progress(self) -> tuple[int, int]:
        """Frames done and in all; 0, 0 while it is not known."""
        return (0, 0) if self._job is None else (self._job.done, self._job.total)

    def summary(self) -> str:
        """One sentence about the loop shown: in how many frames there is a ventricle, how sure the network is."""
        findings = self._session.regions.findings
        if not findings:
            return ""
        found = findings.found
        if not found:
            why = list(findings.reasons.values())
            return f"No LV found: {_inside(max(why, key=why.count))}"
        asked, sure = len(findings.confidence), median(findings.confidence[t] for t in found)
        frames = "this frame" if asked == 1 else f"{len(found)} of {asked} frames"
        return f"LV found in {frames}, confidence {sure:.2f}."

    # what a person asks

    def start(self, frames: Sequence[int] | None = None) -> None:
        """Generate the regions of these frames, or of the whole loop; says in the status bar why it cannot."""
        opened = self._session.current
        why = "Open a loop first." if opened is None else self.missing
        if opened is None or why is not None:
            self._session.message.emit(f"Nothing was generated. {why}")
            return
        self.cancel()
        device = self._session.settings.device
        number = self._session.engine.segment(opened.loop_id, frames, self.network, device)
        asked = tuple(range(len(opened.loop)) if frames is None else frames)
        self._job = _Job(number, opened.loop_id, asked, frames is not None)
        self._session.message.emit("Looking for the left ventricle; the Regions dock shows how far it is.")
        self.changed.emit()

    def cancel(self) -> None:
        """Stop looking; what is drawn stays."""
        job, self._job = self._job, None
        if job is not None:
            self._session.engine.cancel(job.number)
            self.changed.emit()

    # from the worker and the thread

    def _on_networks(self, networks: dict[str, dict[str, str | None]]) -> None:
        self.networks = dict(networks)
        self.changed.emit()

    def _on_progress(self, number: int, done: int, total: int, _text: str) -> None:
        if self._job is not None and number == self._job.number:
            self._job.done, self._job.total = done, total
            self.changed.emit()

    def _on_segmented(self, loop_id: int, found: Segmentation) -> None:
        opened = next((each for each in self._session.loops if each.loop_id == loop_id), None)
        job = self._job  # an answer may still come to a question that was taken back
        if job is not None and (job.loop_id, job.frames) == (loop_id, found.frames) and opened is not None:
            self._pool.start(_Recipe(self._relay, opened, found))

    def _on_made(self, loop_id: int, found: Segmentation, made: Made) -> None:
        job = self._job
        if job is None or job.loop_id != loop_id:  # cancelled, or asked for anew
            return
        self._job = None
        before = self._session.regions_of(loop_id)
        if before is not None:
            self._take_in(job, before, found, made)
        self.changed.emit()
        if before is not None and self._session.current is not None and self._session.current.loop_id == loop_id:
            self._session.message.emit(f"{self.summary()} {_about(before, job, made)}".rstrip())

    def _take_in(self, job: _Job, before: Regions, found: Segmentation, made: Made) -> None:
        """Keep what was made as one undo step, and what was said with it; that alone changes no shape: no step."""
        findings = before.findings.renewed(said(found, made))
        if not made.regions:
            self._session.keep_findings(job.loop_id, findings)
            return
        source = " ".join(str(found.facts[key]) for key in ("network", "sha256") if found.facts.get(key))
        given = Regions(generated=made.regions, lv_whole=made.whole, source=source)
        after = propagate.taken_in(before, given, len(found.found), job.one_by_one)
        self._session.work.put(replace(after, findings=findings), TITLE, loop_id=job.loop_id)

    def _on_failed(self, number: int, sentence: str) -> None:
        if self._job is not None and number == self._job.number:
            self._job = None
            self.changed.emit()
            self._session.message.emit(f"Nothing was generated. {sentence}")

    def _on_cancelled(self, number: int) -> None:
        if self._job is not None and number == self._job.number:
            self._job = None
            self.changed.emit()


def _about(before: Regions, job: _Job, made: Made) -> str:
    """What became of what was there before."""
    if not before:
        return ""
    if not made.regions:
        return "The regions stay as they were."
    words = []
    kept = 0 if job.one_by_one else len(before.edited)
    if kept:
        words.append("The frame edited by hand was kept." if kept == 1 else f"{kept} frames edited by hand were kept.")
    elif before.lv or before.myocardium:
        words.append("What was drawn before was replaced; undo brings it back.")
    if before.review is not None:
        words.append("The review was taken back.")
    return " ".join(words)


def _inside(sentence: str) -> str:
    """A sentence to go on with after a colon."""
    return sentence[:1].lower() + sentence[1:]
