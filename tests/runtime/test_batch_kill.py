"""The batch killed at random moments: in the end as if nothing had happened (bench_batch.py does it at full length)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.benchmarks.kill_batch import Plan, run


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_run_killed_again_and_again_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    report = run(Plan(loops=30, kills=6), tmp_path)
    assert len(report.kills) >= 4, "the kills came too late to mean anything"
    assert report.outputs == 30
    assert report.different == []
    assert report.made_twice == []
    assert report.leftovers == []
