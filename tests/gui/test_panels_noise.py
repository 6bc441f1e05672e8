"""The noise dock with a real worker and a generator whose channels are known."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hands import destroy, key, open_path
from PySide6.QtCore import Qt

from echoq_desktop.engine import Engine, EngineOptions
from echoq_desktop.main_window import MainWindow
from echoq_desktop.noise_work import NOISE, NoiseWork
from echoq_desktop.panels.noise import NoisePanel
from echoq_desktop.panels.noise_boxes import UNKNOWN
from echoq_desktop.preferences import Preferences
from echoq_desktop.session import Session
from echoq_models.generative import editor
from echoq_models.regions import Contour, Regions
from echoq_models.weights import store
from tests.make_networks import GLOBAL, LEVEL, NEAR, STEP, bright_loop, save_noise_networks

LV = Contour(np.array([[140.0, 60], [180, 60], [180, 150], [140, 150]]))
MYOCARDIUM = Contour(np.array([[140.0, 180], [180, 180], [180, 205], [140, 205]]))


@pytest.fixture(scope="module")
def worker(qapp: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A worker that finds the planted generator and its encoder, and no other weights of a person's."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("weights")
        patch.setenv("ECHOQ_WEIGHTS", str(folder))
        save_noise_networks(folder)
        made = Engine(options=EngineOptions(temporary=tmp_path_factory.mktemp("frames")))
        made.start()
        yield made
        made.close()


@pytest.fixture
def window(worker: Engine, qtbot: Any, tmp_path: Path) -> Iterator[MainWindow]:
    """A loop of three frames is open, the noise dock is in front, nothing is denoised."""
    session = Session(worker)
    session.hidden = {"fast", "bm3d"}
    made = MainWindow(session, Preferences())
    made.show()
    loop, _ = bright_loop(3)
    np.savez(tmp_path / "clean.npz", frames=loop.frames, times_ms=loop.times_ms)
    open_path(made, qtbot, tmp_path / "clean.npz")
    made.player.clock.pause()
    made.player.clock.seek(0)
    made.docks["noise"].raise_()
    yield made
    destroy(made)


@pytest.fixture
def work(window: MainWindow, qtbot: Any) -> NoiseWork:
    """The first frame is encoded, by the key for it."""
    key(window, qtbot, Qt.Key.Key_U)
    assert window.noise.frame.job.isVisible() or window.session.noise.edited is not None
    settle(window, qtbot)
    return window.session.noise


def settle(window: MainWindow, qtbot: Any) -> None:
    """Wait until the frame shown is drawn as the sliders stand."""
    noise = window.session.noise

    def drawn() -> bool:
        return "edit" not in noise._jobs and noise.edited is not None and dict(noise.edited.changes) == noise.changes()

    qtbot.waitUntil(drawn, timeout=60_000)


def added(window: MainWindow) -> Any:
    """What the noise adds to the frame shown, grey levels."""
    t = window.session.frame
    noisy = window.session.frame_of(NOISE, t)
    assert noisy is not None and window.session.current is not None
    return noisy.astype(int) - window.session.current.loop.frames[t]


def test_without_a_generator_the_dock_says_how_to_get_one(
    qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECHOQ_WEIGHTS", str(tmp_path / "weights"))
    shipped = store.resources.path
    monkeypatch.setattr(store.resources, "path", lambda *parts: tmp_path / "nothing")
    panel = NoisePanel(Session(Engine(options=EngineOptions(temporary=tmp_path))))
    qtbot.addWidget(panel)
    panel.show()
    assert panel.notes.sentences() == [editor.NOTHING_HERE]
    assert not panel.frame.isVisible() and not panel.apply_button.isEnabled()
    monkeypatch.setattr(store.resources, "path", shipped)
    save_noise_networks(tmp_path / "weights")
    panel.wake()  # the dock comes to the front again
    assert panel.frame.isVisible() and panel.notes.sentences() == ["Open a loop to turn its noise."]
    assert panel.strengths.rows["global"].isEnabled() and not panel.strengths.rows["centre field"].isEnabled()
    assert "try channels below" in panel.strengths.rows["centre field"].slider.toolTip()


def test_a_frame_is_encoded_and_judged(window: MainWindow, work: NoiseWork, qtbot: Any) -> None:
    edited, box = work.edited, window.noise.frame
    assert edited is not None and edited.reconstruction.shape == (32, 32) and not edited.likeness.known
    assert not added(window).any()  # no noise yet
    qtbot.waitUntil(lambda: UNKNOWN in box.notes.sentences(), timeout=5000)
    assert f"SSIM {edited.likeness.ssim:.2f}" in box.figures.text()
    for name, title in (("reconstruction", "Reconstruction"), ("difference", "Difference"), ("after", "After")):
        qtbot.mouseClick(box.choices[name], Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda title=title: box.after.title == title, timeout=5000)
        assert box.after.image is not None and box.before.image is not None


def test_a_slider_turns_the_noise_and_gcnr_follows(window: MainWindow, work: NoiseWork, qtbot: Any) -> None:
    window.session.set_regions(Regions((LV,), (MYOCARDIUM,)), "Draw")
    rows = window.noise.strengths.rows
    rows["global"].slider.setFocus()
    for _ in range(3):
        qtbot.keyClick(rows["global"].slider, Qt.Key.Key_PageUp)
    assert rows["global"].number.value() == 3.0
    rows["near field"].number.setValue(1.5)
    settle(window, qtbot)
    assert work.changes() == {GLOBAL: 3.0, NEAR: -1.5} and work.label() == "global 3, near field 1.5"
    assert added(window).max() > 3 * STEP * 255
    qtbot.waitUntil(lambda: "gCNR, before → after" in window.noise.frame.figures.text(), timeout=5000)
    qtbot.mouseDClick(rows["global"].slider, Qt.MouseButton.LeftButton)
    rows["near field"].number.setValue(0.0)
    settle(window, qtbot)
    assert not added(window).any()
    rows["global"].slider.setValue(-10)
    settle(window, qtbot)
    assert added(window).min() == -round(STEP * 255)  # noise can be turned down too
    window.actions_by_name["no_noise"].trigger()
    settle(window, qtbot)
    assert rows["global"].number.value() == 0.0 and not window.actions_by_name["no_noise"].isEnabled()


def test_the_newest_wish_wins_and_none_piles_up(window: MainWindow, work: NoiseWork, qtbot: Any) -> None:
    asked: list[float] = []
    heard = window.session.engine.edited.connect(lambda _job, found: asked.append(found.changes.get(GLOBAL, 0.0)))
    for step in range(1, 41):
        work.set_strength("global", step / 10)
    settle(window, qtbot)
    window.session.engine.edited.disconnect(heard)
    assert asked[-1] == 4.0 and len(asked) <= 3


def test_frames_on_which_one_stays_follow_and_a_pane_shows_them(
    window: MainWindow, work: NoiseWork, qtbot: Any
) -> None:
    work.set_strength("global", 2.0)
    key(window, qtbot, Qt.Key.Key_4)
    assert window.session.shown_panes == ["original", NOISE] and len(window.panes.shown) == 2
    settle(window, qtbot)
    assert window.session.missing(NOISE) is None
    window.session.set_frame(1)
    assert work.edited is None and "not encoded yet" in (window.session.missing(NOISE) or "")
    settle(window, qtbot)
    assert work.edited is not None and work.edited.frame == 1 and added(window).max() >= 2 * STEP * 255 - 1
    assert "Noise preview" in window.panes.shown[1].accessibleName()
    key(window, qtbot, Qt.Key.Key_4)
    assert window.session.shown_panes == ["original"]


def test_channels_are_tried_named_saved_and_loaded(
    window: MainWindow, work: NoiseWork, qtbot: Any, tmp_path: Path
) -> None:
    box = window.noise.channels
    qtbot.mouseClick(box.try_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: box.list.count() > 0, timeout=60_000)
    texts = [box.list.item(place).text() for place in range(box.list.count())]
    assert set(texts[:2]) == {f"{GLOBAL}\nglobal", f"{NEAR}\nnear field"} and LEVEL in texts
    box.list.setCurrentRow(texts.index(LEVEL))
    assert work.trial is not None and work.trial[0] == LEVEL and box.amount.label.text() == LEVEL
    settle(window, qtbot)
    assert added(window).any()
    box.amount.number.setValue(-2.0)
    box.component.setCurrentText("centre field")
    qtbot.mouseClick(box.name_button, Qt.MouseButton.LeftButton)
    assert work.channels.components["centre field"] == {LEVEL: -1.0} and work.strengths["centre field"] == 2.0
    assert window.noise.strengths.rows["centre field"].isEnabled() and work.trial is None
    box.by_name.setText(GLOBAL)
    qtbot.keyClick(box.by_name, Qt.Key.Key_Return)
    box.component.setCurrentText("my haze")
    qtbot.mouseClick(box.name_button, Qt.MouseButton.LeftButton)
    assert "my haze" in window.noise.strengths.rows
    box.by_name.setText(LEVEL)
    qtbot.keyClick(box.by_name, Qt.Key.Key_Return)
    qtbot.mouseClick(box.add_button, Qt.MouseButton.LeftButton)
    assert set(work.channels.components["my haze"]) == {GLOBAL, LEVEL}
    work.save(tmp_path / "set.json")
    qtbot.mouseClick(box.forget_button, Qt.MouseButton.LeftButton)
    assert "my haze" not in work.components
    qtbot.mouseClick(box.restore_button, Qt.MouseButton.LeftButton)
    assert set(work.channels.components) == {"global", "near field"}
    work.load(tmp_path / "set.json")
    assert work.channels.components["my haze"][LEVEL] == pytest.approx(0.5**0.5)
    settle(window, qtbot)


def test_a_channel_that_is_not_there_is_said(window: MainWindow, work: NoiseWork, qtbot: Any) -> None:
    work.try_channel("b64.conv1:0", 1.0)
    qtbot.waitUntil(lambda: "no style channel 'b64.conv1:0'" in work.problem, timeout=10_000)
    qtbot.waitUntil(lambda: work.problem in window.noise.frame.notes.sentences(), timeout=5000)
    work.reset()
    settle(window, qtbot)
    assert work.problem == ""


def test_a_noisy_loop_opens_and_is_measured_against_its_source(window: MainWindow, work: NoiseWork, qtbot: Any) -> None:
    session, panel = window.session, window.noise
    session.set_regions(Regions((LV,), (MYOCARDIUM,)), "Draw")
    clean = session.current
    assert clean is not None and not panel.apply_button.isEnabled()
    work.set_strength("global", 2.0)
    with qtbot.waitSignal(session.loops_changed, timeout=60_000):
        qtbot.mouseClick(panel.apply_button, Qt.MouseButton.LeftButton)
    noisy = session.current
    assert noisy is not None and noisy.clean is clean and noisy.loop.simulated and len(session.loops) == 2
    assert session.regions.lv == (LV,) and not session.unsaved()[1:]  # the same heart
    assert "noise\nglobal 2" in window.strip.item(1).text() and session.title_of("original") == "Simulated noise"
    box = panel.reference
    qtbot.waitUntil(lambda: all(box.figures("original", t) is not None for t in range(3)), timeout=20_000)
    psnr, ssim = box.figures("original", 0) or (0, 0)
    assert psnr == pytest.approx(-20 * np.log10(2 * STEP), abs=0.6) and 0.5 < ssim < 1
    assert box.isVisible() and box.table.item(0, 0).text() == f"{psnr:.1f}"
    assert box.table.item(0, 3).text() != "…"
    qtbot.mouseClick(box.source_button, Qt.MouseButton.LeftButton)
    assert session.current is clean and not box.isVisible()
    session.select(noisy.loop_id)
    session.close_loop(clean.loop_id)
    assert not box.source_button.isEnabled()
    session.set_frame(2)
    assert np.array_equal(clean.loop.frames[2][200:, 0], noisy.loop.frames[2][200:, 0])  # still there to compare with


def test_the_noisy_loop_can_be_cancelled(window: MainWindow, work: NoiseWork, qtbot: Any) -> None:
    work.set_strength("global", 1.0)
    work.set_refine(True)
    settle(window, qtbot)
    work.apply()
    assert window.noise.job.isVisible()
    qtbot.mouseClick(window.noise.job.cancel_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: work.job("noisy") is None, timeout=30_000)
    assert len(window.session.loops) == 1 and not window.noise.job.isVisible()
    work.set_refine(False)
    settle(window, qtbot)


@pytest.mark.skipif(sys.platform != "linux", reason="signals are the tool of this test")
def test_a_worker_that_dies_takes_no_noisy_loop_along(window: MainWindow, work: NoiseWork, qtbot: Any) -> None:
    session = window.session
    work.set_strength("global", 2.0)
    with qtbot.waitSignal(session.loops_changed, timeout=60_000):
        work.apply()
    assert session.engine.worker_pid is not None and session.current is not None
    with qtbot.waitSignal(session.engine.restarted, timeout=30_000):
        os.kill(session.engine.worker_pid, signal.SIGKILL)
    assert session.current.loop.simulated
    work.encode()  # the noisy loop's frame, in the new worker
    settle(window, qtbot)
    assert added(window).max() >= round(2 * STEP * 255) - 1
