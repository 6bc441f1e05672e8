"""What a person does to the regions of the loop shown: shapes, marks of the beat, review. Each is one undo step."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from echoq_desktop.player import handles
from echoq_desktop.player.handles import Handle
from echoq_models.regions import Contour, FrameRegions, Marks, Regions, Review, beat, propagate
from echoq_models.regions.contour import LEAST_POINTS

if TYPE_CHECKING:
    from echoq_desktop.engine import OpenedLoop
    from echoq_desktop.session import Session

MARKS = {"ed": "ED", "es": "ES"}
DECISIONS = {"accepted": "Accept", "corrected": "Corrected", "rejected": "Reject"}


class RegionWork(QObject):
    """Turns what a person does into new Regions; the session keeps them and their history."""

    reviewer_changed = Signal(str)
    name_wanted = Signal()  # a review needs to know by whom

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._reviewer = system_user()

    # shapes

    def preview(self, t: int, kind: str, contours: Sequence[Contour]) -> None:
        """Show a frame's contours of a kind while they are dragged."""
        self._session.preview_regions(with_contours(self._session.regions, t, kind, contours))

    def edit(self, t: int, kind: str, contours: Sequence[Contour], text: str, merge: str = "") -> None:
        """A person set the contours of a kind in frame `t`: it becomes a key frame, the frames around it follow."""
        kept = self._kept
        after = propagate.edit(kept, t, kind, contours, self._total)
        if after is kept:  # dragged and put back
            self._session.cancel_preview()
        else:
            self.put(after, text, merge)

    def delete(self, handle: Handle) -> None:
        """Delete a handle of a contour, or the contour when it is meant whole or would lose its area.

        The last contour of its kind takes the frame out of the measurement; where one shape holds for all frames, it
        is deleted from them all.
        """
        kept, t, kind = self._kept, self._session.frame, handle.kind
        contour = handles.of(kept.at(t), handle)
        if contour is None:
            return
        there, title = list(handles.contours(kept.at(t), kind)), handles.TITLES[kind]
        if handle.vertex is not None and len(contour) > LEAST_POINTS:
            there[handle.polygon] = contour.without_point(handle.vertex)
            self.edit(t, kind, there, f"Delete point of {title}")
            return
        del there[handle.polygon]
        if there:
            self.edit(t, kind, there, f"Delete {title}")
        elif propagate.one_shape(kept, kind):
            self.put(propagate.without(kept, kind), f"Delete {title}")
        else:
            self.leave_out()

    def leave_out(self) -> None:
        """Leave the frame shown out of the measurement; a second time takes it in again as it was."""
        kept, t = self._kept, self._session.frame
        if t in kept.left_out:
            self.put(propagate.leave_out(kept, t, out=False), "Take frame in again")
        elif not self._session.shown:
            self._session.message.emit("This frame has no regions: nothing is measured in it.")
        else:
            self.put(propagate.leave_out(kept, t), "Leave frame out")
            self._session.message.emit(
                f"Frame {t + 1} is left out of the measurement, its neighbours stay; the same again takes it in."
            )

    def follow(self) -> None:
        """Let the frame shown follow the network and the frames around it again."""
        kept, t = self._kept, self._session.frame
        after = propagate.follow(kept, t, self._total)
        if after is not kept:
            self.put(after, "Follow neighbours")
        elif t in kept.edited:
            self._session.message.emit("There is nothing to follow: no other frame has such regions.")
        else:
            self._session.message.emit("This frame follows its neighbours already.")

    def copy_to_next(self) -> None:
        """Give the next frame the contours of this one, and go there."""
        t = self._session.frame
        if not self._session.shown:
            self._session.message.emit("There is nothing to copy: this frame has no regions.")
        elif t + 1 == self._total:
            self._session.message.emit("This is the last frame.")
        else:
            self.put(propagate.copy_to(self._kept, t, t + 1, self._total), "Copy to next frame")
            self._session.set_frame(t + 1)

    def clear(self) -> None:
        """Delete every region of the loop."""
        if self._session.regions:
            self._session.set_regions(Regions(), "Clear regions")

    def put(self, after: Regions, text: str, merge: str = "", loop_id: int | None = None) -> None:
        """Keep changed shapes: ED and ES are found anew unless set by hand, and a review of other shapes is void."""
        opened = self._session.opened(loop_id)
        if opened is None:
            return
        if after.review is not None:
            after = replace(after, review=None)
            self._session.message.emit("The regions changed, so their review was taken back.")
        if not after.marks.by_hand:
            after = replace(after, marks=found_marks(after, opened))
        self._session.set_regions(after, text, merge, loop_id)

    # key frames

    def go_to_edited(self, step: int) -> None:
        """Show the next (+1) or previous (-1) frame that a person set, round and round."""
        self._go(sorted(self._session.regions.edited), step, "No frame was edited by hand yet.")

    # the beat

    def go_to_mark(self, kind: str) -> None:
        """Show the next frame marked "ed" or "es", round and round."""
        marked = getattr(self._session.regions.marks, kind)
        self._go(marked, 1, f"{MARKS[kind]} is not marked yet.")

    def mark_here(self, kind: str) -> None:
        """Put "ed" or "es" on the frame shown: the mark of the same beat moves; a second time takes it away."""
        marks, t = self._session.regions.marks, self._session.frame
        if self._session.current is None:
            return
        if t in getattr(marks, kind):
            self._put_marks(without_mark(marks, kind, t), f"Remove {MARKS[kind]}")
        else:
            self._put_marks(with_mark(marks, kind, t), f"Mark {MARKS[kind]}")

    def move_mark(self, kind: str, old: int, new: int) -> None:
        """Move a mark of "ed" or "es" from one frame to another."""
        marks = without_mark(self._session.regions.marks, kind, old)
        self._put_marks(_marked(marks, kind, (*getattr(marks, kind), new)), f"Move {MARKS[kind]}")

    def find_marks(self) -> None:
        """Find ED and ES from the LV's area again; marks set by hand go."""
        opened, regions = self._session.current, self._session.regions
        if opened is None:
            return
        marks = found_marks(regions, opened)
        if marks:
            self._session.set_regions(replace(regions, marks=marks), "Find ED and ES")
        else:
            self._session.message.emit("ED and ES cannot be found: the LV's area does not change over the loop.")

    # review

    @property
    def reviewer(self) -> str:
        """Who reviews: a name, by default that of the system's user; "" while nobody has said."""
        return self._reviewer

    @reviewer.setter
    def reviewer(self, name: str) -> None:
        name = " ".join(name.split()) or system_user()
        if name != self._reviewer:
            self._reviewer = name
            self.reviewer_changed.emit(name)

    def decide(self, decision: str) -> None:
        """Review the loop's regions: "accepted", "corrected" or "rejected"; the same again takes the review back."""
        regions = self._session.regions
        if not regions:
            self._session.message.emit("There are no regions to review.")
        elif regions.review is not None and regions.review.decision == decision:
            self._session.set_regions(replace(regions, review=None), "Take review back")
        elif not self._reviewer:
            self._session.message.emit("Who reviews? Type your name into the Regions dock first.")
            self.name_wanted.emit()
        else:
            now = datetime.now().astimezone().isoformat(timespec="seconds")
            review = Review(decision, self._reviewer, now)
            self._session.set_regions(replace(regions, review=review), f"Review: {decision}")

    # within

    @property
    def _kept(self) -> Regions:
        """The regions of the loop shown, without what is being dragged."""
        opened = self._session.current
        kept = None if opened is None else self._session.regions_of(opened.loop_id)
        return Regions() if kept is None else kept

    @property
    def _total(self) -> int:
        """Frames of the loop shown."""
        return 0 if self._session.current is None else len(self._session.current.loop)

    def _go(self, frames: Sequence[int], step: int, otherwise: str) -> None:
        here = self._session.frame
        if not frames:
            self._session.message.emit(otherwise)
            return
        ahead = [t for t in frames if (t - here) * step > 0]
        rest = ahead or list(frames)
        self._session.set_frame(min(rest) if step > 0 else max(rest))

    def _put_marks(self, marks: Marks, text: str) -> None:
        marks = replace(marks, by_hand=True)
        self._session.set_regions(replace(self._session.regions, marks=marks), text)


