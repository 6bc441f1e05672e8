"""Phantom loops: hearts that beat as they should, speckle that goes where the field says and forgets as asked."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from training.phantom import motion, tracking
from training.phantom.config import GridConfig, PhantomConfig
from training.phantom.draw import Draw, Grid
from training.phantom.loops import PhantomLoops, simulate_loops
from training.phantom.motion import Heart, displacement, draw_heart, material, squeeze
from training.phantom.physics import speckle
from training.phantom.report import fixed_psf, gcnr_of, textbook_config, uniform_grid
from training.phantom.scatterers import MovingScatterers, remember
from training.phantom.simulate import seeded

COARSE = GridConfig(samples=240, beams=120, margin=16)  # half the time


def config(**parts: Any) -> PhantomConfig:
    """Textbook hearts on a coarse grid, with fields of `motion`, `echo`, `haze` or `display` replaced."""
    base = dataclasses.replace(textbook_config(), grid=COARSE)
    changed = {name: dataclasses.replace(getattr(base, name), **fields) for name, fields in parts.items()}
    return dataclasses.replace(base, **changed)


@pytest.fixture(scope="module")
def hearts() -> Heart:
    return draw_heart(Draw(24, seeded(0)), PhantomConfig().anatomy, PhantomConfig().motion)


@pytest.fixture(scope="module")
def places() -> tuple[Tensor, Tensor]:
    """x (1, 1, 161) and y (1, 171, 1) in mm, 1 mm apart."""
    return torch.arange(-80.0, 81.0)[None, None, :], torch.arange(0.0, 171.0)[None, :, None]


@pytest.fixture(scope="module")
def beat() -> PhantomLoops:
    """A whole beat of two hearts of 75 a minute, the last frame one beat after the first."""
    chosen = config(motion={"heart_rate": (75.0, 75.0), "hypokinesia": 0.0}, display={"jpeg": 0.0})
    return simulate_loops(2, seeded(4), [0.8 * i / 8 for i in range(9)], chosen, side=128)


def long_axis(heart: Heart, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """(down, across) of places in the LV's own axes, mm."""
    dx, dy = x * heart.sign - heart.apex_x, y - heart.apex_y
    cos, sin = torch.cos(heart.tilt), torch.sin(heart.tilt)
    return dx * sin + dy * cos, dx * cos - dy * sin


def jacobian(heart: Heart, places: tuple[Tensor, Tensor], squeezed: Tensor) -> Tensor:
    """Determinant (B, H, W) of the backward map, by differences over 1 mm."""
    x, y = material(heart, *places, squeezed)
    xy, xx = torch.gradient(x, dim=(1, 2))
    yy, yx = torch.gradient(y, dim=(1, 2))
    return xx * yy - xy * yx


# the heart


def test_at_end_diastole_everything_is_where_it_lies(hearts: Heart, places: tuple[Tensor, Tensor]) -> None:
    x, y = material(hearts, *places, torch.zeros(24, 1, 1))
    assert float((x - places[0]).abs().max()) < 1e-3
    assert float((y - places[1]).abs().max()) < 1e-3


@pytest.mark.parametrize("squeezed", [0.3, 1.0])
def test_no_tissue_folds_over(hearts: Heart, places: tuple[Tensor, Tensor], squeezed: float) -> None:
    assert float(jacobian(hearts, places, torch.full((24, 1, 1), squeezed)).min()) > 0.0


def test_the_displacement_leads_to_where_the_tissue_goes(hearts: Heart, places: tuple[Tensor, Tensor]) -> None:
    now, then = torch.full((24, 1, 1), 0.2), torch.full((24, 1, 1), 0.35)
    u, v = displacement(hearts, *places, now, then)
    before, after = material(hearts, *places, now), material(hearts, places[0] + u, places[1] + v, then)
    missed = torch.hypot(after[0] - before[0], after[1] - before[1])
    assert float(missed.quantile(0.999)) < 0.05
    assert float(torch.hypot(u, v).amax((1, 2)).min()) > 0.3  # each heart moves


