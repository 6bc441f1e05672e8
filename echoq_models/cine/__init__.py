"""Loops in memory and on disk."""

from echoq_models.cine.loop import CineLoop, ColourPixels, UltrasoundRegion
from echoq_models.cine.reader import read

__all__ = ["CineLoop", "ColourPixels", "UltrasoundRegion", "read"]
