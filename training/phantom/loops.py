"""Phantom loops: whole beats of moving hearts, with the displacement of everything from frame to frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from training.phantom import display
from training.phantom.config import PhantomConfig
from training.phantom.display import Size
from training.phantom.draw import Draw
from training.phantom.motion import displacement, squeeze
from training.phantom.scatterers import MovingScatterers, remember
from training.phantom.simulate import Moment, PhantomBatch, Scene, draw_scene, echoes, render


@dataclass(frozen=True)
class PhantomLoops:
    """B loops of T frames, each of another heart.

    frames: T batches, each the B loops at one time.  displacement: float32 (B, T - 1, 2, H, W), how far in pixels
    (x to the right, y down) the material at each pixel moves until the next frame, 0 outside the sector.
    times_ms: (T,), the first 0.  beat_ms: (B,) length of a beat.  contraction: (B, T), 0 at end diastole to 1 at end
    systole.  mm_per_pixel: (B, 2), x and y.
    """

    frames: tuple[PhantomBatch, ...]
    displacement: Tensor
    times_ms: list[float]
    beat_ms: Tensor
    contraction: Tensor
    mm_per_pixel: Tensor

    def loop(self, index: int) -> PhantomBatch:
        """The T frames of one loop as a batch of T."""
        parts = {f.name: [getattr(frame, f.name)[index] for frame in self.frames] for f in fields(PhantomBatch)}
        return PhantomBatch(**{name: torch.stack(values) for name, values in parts.items()})


def _mm_per_pixel(scene: Scene, side: Size) -> tuple[Tensor, Tensor]:
    """Pitch (B, 1, 1) in x and in y."""
    view = scene.screen.view
    pitch = view.side_mm / display.as_size(side)[0]
    return pitch / view.stretch, pitch


def _displacement(scene: Scene, inside: Tensor, now: Tensor, then: Tensor, side: Size) -> Tensor:
    """(B, 2, H, W) pixels, see `PhantomLoops`."""
    x, y = display.scan_points(scene.screen.view, side)
    moved = displacement(scene.heart, x, y, now, then)
    return torch.stack([u / pitch for u, pitch in zip(moved, _mm_per_pixel(scene, side), strict=True)], dim=1) * inside


def simulate_loops(
    batch: int,
    generator: torch.Generator,
    times_s: Sequence[float],
    config: PhantomConfig | None = None,
    *,
    side: Size = 256,
    native: Size | None = None,
    level_db: tuple[float, float] | None = None,
) -> PhantomLoops:
    """Draw `batch` loops with frames at `times_s` (seconds, rising; 0 is end diastole) on the generator's device.

    The correlation of the scatterers (`MotionConfig`) holds from one frame to the next, however far apart these
    are. side, native, level_db: as for `simulate`; the haze level is set at end diastole. The same seed gives the
    same loops.
    """
    config = config or PhantomConfig()
    draw = Draw(batch, generator)
    scene, _ = draw_scene(draw, draw.uniform((0.0, 0.0)), config, level_db, native)
    motion = config.motion
    rho = draw.uniform(motion.tissue_rho), draw.uniform(motion.blood_rho)
    moving = MovingScatterers(draw, scene.grid, scene.psf, *rho)
    haze_rho, fog = draw.uniform(motion.haze_rho), None
    frames: list[PhantomBatch] = []
    moves: list[Tensor] = []
    squeezes = [squeeze(scene.heart, t * 1000 / scene.heart.beat_ms) for t in times_s]
    for i, time in enumerate(times_s):
        anatomy, rest = scene.paint(time * 1000 / scene.heart.beat_ms)
        fog = remember(fog, draw.complex_normal(*rest.x.shape[1:]), haze_rho)
        now = Moment(anatomy, moving.next(rest, anatomy.blood), fog, moving.smooth)
        frames.append(render(scene, echoes(draw, scene, now), anatomy, side))
        if i + 1 < len(times_s):
            moves.append(_displacement(scene, frames[-1].sector, squeezes[i], squeezes[i + 1], side))
    size = frames[0].sector.shape[-2:]
    return PhantomLoops(
        frames=tuple(frames),
        displacement=torch.stack(moves, dim=1) if moves else torch.zeros(batch, 0, 2, *size, device=draw.device),
        times_ms=[1000 * (t - times_s[0]) for t in times_s],
        beat_ms=scene.heart.beat_ms.flatten(),
        contraction=torch.cat([s.flatten(1) for s in squeezes], dim=1),
        mm_per_pixel=torch.cat([p.flatten(1) for p in _mm_per_pixel(scene, side)], dim=1),
    )