def test_the_wall_keeps_its_volume(hearts: Heart, places: tuple[Tensor, Tensor]) -> None:
    """Incompressible about the long axis: det(backward map) times the ratio of the distances from the axis is 1."""
    heart = dataclasses.replace(hearts, weak=torch.zeros(24, 1, 1), rv_inward_mm=torch.zeros(24, 1, 1))
    squeezed = torch.ones(24, 1, 1)
    volume = jacobian(heart, places, squeezed)
    _, across = long_axis(heart, *places)
    down_rest, across_rest = long_axis(heart, *material(heart, *places, squeezed))
    along = down_rest / heart.length
    inner = heart.half_width * motion._profile(along)
    wall = (
        (along > 0.25) & (along < 0.9) & (across_rest.abs() > inner + 1) & (across_rest.abs() < inner + heart.wall - 1)
    )
    kept = (volume * across_rest.abs() / across.abs().clamp_min(1))[wall]
    assert int(wall.sum()) > 2000
    assert float(kept.median()) == pytest.approx(1.0, abs=0.03)
    assert float(kept.quantile(0.05)) > 0.85 and float(kept.quantile(0.95)) < 1.15
    thinned = volume[wall]  # in the picture's plane the wall's area does change: it thickens
    assert float(thinned.median()) < 0.95


def test_the_annulus_descends_by_the_shortening(hearts: Heart) -> None:
    heart = dataclasses.replace(hearts, tilt=torch.zeros(24, 1, 1), sign=torch.ones(24, 1, 1))
    for squeezed in (0.5, 1.0):
        annulus = heart.apex_y + heart.length * (1 - heart.shortening * squeezed)
        _, y = material(heart, heart.apex_x, annulus, torch.full((24, 1, 1), squeezed))
        assert torch.allclose(y, heart.apex_y + heart.length, atol=0.05)
        _, apex = material(heart, heart.apex_x, heart.apex_y, torch.full((24, 1, 1), squeezed))
        assert torch.allclose(apex, heart.apex_y, atol=0.05)


def test_a_beat_starts_relaxed_contracts_once_and_repeats(hearts: Heart) -> None:
    phases = torch.linspace(0, 1, 201)[None, None, :]
    curve = squeeze(hearts, phases)[:, 0]
    assert float(curve[:, 0].abs().max()) < 1e-6 and float(curve.amax(1).min()) > 0.999
    assert float(curve.min()) >= 0.0 and float(curve.max()) <= 1.0 + 1e-6
    peak = curve.argmax(1)
    assert torch.allclose(peak / 200, hearts.systole.flatten(), atol=0.01)
    for one, at in zip(curve, peak.tolist(), strict=True):
        assert bool((one[: at + 1].diff() >= -1e-6).all()) and bool((one[at:].diff() <= 1e-6).all())
    assert torch.allclose(squeeze(hearts, phases + 3), squeeze(hearts, phases), atol=1e-4)


# speckle


def still_grid(batch: int, seed: int = 0) -> tuple[Draw, Grid]:
    draw = Draw(batch, seeded(seed))
    return draw, uniform_grid(draw)


@pytest.mark.parametrize("shift", [0.0, 0.25, 0.5, 0.75])
def test_scatterers_lose_nothing_between_grid_points(shift: float) -> None:
    """Read half a fine step off the grid, plain bilinear white noise keeps a quarter of its power."""
    draw, grid = still_grid(4)
    psf = fixed_psf(draw, 1.2, 1.5)
    moving = MovingScatterers(draw, grid, psf, draw.uniform((1.0, 1.0)), draw.uniform((0.0, 0.0)))
    r = grid.r + shift / 2 * grid.mm_per_sample  # fine steps are half a sample
    theta = grid.theta + shift / 2 * grid.rad_per_beam
    rest = dataclasses.replace(grid, x=r * torch.sin(theta), y=r * torch.cos(theta))
    for blood in (torch.zeros_like(grid.x), torch.ones_like(grid.x)):
        field = speckle(moving.next(rest, blood), psf, grid, moving.smooth)
        envelope = field.abs()[:, 30:-30, 30:-30]
        assert float((envelope**2).mean()) == pytest.approx(1.0, abs=0.03)
        assert float(envelope.mean() / envelope.std()) == pytest.approx(1.913, abs=0.05)


