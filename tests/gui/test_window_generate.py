"""Regions from the network: generated, corrected on key frames, taken back, with the beat and the review; kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hands import CTRL, LEFT, LV, NO, SHIFT, Network, at, destroy, draw, generate, key, open_path, shift_of
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMessageBox

from echoq_desktop.engine import Engine, EngineOptions
from echoq_desktop.main_window import MainWindow
from echoq_desktop.preferences import Preferences
from echoq_desktop.session import Session
from echoq_models.regions import beat
from tests.make_networks import bright_loop, save_bright


def test_one_key_fills_the_loop_and_one_undo_empties_it(window: MainWindow, network: Network, qtbot: Any) -> None:
    session = window.session
    generate(window, qtbot)
    assert network.asked == [None]
    made = session.regions
    assert all(made.at(t).lv and made.at(t).myocardium for t in range(30)) and not made.edited
    assert made.source.startswith("lv ")
    areas = beat.areas(made, 30)
    assert made.marks == beat.find_marks(areas, session.current.loop.times_ms)  # type: ignore[union-attr]
    assert made.marks.es and np.argmin(areas) in range(made.marks.es[0] - 2, made.marks.es[-1] + 3)
    assert window.statusBar().currentMessage() == "LV found in 30 of 30 frames, confidence 0.90."
    assert "This frame: confidence 0.90" in window.regions.generate.status.text()
    qtbot.waitUntil(lambda: window.quality.table.columns()[0][3] == "30", timeout=10_000)  # every frame measured
    key(window, qtbot, Qt.Key.Key_Z, CTRL)
    assert not session.regions and not session.regions.marks
    key(window, qtbot, Qt.Key.Key_Y, CTRL)
    assert session.regions == made


def test_the_workers_own_network_fills_the_loop(
    qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_settings: Path
) -> None:
    """Nothing stands in here: weights that take what is bright for the ventricle, through the worker and back."""
    monkeypatch.setenv("ECHOQ_WEIGHTS", str(tmp_path / "weights"))
    save_bright(tmp_path / "weights")
    loop, truth = bright_loop(8, without=(4,))
    np.savez(tmp_path / "bright.npz", frames=loop.frames, times_ms=loop.times_ms)
    engine = Engine(options=EngineOptions(temporary=tmp_path))
    session = Session(engine)
    session.hidden = {"fast", "bm3d"}
    window = MainWindow(session, Preferences())
    try:
        window.show()
        engine.start()
        qtbot.waitUntil(lambda: session.generation.missing is None, timeout=60_000)
        open_path(window, qtbot, tmp_path / "bright.npz")
        window.player.clock.pause()
        steps: list[tuple[int, int]] = []
        session.generation.changed.connect(lambda: steps.append(session.generation.progress))
        key(window, qtbot, Qt.Key.Key_A, SHIFT)
        qtbot.waitUntil(lambda: bool(session.regions), timeout=60_000)
        assert (4, 8) in steps
        assert "LV found in 7 of 8 frames" in window.statusBar().currentMessage()
        assert list(session.regions.findings.reasons) == [4]
        for t in (0, 3, 6):
            lv, _ = session.regions.masks(loop.size, t)
            assert lv.any() and not (lv & ~truth[t]).any()  # the measured part of the ventricle
    finally:
        destroy(window)
        engine.close()


def test_frames_without_a_ventricle_say_why_without_a_box(window: MainWindow, network: Network, qtbot: Any) -> None:
    network.lost = {5, 6}
    window.docks["regions"].raise_()
    generate(window, qtbot)
    assert window.statusBar().currentMessage() == "LV found in 28 of 30 frames, confidence 0.90."
    window.session.set_frame(5)
    assert network.WHY in window.regions.generate.status.text()
    qtbot.waitUntil(lambda: "no LV found, blended" in window.regions.edited.text(), timeout=5000)
    assert window.session.shown.lv  # from the frames around it
    network.lost = set(range(30))
    before, steps = window.session.regions, window.session.undo_stack.count()
    generate(window, qtbot)
    told = window.statusBar().currentMessage()
    assert told == "No LV found: the left ventricle would be too small. The regions stay as they were."
    assert window.session.regions.frames == before.frames and window.session.undo_stack.count() == steps
    assert len(window.session.regions.findings.reasons) == 30
    assert not window.findChildren(QMessageBox)


def test_a_single_frame_is_generated_among_edited_ones(window: MainWindow, network: Network, qtbot: Any) -> None:
    session = window.session
    generate(window, qtbot)
    given = session.regions
    session.work.edit(3, "lv", [given.at(3).lv[0].moved(8, 0)], "Move")
    session.set_frame(12)
    assert shift_of(session.shown.lv[0], given.at(12).lv[0]) == pytest.approx((8, 0), abs=0.5)  # held from frame 3
    generate(window, qtbot, NO)
    assert network.asked == [None, [12]]
    assert session.regions.at(12) == given.at(12) and session.regions.edited == {3, 12}
    assert session.regions.at(3).lv[0] == given.at(3).lv[0].moved(8, 0)


def test_the_whole_loop_anew_keeps_frames_edited_by_hand(window: MainWindow, network: Network, qtbot: Any) -> None:
    session = window.session
    generate(window, qtbot)
    given = session.regions
    for t in (3, 20):
        session.work.edit(t, "lv", [session.regions.at(t).lv[0].moved(8, 0)], "Move")
    session.set_frame(10)
    key(window, qtbot, Qt.Key.Key_X)
    edited = session.regions
    network.shift = 4  # a network that says something else
    generate(window, qtbot)
    made = session.regions
    assert window.statusBar().currentMessage().endswith("confidence 0.90. 2 frames edited by hand were kept.")
    assert made.edited == {3, 20} and made.left_out == {10} and not made.at(10)
    assert made.at(3) == edited.at(3) and made.at(20) == edited.at(20)
    assert shift_of(made.generated[12].lv[0], given.generated[12].lv[0])[0] == pytest.approx(4, abs=0.5)
    assert shift_of(made.at(29).lv[0], edited.at(29).lv[0])[0] == pytest.approx(0, abs=0.5)  # as frame 20 says
    key(window, qtbot, Qt.Key.Key_Z, CTRL)
    assert session.regions == edited
    session.set_frame(3)
    generate(window, qtbot, NO)  # but on the frame itself it is what was asked for
    assert session.regions.at(3).lv[0] == session.regions.generated[3].lv[0] != edited.at(3).lv[0]
    key(window, qtbot, Qt.Key.Key_Z, CTRL)
    assert session.regions.at(3) == edited.at(3)


def test_what_the_network_said_is_there_again_after_reopening(
    window: MainWindow, network: Network, heart: Path, qtbot: Any
) -> None:
    session = window.session
    network.lost = {5}
    window.docks["regions"].raise_()
    generate(window, qtbot)
    key(window, qtbot, Qt.Key.Key_S, CTRL)
    kept = session.regions.findings
    session.close_loop(session.current.loop_id)  # type: ignore[union-attr]
    assert not session.regions.findings
    open_path(window, qtbot, heart)
    window.player.clock.pause()
    assert session.regions.findings == kept
    session.set_frame(5)
    status = window.regions.generate.status
    assert status.text() == f"LV found in 29 of 30 frames, confidence 0.90.\nThis frame: {network.WHY}"
    key(window, qtbot, Qt.Key.Key_Left)
    assert status.text().endswith("This frame: confidence 0.90.")


def test_generating_can_be_cancelled(
    window: MainWindow, network: Network, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[int] = []
    monkeypatch.setattr(window.session.engine, "cancel", stopped.append)
    window.docks["regions"].raise_()
    key(window, qtbot, Qt.Key.Key_A, SHIFT)
    qtbot.mouseClick(window.regions.generate.cancel_button, LEFT)
    assert not window.session.generation.busy and stopped == [10_001]
    qtbot.wait(100)  # the answer comes all the same
    assert not window.session.regions


def test_without_weights_generating_is_off_and_says_so(window: MainWindow, heart: Path) -> None:
    why = "There are no weights called lv."
    window.session.engine.segmenters.emit({"lv": {"title": "Left ventricle", "missing": why}})
    for name in ("generate_frame", "generate_loop"):
        assert not window.actions_by_name[name].isEnabled() and why in window.actions_by_name[name].toolTip()
    assert not window.regions.generate.loop_button.isEnabled()
    assert window.regions.generate.status.text() == why


def test_edits_on_key_frames_reach_the_frames_between(window: MainWindow, network: Network, qtbot: Any) -> None:
    session, pane = window.session, window.panes.shown[0]
    generate(window, qtbot)
    given = session.regions
    session.tool = "edit"
    for frame, by in ((5, 4), (15, 8)):
        session.set_frame(frame)
        x, y = session.shown.lv[0].centroid
        qtbot.mousePress(pane, LEFT, pos=at(pane, x, y))
        qtbot.mouseMove(pane, at(pane, x + by, y))
        assert session.regions.edited == given.edited | ({5} if frame == 15 else set())  # only a preview so far
        qtbot.mouseRelease(pane, LEFT, pos=at(pane, x + by, y))
        assert shift_of(session.shown.lv[0], given.at(frame).lv[0])[0] == pytest.approx(4 if frame == 5 else 12, abs=1)
    assert session.regions.edited == {5, 15} and session.undo_stack.count() == 3
    moved = [shift_of(session.regions.at(t).lv[0], given.at(t).lv[0])[0] for t in (0, 5, 10, 15, 25)]
    assert moved == pytest.approx([4, 4, 8, 12, 12], abs=1.2)  # held outside, blended between
    assert session.regions.at(10).myocardium == given.at(10).myocardium
    key(window, qtbot, Qt.Key.Key_Left, SHIFT)
    assert session.frame == 5
    key(window, qtbot, Qt.Key.Key_Z, CTRL)
    assert session.regions.edited == {5}
    assert shift_of(session.regions.at(20).lv[0], given.at(20).lv[0])[0] == pytest.approx(4, abs=1)


def test_key_frames_are_seen_in_the_scrub_bar(window: MainWindow, network: Network, qtbot: Any) -> None:
    generate(window, qtbot)
    scrub = window.transport.scrub
    before = scrub.grab().toImage()
    window.session.work.edit(12, "lv", [window.session.regions.at(12).lv[0].moved(3, 0)], "Move")
    after = scrub.grab().toImage()
    changed = [x for x in range(after.width()) if any(after.pixel(x, y) != before.pixel(x, y) for y in range(41))]
    assert changed and all(abs(x - scrub.x_of(12)) < 8 for x in changed)


def test_a_frame_is_copied_to_the_next(window: MainWindow, network: Network, qtbot: Any) -> None:
    session = window.session
    generate(window, qtbot)
    session.set_frame(4)
    shown = session.shown
    key(window, qtbot, Qt.Key.Key_Right, CTRL)
    assert session.frame == 5 and session.shown == shown and session.regions.edited == {5}
    session.set_frame(29)
    window.actions_by_name["copy_next"].trigger()
    assert session.frame == 29 and "last frame" in window.statusBar().currentMessage()


def test_a_frame_without_its_outline_is_left_out_and_comes_back(
    window: MainWindow, network: Network, heart: Path, qtbot: Any
) -> None:
    session, table = window.session, window.quality.table
    generate(window, qtbot)
    made = session.regions
    session.set_frame(6)
    session.tool = "edit"
    key(window, qtbot, Qt.Key.Key_J)
    key(window, qtbot, Qt.Key.Key_Delete)  # the LV: nothing can be measured here
    assert session.regions.left_out == {6} and not session.shown
    assert all(session.regions.at(t) == made.at(t) for t in range(30) if t != 6)
    assert "left out" in window.statusBar().currentMessage()
    qtbot.waitUntil(lambda: table.columns()[0][1] not in ("…", "–") and table.columns()[0][3] == "29/30", timeout=9000)
    assert "1 frame is left out by hand." in window.quality.notes.sentences()
    window.docks["regions"].raise_()
    qtbot.waitUntil(lambda: "✕ Left out: frame 7" in window.regions.edited.text(), timeout=5000)
    assert window.regions.out_button.isChecked() and window.actions_by_name["leave_out"].isChecked()
    key(window, qtbot, Qt.Key.Key_S, CTRL)
    session.close_loop(session.current.loop_id)  # type: ignore[union-attr]
    open_path(window, qtbot, heart)
    window.player.clock.pause()
    assert session.regions.left_out == {6}
    session.set_frame(6)
    key(window, qtbot, Qt.Key.Key_X)
    assert session.regions.at(6) == made.at(6) and not session.regions.left_out
    key(window, qtbot, Qt.Key.Key_X)
    draw(window, qtbot, "draw_lv", LV)  # drawn anew it counts again, with the myocardium it had
    assert not session.regions.left_out and session.regions.edited == {6}
    assert session.shown.lv[0].points == pytest.approx(np.array(LV, float), abs=1.0)
    assert session.shown.myocardium == made.at(6).myocardium
    key(window, qtbot, Qt.Key.Key_X, SHIFT)
    assert session.regions.frames == made.frames and not session.regions.edited


def test_measuring_goes_on_where_an_edit_makes_regions_overlap(
    window: MainWindow, network: Network, heart: Path, qtbot: Any
) -> None:
    session = window.session
    generate(window, qtbot)
    session.work.edit(6, "lv", [session.regions.at(6).lv[0].scaled(1.35)], "Scale")
    assert session.regions.at(20).shared(session.current.loop.size)  # type: ignore[union-attr]
    qtbot.waitUntil(lambda: window.quality.table.columns()[0][3] == "30", timeout=10_000)
    told = [text for text in window.quality.notes.sentences() if "count in neither" in text]
    assert len(told) == 1 and told[0].startswith("Both regions cover some pixels in ")
    key(window, qtbot, Qt.Key.Key_S, CTRL)
    session.close_loop(session.current.loop_id)  # type: ignore[union-attr]
    open_path(window, qtbot, heart)
    assert "move them apart" not in window.statusBar().currentMessage()
