"""End diastole, end systole and the review: found, set and moved by mouse and keys, and kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hands import CTRL, LEFT, LV, SHIFT, Network, generate, key, open_path
from PySide6.QtCore import QPoint, Qt

from echoq_desktop.main_window import MainWindow
from echoq_desktop.preferences import Preferences
from echoq_models.regions import Contour


def test_a_review_says_who_and_when_and_is_kept(window: MainWindow, network: Network, heart: Path, qtbot: Any) -> None:
    session, box = window.session, window.regions.review
    generate(window, qtbot)
    window.docks["regions"].raise_()
    box.name.selectAll()
    qtbot.keyClicks(box.name, "Dr A. Heart")
    qtbot.mouseClick(box.buttons["rejected"], LEFT)
    review = session.regions.review
    assert review is not None and (review.decision, review.who) == ("rejected", "Dr A. Heart")
    assert box.state.text().startswith("Rejected by Dr A. Heart, ")
    window.docks["quality"].raise_()
    qtbot.waitUntil(lambda: any("rejected" in text for text in window.quality.notes.sentences()), timeout=5000)
    window.preferences.sync()
    assert Preferences().free_text("review/who", "") == "Dr A. Heart"  # remembered
    key(window, qtbot, Qt.Key.Key_S, CTRL)
    stored = json.loads(heart.with_name("heart.roi.json").read_text(encoding="utf-8"))
    assert stored["review"]["decision"] == "rejected" and stored["version"] == 2
    kept = session.regions
    session.close_loop(session.current.loop_id)  # type: ignore[union-attr]
    open_path(window, qtbot, heart)
    window.player.clock.pause()
    assert session.regions == kept and not session.unsaved()
    assert box.buttons["rejected"].isChecked()
    session.work.edit(3, "lv", [session.regions.at(3).lv[0].moved(2, 0)], "Move")  # another shape was reviewed
    assert session.regions.review is None and "review was taken back" in window.statusBar().currentMessage()
    key(window, qtbot, Qt.Key.Key_Z, CTRL)
    assert session.regions.review == review
    key(window, qtbot, Qt.Key.Key_R, CTRL | SHIFT)  # the same again takes it back
    assert session.regions.review is None
    key(window, qtbot, Qt.Key.Key_A, CTRL | SHIFT)
    assert session.regions.review is not None and session.regions.review.decision == "accepted"
    assert window.actions_by_name["review_accepted"].isChecked()


def test_a_review_needs_a_name(
    window: MainWindow, network: Network, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, name = window.session, window.regions.review.name
    monkeypatch.setattr("getpass.getuser", lambda: "root")
    session.work.reviewer = ""
    assert name.text() == "" and name.placeholderText() == "Your name"
    generate(window, qtbot)
    key(window, qtbot, Qt.Key.Key_A, CTRL | SHIFT)
    assert session.regions.review is None and "Type your name" in window.statusBar().currentMessage()
    assert not window.actions_by_name["review_accepted"].isChecked()
    assert name.hasFocus() and window.regions.isVisible()
    qtbot.keyClicks(name, "A. Heart")
    qtbot.keyClick(name, Qt.Key.Key_Return)
    key(window, qtbot, Qt.Key.Key_A, CTRL | SHIFT)
    review = session.regions.review
    assert review is not None and review.who == "A. Heart"


def test_marks_are_found_moved_by_mouse_and_keys_and_kept(
    window: MainWindow, network: Network, heart: Path, qtbot: Any
) -> None:
    session, curve = window.session, window.quality.curve
    generate(window, qtbot)
    found = session.regions.marks
    first = found.es[0]
    y = curve.height() // 2
    qtbot.mousePress(curve.viewport(), LEFT, pos=QPoint(round(curve.x_of(first)), y))
    qtbot.mouseMove(curve.viewport(), QPoint(round(curve.x_of(first + 2)), y))
    qtbot.mouseRelease(curve.viewport(), LEFT, pos=QPoint(round(curve.x_of(first + 3)), y))
    marks = session.regions.marks
    assert first + 3 in marks.es and first not in marks.es and marks.by_hand and marks.ed == found.ed
    assert session.frame == 0  # the playhead stayed
    key(window, qtbot, Qt.Key.Key_T)
    assert session.frame == first + 3
    session.set_frame(first + 2)
    key(window, qtbot, Qt.Key.Key_T, SHIFT)  # the mark of this beat comes here
    assert first + 2 in session.regions.marks.es and len(session.regions.marks.es) == len(found.es)
    session.work.edit(3, "lv", [session.regions.at(3).lv[0].moved(2, 0)], "Move")
    assert first + 2 in session.regions.marks.es  # set by hand: not found anew
    key(window, qtbot, Qt.Key.Key_S, CTRL)
    kept = session.regions.marks
    session.close_loop(session.current.loop_id)  # type: ignore[union-attr]
    open_path(window, qtbot, heart)
    window.player.clock.pause()
    assert session.regions.marks == kept
    key(window, qtbot, Qt.Key.Key_D, CTRL)
    assert session.regions.marks == found
    key(window, qtbot, Qt.Key.Key_Z, CTRL)
    assert session.regions.marks == kept


def test_marks_are_moved_on_the_scrub_bar(window: MainWindow, network: Network, qtbot: Any) -> None:
    session, scrub = window.session, window.transport.scrub
    generate(window, qtbot)
    found = session.regions.marks
    first, steps = found.es[0], session.undo_stack.count()

    def name_of(frame: int) -> QPoint:
        return QPoint(round(scrub.x_of(frame)), 6)

    qtbot.mousePress(scrub, LEFT, pos=name_of(first))
    qtbot.mouseMove(scrub, name_of(first + 3))
    assert session.frame == first + 3 and session.regions.marks == found  # the picture follows, the mark is held
    qtbot.mouseMove(scrub, name_of(first + 2))
    qtbot.mouseRelease(scrub, LEFT, pos=name_of(first + 2))
    marks = session.regions.marks
    assert marks.by_hand and marks.ed == found.ed and marks.es == (first + 2, *found.es[1:])
    assert session.frame == first + 2 and session.undo_stack.count() == steps + 1
    qtbot.mouseClick(scrub, LEFT, pos=name_of(first + 2))  # put back where it was: nothing happens
    qtbot.mouseClick(scrub, LEFT, pos=QPoint(round(scrub.x_of(first + 2)) + 4, 19))  # on the track the playhead moves
    assert session.regions.marks == marks and session.undo_stack.count() == steps + 1


def test_marks_of_other_beats_stay_and_a_second_press_takes_one_away(
    window: MainWindow, heart: Path, qtbot: Any
) -> None:
    session = window.session
    for frame, what in ((2, Qt.Key.Key_D), (9, Qt.Key.Key_T), (16, Qt.Key.Key_D), (17, Qt.Key.Key_D)):
        session.set_frame(frame)
        key(window, qtbot, what, SHIFT)
    assert (session.regions.marks.ed, session.regions.marks.es) == ((2, 17), (9,))
    key(window, qtbot, Qt.Key.Key_D, SHIFT)
    assert session.regions.marks.ed == (2,)
    key(window, qtbot, Qt.Key.Key_D)
    assert session.frame == 2


def test_marks_set_before_drawing_stay(window: MainWindow, heart: Path) -> None:
    session = window.session
    session.work.mark_here("ed")
    session.work.edit(0, "lv", [Contour(np.array(LV, float), smooth=True)], "Draw")
    assert session.regions.marks.ed == (0,) and session.shown.lv
    session.undo_stack.undo()
    assert session.regions.marks.ed == (0,) and not session.shown.lv
    session.undo_stack.undo()
    assert not session.regions.marks