@pytest.mark.parametrize(("rho", "blood"), [(0.95, 0.3), (0.9, 0.0)])
def test_scatterers_forget_as_asked(rho: float, blood: float) -> None:
    draw, grid = still_grid(3)
    psf = fixed_psf(draw, 1.2, 1.5)
    moving = MovingScatterers(draw, grid, psf, draw.uniform((rho, rho)), draw.uniform((blood, blood)))
    share = (grid.theta > 0).expand_as(grid.x).float()  # blood on the right
    first, second, third = (moving.next(grid, share) for _ in range(3))

    def correlation(a: Tensor, b: Tensor, where: Tensor) -> float:
        return float(((a * b.conj()).real * where).sum() / ((a.abs() ** 2) * where).sum())

    assert correlation(first, second, 1 - share) == pytest.approx(rho, abs=0.02)
    assert correlation(first, third, 1 - share) == pytest.approx(rho**2, abs=0.02)
    assert correlation(first, second, share) == pytest.approx(blood, abs=0.02)
    power = [float((each.abs() ** 2).mean()) for each in (first, second, third)]
    assert power == pytest.approx([power[0]] * 3, rel=0.02)


def test_remembering_keeps_the_power() -> None:
    draw = Draw(1, seeded(1))
    rho, field = draw.uniform((0.99, 0.99)), None
    for _ in range(20):
        field = remember(field, draw.complex_normal(200, 200), rho)
    assert field is not None and float((field.abs() ** 2).mean()) == pytest.approx(1.0, abs=0.02)


def test_speckle_goes_where_the_field_says() -> None:
    chosen = tracking.still_config(textbook_config())
    drawn = simulate_loops(2, seeded(2), [0.12, 0.14], chosen, native=512)
    found = tracking.errors(drawn, 0, smallest=0.5)
    assert len(found) > 60
    assert float(np.median(found)) < 0.2
    short = dataclasses.replace(drawn, displacement=drawn.displacement * 0.7)  # a field that is wrong is told
    assert float(np.median(tracking.errors(short, 0, smallest=0.35))) > 0.2


def test_a_matcher_finds_a_known_shift() -> None:
    noise = torch.randn(1, 1, 80, 80, generator=seeded(0))
    wide = torch.nn.functional.interpolate(noise, (240, 240), mode="bicubic")[0, 0].numpy().astype(np.float64)
    before, after = wide[60:160, 60:160], wide[58:158, 63:163]  # content moves 3 to the left and 2 down
    assert tracking.match(before, after, 50, 50) == pytest.approx((-3.0, 2.0), abs=0.05)


def test_in_pictures_tissue_changes_slowly_blood_fast_and_haze_hardly() -> None:
    chosen = config(
        motion={"tissue_rho": (0.95, 0.95), "blood_rho": (0.2, 0.2), "haze_rho": (0.998, 0.998)},
        echo={"blood_db": (-20.0, -20.0), "noise_db": (-90.0, -90.0), "dropout_db": (0.0, 0.0), "shadow": 0.0},
        display={"jpeg": 0.0, "tissue_grey": (0.7, 0.7), "dynamic_range_db": (65.0, 65.0)},
    )
    drawn = simulate_loops(4, seeded(6), [0.0, 1e-5], chosen, native=256, level_db=(0.0, 0.0))
    first, second = drawn.frames

    def correlation(name: str, mask: Tensor) -> float:
        pair = torch.stack([getattr(frame, name)[mask] for frame in (first, second)])
        return float(torch.corrcoef(pair)[0, 1])

    tissue, blood, haze = (
        correlation("clean", first.myocardium),
        correlation("clean", first.lv),
        correlation("noisy", first.lv),
    )
    assert 0.75 < tissue < 0.97
    assert blood < tissue - 0.3
    assert haze > 0.9 and haze > tissue


# whole loops


def test_the_ventricle_empties_and_fills_in_step_with_the_contraction(beat: PhantomLoops) -> None:
    for index in range(2):
        area = beat.loop(index).lv_whole.sum((1, 2, 3)).double()
        contraction = beat.contraction[index].double()
        assert float(torch.corrcoef(torch.stack([area, contraction]))[0, 1]) < -0.99
        assert int(area.argmin()) == int(contraction.argmax())
        assert float(area[-1] / area[0]) == pytest.approx(1.0, abs=0.005)
        assert float(area.min() / area[0]) < 0.93  # by volume it is at least 20 %
    assert beat.beat_ms.tolist() == pytest.approx([800.0, 800.0])
    assert beat.times_ms == pytest.approx([100.0 * i for i in range(9)])


