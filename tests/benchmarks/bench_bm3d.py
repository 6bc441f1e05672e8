"""`make bench-bm3d`: our BM3D beside the package `bm3d` (Tampere University), and beside other classic filters.

The package is closed and for non-commercial use only: it is compared with here and used nowhere else. Times are taken
in alternating runs on two cores, so that a ratio holds on a machine that is busy with other things, too.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from echoq_models import cine
from echoq_models.denoise.bm3d import bm3d
from echoq_models.files import replacing
from echoq_models.metrics.gcnr import gcnr
from echoq_models.runtime import device
from tests.benchmarks.tables import figure, table
from tests.benchmarks.timing import threads
from tests.shared import ROOT
from training.evaluation.sets import HELD_OUT_SEED
from training.phantom.config import NOISY_LEVEL_DB
from training.phantom.report import measurable, textbook_config
from training.phantom.simulate import PhantomBatch, seeded, simulate

Image = NDArray[np.float64]  # (side, side) in [0, 1]
Filter = Callable[[Image], Image]

SIGMAS = (10, 25, 50)  # grey levels
NATURAL = ("camera", "astronaut", "coins", "moon", "brick", "grass", "page")
REAL = ("loop_with_ecg.mp4", "loop_1.gif")  # looked for in ../shared/realdata/a4c
AIM = {"mean": -0.1, "worst": -0.25, "one": 2.5, "loop": 3.0, "peak_mib": 2048.0}


@dataclass(frozen=True)
class Plan:
    """side: of the pictures.  pairs: alternating runs.  loop: frames of a loop in one call.  long: frames of the long
    loop.  phantoms: frames of the last table."""

    side: int = 256
    pairs: int = 5
    loop: int = 8
    long: int = 100
    phantoms: int = 12


@dataclass(frozen=True)
class Quality:
    """PSNR, dB, of one picture and sigma: noisy, the package's, ours."""

    picture: str
    sigma: int
    noisy: float
    package: float
    ours: float


def psnr(image: Image, clean: Image) -> float:
    """PSNR in dB at full scale 1, over all pixels, nothing clipped."""
    return float(-10 * np.log10(np.mean((image - clean) ** 2)))


def pictures(side: int) -> dict[str, Image]:
    """Natural pictures of scikit-image, clean phantom frames, and real frames where they are."""
    from skimage import data

    out = {name: _square(getattr(data, name)(), side) for name in NATURAL}
    drawn = simulate(6, seeded(HELD_OUT_SEED), textbook_config())
    for i in range(3):
        out[f"phantom {i + 1}"] = _square(drawn.clean[i, 0].numpy() * 255, side)
    for name in REAL:
        path = ROOT.parent / "shared" / "realdata" / "a4c" / name
        if path.exists():
            out[name] = _square(cine.read(path).frames[0], side)
    return out


