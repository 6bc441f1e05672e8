"""The engine and its worker: what a person may rely on when they open, denoise, cancel and close, or it dies."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from engine_recorder import PLUGINS, Recorder, is_alive, npz

from echoq_models.cine import read
from echoq_models.denoise.base import Settings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals and /proc are the tools of these tests")

Start = Callable[..., Recorder]


def test_a_real_loop_opens_before_torch_is_there(start: Start, heart: Path) -> None:
    heard = start()
    opened = heard.open(heart)
    here = read(heart)
    assert not heard.all("ready")
    assert isinstance(opened.loop.frames, np.memmap) and not opened.loop.frames.flags.writeable
    np.testing.assert_array_equal(opened.loop.frames, here.frames)
    np.testing.assert_array_equal(opened.loop.times_ms, here.times_ms)
    assert opened.loop.header is None and opened.path == heart and opened.loop.regions == here.regions
    for t in (0, 29):
        np.testing.assert_array_equal(opened.loop.rgb(t), here.rgb(t))
    assert opened.sector_mask is not None and opened.sector_mask.shape == (240, 320)
    assert opened.spacing is not None and opened.spacing.shrink == 2
    assert opened.summary["Frames"] == "30"
    progress = [item[1:3] for item in heard.all("progress", opened.loop_id)]
    assert progress[-1] == (30, 30)
    heard.until(lambda: heard.all("ready"))
    assert heard.all("methods")[0][0]["darken"] == {"title": "Darken", "missing": None}
    assert "fast" in heard.all("methods")[0][0]
    assert heard.all("methods")[0][0]["quick_denoisers:missing"]["missing"].startswith("The denoiser")


def test_a_method_fills_its_result_and_tells(heard: Recorder, heart: Path) -> None:
    opened = heard.open(heart)
    assert heard.engine.result(opened.loop_id, "darken") is None
    job = heard.engine.denoise(opened.loop_id, "darken", Settings(), 3)
    kind, facts = heard.end(job)
    assert kind == "finished"
    result = heard.engine.result(opened.loop_id, "darken")
    assert result is not None and result.done.all() and not result.frames.flags.writeable
    np.testing.assert_array_equal(result.frames, opened.loop.frames // 2)
    assert sorted(heard.frames_in_order(opened.loop_id, "darken")) == list(range(30))
    assert heard.all("prepared", opened.loop_id)[0][1] == "darken" and facts["pid"] == heard.engine.worker_pid


def test_the_worker_knows_no_qt_and_the_window_no_torch(heart: Path, tmp_path: Path) -> None:
    script = tmp_path / "window.py"
    script.write_text(
        f"""
import sys
from pathlib import Path
def main():
    sys.path[:0] = [{str(PLUGINS)!r}, {str(Path.cwd())!r}]
    from PySide6.QtCore import QCoreApplication, QTimer
    from echoq_desktop.engine import Engine, EngineOptions
    from echoq_models.denoise.base import Settings
    app = QCoreApplication([])
    options = EngineOptions(extra_denoisers=("quick_denoisers:darken",), temporary=Path({str(tmp_path)!r}))
    engine = Engine(options=options)
    engine.opened.connect(lambda loop_id, opened: engine.denoise(loop_id, "darken", Settings(), 0))
    engine.finished.connect(lambda job, result: (print(repr(result["qt"]), result["torch"]), app.quit()))
    engine.start()
    engine.open(Path({str(heart)!r}))
    QTimer.singleShot(30000, app.quit)
    app.exec()
    engine.close()
    print("torch" in sys.modules)
if __name__ == "__main__":
    main()
