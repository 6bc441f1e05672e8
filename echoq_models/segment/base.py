"""What a segmentation of a loop is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Segmentation:
    """The left ventricle in the frames of a loop, in source pixels.

    lv: bool (T, H, W), T frames of the loop; all False where none was found and in frames nobody asked for.
    confidence: float32 (T,) in [0, 1], the Dice that the network's own probabilities let expect of the mask, times its
    belief that it outlines a left ventricle at all; 0 where nothing was asked for.  found: bool (T,).
    reasons: one sentence a frame that says why none was found; "" where it was found or not asked for.
    frames: the frames that were asked for, rising.
    facts: network, title of the weights, their sha256, architecture, device.
    """

    lv: NDArray[np.bool_]
    confidence: NDArray[np.float32]
    found: NDArray[np.bool_]
    reasons: tuple[str, ...]
    frames: tuple[int, ...]
    facts: Mapping[str, str | float | int | None] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Share of the frames asked for in which a left ventricle was found, 0-1."""
        return float(self.found[list(self.frames)].mean()) if self.frames else 0.0

    @property
    def areas(self) -> NDArray[np.int64]:
        """Pixels of the left ventricle in each frame: int64 (T,)."""
        return np.array([np.count_nonzero(mask) for mask in self.lv], dtype=np.int64)

    def main_reason(self) -> str | None:
        """Why no frame has a left ventricle, the most frequent reason; None when one has."""
        said = [self.reasons[t] for t in self.frames]
        return None if self.found.any() or not said else max(dict.fromkeys(said), key=said.count)
