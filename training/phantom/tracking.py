"""Block matching: how far the speckle of a phantom loop is from where its displacement field says it went.

The later picture is first drawn back along the field, so that a block is only shifted and not sheared: shear alone
lets a matcher err by half a pixel across the beam. What the matcher then still finds is the error of the field.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from numpy.typing import NDArray

from training.phantom.config import PhantomConfig
from training.phantom.loops import PhantomLoops, simulate_loops
from training.phantom.simulate import PhantomBatch, seeded

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

BLOCK, REACH, STEP = 17, 5, 9  # pixels: side of a block, how far it is looked for, from block to block
LIKE = 0.7  # normalised correlation below which a match counts as none


def match(before: Floats, after: Floats, y: int, x: int) -> tuple[float, float] | None:
    """How far (x, y) in pixels the block around (y, x) moved: peak of the normalised cross-correlation, by a parabola
    through its neighbours on both axes. None where nothing alike is near."""
    half = BLOCK // 2
    block = before[y - half : y + half + 1, x - half : x + half + 1]
    room = half + REACH
    search = after[y - room : y + room + 1, x - room : x + room + 1]
    score = cv2.matchTemplate(search.astype(np.float32), block.astype(np.float32), cv2.TM_CCOEFF_NORMED)
    row, column = np.unravel_index(int(score.argmax()), score.shape)
    edge = min(row, column) == 0 or max(row, column) == 2 * REACH
    if edge or score[row, column] < LIKE:
        return None
    dx = _peak(*score[row, column - 1 : column + 2])
    dy = _peak(*score[row - 1 : row + 2, column])
    return float(column - REACH + dx), float(row - REACH + dy)


def _peak(left: float, middle: float, right: float) -> float:
    """Where the parabola through three values one apart has its top, re the middle one."""
    bend = left - 2 * middle + right
    return 0.0 if bend >= 0 else 0.5 * (left - right) / bend


def drawn_back(after: Floats, field: NDArray[np.float32]) -> Floats:
    """The later picture (H, W) read at x + field(x), field (2, H, W): what was before, if the field is right."""
    rows, columns = np.indices(after.shape, dtype=np.float32)
    read = cv2.remap(after.astype(np.float32), columns + field[0], rows + field[1], cv2.INTER_CUBIC)
    return np.asarray(read, dtype=np.float64)


def tissue(frames: PhantomBatch, index: int) -> Mask:
    """bool (H, W): within the sector and outside every chamber of the frames before and after."""
    out = np.ones(frames.sector.shape[-2:], dtype=bool)
    for t in (index, index + 1):
        blood = frames.lv_whole | frames.rv | frames.la | frames.ra
        out &= (frames.sector & ~blood)[t, 0].numpy()
    return out


def errors(loops: PhantomLoops, index: int, smallest: float = 0.0) -> Floats:
    """Distance (N,) in pixels between the speckle's motion and the field's, of blocks of tissue in clean frames.

    index: the time, from which to the next.  smallest: only blocks that move at least so far, pixels.
    """
    found = []
    for b in range(len(loops.displacement)):
        frames = loops.loop(b)
        where = tissue(frames, index)
        before, after = (frames.clean[t, 0].numpy().astype(np.float64) for t in (index, index + 1))
        field = loops.displacement[b, index].numpy()
        after = drawn_back(after, field)
        half, room = BLOCK // 2, BLOCK // 2 + REACH
        for y in range(room, where.shape[0] - room, STEP):
            for x in range(room, where.shape[1] - room, STEP):
                at = slice(y - half, y + half + 1), slice(x - half, x + half + 1)
                still = np.hypot(*field[:, y, x]) < smallest
                if not where[at].all() or before[at].std() < 0.03 or still:
                    continue
                left = match(before, after, y, x)
                if left is not None:
                    found.append(np.hypot(*left))
    return np.array(found)


def still_config(base: PhantomConfig) -> PhantomConfig:
    """`base` with tissue that never forgets its scatterers, without receiver noise and JPEG: only motion is left."""
    return dataclasses.replace(
        base,
        motion=dataclasses.replace(base.motion, tissue_rho=(1.0, 1.0)),
        echo=dataclasses.replace(base.echo, noise_db=(-90.0, -90.0)),
        display=dataclasses.replace(base.display, jpeg=0.0),
    )


def displacement_error(base: PhantomConfig, loops: int, seed: int, step_s: float = 0.02) -> float:
    """Median error in pixels at 256 of the displacement over one step in early systole, where hearts move fastest,
    over blocks that move at least half a pixel.

    Pictures are rendered at 512 pixels: those of 112, enlarged, alias, and their pixels stand still.
    """
    drawn = simulate_loops(loops, seeded(seed), [0.12, 0.12 + step_s], still_config(base), native=512)
    return float(np.median(errors(drawn, 0, smallest=0.5)))
