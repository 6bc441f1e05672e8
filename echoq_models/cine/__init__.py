"""Loops in memory and on disk: `read` takes any file by its content, `write` chooses by suffix."""

from echoq_models.cine.loop import CineLoop, ColourPixels, UltrasoundRegion
from echoq_models.cine.reader import read
from echoq_models.cine.writer import LoopWriter, WriteOptions, open_writer, write

__all__ = [
    "CineLoop",
    "ColourPixels",
    "LoopWriter",
    "UltrasoundRegion",
    "WriteOptions",
    "open_writer",
    "read",
    "write",
]
