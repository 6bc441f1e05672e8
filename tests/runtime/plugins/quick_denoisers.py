"""Denoisers for the worker's tests, offered through `EngineOptions.extra_denoisers`. Real ones, only simple."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from echoq_models.cine.loop import CineLoop
from echoq_models.denoise.base import Cancel, Prepared, Settings, never
from echoq_models.errors import EchoQError


@dataclass(frozen=True)
class Darken:
    """Halves the brightness, `seconds` for each frame, and says what its process has loaded."""

    name: str
    title: str
    seconds: float = 0.0

    def available(self) -> str | None:
        """It always can."""
        return None

    def prepare(self, loop: CineLoop, settings: Settings) -> Prepared:
        """Nothing to fix; the facts tell about the process."""
        facts: dict[str, str | float | int | None] = {
            "pid": os.getpid(),
            "device": settings.device,
            "qt": ", ".join(name for name in sys.modules if name.startswith(("PySide6", "pyqtgraph", "shiboken"))),
            "torch": str("torch" in sys.modules),
        }
        return Prepared(self.name, settings, facts)

    def run(
        self, loop: CineLoop, prepared: Prepared, indices: Iterable[int], cancel: Cancel = never
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """One frame a batch."""
        for index in indices:
            if cancel():
                return
            time.sleep(self.seconds)
            yield index, self.frame(loop, prepared, index)

    def frame(self, loop: CineLoop, prepared: Prepared, index: int) -> NDArray[np.uint8]:
        """The result of one frame."""
        return loop.frames[index] // 2


class NoGpu(Darken):
    """Works on the CPU only: elsewhere the device is lost, as after a fault in a kernel."""

    def frame(self, loop: CineLoop, prepared: Prepared, index: int) -> NDArray[np.uint8]:
        """Raises what torch raises."""
        if index == 2 and prepared.settings.device != "cpu":
            raise RuntimeError("CUDA error: device-side assert triggered")
        return super().frame(loop, prepared, index)


class Deadly(Darken):
    """Ends its process at the third frame of a loop, on every device."""

    def frame(self, loop: CineLoop, prepared: Prepared, index: int) -> NDArray[np.uint8]:
        """Does not come back from frame 2."""
        if index == 2:
            os.kill(os.getpid(), 9)
        return super().frame(loop, prepared, index)


class Stubborn(Darken):
    """A native call that never comes back and never looks at its cancel token."""

    def frame(self, loop: CineLoop, prepared: Prepared, index: int) -> NDArray[np.uint8]:
        """Hangs."""
        while True:
            time.sleep(1)


class Refusing(Darken):
    """Cannot denoise this loop, and says so."""

    def prepare(self, loop: CineLoop, settings: Settings) -> Prepared:
        """Raises EchoQError."""
        raise EchoQError("This loop has no haze to remove.")


class Broken(Darken):
    """Has a bug."""

    def frame(self, loop: CineLoop, prepared: Prepared, index: int) -> NDArray[np.uint8]:
        """Raises IndexError."""
        return loop.frames[len(loop)]


darken = Darken("darken", "Darken")
slow = Darken("slow", "Slow", 0.05)
no_gpu = NoGpu("no_gpu", "No GPU")
deadly = Deadly("deadly", "Deadly")
stubborn = Stubborn("stubborn", "Stubborn")
refusing = Refusing("refusing", "Refusing")
broken = Broken("broken", "Broken")