def _square(image: NDArray[Any], side: int) -> Image:
    """The middle square, grey, in [0, 1], `side` pixels wide."""
    grey = np.asarray(image, dtype=np.float64)
    grey = grey @ (0.299, 0.587, 0.114) if grey.ndim == 3 else grey
    short = min(grey.shape)
    top, left = ((n - short) // 2 for n in grey.shape)
    return cv2.resize(grey[top : top + short, left : left + short], (side, side), interpolation=cv2.INTER_AREA) / 255


def quality(package: Callable[[Image, float], Image], images: dict[str, Image]) -> list[Quality]:
    """White noise on every picture, taken away by both."""
    rows = []
    for name, clean in images.items():
        for sigma in SIGMAS:
            noisy = clean + np.random.default_rng(sigma).normal(0, sigma / 255, clean.shape)
            theirs, ours = package(noisy, sigma / 255), bm3d(noisy, sigma / 255)
            rows.append(Quality(name, sigma, psnr(noisy, clean), psnr(theirs, clean), psnr(ours, clean)))
    return rows


def speed(package: Callable[[Image, float], Image], clean: Image, plan: Plan) -> dict[str, float]:
    """Medians, in seconds a frame, of runs that alternate, and the ratios of each pair's times."""
    sigma = 25 / 255
    stack = clean + np.random.default_rng(0).normal(0, sigma, (plan.loop, *clean.shape))
    runs: dict[str, list[float]] = {"package": [], "one": [], "loop": []}
    for _ in range(plan.pairs):
        runs["package"].append(_seconds(lambda: package(stack[0], sigma)))
        runs["one"].append(_seconds(lambda: bm3d(stack[0], sigma)))
        runs["loop"].append(_seconds(lambda: bm3d(stack, sigma)) / plan.loop)
    out = {f"{name}_s": statistics.median(times) for name, times in runs.items()}
    for name in ("one", "loop"):
        ratios = [theirs / ours for theirs, ours in zip(runs["package"], runs[name], strict=True)]
        out[f"{name}_ratio"] = statistics.median(ratios)
    return out


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


LONG = """
import sys, threading, time
import numpy as np, psutil
from echoq_models.denoise.bm3d import bm3d
side, count = int(sys.argv[1]), int(sys.argv[2])
loop = np.random.default_rng(0).random((count, side, side), dtype=np.float32)
bm3d(loop[0], 0.1)
process, peak, done = psutil.Process(), 0, threading.Event()
def watch():
    global peak
    while not done.wait(0.02):
        peak = max(peak, process.memory_info().rss)
watcher = threading.Thread(target=watch); watcher.start()
marks = [time.perf_counter()]
bm3d(loop[:1], 0.1); marks.append(time.perf_counter())
bm3d(loop, 0.1); marks.append(time.perf_counter())
done.set(); watcher.join()
print(marks[1] - marks[0], (marks[2] - marks[1]) / count, peak / 2**20)
"""


def long_loop(plan: Plan) -> dict[str, float]:
    """A long loop in one call, in a process of its own: seconds a frame, alone and in the loop, and peak memory."""
    command = [sys.executable, "-c", LONG, str(plan.side), str(plan.long)]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return dict(zip(("alone_s", "loop_s", "peak_mib"), map(float, out), strict=True))


def filters() -> dict[str, dict[float, Filter]]:
    """Classic filters, each at several strengths; the best one for these frames is shown."""
    from skimage.restoration import denoise_tv_chambolle, denoise_wavelet

    def means(strength: float) -> Filter:
        def run(image: Image) -> Image:
            return cv2.fastNlMeansDenoising((image * 255).round().astype(np.uint8), None, strength, 7, 21) / 255.0

        return run

    def wavelet(sigma: float) -> Filter:
        return lambda image: denoise_wavelet(image, sigma=sigma / 255, rescale_sigma=True)

    return {
        "BM3D (ours)": {s: (lambda image, s=s: bm3d(image, s / 255)) for s in (10.0, 20.0, 45.0, 80.0)},
        "NL means (OpenCV)": {s: means(s) for s in (5.0, 10.0, 25.0, 50.0)},
        "wavelet (scikit-image)": {s: wavelet(s) for s in (3.0, 10.0, 25.0, 50.0, 100.0)},
        "TV (scikit-image)": {
            w: (lambda image, w=w: denoise_tv_chambolle(image, weight=w)) for w in (0.02, 0.05, 0.15, 0.4)
        },
    }


def beside_others(plan: Plan) -> list[dict[str, Any]]:
    """Hazy phantom frames through each filter: PSNR to the clean twin and gCNR, medians, and milliseconds a frame."""
    drawn = simulate(2 * plan.phantoms, seeded(HELD_OUT_SEED + 1), textbook_config(), level_db=NOISY_LEVEL_DB)
    frames = drawn[torch.tensor(list(measurable(drawn))[: plan.phantoms])]
    rows = [_row(frames, "noisy", 0.0, lambda image: image)]
    for name, strengths in filters().items():
        tried = [_row(frames, name, strength, run) for strength, run in strengths.items()]
        rows.append(max(tried, key=lambda row: row["psnr"]))
    return rows


def _row(frames: PhantomBatch, name: str, strength: float, run: Filter) -> dict[str, Any]:
    figures: list[tuple[float, float]] = []
    started = time.perf_counter()
    results = [run(image.numpy().astype(np.float64)) for image in frames.noisy[:, 0]]
    took = time.perf_counter() - started
    for i, out in enumerate(results):
        sector, lv, muscle = (m[i, 0].numpy() for m in (frames.sector, frames.lv, frames.myocardium))
        grey = (np.clip(out, 0, 1) * 255).round().astype(np.uint8)
        truth = frames.clean[i, 0].numpy()
        figures.append((psnr(out[sector], truth[sector]), gcnr(grey, lv, muscle)))
    psnrs, gcnrs = zip(*figures, strict=True)
    median = statistics.median
    return {
        "filter": name,
        "strength": strength,
        "psnr": median(psnrs),
        "gcnr": median(gcnrs),
        "ms": 1e3 * took / len(results),
    }


def verdicts(rows: Sequence[Quality], fast: dict[str, float], long: dict[str, float]) -> list[tuple[str, str, bool]]:
    """What must hold: what, measured, whether it does."""
    gaps = [row.ours - row.package for row in rows]
    mean, worst = statistics.fmean(gaps), min(gaps)
    return [
        ("PSNR re the package, mean: at least -0.1 dB", f"{mean:+.3f} dB", mean >= AIM["mean"]),
        ("the same, worst: at least -0.25 dB", f"{worst:+.3f} dB", worst >= AIM["worst"]),
        ("one frame: at least 2.5 x as fast", f"{fast['one_ratio']:.1f} x", fast["one_ratio"] >= AIM["one"]),
        ("frames of a loop: at least 3 x", f"{fast['loop_ratio']:.1f} x", fast["loop_ratio"] >= AIM["loop"]),
        (
            "a frame of a long loop: no slower than one alone",
            f"{1e3 * long['loop_s']:.0f} ms re {1e3 * long['alone_s']:.0f} ms",
            long["loop_s"] <= long["alone_s"],
        ),
        ("peak memory: under 2 GiB", f"{long['peak_mib']:.0f} MiB", long["peak_mib"] < AIM["peak_mib"]),
    ]


def run(package: Callable[[Image, float], Image], name: str, plan: Plan) -> dict[str, Any]:
    """Measure and print everything; returns it as one object."""
    images = pictures(plan.side)
    with threads(2):
        print(f"BM3D of EchoQ beside {name}; {torch.get_num_threads()} of {device.cpu_count()} cores\n")
        rows = quality(package, images)
        cells = [
            (
                r.picture,
                f"{r.sigma}",
                *(figure(v, 2) for v in (r.noisy, r.package, r.ours)),
                f"{r.ours - r.package:+.3f}",
            )
            for r in rows
        ]
        print(table("PSNR, dB", ("picture", "sigma", "noisy", "package", "ours", "difference"), cells), "\n")
        fast = speed(package, next(iter(images.values())), plan)
        long = long_loop(plan)
        others = beside_others(plan)
    spelled = [("package, one frame", fast["package_s"], 1.0), ("ours, one frame", fast["one_s"], fast["one_ratio"])]
    spelled.append((f"ours, {plan.loop} frames at once", fast["loop_s"], fast["loop_ratio"]))
    cells = [(what, figure(1e3 * seconds, 0), f"{ratio:.1f} x") for what, seconds, ratio in spelled]
    print(table(f"Time at {plan.side} x {plan.side}, alternating runs", ("", "ms a frame", "speed"), cells), "\n")
    cells = [
        (o["filter"], f"{o['strength']:g}", figure(o["psnr"], 2), figure(o["gcnr"], 3), figure(o["ms"], 0))
        for o in others
    ]
    head = ("filter", "strength", "PSNR", "gCNR", "ms a frame")
    print(table("Hazy phantom frames, each filter at its best strength (medians)", head, cells), "\n")
    held = verdicts(rows, fast, long)
    print(table("What must hold", ("what", "measured", "holds"), [(w, m, "yes" if ok else "NO") for w, m, ok in held]))
    found: dict[str, Any] = {"package": name, "quality": [asdict(row) for row in rows], "speed": fast, "long": long}
    return found | {"others": others, "holds": [ok for *_, ok in held]}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures here")
    given = parser.parse_args(arguments)
    device.set_thread_defaults()
    try:
        from bm3d import bm3d as package
    except ImportError:
        print("The package bm3d is not installed: run `make bench-bm3d`, or pip install '.[bench]'.")
        return 1
    found = run(lambda image, sigma: package(image, sigma), f"the package bm3d {metadata.version('bm3d')}", Plan())
    if given.json is not None:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        with replacing(given.json) as new:
            new.write_text(json.dumps(found, indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
