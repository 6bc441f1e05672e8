"""Split colour frames into luminance, sparse coloured pixels and the tint of a grey map, as they stream by.

Luminance is BT.601's Y = 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601-7), grey pixels exactly preserved.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from echoq_models.cine.limits import check_size
from echoq_models.cine.loop import ColourPixels

U8 = NDArray[np.uint8]


@dataclass(frozen=True)
class ColourSettings:
    """What counts as colour. Chroma is in the 8-bit units of Cb and Cr (128 is grey).

    tolerance, lossy_tolerance: smallest deviation from the grey map that is colour, for pixels with and
    without a lossy step in their history; it grows with the chroma noise found, up to
    max_tolerance and lossy_max_tolerance.
    dark: luminance under which chroma says little.  min_tint, max_tint: mean and peak chroma of a tint.
    agreement: share of bright pixels that must lie on one chroma-of-luminance curve to call it a tint.
    learn_frames, learn_bytes: how much is held back to learn from.  memory_bytes: coloured pixels beyond this
    go to an unnamed temporary file.
    """

    tolerance: float = 1.0
    lossy_tolerance: float = 10.0
    max_tolerance: float = 8.0
    lossy_max_tolerance: float = 20.0
    dark: int = 16
    min_tint: float = 3.0
    max_tint: float = 72.0
    agreement: float = 0.7
    learn_frames: int = 8
    learn_bytes: int = 96 << 20
    memory_bytes: int = 192 << 20


def _ybr_tables() -> tuple[NDArray[np.int16], NDArray[np.int16], NDArray[np.int16]]:
    """Offsets that turn Y into R (by Cr), G (by Cb, Cr) and B (by Cb): PS3.3 C.7.6.3.1.2, rounded half up."""
    c = np.arange(256, dtype=np.float32) - np.float32(128)
    cb_g = np.float32(-0.114 * 1.772 / 0.587) * c
    cr_g = np.float32(-0.299 * 1.402 / 0.587) * c
    red = np.floor(np.float32(1.402) * c + np.float32(0.5)).astype(np.int16)
    blue = np.floor(np.float32(1.772) * c + np.float32(0.5)).astype(np.int16)
    green = np.floor(cb_g[:, None] + cr_g[None, :] + np.float32(0.5)).astype(np.int16)
    return red, green, blue


_RED, _GREEN, _BLUE = _ybr_tables()


def ybr_to_rgb(ybr: U8) -> U8:
    """YBR_FULL uint8 (..., 3) to RGB uint8 (..., 3), as PS3.3 C.7.6.3.1.2 defines it, clipped to 0-255."""
    y = ybr[..., 0].astype(np.int16)
    cb, cr = ybr[..., 1], ybr[..., 2]
    out = np.empty(ybr.shape, dtype=np.uint8)
    out[..., 0] = np.clip(y + _RED[cr], 0, 255)
    out[..., 1] = np.clip(y + _GREEN[cb, cr], 0, 255)
    out[..., 2] = np.clip(y + _BLUE[cb], 0, 255)
    return out


def luminance(rgb: U8) -> U8:
    """BT.601 luma uint8 of RGB uint8 (H, W, 3); R = G = B is kept exactly."""
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)


@dataclass
class _ColourFrame:
    """A frame on its way: luminance (H, W), RGB (H, W, 3) or None when it is grey throughout."""

    grey: U8
    rgb: U8 | None

    def chroma(self) -> tuple[U8, U8]:
        """Cb and Cr, uint8 (H, W)."""
        if self.rgb is None:
            flat = np.full(self.grey.shape, 128, dtype=np.uint8)
            return flat, flat
        planes = cv2.cvtColor(self.rgb, cv2.COLOR_RGB2YCrCb)
        return planes[..., 2], planes[..., 1]


class FrameCollector:
    """Takes frames one by one and gives back what a CineLoop needs.

    The first few colour frames are held back to learn whether the loop is a tinted grey map and how noisy its
    chroma is; after that every frame is reduced at once, so that no RGB loop is ever in memory.
    lossy: whether the pixels have a lossy step in their history; may be set until the first frame is added.
    """

    def __init__(
        self,
        path: Path,
        *,
        expected: int | None = None,
        lossy: bool = False,
        settings: ColourSettings | None = None,
    ) -> None:
        self._path = path
        self._settings = settings or ColourSettings()
        self.lossy = lossy
        self._expected = expected
        self._frames: U8 | None = None
        self._count = 0
        self._pending: list[_ColourFrame] = []
        self._model: _ChromaModel | None = None
        self._pixels = _SparsePixels(self._settings.memory_bytes)

    def __enter__(self) -> FrameCollector:
        return self

    def __exit__(self, *_: object) -> None:
        self._pixels.close()

    def __len__(self) -> int:
        return self._count

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the frames so far, None before the first."""
        return None if self._frames is None else (self._frames.shape[1], self._frames.shape[2])

    def add_grey(self, frame: U8) -> None:
        """Add luminance uint8 (H, W)."""
        self._store(frame)
        self._take(_ColourFrame(self._last(), None))

    def add_rgb(self, frame: U8) -> None:
        """Add RGB uint8 (H, W, 3)."""
        frame = np.ascontiguousarray(frame)
        self._store(luminance(frame))
        red, green, blue = cv2.split(frame)
        plain = np.array_equal(red, green) and np.array_equal(green, blue)
        self._take(_ColourFrame(self._last(), None if plain else frame))

    def add_ybr(self, frame: U8) -> None:
        """Add YBR_FULL uint8 (H, W, 3). Only pixels with chroma are converted: most have none."""
        found = np.flatnonzero(cv2.inRange(frame, (0, 128, 128), (255, 128, 128)) == 0)
        if len(found) == 0:
            self.add_grey(frame[..., 0])
            return
        rgb = np.repeat(frame[..., :1], 3, axis=2)
        rgb.reshape(-1, 3)[found] = ybr_to_rgb(frame.reshape(-1, 3)[found])
        self.add_rgb(rgb)

    def finish(self) -> tuple[U8, ColourPixels | None, U8 | None]:
        """Frames uint8 (T, H, W), the coloured pixels or None, the tint uint8 (256, 3) or None."""
        if self._frames is None:
            raise ValueError("no frames were added")
        self._decide()
        assert self._model is not None
        return self._frames[: self._count], self._pixels.finish(), self._model.tint()

    def _last(self) -> U8:
        assert self._frames is not None
        return self._frames[self._count - 1]

    def _store(self, grey: U8) -> None:
        height, width = grey.shape
        check_size(self._path, height, width, self._count + 1)
        if self._frames is None:
            room = self._expected or 16
            self._frames = np.empty((room, height, width), dtype=np.uint8)
        elif self._frames.shape[1:] != grey.shape:
            had = f"{self._frames.shape[2]} x {self._frames.shape[1]}"
            raise ValueError(f"a frame of {width} x {height} pixels follows frames of {had}")
        if self._count == len(self._frames):
            room = self._count + max(16, self._count // 2)
            # refcheck: pending frames may still view the old block, so they are decided first
            self._decide()
            self._frames.resize((room, height, width), refcheck=False)
        self._frames[self._count] = grey
        self._count += 1

    def _take(self, frame: _ColourFrame) -> None:
        if self._model is None:
            self._pending.append(frame)
            held = sum(f.rgb.nbytes for f in self._pending if f.rgb is not None)
            if len(self._pending) >= self._settings.learn_frames or held >= self._settings.learn_bytes:
                self._decide()
            return
        self._pixels.add(frame, self._model)

    def _decide(self) -> None:
        if self._model is None:
            self._model = _learn(self._pending, self.lossy, self._settings)
        for frame in self._pending:
            self._pixels.add(frame, self._model)
        self._pending = []


@dataclass(frozen=True)
class _ChromaModel:
    """Chroma that a grey pixel of each luminance has: float32 (256,) each, and the deviation that is colour."""

    cb: NDArray[np.float32]
    cr: NDArray[np.float32]
    tinted: bool
    tolerance: float

    def deviation(self, grey: U8, cb: U8, cr: U8) -> NDArray[np.float32]:
        return np.maximum(np.abs(cb - self.cb[grey]), np.abs(cr - self.cr[grey]))

    def mask(self, frame: _ColourFrame) -> NDArray[np.bool_] | None:
        """Coloured pixels (H, W), None when there are none."""
        if frame.rgb is None and not self.tinted:
            return None
        cb, cr = frame.chroma()
        if self.tinted:
            return self.deviation(frame.grey, cb, cr) > self.tolerance
        limit = int(self.tolerance)  # deviations are whole numbers here
        low, high = 128 - limit, 128 + limit
        inside = cv2.inRange(cv2.merge((cb, cr)), (low, low), (high, high))
        return inside == 0

    def tint(self) -> U8 | None:
        if not self.tinted:
            return None
        y = np.arange(256, dtype=np.float32)
        red = y + 1.402 * (self.cr - 128)
        blue = y + 1.772 * (self.cb - 128)
        green = (y - 0.299 * red - 0.114 * blue) / 0.587
        return _of_luminance(np.clip(np.rint(np.stack([red, green, blue], axis=1)), 0, 255).astype(np.uint8))


def _of_luminance(table: U8) -> U8:
    """`table` (256, 3) moved by as little as makes entry y's luminance y: what is written tinted reads the same."""
    for y, entry in enumerate(table):
        while (miss := y - int(luminance(entry[None, None])[0, 0])) != 0:
            step = 1 if miss > 0 else -1
            channel = next(c for c in (1, 0, 2) if 0 <= int(entry[c]) + step <= 255)  # no step of any skips a level
            entry[channel] = int(entry[channel]) + step
    return table


class _Spool:
    """Bytes kept in memory up to a limit, then in an unnamed temporary file that dies with its last user."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._chunks: list[bytes] = []
        self._held = 0
        self._file: IO[bytes] | None = None

    def write(self, chunk: bytes) -> None:
        if self._file is not None:
            self._file.write(chunk)
            return
        self._chunks.append(chunk)
        self._held += len(chunk)
        if self._held > self._limit:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  # outlives this call, closed in close()
            self._file.writelines(self._chunks)
            self._chunks = []

    def array(self, dtype: type[np.generic], shape: tuple[int, ...]) -> NDArray[Any]:
        """All bytes as an array of `shape`: a read-only map of the file once there is one."""
        if self._file is not None:
            self._file.flush()
            return np.memmap(self._file, dtype=dtype, mode="r", shape=shape)
        return np.frombuffer(b"".join(self._chunks), dtype=dtype).reshape(shape)

    def close(self) -> None:
        self._chunks = []
        if self._file is not None:
            self._file.close()


class _SparsePixels:
    """Coloured pixels of frame after frame, in the form of `ColourPixels`."""

    def __init__(self, memory_bytes: int) -> None:
        self._index = _Spool(memory_bytes * 4 // 7)
        self._rgb = _Spool(memory_bytes * 3 // 7)
        self._offsets = [0]

    def add(self, frame: _ColourFrame, model: _ChromaModel) -> None:
        mask = model.mask(frame)
        found = np.flatnonzero(mask).astype(np.uint32) if mask is not None else np.empty(0, dtype=np.uint32)
        if len(found):
            source = np.repeat(frame.grey[..., None], 3, axis=2) if frame.rgb is None else frame.rgb
            self._index.write(found.tobytes())
            self._rgb.write(source.reshape(-1, 3)[found].tobytes())
        self._offsets.append(self._offsets[-1] + len(found))

    def finish(self) -> ColourPixels | None:
        total = self._offsets[-1]
        if total == 0:
            return None
        index = self._index.array(np.uint32, (total,))
        rgb = self._rgb.array(np.uint8, (total, 3))
        return ColourPixels(np.asarray(self._offsets, dtype=np.int64), index, rgb)

    def close(self) -> None:
        self._index.close()
        self._rgb.close()


def _learn(frames: list[_ColourFrame], lossy: bool, settings: ColourSettings) -> _ChromaModel:
    """Decide from the first frames: plain grey or a tint, and how large a deviation is colour."""
    base = settings.lossy_tolerance if lossy else settings.tolerance
    most = settings.lossy_max_tolerance if lossy else settings.max_tolerance
    neutral = np.full(256, 128, dtype=np.float32)
    plain = _ChromaModel(neutral, neutral, False, base)
    if all(f.rgb is None for f in frames):
        return plain
    grey, cb, cr = _samples(frames, settings)
    if len(grey) == 0:
        return plain
    model = plain
    if _share(plain, grey, cb, cr, base) < 0.5:
        curve_cb, curve_cr = _median_curve(grey, cb), _median_curve(grey, cr)
        tinted = _ChromaModel(curve_cb, curve_cr, True, base)
        chroma = np.maximum(np.abs(curve_cb - 128), np.abs(curve_cr - 128))
        near = _share(tinted, grey, cb, cr, most / 2)
        strength = float(chroma[np.unique(grey)].mean())
        if near >= settings.agreement and strength >= settings.min_tint and chroma.max() <= settings.max_tint:
            model = tinted
    noise = _chroma_noise(model, grey, cb, cr, most)
    floor = base + 2.0 if model.tinted else base  # a tint's curve is known to about one level
    tolerance = float(np.clip(3.0 * noise, floor, most))
    return _ChromaModel(model.cb, model.cr, model.tinted, tolerance)


def _share(model: _ChromaModel, grey: U8, cb: U8, cr: U8, tolerance: float) -> float:
    """Share of pixels within `tolerance` of the model; each luminance counts alike, so that a banner of one
    colour, however large, has one vote."""
    fits = (model.deviation(grey, cb, cr) <= tolerance).astype(np.float64)
    total = np.bincount(grey, minlength=256)
    near = np.bincount(grey, weights=fits, minlength=256)
    enough = total >= min(20, total.max())
    return float(np.mean(near[enough] / total[enough]))


def _chroma_noise(model: _ChromaModel, grey: U8, cb: U8, cr: U8, limit: float) -> float:
    """Chroma noise of pixels that follow the model: third quartile of each luminance, median over luminances."""
    deviation = np.rint(model.deviation(grey, cb, cr)).astype(np.intp)
    near = deviation <= limit
    width = int(limit) + 1
    joint = np.bincount(grey[near].astype(np.intp) * width + deviation[near], minlength=256 * width)
    counts = joint.reshape(256, width)
    total = counts.sum(axis=1)
    used = total >= min(20, total.max())
    if not used.any() or total.max() == 0:
        return 0.0
    quartile = np.argmax(np.cumsum(counts[used], axis=1) >= 0.75 * total[used, None], axis=1)
    return float(np.median(quartile))


def _samples(frames: list[_ColourFrame], settings: ColourSettings) -> tuple[U8, U8, U8]:
    """Luminance, Cb, Cr (n,) of bright pixels, of moving ones where there are enough (they are the sector)."""
    first, last = frames[0].grey, frames[-1].grey
    bright = np.maximum(first, last) >= settings.dark
    moving = bright & (cv2.absdiff(first, last) > 2)
    where = moving if moving.sum() >= max(200, 0.05 * bright.sum()) else bright
    index = np.flatnonzero(where)
    index = index[:: max(1, len(index) // 100_000)]
    parts: list[tuple[U8, U8, U8]] = []
    for frame in frames:
        cb, cr = frame.chroma()
        parts.append((frame.grey.reshape(-1)[index], cb.reshape(-1)[index], cr.reshape(-1)[index]))
    grey, cb, cr = (np.concatenate(column) for column in zip(*parts, strict=True))
    keep = grey >= settings.dark
    return grey[keep], cb[keep], cr[keep]


def _median_curve(grey: U8, chroma: U8) -> NDArray[np.float32]:
    """Median chroma of each luminance, float32 (256,), smoothed over neighbours, 128 at black."""
    joint = np.bincount(grey.astype(np.intp) * 256 + chroma, minlength=65536).reshape(256, 256)
    window = np.ones(5)
    pooled = np.apply_along_axis(lambda column: np.convolve(column, window, mode="same"), 0, joint)
    total = pooled.sum(axis=1)
    median = np.argmax(np.cumsum(pooled, axis=1) * 2 >= total[:, None], axis=1).astype(np.float32)
    known = np.flatnonzero(total >= 20)
    if len(known) == 0:
        return np.full(256, 128, dtype=np.float32)
    levels = np.concatenate([[0], known]) if known[0] > 0 else known
    values = np.concatenate([[128], median[known]]) if known[0] > 0 else median[known]
    return np.interp(np.arange(256), levels, values).astype(np.float32)
