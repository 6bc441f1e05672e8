"""The jobs that the command line and the worker process share. None of them knows a screen."""

from echoq_models.runtime.batch import BatchEvent, BatchOptions, BatchReport, batch
from echoq_models.runtime.export import (
    ORIGINAL,
    ExportOptions,
    Progress,
    denoise_file,
    export_loop,
    reading,
    silent,
)
from echoq_models.runtime.measure import measure

__all__ = [
    "ORIGINAL",
    "BatchEvent",
    "BatchOptions",
    "BatchReport",
    "ExportOptions",
    "Progress",
    "batch",
    "denoise_file",
    "export_loop",
    "measure",
    "reading",
    "silent",
]
