"""The device is chosen, named and limited as a person expects."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from echoq_models.errors import EchoQError
from echoq_models.runtime import device


def test_auto_and_cpu_give_a_device_that_exists() -> None:
    import torch

    assert device.choose("cpu") == torch.device("cpu")
    assert device.choose("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert device.describe(device.choose("cpu")).startswith("CPU, ")


def test_cuda_without_a_gpu_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EchoQError, match=r"^CUDA was asked for, but .*choose the device 'auto' or 'cpu'\.$"):
        device.choose("cuda")


def test_an_unknown_device_names_the_known_ones() -> None:
    with pytest.raises(EchoQError, match="auto, cpu, cuda"):
        device.choose("tpu")


def test_a_container_quota_limits_the_cpus(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert device._cgroup_quota(tmp_path) == 1.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert device._cgroup_quota(tmp_path) == float("inf")
    assert device._cgroup_quota(tmp_path / "none") == float("inf")
    assert 1 <= device.cpu_count() <= (os.cpu_count() or 1)


def test_a_person_s_thread_count_is_kept() -> None:
    code = "from echoq_models.runtime import device; print(device.limit_threads())"
    run = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert run.stdout.strip() == "1", run.stderr


def test_importing_the_module_does_not_import_torch() -> None:
    code = "import sys, echoq_models.runtime.device, echoq_models.runtime.batching; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.strip() == "False", run.stderr


def test_waiting_threads_sleep_unless_a_person_says_otherwise() -> None:
    code = "import os; from echoq_models.runtime import device; device.set_thread_defaults(); "
    code += "print(os.environ['OMP_WAIT_POLICY'], os.environ['OMP_STACKSIZE'])"
    free = {key: value for key, value in os.environ.items() if not key.startswith("OMP_")}
    for given, expected in (({}, "PASSIVE 8M"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE 8M")):
        run = subprocess.run([sys.executable, "-c", code], env={**free, **given}, capture_output=True, text=True)
        assert run.stdout.strip() == expected, run.stderr
