"""What a denoiser is, and the registry that finds them (entry-point group `echoq.denoisers`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from echoq_models.cine.loop import CineLoop


@dataclass(frozen=True)
class Settings:
    """What a person may choose for a run.

    device: "auto", "cpu" or "cuda".  sigma: BM3D's noise standard deviation in grey levels (0-255), None to
    estimate it from the loop.  strength: 0-1, how much of the denoiser's change is applied.
    batch: frames a batch; 0 lets the runtime choose.
    """

    device: str = "auto"
    sigma: float | None = None
    strength: float = 1.0
    batch: int = 0


@dataclass(frozen=True)
class Prepared:
    """What `Denoiser.prepare` fixes for a loop, so that a frame's result depends on nothing else.

    method: the denoiser's name.  facts: figures worth telling a person or writing to a header (sigma, the
    weights' sha256, architecture, device).  state: the denoiser's own (sector, network, ...).
    """

    method: str
    settings: Settings
    facts: Mapping[str, str | float | int | None] = field(default_factory=dict)
    state: Any = None


Cancel = Callable[[], bool]


def never() -> bool:
    """A cancel token that never cancels."""
    return False


class Denoiser(Protocol):
    """Frames in, frames out, in the order asked for.

    A frame's result is a pure function of (prepared, loop, index): the same in any order and any batch.
    """

    name: str
    title: str  # for menus: "Fast network", "U-Net", "BM3D"

    def available(self) -> str | None:
        """None when it can run; else one sentence that says what is missing ("import or train weights")."""
        ...

    def prepare(self, loop: CineLoop, settings: Settings) -> Prepared:
        """Fix sector, weights, noise level. Raises WeightsError when there are no weights."""
        ...

    def run(
        self, loop: CineLoop, prepared: Prepared, indices: Iterable[int], cancel: Cancel = never
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield (index, uint8 (H, W)) for each index, in that order. Stops early once `cancel()` is true.

        Outside the sector and on coloured pixels the frame is bit-identical to the source.
        `indices` is consumed lazily, one batch at a time, so that a caller may change its mind.
        """
        ...
