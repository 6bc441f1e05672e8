"""Where the networks run: device choice, what it is called, how many threads. torch is imported on use only."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from echoq_models.errors import EchoQError

if TYPE_CHECKING:
    import torch

CHOICES = ("auto", "cpu", "cuda")
STACK_BYTES = 8 * 2**20  # of a thread; macOS gives 512 KiB, which BLAS overruns


def choose(name: str = "auto") -> torch.device:
    """The device for "auto" (CUDA when it works, else the CPU), "cpu" or "cuda".

    Raises EchoQError when CUDA is asked for and cannot be used, or for any other name.
    """
    import torch

    if name not in CHOICES:
        raise EchoQError(f"There is no device called '{name}' (known: {', '.join(CHOICES)}).")
    if name == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if name == "cuda":
        reason = "this build of torch has no CUDA" if torch.version.cuda is None else "no usable NVIDIA GPU was found"
        raise EchoQError(f"CUDA was asked for, but {reason}; choose the device 'auto' or 'cpu'.")
    return torch.device("cpu")


def describe(device: torch.device) -> str:
    """A device as a person knows it: "CPU, 4 threads" or "NVIDIA H200"."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' if threads > 1 else ''}"


@contextmanager
def one_thread_each() -> Iterator[None]:
    """torch's operations on one thread each (a setting of the whole process) as long as the block runs."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def cpu_count() -> int:
    """CPUs this process may use: its affinity, cut to the container's quota. At least 1."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(count, _cgroup_quota())))


def _cgroup_quota(root: Path = Path("/sys/fs/cgroup")) -> float:
    """CPUs that a Linux container may use (cgroup v2, then v1); infinite when nothing limits it."""
    try:
        quota, period = (root / "cpu.max").read_text().split()[:2]
    except (OSError, ValueError):
        try:
            quota = (root / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (root / "cpu" / "cpu.cfs_period_us").read_text()
        except OSError:
            return math.inf
    try:
        return float(quota) / float(period) if float(quota) > 0 else math.inf
    except (ValueError, ZeroDivisionError):  # "max"
        return math.inf


def set_thread_defaults() -> None:
    """Tell OpenMP how its threads wait and how much stack they get; call it before torch is imported.

    Waiting threads sleep: spinning ones made a network 3 to 8 times slower beside other work. What a person has
    set in the environment stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OMP_STACKSIZE", "8M")  # macOS gives threads 512 KiB, which BLAS overruns


def limit_threads() -> int:
    """Keep torch to the CPUs it really has (it does not know about quotas). Returns its thread count.

    torch's own default stands where it is lower: physical cores, or OMP_NUM_THREADS when a person set it.
    """
    import torch

    count = thread_count()
    torch.set_num_threads(count)
    return count


def thread_count() -> int:
    """torch's number of threads (which a person may set), cut to the CPUs this process may use."""
    import torch

    return min(torch.get_num_threads(), cpu_count())


def be_polite() -> None:
    """Lower this process's priority, so that the window keeps its frame rate while the networks work."""
    try:
        if sys.platform == "win32":
            import ctypes

            below_normal = 0x4000
            ctypes.windll.kernel32.SetPriorityClass(ctypes.windll.kernel32.GetCurrentProcess(), below_normal)
        else:
            os.nice(5)
    except OSError:
        pass  # not allowed here: work goes on, only less politely
