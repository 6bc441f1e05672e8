"""A batch on the command line, killed at random moments and run again each time, beside an undisturbed one."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from echoq_models import cine
from echoq_models.cine.loop import CineLoop
from echoq_models.files import checksum
from echoq_models.runtime.batch import PAGE, SUMMARY
from echoq_models.runtime.manifest import NAME
from tests.shared import ROOT, fan_frames

OWN = {NAME, SUMMARY, PAGE}
KINDS = (".npz", ".avi", "", ".npz", ".mp4")  # of the loops; "" is a folder of PNG


@dataclass(frozen=True)
class Plan:
    """How many loops, how many kills, and which.

    early: share of the kills that come while the program starts; the others come within `within_s` seconds after some
    results, up to as many as spread them over the batch. Half of them reach the encoder too, as a power cut would.
    """

    loops: int = 200
    kills: int = 25
    seed: int = 7
    method: str = "fast"
    format: str = "mp4"
    early: float = 0.2
    within_s: float = 0.8


@dataclass(frozen=True)
class Kill:
    """One kill: seconds after the start, results before and after that run, files half-made that it left."""

    seconds: float
    before: int
    after: int
    left: int
    encoder_too: bool


@dataclass
class Report:
    """What came of it. memory_mib: resident memory of the undisturbed run, sampled; seconds: how long that took."""

    kills: list[Kill] = field(default_factory=list)
    outputs: int = 0
    different: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    made_twice: list[str] = field(default_factory=list)
    memory_mib: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def thirds(self) -> tuple[float, float, float]:
        """Median resident memory in MiB over each third of the results' time, without the start."""
        parts = np.array_split(np.array(self.memory_mib), 3)
        first, middle, last = (float(np.median(part)) if part.size else 0.0 for part in parts)
        return first, middle, last


def make_loops(folder: Path, count: int) -> None:
    """Small loops of several kinds, each different, some with regions."""
    folder.mkdir(parents=True)
    lv, muscle = [[[58, 42], [72, 42], [72, 62], [58, 62]]], [[[58, 14], [72, 14], [74, 24], [56, 24]]]
    for number in range(count):
        frames = 3 + number % 8
        loop = CineLoop(fan_frames(frames, seed=number), np.arange(frames) * 40.0, "npz")
        place = folder / f"ward{number % 3}" / f"loop{number:03d}{KINDS[number % len(KINDS)]}"
        place.parent.mkdir(exist_ok=True)
        cine.write(loop, place)
        if number % 7 == 0:
            place.with_suffix(".roi.json").write_text(json.dumps({"lv": lv, "myocardium": muscle}), encoding="utf-8")


def start(plan: Plan, folder: Path, out: Path, log: Path) -> subprocess.Popen[bytes]:
    """`echoq denoise`, in a process group of its own."""
    command = [sys.executable, "-m", "echoq_desktop", "denoise", str(folder), "-o", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ECHOQ_WEIGHTS": str(folder.parent / "none")}
    with log.open("ab") as file:
        return subprocess.Popen(
            [*command, "--method", plan.method, "--format", plan.format],
            stdout=file,
            stderr=file,
            env=environment,
            start_new_session=True,
        )


def results(out: Path) -> Mapping[str, Path]:
    """The visible outputs by their place; the batch's own files are not among them."""
    found: dict[str, Path] = {}
    for name, folders, files in os.walk(out):  # which bears folders that vanish meanwhile
        folders[:] = [each for each in folders if not each.startswith(".")]
        paths = [Path(name) / each for each in files if not each.startswith((".", "echoq-"))]
        found |= {path.relative_to(out).as_posix(): path for path in paths}
    return found


def undisturbed(plan: Plan, folder: Path, out: Path, log: Path, report: Report) -> None:
    """One run from beginning to end; memory is sampled from its first result on."""
    child = start(plan, folder, out, log)
    watched, began = psutil.Process(child.pid), 0.0
    while child.poll() is None:
        if not began and results(out):
            began = time.monotonic()
        elif began:
            try:
                report.memory_mib.append(watched.memory_info().rss / 2**20)
            except psutil.Error:
                break
        time.sleep(0.05)
    report.seconds = time.monotonic() - began
    assert child.wait() == 0, log.read_text()


def killed(plan: Plan, rng: random.Random, folder: Path, out: Path, log: Path) -> Kill | None:
    """Start, and kill at a random moment; None when the run was done before."""
    before = len(results(out))
    early = rng.random() < plan.early
    child, began = start(plan, folder, out, log), time.monotonic()
    if early:
        wait = rng.uniform(0.0, 2.0)
    else:
        enough = before + rng.randint(1, max(1, plan.loops // plan.kills))
        while child.poll() is None and len(results(out)) < enough:
            time.sleep(0.005)
        wait = rng.uniform(0.0, plan.within_s)
    time.sleep(wait)
    encoder_too = rng.random() < 0.5
    if child.poll() is not None:
        assert child.returncode == 0, log.read_text()
        return None
    if encoder_too:
        os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()
    child.wait()
    seconds = time.monotonic() - began
    parts = out / ".echoq-part"
    left = len([path for path in parts.rglob("*") if path.is_file()]) if parts.is_dir() else 0
    return Kill(round(seconds, 2), before, len(results(out)), left, encoder_too)


def run(plan: Plan, folder: Path) -> Report:
    """The whole trial in an empty folder."""
    report, rng = Report(), random.Random(plan.seed)
    loops, whole, harried, log = folder / "loops", folder / "whole", folder / "harried", folder / "log.txt"
    make_loops(loops, plan.loops)
    undisturbed(plan, loops, whole, log, report)
    for _ in range(plan.kills):
        kill = killed(plan, rng, loops, harried, log)
        if kill is None:
            break
        report.kills.append(kill)
    assert start(plan, loops, harried, log).wait() == 0, log.read_text()
    expected, found = results(whole), results(harried)
    report.outputs = len(found)
    names = sorted({*expected, *found})
    report.different = [
        n for n in names if n not in found or n not in expected or checksum(found[n]) != checksum(expected[n])
    ]
    everything = (path for path in harried.rglob("*") if path.name not in OWN and not path.is_dir())
    report.leftovers = [str(path) for path in everything if path.relative_to(harried).as_posix() not in found]
    report.leftovers += [str(path) for path in harried.glob(".*")]
    with closing(sqlite3.connect(harried / NAME)) as data:
        rows = data.execute("SELECT file, made, state FROM loops WHERE made != 1 OR state != 'done'").fetchall()
    report.made_twice = [f"{file}: made {made} times, {state}" for file, made, state in rows]
    shutil.rmtree(loops)
    return report
