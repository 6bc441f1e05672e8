"""The comparison of BM3D, run tiny against a stand-in for the package."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest

from tests.benchmarks import bench_bm3d
from tests.benchmarks.bench_bm3d import Plan, Quality
from tests.shared import ROOT


def test_it_measures_both_sides_and_says_what_holds(monkeypatch, capsys):
    def package(image, sigma):
        return cv2.blur(image, (3, 3))

    clean = np.full((48, 48), 0.4)
    clean[10:30, 10:40] = 0.8
    monkeypatch.setattr(bench_bm3d, "pictures", lambda side: {"box": clean})
    flat = {"blur": {1.0: lambda image: cv2.blur(image, (3, 3)), 2.0: lambda image: 0 * image}}
    monkeypatch.setattr(bench_bm3d, "filters", lambda: flat)
    found = bench_bm3d.run(package, "a blur", Plan(side=48, pairs=1, loop=2, long=3, phantoms=2))
    assert [row["sigma"] for row in found["quality"]] == [10, 25, 50]
    assert all(row["ours"] > row["noisy"] for row in found["quality"])
    assert found["holds"][0] is True  # BM3D is better than a blur on a flat box
    assert [row["filter"] for row in found["others"]] == ["noisy", "blur"]
    assert found["others"][1]["strength"] == 1.0  # black is no good restoration
    assert found["speed"]["one_ratio"] < 1  # and nothing is as fast as a blur
    assert found["long"]["peak_mib"] > 50
    said = capsys.readouterr().out
    assert "a blur" in said
    assert re.search(r"one frame: at least 2.5 x as fast +0.0 x +NO", said)


@pytest.mark.parametrize(
    ("gaps", "holds"),
    [((0.0, -0.2), (True, True)), ((0.3, -0.3), (True, False)), ((-0.15, -0.15), (False, True))],
)
def test_the_verdict_follows_the_differences(gaps, holds):
    rows = [Quality("x", 10, 20.0, 30.0, 30.0 + gap) for gap in gaps]
    found = bench_bm3d.verdicts(
        rows, {"one_ratio": 2.4, "loop_ratio": 3.1}, {"alone_s": 0.2, "loop_s": 0.19, "peak_mib": 3000.0}
    )
    assert tuple(ok for *_, ok in found) == (*holds, False, True, True, False)


def test_the_package_is_used_nowhere_else():
    pattern = re.compile(r"^\s*(from|import) (bm3d|bm4d)\b", re.MULTILINE)
    folders = ("echoq_desktop", "echoq_models", "training", "tests", "installer")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py") if pattern.search(path.read_text())]
    assert found == [ROOT / "tests" / "benchmarks" / "bench_bm3d.py"]