"""
    )
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    assert run.stdout.splitlines() == ["'' True", "False"], run.stderr


def test_frames_come_from_the_playhead_outward_and_follow_it(heard: Recorder, heart: Path) -> None:
    opened = heard.open(heart)
    job = heard.engine.denoise(opened.loop_id, "slow", Settings(), 10)
    heard.until(lambda: len(heard.frames_in_order(opened.loop_id, "slow")) >= 4)
    heard.engine.look_at(opened.loop_id, 25)
    heard.end(job)
    order = heard.frames_in_order(opened.loop_id, "slow")
    assert order[:4] == [10, 11, 9, 12] and sorted(order) == list(range(30))
    jump = order.index(25)
    assert 4 <= jump <= 7  # what was on its way comes first
    assert order[jump : jump + 12] == [25, 26, 24, 27, 23, 28, 22, 29, 21, 0, 20, 1]  # round the end of the loop


def test_the_result_can_be_read_while_it_is_written(heard: Recorder, heart: Path) -> None:
    opened = heard.open(heart)
    seen: list[int] = []

    def check(loop_id: int, method: str, indices: list[int]) -> None:
        result = heard.engine.result(loop_id, method)
        assert result is not None and result.done[indices].all()
        for index in indices:
            np.testing.assert_array_equal(result.frames[index], opened.loop.frames[index] // 2)
        seen.extend(indices)

    line = heard.engine.frames_ready.connect(check)
    heard.end(heard.engine.denoise(opened.loop_id, "slow", Settings(), 0))
    heard.engine.frames_ready.disconnect(line)
    assert sorted(seen) == list(range(30))


def test_the_first_frames_come_first_then_the_light_method(heard: Recorder, heart: Path) -> None:
    opened = heard.open(heart)
    slow = heard.engine.denoise(opened.loop_id, "slow", Settings(), 0)
    heard.until(lambda: heard.frames_in_order(opened.loop_id, "slow"))
    quick = heard.engine.denoise(opened.loop_id, "darken", Settings(), 0)
    heard.end(slow)
    heard.end(quick)
    first_quick = next(i for i, item in enumerate(heard.heard) if item[0] == "frames_ready" and item[2] == "darken")
    slow_before = sum(item[0] == "frames_ready" and item[2] == "slow" for item in heard.heard[:first_quick])
    assert slow_before < 6


def test_two_loops_keep_their_pixels_apart(heard: Recorder, tmp_path: Path) -> None:
    first = heard.open(npz(tmp_path / "first.npz", 20, 100))
    second = heard.open(npz(tmp_path / "second.npz", 12, 40, (50, 66)))
    jobs = [heard.engine.denoise(each.loop_id, "slow", Settings(), 0) for each in (first, second)]
    for job in jobs:
        heard.end(job)
    for opened in (first, second):
        result = heard.engine.result(opened.loop_id, "slow")
        assert result is not None
        np.testing.assert_array_equal(result.frames, opened.loop.frames // 2)
    # the second was asked for last: a person looks at it, so it was done first
    finished = [item[0] for item in heard.all("finished")]
    assert finished == [jobs[1], jobs[0]]


def test_a_new_call_takes_the_place_of_the_old_one(heard: Recorder, heart: Path) -> None:
    opened = heard.open(heart)
    old = heard.engine.denoise(opened.loop_id, "slow", Settings(), 0)
    heard.until(lambda: len(heard.frames_in_order(opened.loop_id, "slow")) >= 3)
    before = heard.engine.result(opened.loop_id, "slow")
    new = heard.engine.denoise(opened.loop_id, "slow", Settings(sigma=9.0), 20)
    assert heard.engine.result(opened.loop_id, "slow") is None
    count = len(heard.heard)
    assert heard.end(new)[0] == "finished"
    ends = [item for item in heard.heard[count:] if item[0] in ("finished", "failed", "progress")]
    assert all(item[1] == new for item in ends) and old != new
    result = heard.engine.result(opened.loop_id, "slow")
    assert result is not None and before is not None and result.settings.sigma == 9.0 and result.done.all()
    assert not before.done.all()
    after = [index for item in heard.heard[count:] if item[0] == "frames_ready" for index in item[3]]
    assert after[0] == 20 and len(after) == 30
    folder = heard.engine._shared.path
    heard.until(lambda: sorted(path.name for path in folder.glob("result-*")) == [f"result-{new}.frames"])


def test_the_same_settings_again_keep_what_is_there(heard: Recorder, heart: Path) -> None:
    opened = heard.open(heart)
    job = heard.engine.denoise(opened.loop_id, "slow", Settings(), 0)
    heard.until(lambda: len(heard.frames_in_order(opened.loop_id, "slow")) >= 10)
    heard.engine.cancel(job)
    assert heard.end(job) == ("cancelled",)
    result = heard.engine.result(opened.loop_id, "slow")
    assert result is not None and 10 <= result.done.sum() < 30
    kept = np.flatnonzero(result.done).tolist()
    before = heard.heard[:]
    again = heard.engine.denoise(opened.loop_id, "slow", Settings(), 0)
    assert heard.end(again)[0] == "finished"
    parts = [item[3] for item in heard.heard[len(before) :] if item[0] == "frames_ready"]
    assert parts[0] == kept and not set(kept) & {index for part in parts[1:] for index in part}
    np.testing.assert_array_equal(result.frames, opened.loop.frames // 2)
    third = heard.engine.denoise(opened.loop_id, "slow", Settings(), 5)  # all is there: it ends at once
    assert heard.end(third, 1)[0] == "finished"


def test_cancel_is_quick_and_others_go_on(heard: Recorder, heart: Path) -> None:
    opened = heard.open(heart)
    slow = heard.engine.denoise(opened.loop_id, "slow", Settings(), 0)
    heard.until(lambda: heard.frames_in_order(opened.loop_id, "slow"))
    pid = heard.engine.worker_pid
    asked = time.monotonic()
    heard.engine.cancel(slow)
    assert heard.end(slow) == ("cancelled",)
    assert time.monotonic() - asked < 0.5
    assert heard.end(heard.engine.denoise(opened.loop_id, "darken", Settings(), 0))[0] == "finished"
    assert heard.engine.worker_pid == pid and not heard.all("restarted")
    heard.engine.cancel(slow)  # again, and something that never was
    heard.engine.cancel(999)


def test_a_killed_worker_comes_back_and_goes_on_with_the_same_pixels(start: Start, heart: Path) -> None:
    heard = start()
    opened = heard.open(heart)
    job = heard.engine.denoise(opened.loop_id, "slow", Settings(), 0)
    heard.until(lambda: len(heard.frames_in_order(opened.loop_id, "slow")) >= 8)
    old = heard.engine.worker_pid
    heard.kill()
    heard.until(lambda: heard.all("restarted"))
    assert heard.all("restarted")[0][0].endswith("what is open goes on.")
    assert heard.end(job)[0] == "finished"
    assert heard.engine.worker_pid not in (None, old)
    result = heard.engine.result(opened.loop_id, "slow")
    assert result is not None and result.done.all()
    np.testing.assert_array_equal(result.frames, opened.loop.frames // 2)
    assert result.facts["device"] == "auto"
    parts = [part for _, name, part in heard.all("frames_ready", opened.loop_id)]
    assert sum(len(part) for part in parts) < 30 + 20  # told again once, but not computed again
    assert heard.end(heard.engine.denoise(opened.loop_id, "darken", Settings(), 0))[0] == "finished"


def test_the_second_death_on_a_job_sends_it_to_the_cpu(start: Start, tmp_path: Path) -> None:
    heard = start()
    opened = heard.open(npz(tmp_path / "loop.npz", 6))
    job = heard.engine.denoise(opened.loop_id, "no_gpu", Settings(device="auto"), 0)
    assert heard.end(job, 40)[0] == "finished"
    assert len(heard.all("restarted")) == 2
    result = heard.engine.result(opened.loop_id, "no_gpu")
    assert result is not None and result.facts["device"] == "cpu"
    np.testing.assert_array_equal(result.frames, opened.loop.frames // 2)


def test_the_third_death_ends_the_job_and_nothing_else(start: Start, tmp_path: Path) -> None:
    heard = start()
    opened = heard.open(npz(tmp_path / "loop.npz", 6))
    job = heard.engine.denoise(opened.loop_id, "deadly", Settings(), 0)
    other = heard.engine.denoise(opened.loop_id, "slow", Settings(), 0)
    kind, sentence = heard.end(job, 40)
    assert kind == "failed" and sentence == ("deadly: denoising stopped the worker three times, so it was given up.")
    assert heard.end(other)[0] == "finished"
    assert len(heard.all("restarted")) == 3


def test_a_worker_that_does_not_answer_a_cancel_is_replaced(start: Start, tmp_path: Path) -> None:
    heard = start(acknowledge_s=0.5)
    opened = heard.open(npz(tmp_path / "loop.npz", 6))
    job = heard.engine.denoise(opened.loop_id, "slow", Settings(), 0)
    heard.until(lambda: heard.frames_in_order(opened.loop_id, "slow"))
    heard.freeze()
    asked = time.monotonic()
    heard.engine.cancel(job)
    assert heard.end(job) == ("cancelled",)
    assert time.monotonic() - asked < 1.5
    assert heard.all("restarted")[0][0].startswith("Stopping took too long")
    assert heard.end(heard.engine.denoise(opened.loop_id, "darken", Settings(), 0))[0] == "finished"


def test_a_cancelled_job_that_never_leaves_its_batch_does_not_block_others(start: Start, tmp_path: Path) -> None:
    heard = start(stop_s=0.7)
    opened = heard.open(npz(tmp_path / "loop.npz", 6))
    heard.until(lambda: heard.all("ready"))
    stuck = heard.engine.denoise(opened.loop_id, "stubborn", Settings(), 0)
    heard.until(lambda: heard.all("prepared"))
    heard.qtbot.wait(200)
    heard.engine.cancel(stuck)
    assert heard.end(stuck, 1) == ("cancelled",)
    assert heard.end(heard.engine.denoise(opened.loop_id, "darken", Settings(), 0))[0] == "finished"
    assert len(heard.all("restarted")) == 1


def test_a_read_that_gets_stuck_costs_only_that_file(start: Start, heart: Path, tmp_path: Path) -> None:
    heard = start()
    opened = heard.open(heart)
    heard.engine.options = replace(heard.engine.options, read_s=1.0)
    heard.until(lambda: heard.all("ready"))
    heard.freeze()
    job = heard.engine.open(npz(tmp_path / "stuck.npz", 5))
    kind, sentence = heard.end(job, 5)
    assert kind == "failed" and sentence.startswith("stuck.npz: reading did not get on")
    assert heard.end(heard.engine.denoise(opened.loop_id, "darken", Settings(), 0))[0] == "finished"


def test_a_window_that_was_held_up_does_not_blame_the_worker(start: Start, heart: Path) -> None:
    heard = start(read_s=1.2)
    job = heard.engine.open(heart)
    time.sleep(3)  # the computer slept, or a native dialog kept the event loop
    heard.until(lambda: heard.all("opened", job))
    assert not heard.all("restarted") and not heard.all("failed")


def test_an_unreadable_file_is_one_sentence(heard: Recorder, tmp_path: Path) -> None:
    bad = tmp_path / "notes.dcm"
    bad.write_text("these are no pixels\n" * 50)
    for path in (bad, tmp_path / "missing.dcm"):
        kind, sentence = heard.end(heard.engine.open(path))
        assert kind == "failed" and path.name in sentence and "\n" not in sentence and "Traceback" not in sentence


@pytest.mark.parametrize(
    ("method", "sentence"),
    [
        ("refusing", "This loop has no haze to remove."),
        ("broken", "broken: unexpected IndexError: "),
        ("unheard", "There is no denoiser called 'unheard'"),
    ],
)
def test_a_method_that_cannot_is_one_sentence(heard: Recorder, tmp_path: Path, method: str, sentence: str) -> None:
    opened = heard.open(npz(tmp_path / "loop.npz", 5))
    kind, said = heard.end(heard.engine.denoise(opened.loop_id, method, Settings(), 0))
    assert kind == "failed" and said.startswith(sentence) and "\n" not in said
    assert heard.end(heard.engine.denoise(opened.loop_id, "darken", Settings(), 0))[0] == "finished"


def test_words_of_a_dead_worker_s_generation_are_dropped(heard: Recorder, heart: Path) -> None:
    opened = heard.open(heart)
    job = heard.engine.denoise(opened.loop_id, "slow", Settings(), 0)
    heard.until(lambda: heard.frames_in_order(opened.loop_id, "slow"))
    done = int(heard.engine._panes[opened.loop_id, "slow"].done.sum())
    stale = {"generation": 0, "job": job}
    heard.engine._on_message({**stale, "say": "frames", "indices": list(range(30))})
    heard.engine._on_message({**stale, "say": "failed", "sentence": "an old story"})
    assert int(heard.engine._panes[opened.loop_id, "slow"].done.sum()) == done
    assert not heard.all("failed")
    assert heard.end(job)[0] == "finished"


def test_closing_a_loop_ends_its_work_and_deletes_its_frames(heard: Recorder, heart: Path, tmp_path: Path) -> None:
    first = heard.open(heart)
    second = heard.open(npz(tmp_path / "second.npz", 5))
    heard.engine.denoise(first.loop_id, "slow", Settings(), 0)
    heard.until(lambda: heard.frames_in_order(first.loop_id, "slow"))
    folder = heard.engine._shared.path
    assert oct(folder.stat().st_mode & 0o777) == "0o700"
    assert any(path.name.startswith("result-") for path in folder.iterdir())
    heard.engine.close_loop(first.loop_id)
    heard.until(lambda: {path.name for path in folder.iterdir()} == {"owner.lock", f"loop-{second.loop_id}.frames"})
    assert heard.engine.result(first.loop_id, "slow") is None
    with pytest.raises(ValueError, match="no loop"):
        heard.engine.denoise(first.loop_id, "slow", Settings(), 0)
    assert heard.end(heard.engine.denoise(second.loop_id, "darken", Settings(), 0))[0] == "finished"


def test_closing_leaves_no_process_and_no_file_even_in_the_middle(start: Start, heart: Path) -> None:
    heard = start()
    opened = heard.open(heart)
    heard.engine.denoise(opened.loop_id, "slow", Settings(), 0)
    heard.until(lambda: heard.frames_in_order(opened.loop_id, "slow"))
    pid, folder = heard.engine.worker_pid, heard.engine._shared.path
    assert pid is not None
    began = time.monotonic()
    heard.engine.close()
    assert time.monotonic() - began < 2.5
    assert not is_alive(pid) and not folder.exists()
    assert opened.loop.frames[0].any()  # a picture that is still shown does not turn into a crash


def test_a_worker_whose_window_is_killed_leaves_and_takes_the_frames_along(heart: Path, tmp_path: Path) -> None:
    script = f"""
import sys, os, signal
from pathlib import Path
sys.path[:0] = [{str(PLUGINS)!r}, {str(Path.cwd())!r}]
from PySide6.QtCore import QCoreApplication
from echoq_desktop.engine import Engine, EngineOptions
app = QCoreApplication([])
engine = Engine(options=EngineOptions(temporary=Path({str(tmp_path)!r})))
def die(loop_id, opened):
    print(engine.worker_pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
engine.opened.connect(die)
engine.start()
engine.open(Path({str(heart)!r}))
app.exec()
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    pid = int(run.stdout)
    limit = time.monotonic() + 10
    while time.monotonic() < limit and (is_alive(pid) or list(tmp_path.iterdir())):
        time.sleep(0.05)
    assert not is_alive(pid) and list(tmp_path.iterdir()) == []
