"""Exports and batches through the engine: whole files only, whatever happens, and the panes go on meanwhile."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_recorder import Recorder, npz

from echoq_models.cine import read
from echoq_models.denoise.base import Settings
from echoq_models.runtime.jobs import BatchOptions, ExportOptions

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals and /proc are the tools of these tests")

Start = Callable[..., Recorder]


def names(folder: Path) -> list[str]:
    """All that lies in a folder, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An empty folder."""
    folder = tmp_path / "output"
    folder.mkdir()
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four loops and a file that is none."""
    folder = tmp_path / "loops"
    folder.mkdir()
    for index, name in enumerate("abde"):
        npz(folder / f"{name}.npz", 6, 40 + 20 * index)
    (folder / "c.dcm").write_bytes(b"no loop at all, only bytes" * 20)
    return folder


def files(heard: Recorder, job: int, state: str) -> list[str]:
    """Files of a batch that came to a state, in order."""
    found = [news["file"] for _, news in heard.all("file_event", job) if news["state"] == state]
    return list(dict.fromkeys(found))


def test_an_export_uses_the_frames_that_are_there(heard: Recorder, heart: Path, output: Path) -> None:
    opened = heard.open(heart)
    heard.end(heard.engine.denoise(opened.loop_id, "slow", Settings(), 0))
    before = len(heard.heard)
    job = heard.engine.export(opened.loop_id, output / "loop.npz", ExportOptions(method="slow"))
    kind, facts = heard.end(job)
    assert kind == "finished" and facts["frames"] == 30
    assert facts["methods"]["slow"]["pid"] == heard.engine.worker_pid
    assert not [item for item in heard.heard[before:] if item[0] == "progress" and item[4].startswith("denoising")]
    assert names(output) == ["loop.npz"]
    np.testing.assert_array_equal(np.load(output / "loop.npz")["frames"], opened.loop.frames // 2)


def test_an_export_denoises_what_is_missing_without_touching_the_panes(
    heard: Recorder, heart: Path, output: Path
) -> None:
    opened = heard.open(heart)
    job = heard.engine.export(opened.loop_id, output / "loop.npz", ExportOptions(method="darken"))
    assert heard.end(job)[0] == "finished"
    assert heard.engine.result(opened.loop_id, "darken") is None
    assert not heard.all("frames_ready") and not heard.all("prepared")
    texts = [item[3] for item in heard.all("progress", job)]
    assert texts[0] == "denoising (darken)" and texts[-1] == "writing loop.npz"
    np.testing.assert_array_equal(np.load(output / "loop.npz")["frames"], opened.loop.frames // 2)
    shared = heard.engine._shared.path
    heard.until(lambda: not list(shared.glob("export-*")))


def test_a_side_by_side_film_waits_for_the_panes(heard: Recorder, heart: Path, output: Path) -> None:
    opened = heard.open(heart)
    pane = heard.engine.denoise(opened.loop_id, "slow", Settings(), 0)
    options = ExportOptions(side_by_side=("original", "darken", "slow"))
    job = heard.engine.export(opened.loop_id, output / "three.mp4", options)
    assert heard.end(job, 40)[0] == "finished"
    assert heard.all("finished", pane)
    assert names(output) == ["three.mp4"]
    film = read(output / "three.mp4")
    assert len(film) == 30 and film.size[1] > 3 * 320


def test_hiding_a_pane_does_not_stop_the_export_that_waits_for_it(heard: Recorder, heart: Path, output: Path) -> None:
    opened = heard.open(heart)
    pane = heard.engine.denoise(opened.loop_id, "slow", Settings(), 0)
    heard.until(lambda: heard.frames_in_order(opened.loop_id, "slow"))
    job = heard.engine.export(opened.loop_id, output / "loop.npz", ExportOptions(method="slow"))
    heard.qtbot.wait(100)
    heard.engine.cancel(pane)
    assert heard.end(pane) == ("cancelled",)
    assert heard.end(job)[0] == "finished"
    np.testing.assert_array_equal(np.load(output / "loop.npz")["frames"], opened.loop.frames // 2)
    again = heard.engine.denoise(opened.loop_id, "slow", Settings(), 0)
    assert heard.end(again)[0] == "finished"


def test_a_cancelled_export_leaves_nothing(heard: Recorder, tmp_path: Path, output: Path) -> None:
    opened = heard.open(npz(tmp_path / "long.npz", 200, 10, (240, 320)))
    job = heard.engine.export(opened.loop_id, output / "loop.mp4", ExportOptions(method="original"))
    heard.until(lambda: heard.all("progress", job))
    heard.engine.cancel(job)
    assert heard.end(job) == ("cancelled",)
    assert names(output) == []
    slow = heard.engine.export(opened.loop_id, output / "loop.mp4", ExportOptions(method="slow"))
    heard.until(lambda: heard.all("progress", slow))
    heard.engine.cancel(slow)
    assert heard.end(slow) == ("cancelled",)
    assert names(output) == []


def test_an_export_that_cannot_be_is_refused_before_any_work(heard: Recorder, heart: Path, output: Path) -> None:
    opened = heard.open(heart)
    (output / "there.npz").write_bytes(b"mine")
    for target, options, reason in (
        (output / "there.npz", ExportOptions(method="slow", overwrite=False), "exists already"),
        (output / "x.npz", ExportOptions(method="unheard"), "There is no denoiser called 'unheard'"),
        (output / "x.npz", ExportOptions(side_by_side=("original", "slow")), "side by side"),
    ):
        kind, sentence = heard.end(heard.engine.export(opened.loop_id, target, options))
        assert kind == "failed" and reason in sentence
    kind, sentence = heard.end(heard.engine.export(opened.loop_id, output / "x.npz", ExportOptions(method="refusing")))
    assert kind == "failed" and sentence == "This loop has no haze to remove."
    assert names(output) == ["there.npz"] and (output / "there.npz").read_bytes() == b"mine"


def test_an_export_survives_the_worker(start: Start, tmp_path: Path, output: Path) -> None:
    heard = start()
    opened = heard.open(npz(tmp_path / "long.npz", 200, 10, (240, 320)))
    heard.end(heard.engine.denoise(opened.loop_id, "darken", Settings(), 0))
    job = heard.engine.export(opened.loop_id, output / "loop.avi", ExportOptions(method="darken", lossless=True))
    heard.until(lambda: len(heard.all("progress", job)) > 3)
    heard.kill()
    assert heard.end(job, 40)[0] == "finished"
    assert len(heard.all("restarted")) == 1
    texts = {item[3] for item in heard.all("progress", job)}
    assert texts == {"writing loop.avi"}  # the finished frames outlived the worker that made them
    heard.until(lambda: names(output) == ["loop.avi"])
    np.testing.assert_array_equal(read(output / "loop.avi").frames, opened.loop.frames // 2)


def test_a_batch_reports_each_file_and_goes_on_past_a_bad_one(heard: Recorder, folder: Path, output: Path) -> None:
    job = heard.engine.batch(folder, output, BatchOptions(method="darken", suffix=".npz"))
    kind, report = heard.end(job, 40)
    assert kind == "finished" and report["total"] == 5
    assert files(heard, job, "done") == ["a.npz", "b.npz", "d.npz", "e.npz"]
    assert files(heard, job, "failed") == ["c.dcm"]
    reasons = [news["reason"] for _, news in heard.all("file_event", job) if news["state"] == "failed"]
    assert len(reasons) == 1 and "c.dcm" in reasons[0]
    beside = {"echoq-batch.sqlite", Path(report["summary"]).name, Path(report["page"]).name}
    assert set(names(output)) == {"a.npz", "b.npz", "d.npz", "e.npz", *beside}
    np.testing.assert_array_equal(np.load(output / "b.npz")["frames"], np.load(folder / "b.npz")["frames"] // 2)


def test_loops_open_and_panes_fill_during_a_batch(heard: Recorder, heart: Path, folder: Path, output: Path) -> None:
    for index in range(6):
        npz(folder / f"more{index}.npz", 12)
    job = heard.engine.batch(folder, output, BatchOptions(method="slow", suffix=".npz"))
    heard.until(lambda: files(heard, job, "done"))
    opened = heard.open(heart)
    pane = heard.engine.denoise(opened.loop_id, "darken", Settings(), 0)
    assert heard.end(pane, 5)[0] == "finished"
    export = heard.engine.export(opened.loop_id, output / "now.npz", ExportOptions(method="darken"))
    assert heard.end(export, 5)[0] == "finished"
    ended: list[Any] = [item for item in heard.heard if item[0] in ("finished", "cancelled") and item[1] == job]
    assert ended == []
    heard.engine.cancel(job)
    assert heard.end(job) == ("cancelled",)


def test_a_batch_cancelled_half_way_leaves_only_whole_files(heard: Recorder, folder: Path, output: Path) -> None:
    job = heard.engine.batch(folder, output, BatchOptions(method="slow", suffix=".mp4"))
    heard.until(lambda: files(heard, job, "done"))
    heard.until(lambda: len(files(heard, job, "running")) > 1)
    heard.engine.cancel(job)
    assert heard.end(job) == ("cancelled",)
    films = [path for path in output.iterdir() if path.suffix == ".mp4"]
    assert len(films) == len(files(heard, job, "done")) < 4
    assert all(len(read(film)) == 6 for film in films)
    assert [name for name in names(output) if name.startswith(".")] == []


def test_a_loop_that_brings_the_worker_down_does_not_end_the_batch(start: Start, tmp_path: Path, output: Path) -> None:
    heard = start()
    loops = tmp_path / "loops"
    loops.mkdir()
    npz(loops / "a_short.npz", 2)
    npz(loops / "b_long.npz", 6)  # dies at its third frame, always
    npz(loops / "c_short.npz", 2)
    job = heard.engine.batch(loops, output, BatchOptions(method="deadly", suffix=".npz"))
    kind, _report = heard.end(job, 60)
    assert kind == "finished"
    assert files(heard, job, "done") == ["a_short.npz", "c_short.npz"]
    failed = [news for _, news in heard.all("file_event", job) if news["state"] == "failed"]
    assert [news["file"] for news in failed] == ["b_long.npz"] and "stopped the worker" in failed[0]["reason"]
    assert [name for name in names(output) if name.endswith(".npz")] == ["a_short.npz", "c_short.npz"]
    assert [name for name in names(output) if name.startswith(".")] == []


def test_a_batch_goes_on_where_a_dead_worker_was(start: Start, tmp_path: Path, output: Path) -> None:
    heard = start()
    loops = tmp_path / "loops"
    loops.mkdir()
    for index in range(6):
        npz(loops / f"{index}.npz", 8, 40 + 20 * index)
    job = heard.engine.batch(loops, output, BatchOptions(method="slow", suffix=".npz", existing="overwrite"))
    for deaths, done in ((1, 1), (2, 4)):  # the second while others are in work: no file is to blame
        heard.until(lambda done=done: len(files(heard, job, "done")) >= done)
        heard.kill()
        heard.until(lambda deaths=deaths: len(heard.all("restarted")) == deaths)
    assert heard.end(job, 60)[0] == "finished"
    assert sorted(files(heard, job, "done")) == [f"{index}.npz" for index in range(6)]
    assert not files(heard, job, "failed")
    for index in range(6):
        written = np.load(output / f"{index}.npz")["frames"]
        np.testing.assert_array_equal(written, np.load(loops / f"{index}.npz")["frames"] // 2)
    with closing(sqlite3.connect(output / "echoq-batch.sqlite")) as data:
        assert {made for (made,) in data.execute("SELECT made FROM loops")} == {1}
    assert [name for name in names(output) if name.startswith(".")] == []


def test_panes_have_all_the_time_while_a_batch_rests(heard: Recorder, heart: Path, folder: Path, output: Path) -> None:
    job = heard.engine.batch(folder, output, BatchOptions(method="slow", suffix=".npz"))
    heard.until(lambda: files(heard, job, "done"))
    heard.engine.pause(job, True)
    opened = heard.open(heart)
    before = len(heard.all("file_event", job))
    started = time.monotonic()
    pane = heard.engine.denoise(opened.loop_id, "slow", Settings(), 0)  # 30 frames of 0.05 s
    assert heard.end(pane, 10)[0] == "finished"
    assert time.monotonic() - started < 2.4  # with half of the time it would take 3 s
    assert len(heard.all("file_event", job)) - before <= 1
    heard.engine.pause(job, False)
    assert heard.end(job, 40)[0] == "finished"
    assert files(heard, job, "done") == ["a.npz", "b.npz", "d.npz", "e.npz"]
