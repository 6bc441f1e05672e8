"""The measured rows as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.benchmarks.aims import Aim
from tests.benchmarks.inference import Row
from tests.benchmarks.throughput import Phantom, Training
from tests.benchmarks.timing import Peak

VERDICT = {True: "yes", False: "NO", None: "-"}


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, under a title."""
    cells = [list(head), *(list(row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([title, lines[0], "-" * len(lines[0]), *lines[1:]])


def figure(value: float | None, digits: int = 1, unit: str = "") -> str:
    """A number, or a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}{unit}"


def percent(value: float | None) -> str:
    """A share as percent."""
    return figure(None if value is None else 100 * value, 0, " %")


def peak_table(peaks: Iterable[Peak]) -> str:
    """The machine's matrix peak."""
    cells = (
        (p.device, p.precision, f"{p.n}", figure(p.matmul, 0), figure(p.convolution, 0), figure(p.gflops, 0))
        for p in peaks
    )
    head = ("device", "precision", "n", "n x n product", "convolution", "peak")
    return table("Matrix peak, GFLOP/s: the best rate of large products", head, cells)


def inference_table(rows: Iterable[Row]) -> str:
    """Every method, path, precision and batch. A star marks the batch that the method chooses itself."""
    head = ("method", "path", "device", "precision", "batch", "fps", "ms median", "ms p99", "runs")
    head += ("GMAC/frame", "GFLOP/s", "of peak", "weights")
    return table("Inference at 256 x 256 (times of one call; * the batch it chooses itself)", head, map(_cells, rows))


def _cells(row: Row) -> list[str]:
    precision = row.precision + (" compiled" if row.compiled else "")
    start = [row.method, row.path, row.device, precision, f"{row.batch}{'*' * row.own_batch}"]
    if row.skipped is not None:
        return [*start, *["-"] * 7, f"skipped: {row.skipped}"]
    times = [figure(row.frames_per_second), figure(row.ms_median, 2), figure(row.ms_p99, 2), f"{row.runs}"]
    return [*start, *times, figure(row.gmac_per_frame, 2), figure(row.gflops), percent(row.share_of_peak), row.weights]


def training_table(rows: Iterable[Training]) -> str:
    """Training steps."""
    head = ("recipe", "device", "precision", "batch", "samples/s", "ms median", "ms p99", "GMAC/sample", "of peak")
    cells = (
        (
            row.recipe,
            row.device,
            row.precision,
            f"{row.batch}",
            figure(row.samples_per_second),
            figure(row.ms_median),
            figure(row.ms_p99),
            figure(row.gmac_per_sample, 2),
            percent(row.share_of_peak),
        )
        for row in rows
    )
    return table("Training: forward, backward and optimiser step", head, cells)


def phantom_table(rows: Iterable[Phantom]) -> str:
    """Phantom frames."""
    cells = ((row.device, f"{row.batch}", figure(row.frames_per_second)) for row in rows)
    return table("Phantom at 256 x 256", ("device", "batch", "fps"), cells)


def aim_table(aims: Iterable[Aim]) -> str:
    """The aims and whether they hold."""
    return table("Aims", ("aim", "measured", "holds"), ((a.aim, a.measured, VERDICT[a.holds]) for a in aims))
