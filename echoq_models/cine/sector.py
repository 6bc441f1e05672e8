"""The ultrasound sector of a loop: finding it, cropping it to 256 x 256, and pasting results back at native size.

Text, ECG strip, grey bars, depth ticks and black margins are not sector; dark chambers and dim edges are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from echoq_models.cine.geometry import Mask, sector_mask
from echoq_models.cine.loop import CineLoop, UltrasoundRegion

PATCH = 256  # pixels: the side of what networks see
NEARLY_PATCH = 0.06  # a crop this little short of 256 pixels is made 256, so that nothing is resampled
SAMPLED_FRAMES = 24  # frames that the search looks at, spread evenly over the loop
LARGEST_SHRINK = 8  # whole-number factors tried for a region that does not fit its image

Coloured = Sequence[Mask | None] | NDArray[np.bool_]


@dataclass(frozen=True)
class Sector:
    """Where the ultrasound picture lies in a loop's frames.

    mask: bool (H, W).  x0, y0, side: the square crop around it, in pixels of the frame; it may reach beyond the
    frame, where it is padded with 0.  found: False when nothing like a sector was seen and the whole frame counts.
    """

    mask: Mask
    x0: int
    y0: int
    side: int
    found: bool = True


@dataclass(frozen=True)
class Spacing:
    """Size of a pixel in mm.

    shrink: by how much the file's region had to be shrunk to fit its image; 1 when it fits.  note: one sentence
    for the person when it did not.
    """

    mm_per_pixel_x: float
    mm_per_pixel_y: float
    shrink: int = 1
    note: str | None = None


def fit(loop: CineLoop) -> Sector:
    """Find the ultrasound sector. It depends on nothing but the loop; 100 frames of 600 x 800 take about 0.05 s."""
    count = min(len(loop), SAMPLED_FRAMES)
    index = np.unique(np.linspace(0, len(loop) - 1, count).round().astype(int))
    brightest, darkest = np.array(loop.frames[index[0]]), np.array(loop.frames[index[0]])
    for t in index[1:]:
        np.maximum(brightest, loop.frames[t], out=brightest)
        np.minimum(darkest, loop.frames[t], out=darkest)
    mask = sector_mask(brightest, brightest - darkest, _allowed(loop), exact=not loop.lossy)
    found = mask is not None
    if mask is None:
        mask = np.ones(loop.size, dtype=bool)
    mask.setflags(write=False)
    return Sector(mask, *_square(mask), found=found)


def _allowed(loop: CineLoop) -> Mask | None:
    """Where the header's regions let the sector be; None when they say nothing that fits the image."""
    boxes = [r for r in loop.regions if _is_picture(r) and _fits(r, loop.size)]
    if not boxes:
        return None
    allowed = np.zeros(loop.size, dtype=bool)
    for r in boxes:
        allowed[max(r.y0, 0) : r.y1 + 1, max(r.x0, 0) : r.x1 + 1] = True
    return allowed


def _is_picture(region: UltrasoundRegion) -> bool:
    return region.spatial_format == 1 and region.data_type in (1, 2)


def _fits(region: UltrasoundRegion, size: tuple[int, int]) -> bool:
    # Some writers count the bounds from 1, so that the last one equals the size.
    return 0 <= region.x0 < region.x1 <= size[1] and 0 <= region.y0 < region.y1 <= size[0]


