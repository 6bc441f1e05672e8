"""The noise of the frame shown, turned by a person: encoded, drawn with moved channels, taken to the whole loop."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, QTimer, Signal

from echoq_models.cine.sector import Sector
from echoq_models.errors import InputError
from echoq_models.generative import editor, noise_channels
from echoq_models.generative.noise_channels import COMPONENTS, NoiseChannels
from echoq_models.runtime.noise import label_of

if TYPE_CHECKING:
    from echoq_desktop.engine import OpenedLoop
    from echoq_desktop.session import Session
    from echoq_models.runtime.noise_types import Edited, Tried

NOISE = "noise"  # the pane that shows the noisy frame
SETTLE_MS = 250  # after the last change of the frame, before the new one is encoded


@dataclass
class _Job:
    number: int
    loop_id: int
    what: str  # "edit", "try" or "noisy"
    asked: tuple[Any, ...] = ()
    done: int = 0
    total: int = 0
    text: str = ""
    loud: bool = True  # worth a bar: not a mere step of a slider


class NoiseWork(QObject):
    """Asks the engine for frames with noise, one at a time, the newest wish next; the panel and the panes follow."""

    changed = Signal()  # a job began, got on or ended; what can be done is another thing
    picture_changed = Signal()  # the frame as it is drawn, or none
    channels_changed = Signal()  # which channels make which noise
    strengths_changed = Signal()
    tried_changed = Signal()  # the browser's channels

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self.generators: dict[str, str] = {}  # name -> title, those that can run
        self.generator = ""
        self.missing: str | None = None  # one sentence when there is no generator
        self.channels = NoiseChannels()
        self.strengths: dict[str, float] = {}  # standard deviations, by component
        self.trial: tuple[str, float] | None = None  # a channel that is tried, and how far
        self.tried: list[Tried] = []
        self.problem = ""  # why the last wish failed
        self.in_panes = False
        self.refine = False  # bring each frame's code nearer to it
        self._edited: tuple[int, Edited] | None = None  # loop, and its frame as it is drawn
        self._noisy: NDArray[np.uint8] | None = None
        self._jobs: dict[str, _Job] = {}  # by what they do, one of each
        self._following = 0  # the loop whose frames are encoded as they are shown
        self._settle = QTimer(self, singleShot=True, interval=SETTLE_MS)
        self._settle.timeout.connect(self._draw)
        engine = session.engine
        engine.edited.connect(self._on_edited)
        engine.tried.connect(self._on_tried)
        engine.opened.connect(self._on_opened)
        engine.progress.connect(self._on_progress)
        engine.failed.connect(self._on_failed)
        engine.cancelled.connect(self._on_cancelled)
        session.frame_changed.connect(self._on_frame)
        session.current_changed.connect(self._on_frame)
        self.look_around()

    # what is known

    def look_around(self) -> None:
        """See which generators there are: one may have been imported or trained a moment ago."""
        self.generators = {name: pair.card.title for name, pair in editor.pairs().items()}
        self.missing = editor.available()
        if self.generator not in self.generators:
            self.choose(next(iter(self.generators), ""))
        self.changed.emit()

    def job(self, what: str) -> _Job | None:
        """The running job of a kind, "edit", "try" or "noisy"; steps of a slider do not count."""
        job = self._jobs.get(what)
        return job if job is not None and job.loud else None

    @property
    def components(self) -> tuple[str, ...]:
        """What can be turned: the three of the paper, whether there are channels for them or not, then any other."""
        return tuple(dict.fromkeys([*COMPONENTS, *self.channels.components]))

    @property
    def edited(self) -> Edited | None:
        """The frame shown as the generator draws it; None while it is not encoded."""
        opened = self._session.current
        if opened is None or self._edited is None or self._edited[0] != opened.loop_id:
            return None
        found = self._edited[1]
        wanted = self._session.frame, self.generator, self.refine
        return found if (found.frame, found.generator, found.refined) == wanted else None

    def frame(self, index: int) -> NDArray[np.uint8] | None:
        """Frame `index` of the loop shown with noise, uint8 (H, W); None while it is not drawn."""
        edited = self.edited
        return self._noisy if edited is not None and edited.frame == index else None

    def absent(self) -> str | None:
        """Why the noise pane shows no frame, None when it does."""
        if self.missing is not None:
            return self.missing
        return "This frame is not encoded yet: see the Noise dock." if self.edited is None else None

    def changes(self) -> dict[str, float]:
        """By how many standard deviations each channel moves now."""
        moved = self.channels.changes({name: v for name, v in self.strengths.items() if v})
        if self.trial is not None and self.trial[1]:
            moved[self.trial[0]] = moved.get(self.trial[0], 0.0) + self.trial[1]
        return moved

    def label(self) -> str:
        """The strengths in words."""
        tried = {} if self.trial is None else {self.trial[0]: self.trial[1]}
        return label_of({**self.strengths, **tried})

    # what a person asks

    def choose(self, generator: str) -> None:
        """Take another generator, with its own noise channels."""
        self.generator = generator
        self._forget()
        self.restore()

    def encode(self) -> None:
        """Encode the frame shown, and from now on every frame of this loop on which the person stays."""
        opened = self._session.current
        why = "Open a loop first." if opened is None else self.missing
        if opened is None or why is not None:
            self._session.message.emit(f"Nothing was encoded. {why}")
            return
        self._following = opened.loop_id
        self._stop("edit")
        self._draw()

    def set_refine(self, on: bool) -> None:
        """Bring the code of each frame nearer to it, which takes some seconds a frame; or do so no more."""
        if on != self.refine:
            self.refine = on
            self._stop("edit")
            self._tell_picture()
            self._draw()
            self.changed.emit()

    def set_strength(self, component: str, value: float) -> None:
        """Turn a component, standard deviations; above 0 is more noise."""
        if self.strengths.get(component, 0.0) != value and component in self.channels.components:
            self.strengths[component] = value
            self.strengths_changed.emit()
            self._draw()

    def reset(self) -> None:
        """All noise back to none."""
        self.strengths, self.trial = {}, None
        self.strengths_changed.emit()
        self._draw()

    def try_channel(self, channel: str | None, amount: float = 0.0) -> None:
        """Move one channel besides the strengths; None lets it go."""
        self.trial = None if channel is None else (channel, amount)
        self.strengths_changed.emit()
        self._draw()

    def browse(self) -> None:
        """Try the foremost channels on the frame shown."""
        opened = self._session.current
        if opened is not None and self.missing is None and "try" not in self._jobs:
            self.tried = []
            self.tried_changed.emit()
            self._begin("try", opened, frame=self._session.frame)
            if self.edited is None:
                self.encode()

    def name(self, component: str, *, add: bool) -> None:
        """The tried channel makes this noise, the way it was moved. add: together with those that do so already."""
        component = " ".join(component.split())
        if self.trial is None or not self.trial[1] or not component:
            self._session.message.emit("Choose a channel, move it, and say what noise it makes.")
            return
        channel, amount = self.trial
        kept = dict(self.channels.components.get(component, {})) if add else {}
        self.trial = None
        self._put(self.channels.named(component, {**kept, channel: 1.0 if amount > 0 else -1.0}))
        self.set_strength(component, min(abs(amount), self.channels.limit(component)))

    def forget(self, component: str) -> None:
        """No channel makes this noise any more."""
        self._put(self.channels.without(component))

    def restore(self) -> None:
        """The generator's own noise channels."""
        pair = editor.pairs().get(self.generator)
        self._put(NoiseChannels() if pair is None else NoiseChannels.of_card(pair.card))

    def save(self, path: Path) -> None:
        """Write the noise channels to a JSON file. Raises OutputError."""
        NoiseChannels(self.channels.components, self.channels.limits, self.generator).save(path)
        self._session.message.emit(f"Noise channels saved to {path}")

    def load(self, path: Path) -> None:
        """Take the noise channels of a file. Raises InputError, also when they are another generator's."""
        found = noise_channels.load(path)
        if found.generator and self.generator and found.generator != self.generator:
            raise InputError(f"{path} holds the noise channels of the generator '{found.generator}', not of this one.")
        self._put(found)

    def apply(self) -> None:
        """Make the whole loop noisy, as a new loop."""
        opened = self._session.current
        why = "Open a loop first." if opened is None else self.missing
        if why is None and not any(self.changes().values()):
            why = "Turn up some noise first."
        if opened is None or why is not None:
            self._session.message.emit(f"No noisy loop was made. {why}")
        elif "noisy" not in self._jobs:
            self._begin("noisy", opened, changes=self.changes(), label=self.label())

    def cancel(self, what: str) -> None:
        """Stop a job: "edit", "try" or "noisy"."""
        if what in self._jobs:
            self._session.engine.cancel(self._jobs[what].number)

    def show_in_panes(self, on: bool) -> None:
        """Show the noisy frame in a pane of its own beside the others, or no more."""
        if on != self.in_panes:
            self.in_panes = on
            self._session.show_noise(on)
            self.changed.emit()

    # within

    def _put(self, channels: NoiseChannels) -> None:
        self.channels = channels
        self.strengths = {name: v for name, v in self.strengths.items() if name in channels.components}
        self.channels_changed.emit()
        self.strengths_changed.emit()
        self._draw()

    def _begin(self, what: str, opened: OpenedLoop, *, loud: bool = True, **content: Any) -> None:
        device = self._session.settings.device
        number = self._session.engine.noise(
            what, opened.loop_id, generator=self.generator, device=device, refine=self.refine, **content
        )
        asked = (opened.loop_id, content.get("frame"), self.generator, content.get("changes"))
        self._jobs[what] = _Job(number, opened.loop_id, what, asked, loud=loud)
        self.problem = ""
        self.changed.emit()

    def _stop(self, what: str) -> None:
        """Forget a job: its answer will not be looked at."""
        job = self._jobs.pop(what, None)
        if job is not None:
            self._session.engine.cancel(job.number)

    def _draw(self) -> None:
        """Ask for the frame shown with the strengths as they are, or wait for the answer that is on its way."""
        opened = self._session.current
        if opened is None or opened.loop_id != self._following or self.missing is not None or "edit" in self._jobs:
            return
        loud = self.edited is None  # else it is a step of a slider
        self._begin("edit", opened, loud=loud, frame=self._session.frame, changes=self.changes())

    def _forget(self) -> None:
        """What is drawn holds no more."""
        self._edited, self._noisy = None, None
        self.tried = []
        self.tried_changed.emit()
        self._tell_picture()

    def _tell_picture(self) -> None:
        self.picture_changed.emit()
        if self.in_panes:
            self._session.results_changed.emit(NOISE, [])

    def _on_frame(self, *_: object) -> None:
        opened = self._session.current
        if opened is not None and opened.loop_id == self._following and self.edited is None:
            self._settle.start()
        self._tell_picture()

    # from the worker

    def _take(self, number: int) -> _Job | None:
        """The job of this number, which ends."""
        what = next((what for what, job in self._jobs.items() if job.number == number), None)
        return None if what is None else self._jobs.pop(what)

    def _on_edited(self, number: int, found: Edited) -> None:
        job = self._take(number)
        if job is None:
            return
        opened = self._session.opened(job.loop_id)
        if opened is not None:
            self._edited = job.loop_id, found
            self._noisy = noisy_frame(opened, found)
            self._tell_picture()
        self.changed.emit()
        self._go_on(job.asked)

    def _go_on(self, answered: tuple[Any, ...]) -> None:
        """Ask again where the person wants something else by now; another frame only once they stay on it."""
        opened = self._session.current
        if opened is None or answered[:2] != (opened.loop_id, self._session.frame):
            self._settle.start()
        elif answered[2:] != (self.generator, self.changes()):
            self._draw()

    def _on_tried(self, number: int, tried: list[Tried]) -> None:
        job = self._take(number)
        if job is not None:
            self.tried = tried if job.asked[2] == self.generator else []
            self.tried_changed.emit()
            self.changed.emit()

    def _on_opened(self, number: int, opened: OpenedLoop) -> None:
        if self._take(number) is not None:
            self.show_in_panes(False)
            self._session.message.emit(f"{opened.path.name}: made, beside its source in the strip.")
            self.changed.emit()

    def _on_progress(self, number: int, done: int, total: int, text: str) -> None:
        for job in self._jobs.values():
            if job.number == number:
                job.done, job.total, job.text = done, total, text
                if job.loud:
                    self.changed.emit()

    def _on_failed(self, number: int, sentence: str) -> None:
        if self._take(number) is not None:
            self.problem = sentence
            self._session.message.emit(sentence)
            self.changed.emit()

    def _on_cancelled(self, number: int) -> None:
        if self._take(number) is not None:
            self.changed.emit()


def noisy_frame(opened: OpenedLoop, found: Edited) -> NDArray[np.uint8]:
    """A frame with the change that the generator drew, at its own size: uint8 (H, W)."""
    loop, mask = opened.loop, opened.sector_mask
    sector = Sector(np.ones(loop.size, dtype=bool) if mask is None else mask, *opened.sector_box)
    frame = np.asarray(loop.frames[found.frame])[None]
    return editor.paste(frame, [found.change], sector, [loop.coloured(found.frame)])[0]
