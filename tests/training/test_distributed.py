"""Several processes train one network: what they average, and the command through torchrun."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from echoq_models.weights import store
from training import distributed

ROOT = Path(__file__).parents[2]


def torchrun(*arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280, check=False)


def test_alone_there_is_nothing_to_average():
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.ones(2)
    assert distributed.average([weight], 3.0) == 3.0
    assert weight.grad.tolist() == [1.0, 1.0]
    assert (distributed.world(), distributed.rank()) == (1, 0)
    assert distributed.join(torch.device("cpu")) == torch.device("cpu")


def test_two_processes_agree_on_the_mean(tmp_path):
    done = torchrun("tests/training/two_processes.py", str(tmp_path))
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert first["first"] == [[1.5] * 3] * 2
    assert first["second"] == [0.0, 1.5, 3.0, 4.5]
    assert first["seconds"] == pytest.approx(15.0)
    assert first["running"] == [1.5] * 3
    assert first["count"] == 7


@pytest.mark.slow
def test_the_training_command_in_two_processes(tmp_path):
    done = torchrun(
        *("-m", "training", "denoiser", "--config", "training/recipes/fast.toml", "-o", str(tmp_path)),
        *("--steps", "2", "--frames", "16", "--device", "cpu", "--from", "fast"),
    )
    assert done.returncode == 0, done.stderr
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == [2]  # one of the two keeps the log
    card = store.read_card(tmp_path / "fast.json")
    assert "2 steps of 16 frames" in card.trained
    assert "begun from the weights 'fast'" in card.trained