def with_contours(regions: Regions, t: int, kind: str, contours: Sequence[Contour]) -> Regions:
    """Regions of which frame `t` shows these contours of a kind; made to be looked at, not to be kept."""
    shown = regions.at(t)
    lv, myocardium = (tuple(contours), shown.myocardium) if kind == "lv" else (shown.lv, tuple(contours))
    if not regions.frames:
        return replace(regions, lv=lv, myocardium=myocardium)
    return replace(regions, frames={**regions.frames, t: FrameRegions(lv, myocardium)})


def found_marks(regions: Regions, opened: OpenedLoop) -> Marks:
    """ED and ES from the LV's area over the loop; none where it does not beat."""
    return beat.find_marks(beat.areas(regions, len(opened.loop)), opened.loop.times_ms)


def with_mark(marks: Marks, kind: str, t: int) -> Marks:
    """`t` marked: it takes the place of a mark of its kind that no mark of the other kind parts from it."""
    own, others = getattr(marks, kind), marks.es if kind == "ed" else marks.ed
    near = [old for old in own if not any(min(old, t) < other < max(old, t) for other in others)]
    replaced = min(near, key=lambda old: abs(old - t), default=None)
    return _marked(marks, kind, (*(old for old in own if old != replaced), t))


def without_mark(marks: Marks, kind: str, t: int) -> Marks:
    """The marks less one."""
    return _marked(marks, kind, tuple(old for old in getattr(marks, kind) if old != t))


def _marked(marks: Marks, kind: str, frames: tuple[int, ...]) -> Marks:
    """The marks with these frames of a kind; a frame is never both."""
    others = tuple(t for t in (marks.es if kind == "ed" else marks.ed) if t not in frames)
    return replace(marks, ed=frames, es=others) if kind == "ed" else replace(marks, ed=others, es=frames)


def system_user() -> str:
    """The name the system knows the person by, "" where it knows none: root is nobody's."""
    try:
        name = getpass.getuser()
    except (ImportError, KeyError, OSError):
        return ""
    return "" if name == "root" else name
