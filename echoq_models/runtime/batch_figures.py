"""What is kept of a loop besides its result: gCNR where regions lie beside it, and two small pictures."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from echoq_models.cine.loop import CineLoop
from echoq_models.errors import InputError
from echoq_models.runtime.export import ORIGINAL, LoopFrames

if TYPE_CHECKING:
    from echoq_models.regions import Regions

THUMBNAIL = (192, 144)  # pixels at most, width and height
QUALITY = 70  # JPEG's

U8 = NDArray[np.uint8]


class Gauge:
    """Looks at a loop's denoised frames as they pass to the writer.

    gCNR is measured on the frames in memory, never on the written file. Regions that do not fit are no failure of the
    loop: `figures` then has a "gcnr_note".  regions: what is measured in, None without.
    """

    def __init__(self, loop: CineLoop, regions: Path | None) -> None:
        """regions: the region file that lies beside the loop, None without."""
        self._loop = loop
        self._values: defaultdict[str, list[float]] = defaultdict(list, {ORIGINAL: []})
        self._note: str | None = None
        self.regions = None if regions is None else self._load(regions)
        self._after: U8 | None = None

    def _load(self, path: Path) -> Regions | None:
        from echoq_models import regions

        try:
            drawn = regions.load(path)
            drawn.check(self._loop.size, [t for t in range(len(self._loop)) if t not in drawn.left_out])
        except InputError as error:
            self._note = str(error)
            return None
        return drawn

    def watch(self, method: str, frames: LoopFrames) -> LoopFrames:
        """The same frames, looked at as they pass."""
        return _Watched(self, method, frames)

    def see(self, method: str, t: int, frame: U8) -> None:
        """Take note of frame `t`, uint8 (H, W)."""
        if t == len(self._loop) // 2 and self._after is None:
            self._after = self._loop.rgb(t, frame)
        if self.regions is None or t in self.regions.left_out:
            return
        from echoq_models.metrics.gcnr import gcnr

        masks = self.regions.masks(self._loop.size, t)
        self._values[method].append(gcnr(frame, *masks))
        if len(self._values[method]) > len(self._values[ORIGINAL]):
            self._values[ORIGINAL].append(gcnr(self._loop.frames[t], *masks))

    def figures(self) -> Mapping[str, Any]:
        """Plain data: "gcnr", the median over the measured frames of "original" and each method; "gcnr_note"."""
        figures: dict[str, Any] = {}
        if self._note is not None:
            figures["gcnr_note"] = self._note
        if self._values[ORIGINAL]:
            figures["gcnr"] = {name: round(float(np.median(each)), 4) for name, each in self._values.items()}
        return figures

    def thumbnails(self) -> tuple[bytes, bytes]:
        """The middle frame before and after, as small JPEG files."""
        before = self._loop.rgb(len(self._loop) // 2)
        return _jpeg(before), _jpeg(before if self._after is None else self._after)


class _Watched:
    def __init__(self, gauge: Gauge, method: str, frames: LoopFrames) -> None:
        self._gauge, self._method, self._frames = gauge, method, frames

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[U8]:
        for t, frame in enumerate(self._frames):
            self._gauge.see(self._method, t, frame)
            yield frame


def _jpeg(picture: U8) -> bytes:
    from PIL import Image

    image = Image.fromarray(picture)
    image.thumbnail(THUMBNAIL)
    content = io.BytesIO()
    image.save(content, "JPEG", quality=QUALITY)
    return content.getvalue()
