"""The worker's desk for noise: encodes frames and keeps their codes, tries channels, makes loops noisy."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from echoq_models.errors import Cancelled
from echoq_models.generative.editor import REFINE_ROUNDS
from echoq_models.runtime.messages import pack_loop, pack_spacing
from echoq_models.runtime.noise_types import (
    Edited,
    EditJob,
    EffectsJob,
    NoiseJob,
    NoisyJob,
    Tried,
    pack_edited,
    pack_tried,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from echoq_models.cine.loop import CineLoop
    from echoq_models.cine.sector import Sector
    from echoq_models.generative.editor import Encoded, FrameEditor
    from echoq_models.runtime.inbox import Inbox, Send

KEPT = 8  # frames whose code is kept: a third of a megabyte each

Key = tuple[int, int, str, str, bool]  # loop, frame, weights, device, whether it is refined


@dataclass(frozen=True)
class _Seen:
    """A frame as the editor sees it. patch: float32 (256, 256).  sector: bool, where the sector lies in it."""

    patch: NDArray[np.float32]
    sector: NDArray[np.bool_]
    encoded: Encoded


class NoiseDesk:
    """What the worker's main thread does for the noise panel.

    let_in: called between two pieces of long work, with the job; does what is more urgent.
    """

    def __init__(self, send: Send, inbox: Inbox, folder: Path, let_in: Callable[[], None]) -> None:
        self._send, self._inbox, self._folder, self._let_in = send, inbox, folder, let_in
        self._seen: OrderedDict[Key, _Seen] = OrderedDict()
        self._sector: tuple[int, Sector] | None = None  # of the loop looked at last

    def do(self, job: NoiseJob) -> None:
        """Do a job and tell the window. Raises EchoQError, Cancelled."""
        loop = self._inbox.loop(job.loop_id)
        if isinstance(job, EditJob):
            self._edit(job, loop)
        elif isinstance(job, EffectsJob):
            self._try(job, loop)
        else:
            self._noisy(job, loop)

    def _edit(self, job: EditJob, loop: CineLoop) -> None:
        editor, seen = self._look(job, loop)
        encoded = seen.encoded
        change = editor.change(encoded, job.changes)
        edited = Edited(
            job.frame, job.generator, job.refine, job.changes, encoded.likeness, encoded.reconstruction, change
        )
        self._send("edited", job.job, edited=pack_edited(edited))

    def _try(self, job: EffectsJob, loop: CineLoop) -> None:
        from echoq_models.generative import effects

        editor, seen = self._look(job, loop)
        channels = effects.candidates(editor, seen.encoded, seen.sector)
        found = []
        for effect in effects.effects(editor, seen.encoded, seen.patch, seen.sector, channels):
            found.append(effect)
            self._send("progress", job.job, done=len(found), total=len(channels), text="trying channels")
            self._let_in()
            if job.cancelled:
                raise Cancelled("Cancelled while trying channels.")
        if not editor.ranked:
            first = effects.channels_of(editor.channels)
            found.sort(key=lambda each: (each.channel not in first, -each.haze))
        tried = [Tried(each.channel, each.amount, each.change) for each in found]
        self._send("tried", job.job, tried=pack_tried(tried))

    def _noisy(self, job: NoisyJob, loop: CineLoop) -> None:
        from echoq_models.cine import sector as sectors
        from echoq_models.generative import editor as editors
        from echoq_models.runtime import describe
        from echoq_models.runtime.noise import Noise, make_noisy

        def cancel() -> bool:
            self._let_in()
            return job.cancelled

        def progress(done: int, total: int, text: str) -> None:
            self._send("progress", job.job, done=done, total=total, text=text)

        noise = Noise(job.changes, job.label, job.refine)
        noisy = make_noisy(loop, editors.load(job.generator, job.device), noise, progress, cancel)
        found = sectors.fit(loop)
        spacing = sectors.usable_spacing(loop, found)
        summary = describe.lines(describe.facts(noisy.loop, found, spacing))
        made, packed = pack_loop(noisy.loop, self._folder, f"loop-{job.job}")
        self._inbox.add_loop(job.job, made)
        source = loop.source or Path("loop")
        self._send(
            "opened",
            job.job,
            path=str(source.with_name(f"{source.stem} + noise ({job.label}){source.suffix}")),
            loop=packed,
            sector_box=(found.x0, found.y0, found.side),
            sector_mask=found.mask,
            spacing=pack_spacing(spacing),
            summary={**summary, "Noise": job.label},
        )

    # within

    def _look(self, job: EditJob | EffectsJob, loop: CineLoop) -> tuple[FrameEditor, _Seen]:
        """The editor, and the frame encoded, now or before."""
        from echoq_models.cine import sector as sectors
        from echoq_models.generative import editor as editors

        editor = editors.load(job.generator, job.device)
        key = _key(job, editor)
        if key not in self._seen:
            self._send("progress", job.job, done=0, total=0, text="encoding")
            if self._sector is None or self._sector[0] != job.loop_id:
                self._sector = job.loop_id, sectors.fit(loop)
            found = self._sector[1]
            patch, inside = sectors.patches(loop.frames[job.frame][None], found)[0, 0], editors.sector_patch(found)
            seen = _Seen(patch, inside, editor.encode(patch, inside))
            self._seen[key] = self._refined(job, editor, seen) if job.refine else seen
            while len(self._seen) > KEPT:
                self._seen.popitem(last=False)
        self._seen.move_to_end(key)
        return editor, self._seen[key]

    def _refined(self, job: EditJob | EffectsJob, editor: FrameEditor, seen: _Seen) -> _Seen:
        for step in range(REFINE_ROUNDS):
            self._send("progress", job.job, done=step, total=REFINE_ROUNDS, text="refining")
            seen = replace(seen, encoded=editor.refined(seen.encoded, seen.patch, seen.sector))
            if job.cancelled:
                raise Cancelled("Cancelled while refining.")
        return seen


def _key(job: EditJob | EffectsJob, editor: FrameEditor) -> Key:
    weights = f"{editor.facts['sha256']} {editor.facts['encoder sha256']}"
    return job.loop_id, job.frame, weights, job.device, job.refine
