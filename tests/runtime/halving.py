"""A denoiser of a few lines for tests of the jobs around denoisers: it halves every grey level."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from echoq_models.cine.loop import CineLoop
from echoq_models.denoise.base import Cancel, Prepared, Settings, never


class Halving:
    """Keeps the contract of `Denoiser`; `asked` tells how far ahead of its reader it worked."""

    name = "halving"
    title = "Halving"

    def __init__(self) -> None:
        self.asked = 0

    def available(self) -> str | None:
        return None

    def prepare(self, loop: CineLoop, settings: Settings) -> Prepared:
        return Prepared(self.name, settings, {"factor": 0.5})

    def run(
        self, loop: CineLoop, prepared: Prepared, indices: Iterable[int], cancel: Cancel = never
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        for index in indices:
            if cancel():
                return
            self.asked += 1
            yield index, loop.frames[index] // 2
