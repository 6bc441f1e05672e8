"""What the engine gives to the window, and what it keeps about loops, results and its worker."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echoq_models.cine.loop import CineLoop
from echoq_models.cine.sector import Spacing
from echoq_models.denoise.base import Settings


@dataclass(frozen=True)
class EngineOptions:
    """Knobs of the engine.

    extra_denoisers: "module:object" of denoisers to offer besides the registered ones; the door for a denoiser
    in the making, whose package need not be installed.  temporary: where the folder of shared frames is made, None
    for the system's place.  acknowledge_s: how long the worker may be silent after a cancel.  stop_s: how long a
    cancelled export or batch may take to end its batch and clear up; a file being read has acknowledge_s.
    read_s: how long reading may go without a frame.  close_s: how long closing waits.
    """

    extra_denoisers: tuple[str, ...] = ()
    temporary: Path | None = None
    acknowledge_s: float = 1.0
    stop_s: float = 10.0
    read_s: float = 60.0
    close_s: float = 2.0


@dataclass(frozen=True)
class OpenedLoop:
    """A loop that is open.

    loop: frames are a read-only memmap, the header is None.  sector_box: x0, y0, side of the square crop in pixels.
    sector_mask: bool (H, W), None when no sector was found.  summary: label -> text, as `echoq info` shows it.
    clean: the loop that noise was added to, where this is such a one; it stays readable when it is closed.
    """

    loop_id: int
    path: Path
    loop: CineLoop
    sector_box: tuple[int, int, int]
    sector_mask: NDArray[np.bool_] | None
    spacing: Spacing | None
    summary: dict[str, str]
    clean: OpenedLoop | None = None


@dataclass(frozen=True)
class Result:
    """A method on a loop, as far as it is computed.

    frames: uint8 (T, H, W), a read-only memmap that the worker fills.  done: bool (T,), which frames are there.
    facts: what the denoiser says about itself (sigma, weights' sha256, device).
    """

    method: str
    settings: Settings
    frames: NDArray[np.uint8]
    done: NDArray[np.bool_]
    facts: dict[str, Any]


@dataclass
class HeldLoop:
    """An open loop and what the next worker must know of it."""

    opened: OpenedLoop
    message: dict[str, Any]  # the packed loop


@dataclass
class Pane:
    """What is known of a method on a loop, also before the worker has prepared it."""

    job: int
    settings: Settings
    file: Path
    done: NDArray[np.bool_]
    result: Result | None = None


@dataclass
class Life:
    """What happened to one worker so far."""

    working: int = 0
    hello: bool = False
    warming: bool = False
    ready: bool = False
    overdue: set[int] = field(default_factory=set)  # jobs for which it was ended
    ghost: int = 0  # a job that nobody wants any more and that is still in work
    ghost_deadline: float = 0.0
