"""The benchmark of the methods, run tiny: every field is there, and its figures fit together."""

from __future__ import annotations

import io
import json
import math
from contextlib import redirect_stdout

import pytest
import torch

from tests.benchmarks import bench_networks, timing
from tests.benchmarks.inference import Plan, Row, by_batch
from tests.benchmarks.timing import Budget, Times

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, str]:
    """The JSON object and the printed tables of one tiny run."""
    path = tmp_path_factory.mktemp("bench") / "made" / "bench.json"
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said):
        patch.setenv("ECHOQ_WEIGHTS", str(path.parent / "none"))
        patch.setattr(bench_networks.device, "set_thread_defaults", lambda: None)  # torch is loaded already
        bench_networks.main(["--json", str(path), "--seconds", "0.1", "--most", "1", "--batches", "1", "2"])
    return json.loads(path.read_text(encoding="utf-8")), said.getvalue()


@pytest.mark.slow
def test_every_part_is_there(ran: tuple[dict, str]) -> None:
    found, printed = ran
    assert set(found) == {"machine", "peaks", "inference", "phantom", "training", "aims"}
    assert {(row["device"], row["precision"]) for row in found["peaks"]} >= {("cpu", "float32"), ("cpu", "bfloat16")}
    assert all(row["gflops"] == max(row["matmul"], row["convolution"]) > 0 for row in found["peaks"])
    assert found["phantom"][0]["frames_per_second"] > 0
    for title in ("Matrix peak", "Inference", "Phantom", "Training", "Aims"):
        assert title in printed
    assert str(found["machine"]["torch"]) in printed


@pytest.mark.slow
def test_every_method_is_measured_alone_and_through_the_door(ran: tuple[dict, str]) -> None:
    rows = [row for row in ran[0]["inference"] if row["device"] == "cpu"]
    wanted = {(name, path) for name in ("fast", "unet", "pairs", "bm3d") for path in ("alone", "door")}
    assert {(row["method"], row["path"]) for row in rows if row["skipped"] is None} >= wanted
    assert {row["precision"] for row in rows if (row["method"], row["path"]) == ("fast", "alone")} == {
        "float32",
        "bfloat16",
    }
    assert {row["weights"] for row in rows if row["method"] == "unet"} == {"random weights"}
    own = [row for row in rows if row["path"] == "door" and row["own_batch"]]
    assert {row["method"] for row in own} == {"fast", "unet", "pairs", "bm3d"}


@pytest.mark.slow
def test_figures_fit_together(ran: tuple[dict, str]) -> None:
    found = ran[0]
    peaks = {(row["device"], row["precision"]): row["gflops"] for row in found["peaks"]}
    measured = [row for row in found["inference"] if row["skipped"] is None]
    for row in measured:
        assert row["runs"] >= 1
        assert 0 < row["ms_median"] <= row["ms_p99"]
        at_median = row["batch"] / (row["ms_median"] / 1e3)
        assert row["frames_per_second"] <= 2 * at_median * (1 + 1e-9)  # a median is at most twice the mean
        assert row["runs"] > 1 or math.isclose(row["frames_per_second"], at_median)
        assert math.isclose(row["gflops"], 2 * row["gmac_per_frame"] * row["frames_per_second"])
        peak = peaks[row["device"], row["precision"]]
        assert math.isclose(row["share_of_peak"], row["gflops"] / peak)
    work = {row["method"]: row["gmac_per_frame"] for row in measured}
    assert work["unet"] == pytest.approx(42.32, abs=0.01)
    assert 0 < work["fast"] <= 1.2
    for row in found["inference"]:
        assert row["skipped"] is None or row["frames_per_second"] is None


@pytest.mark.slow
def test_training_is_measured(ran: tuple[dict, str]) -> None:
    row = ran[0]["training"][0]
    assert (row["recipe"], row["batch"], row["precision"]) == ("fast", 16, "bfloat16")
    assert row["steps"] >= 1
    assert 0 < row["ms_median"] <= row["ms_p99"]
    assert math.isclose(row["gflops"], 2 * row["gmac_per_sample"] * row["samples_per_second"])
    assert 3.0 <= row["gmac_per_sample"] <= 3.6  # forward, and about twice that backward


@pytest.mark.slow
def test_aims_say_yes_or_no_only_where_it_was_measured(ran: tuple[dict, str]) -> None:
    found, printed = ran
    fast = found["aims"][0]
    assert fast["aim"].startswith("fast: at least 30 fps at 256 x 256 on 2 CPU cores")
    assert fast["holds"] is (float(fast["measured"].split()[0]) >= 30)
    assert "yes" in printed or "NO" in printed
    if not torch.cuda.is_available():
        assert [aim["holds"] for aim in found["aims"][1:]] == [None, None, None]


def test_rates_and_percentiles_of_times() -> None:
    times = Times((0.1, 0.2, 0.3, 0.4))
    assert times.rate == pytest.approx(4.0)
    assert times.ms(50) == pytest.approx(250.0)
    assert times.ms(50) < times.ms(99) <= 400.0


@pytest.mark.parametrize("latency", [False, True])
def test_sampling_keeps_to_its_budget(latency: bool) -> None:
    asked: list[int] = []
    times = timing.sample(lambda: asked.append(1), CPU, Budget(0.01, 1.0), latency)
    assert len(asked) == len(times.seconds) + 2  # what warmed up is not counted
    assert len(times.seconds) >= 3


def test_a_call_that_takes_too_long_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "alone", lambda call, place: 7.0)
    assert timing.sample(lambda: None, CPU, Budget(1.0, 5.0)).seconds == (7.0,)


def test_work_is_counted_in_multiply_accumulates() -> None:
    a, b = torch.zeros(100, 200), torch.zeros(200, 300)
    assert timing.gmac(lambda: a @ b) == pytest.approx(100 * 200 * 300 / 1e9)


def test_a_batch_that_would_take_too_long_or_does_not_fit_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    def sampled(call, place, budget, latency=False) -> Times:
        call()
        return Times((1.0,))

    def call_for(batch: int):
        def call() -> None:
            if batch == 2:
                raise MemoryError

        return call

    monkeypatch.setattr("tests.benchmarks.inference.sample", sampled)
    blank = Row("x", "", "alone", "cpu", "float32", False, 1)
    plan = Plan(budget=Budget(1.0, 5.0))
    first, second, third = by_batch(plan, blank, (1, 2, 32), call_for, 2.0, CPU)
    assert (first.skipped, first.frames_per_second, first.gflops) == (None, 1.0, 4.0)
    assert second.skipped == "does not fit into memory"
    assert third.skipped == "about 32 s a call"