def _square(mask: Mask) -> tuple[int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    side = max(bottom - top, right - left)
    height, width = mask.shape
    if (1.0 - NEARLY_PATCH) * PATCH <= side <= PATCH:
        side = PATCH
    return _start(left, right, side, width), _start(top, bottom, side, height), side


def _start(low: int, high: int, side: int, limit: int) -> int:
    """Start of a stretch of `side` pixels centred on low..high, moved into the frame where it can be."""
    start = (low + high - side) // 2
    return min(max(start, 0), limit - side) if side <= limit else start


def _overlap(sector: Sector, size: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of the crop inside the frame: its slices in the frame and in the crop."""
    y = slice(max(sector.y0, 0), min(sector.y0 + sector.side, size[0]))
    x = slice(max(sector.x0, 0), min(sector.x0 + sector.side, size[1]))
    crop = slice(y.start - sector.y0, y.stop - sector.y0), slice(x.start - sector.x0, x.stop - sector.x0)
    return (y, x), crop


def _resize(image: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Square resampling with pixel centres aligned: mean over area when shrinking, bilinear when growing."""
    if image.shape[0] == side:
        return image
    how = cv2.INTER_AREA if side < image.shape[0] else cv2.INTER_LINEAR
    return cv2.resize(image, (side, side), interpolation=how)


def patches(frames: NDArray[np.uint8], sector: Sector) -> NDArray[np.float32]:
    """What networks see: the crop around the sector, resampled to 256 x 256.

    frames: uint8 (N, H, W).  Returns float32 (N, 1, 256, 256) in [0, 1], 0 outside the sector.
    """
    inside, crop = _overlap(sector, sector.mask.shape)
    scale = sector.mask[inside].astype(np.float32) / np.float32(255.0)
    square = np.zeros((sector.side, sector.side), dtype=np.float32)
    out = np.empty((len(frames), 1, PATCH, PATCH), dtype=np.float32)
    for n, frame in enumerate(frames):
        np.multiply(frame[inside], scale, out=square[crop])
        out[n, 0] = _resize(square, PATCH)
    return out


def paste_change(
    frames: NDArray[np.uint8], change: NDArray[np.float32], sector: Sector, coloured: Coloured | None = None
) -> NDArray[np.uint8]:
    """Add a change seen at 256 x 256 to frames at their native size.

    frames: uint8 (N, H, W).  change: float32 (N, 256, 256) in units of full grey scale (1.0 is 255 levels; our
    networks give at most 0).  coloured: a mask bool (H, W) or None for each frame.
    Returns uint8 (N, H, W): rounded half up, clipped, bit-identical to `frames` outside the sector, in coloured
    pixels and where the change is 0. The change is smooth and is all that is resampled, so speckle stays sharp.
    """
    out = np.array(frames)
    inside, crop = _overlap(sector, sector.mask.shape)
    mask = sector.mask[inside]
    for n, frame in enumerate(out):
        value = _resize(change[n], sector.side)[crop] * np.float32(255.0)
        value += frame[inside]
        value += np.float32(0.5)
        np.clip(np.floor(value, out=value), 0, 255, out=value)
        colour = None if coloured is None else coloured[n]
        where = mask if colour is None else mask & ~colour[inside]
        np.copyto(frame[inside], value.astype(np.uint8), where=where)
    return out


def paste_image(
    frames: NDArray[np.uint8], images: NDArray[np.float32], sector: Sector, coloured: Coloured | None = None
) -> NDArray[np.uint8]:
    """Bring pictures made from `patches(frames, sector)` to native size without blurring native speckle.

    images: float32 (N, 256, 256) in [0, 1]. What was changed (image minus patch) is resampled and added as
    `paste_change` does, which says the rest.
    """
    return paste_change(frames, images - patches(frames, sector)[:, 0], sector, coloured)


def paste_mask(surface: NDArray[np.float32], sector: Sector) -> Mask:
    """Where a smooth surface over the crop, float32 (S, S) of any S, is above one half: bool (H, W), in the sector.

    It is resampled before it is cut, so that the border is smooth at the frame's own size.
    """
    inside, crop = _overlap(sector, sector.mask.shape)
    fine = cv2.resize(surface, (sector.side, sector.side), interpolation=cv2.INTER_CUBIC)
    out = np.zeros(sector.mask.shape, dtype=bool)
    np.logical_and(fine[crop] > 0.5, sector.mask[inside], out=out[inside])
    return out


def usable_spacing(loop: CineLoop, sector: Sector, point: tuple[float, float] | None = None) -> Spacing | None:
    """Pixel size at `point` (x, y in pixels), or without one that of the region covering most of the sector.

    A region that does not fit its image counts only when a whole-number shrink makes it overlap the found sector
    (intersection over union of the boxes at least 0.5); the spacing then grows by that factor and `note` says so.
    None where no region with a spacing in mm applies.
    """
    best: tuple[float, Spacing] | None = None
    for region in loop.regions:
        if not _is_picture(region) or not region.mm_per_pixel_x or not region.mm_per_pixel_y:
            continue
        shrink = _shrink(region, sector)
        if shrink is None:
            continue
        x0, y0, x1, y1 = (v / shrink for v in (region.x0, region.y0, region.x1, region.y1))
        if point is not None and not (x0 <= point[0] <= x1 and y0 <= point[1] <= y1):
            continue
        covered = np.count_nonzero(sector.mask[int(y0) : int(y1) + 1, int(x0) : int(x1) + 1])
        mm_x, mm_y = abs(region.mm_per_pixel_x) * shrink, abs(region.mm_per_pixel_y) * shrink
        note = None
        if shrink > 1:
            note = (
                f"The file's ultrasound region is larger than its picture; shrunk {shrink} times it matches the "
                f"sector, so {mm_y:.3g} mm per pixel is assumed."
            )
        if covered and (best is None or covered > best[0]):
            best = float(covered), Spacing(mm_x, mm_y, shrink, note)
    return best[1] if best else None


def _shrink(region: UltrasoundRegion, sector: Sector) -> int | None:
    """1 for a region that fits; else the whole number that lays it best over the found sector, or None."""
    size = sector.mask.shape
    if _fits(region, (size[0], size[1])):
        return 1
    if not sector.found:
        return None
    rows, columns = np.flatnonzero(sector.mask.any(axis=1)), np.flatnonzero(sector.mask.any(axis=0))
    best, factor = 0.5, None
    for k in range(2, LARGEST_SHRINK + 1):
        x0, y0, x1, y1 = region.x0 / k, region.y0 / k, region.x1 / k, region.y1 / k
        if x0 < 0 or y0 < 0 or x1 > size[1] or y1 > size[0]:
            continue
        wide = min(x1, columns[-1]) - max(x0, columns[0])
        high = min(y1, rows[-1]) - max(y0, rows[0])
        common = max(wide, 0.0) * max(high, 0.0)
        union = (x1 - x0) * (y1 - y0) + float(columns[-1] - columns[0]) * float(rows[-1] - rows[0]) - common
        if common / union >= best:
            best, factor = common / union, k
    return factor
