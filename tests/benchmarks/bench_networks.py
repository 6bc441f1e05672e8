"""`make bench`: how fast each method denoises, the phantom draws and the recipe trains on this machine.

Run: python -m tests.benchmarks.bench_networks [--json FILE]. Prints tables; FILE gets every figure as one JSON object.
Shares of peak compare with the best rate of a large matrix product, measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from echoq_models.runtime import device

if TYPE_CHECKING:
    import torch

    from tests.benchmarks.aims import Aim
    from tests.benchmarks.inference import Plan, Row
    from tests.benchmarks.throughput import Phantom, Training
    from tests.benchmarks.timing import Peak

    Share = TypeVar("Share", Row, Training)

PHANTOM_BATCH = {"cpu": 8, "cuda": 64}


@dataclass
class Report:
    """All that was measured, as it goes into the JSON file."""

    machine: dict[str, Any]
    peaks: list[Peak] = field(default_factory=list)
    inference: list[Row] = field(default_factory=list)
    phantom: list[Phantom] = field(default_factory=list)
    training: list[Training] = field(default_factory=list)
    aims: list[Aim] = field(default_factory=list)


def machine() -> dict[str, Any]:
    """What the figures belong to."""
    import torch

    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cpus": device.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def processor() -> str:
    """The processor as its maker calls it, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def measure(plan: Plan, places: Sequence[torch.device], say: Callable[[str], None] = print) -> Report:
    """Everything on every device of `places`; each table is said as soon as it is known."""
    from tests.benchmarks import aims, inference, tables, throughput

    report = Report(machine())
    say(", ".join(f"{name}: {value}" for name, value in report.machine.items() if value is not None))
    for place in places:
        here = on_device(plan, place)
        before = peaks(here, place)
        found = list(inference.rows(here, place))
        # A machine with other work is slower at times: the better of two measurements is its peak.
        best = [max(pair, key=lambda peak: peak.gflops) for pair in zip(before, peaks(here, place), strict=True)]
        found = share(found, best)
        say("\n" + tables.peak_table(best))
        say("\n" + tables.inference_table(found))
        drawn = throughput.phantom(place, PHANTOM_BATCH[place.type])
        say("\n" + tables.phantom_table([drawn]))
        trained = share([throughput.training(place, here.budget)], best)
        say("\n" + tables.training_table(trained))
        report.peaks += best
        report.inference += found
        report.phantom.append(drawn)
        report.training += trained
    report.aims = aims.aims(plan, report.inference, report.phantom)
    say("\n" + tables.aim_table(report.aims))
    return report


def on_device(plan: Plan, place: torch.device) -> Plan:
    """What pays on CUDA alone is added there: float16, and networks under torch.compile."""
    if place.type != "cuda":
        return plan
    return replace(plan, precisions=tuple(dict.fromkeys((*plan.precisions, "float16"))), compiled=True)


def peaks(plan: Plan, place: torch.device) -> list[Peak]:
    """The matrix rate in each precision."""
    from tests.benchmarks.timing import matrix_peak

    return [matrix_peak(place, name, plan.budget.seconds / 4) for name in plan.precisions]


def share(rows: Iterable[Share], best: Iterable[Peak]) -> list[Share]:
    """The rows with their share of the peak in their precision, where both are known."""
    rates = {peak.precision: peak.gflops for peak in best}
    return [
        row
        if row.gflops is None or row.precision not in rates
        else replace(row, share_of_peak=row.gflops / rates[row.precision])
        for row in rows
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="file for every figure")
    parser.add_argument("--seconds", type=float, default=2.0, help="measuring time of a row")
    parser.add_argument("--most", type=float, default=5.0, help="seconds a call above which a row is skipped")
    parser.add_argument("--methods", nargs="*", default=(), help="denoisers; every one by default")
    parser.add_argument("--batches", nargs="*", type=int, default=(1, 8, 32), help="frames a call")
    parser.add_argument("--compile", action="store_true", help="torch.compile on the CPU too (needs a C++ compiler)")
    options = parser.parse_args(arguments)

    device.set_thread_defaults()  # before torch loads
    import torch

    from tests.benchmarks.inference import Plan
    from tests.benchmarks.timing import Budget

    device.limit_threads()
    budget = Budget(options.seconds, options.most)
    plan = Plan(tuple(options.methods), tuple(options.batches), compiled=options.compile, budget=budget)
    places = [torch.device("cpu")] + [torch.device("cuda")] * torch.cuda.is_available()
    report = measure(plan, places)
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