def test_masks_of_the_first_frame(beat: PhantomLoops) -> None:
    first = beat.frames[0]
    assert first.textbook.all()
    for name in ("lv", "lv_whole", "myocardium", "septum", "rv", "la"):
        assert bool(getattr(first, name).flatten(1).any(1).all()), name
    assert first.ra.any()
    chambers = [first.lv_whole, first.rv, first.la, first.ra]
    assert int(torch.stack(chambers).sum(0).max()) == 1  # no place is in two
    for chamber in chambers:
        assert not (chamber & first.myocardium).any()
        assert not (chamber & ~first.sector).any()
    assert not (first.lv & ~first.lv_whole).any()
    assert not (first.septum & ~first.myocardium).any()


def test_displacement_is_of_every_step_and_within_the_sector(beat: PhantomLoops) -> None:
    assert beat.displacement.shape == (2, 8, 2, 128, 128)
    outside = ~beat.frames[0].sector.expand(2, 2, 128, 128)
    assert not beat.displacement[:, 0][outside].any()
    upwards = beat.displacement[:, 0, 1].flatten(1)
    assert bool((upwards.amin(1) < -0.5).all())  # in systole the annulus rises towards the probe
    round_trip = beat.displacement.abs().amax((2, 3, 4))
    assert bool((round_trip[:, 1] > 2 * round_trip[:, 5]).all())  # ejection is faster than diastasis


def test_clean_and_noisy_differ_by_haze_alone() -> None:
    silent = {"off": 1.0, "reverberation_db": (-90.0, -90.0), "side_lobe_db": (-90.0, -90.0)}
    still = config(haze=silent, display={"jpeg": 0.0})
    without = simulate_loops(2, seeded(3), [0.0, 0.05], still, side=96)
    for frame in without.frames:
        assert float((frame.noisy - frame.clean).abs().max()) <= 1.01 / 255
    weak, strong = (
        simulate_loops(2, seeded(3), [0.0, 0.05], config(), side=96, level_db=(level, level)) for level in (-30.0, 3.0)
    )
    for one, other in zip(weak.frames, strong.frames, strict=True):
        assert torch.equal(one.clean, other.clean)
        assert not torch.equal(one.noisy, other.noisy)
        assert torch.equal(one.lv_whole, other.lv_whole)
    assert torch.equal(weak.displacement, strong.displacement)


def test_same_seed_same_loops_and_another_seed_others() -> None:
    first, again, other = (simulate_loops(1, seeded(s), [0.0, 0.04], config(), side=64) for s in (5, 5, 6))
    assert torch.equal(first.displacement, again.displacement)
    assert not torch.equal(first.displacement, other.displacement)
    for one, same, third in zip(first.frames, again.frames, other.frames, strict=True):
        assert torch.equal(one.noisy, same.noisy)
        assert torch.equal(one.clean, same.clean)
        assert not torch.equal(one.noisy, third.noisy)


@pytest.mark.parametrize("size", [(90, 140), (140, 90), 64])
def test_any_size(size: int | tuple[int, int]) -> None:
    drawn = simulate_loops(1, seeded(1), [0.0, 0.04], config(), side=size)
    height, width = size if isinstance(size, tuple) else (size, size)
    assert drawn.frames[0].noisy.shape == drawn.frames[1].target.shape == (1, 1, height, width)
    assert drawn.frames[0].lv_whole.shape == (1, 1, height, width)
    assert drawn.displacement.shape == (1, 1, 2, height, width)
    square = simulate_loops(1, seeded(1), [0.0], config(), side=height)
    assert torch.allclose(drawn.mm_per_pixel, square.mm_per_pixel)  # the square fills the height


def test_haze_stays_over_a_beat(beat: PhantomLoops) -> None:
    """gCNR of the noisy frames lies under the clean ones' at every moment."""
    for frame in beat.frames[::4]:
        for noisy, clean in zip(gcnr_of(frame.noisy, frame), gcnr_of(frame.clean, frame), strict=True):
            assert noisy <= clean + 0.02
