"""BM3D against known facts and against a plain version written block by block."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_for_denoising import sector_picture

from echoq_models.denoise import bm3d_matching, bm3d_steps
from echoq_models.denoise.bm3d import bm3d
from echoq_models.denoise.bm3d_profile import FAST, NORMAL, Profile, Step
from echoq_models.denoise.bm3d_transforms import bior15, dct, haar, kaiser, separable

SMALL = Profile(hard=Step(N_S=13, N2=8), wiener=Step(N_S=13, N2=8, tau_match=400, tau_noise=(0, 1)))


def noisy_picture(height: int, width: int, sigma: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A clean picture float64 (H, W) and the same with white noise."""
    clean = 0.2 + 0.7 * sector_picture(height, width)
    return clean, clean + np.random.default_rng(seed).normal(0, sigma, clean.shape)


def psnr(image: np.ndarray, clean: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((image - clean) ** 2)))


@pytest.mark.parametrize("n", [1, 2, 4, 8, 16, 32])
def test_dct_and_haar_are_orthonormal(n):
    for matrix in (dct(n), haar(n)):
        assert np.abs(matrix @ matrix.T - np.eye(n)).max() < 1e-12
        assert np.allclose(matrix[0], 1 / np.sqrt(n))


@pytest.mark.parametrize("n", [2, 4, 8, 16])
def test_bior15_is_invertible_and_keeps_the_mean_apart(n):
    matrix = bior15(n)
    assert np.linalg.cond(matrix) < 3
    assert np.allclose(np.linalg.norm(matrix, axis=1), 1)
    assert np.allclose(matrix @ np.ones(n), [np.sqrt(n)] + [0] * (n - 1))
    assert np.abs(np.linalg.inv(matrix)[:, 0] - 1 / np.sqrt(n)).max() < 1e-12  # and the mean comes back flat


def test_bior15_detail_is_the_difference_of_neighbours():
    finest = bior15(8)[4:]
    assert np.allclose(np.sort(np.abs(finest), axis=1)[:, -2:], np.sqrt(0.5))
    assert np.count_nonzero(finest) == 8


def test_the_kaiser_window_weighs_the_middle():
    window = kaiser(8, 2.0)
    assert np.allclose(window, window.T)
    assert window.max() == window[3, 3]
    assert window[0, 0] == pytest.approx(1 / np.i0(2.0) ** 2)


def neighbours(image: np.ndarray, y: int, x: int, step: Step, tau: float) -> list[tuple[int, int]]:
    """The most similar blocks of the one at (y, x), nearest first, by looking at each."""
    n, radius = step.N1, step.N_S // 2
    found = []
    for v in range(max(0, y - radius), min(image.shape[0] - n, y + radius) + 1):
        for u in range(max(0, x - radius), min(image.shape[1] - n, x + radius) + 1):
            distance = np.mean((image[y : y + n, x : x + n] - image[v : v + n, u : u + n]) ** 2)
            if distance <= tau:
                found.append((distance, v, u))
    return [(v, u) for _, v, u in sorted(found)[: step.N2]]


@pytest.mark.parametrize("shape", [(26, 35), (8, 8), (11, 44)])
def test_matching_finds_what_looking_at_each_block_finds(shape):
    image = np.random.default_rng(1).random(shape).astype(np.float32)
    step = Step(N_S=13, N2=8)
    width = shape[1] - 7
    wanted = [(y, x) for y in range(0, shape[0] - 7, 3) for x in range(0, width, 3)]
    tau = 0.145
    members, count = bm3d_matching.match(torch.from_numpy(image)[None], step, tau, torch.arange(len(wanted)))
    assert count.min() >= 1
    assert shape == (8, 8) or count.min() < count.max()  # tau cuts some groups, N2 others
    for i, (y, x) in enumerate(wanted):
        expected = neighbours(image.astype(float), y, x, step, tau)
        corners = [divmod(int(corner), width) for corner in members[: count[i], i]]
        assert corners == expected, (y, x)


def test_both_ways_to_measure_distances_agree():
    rng = np.random.default_rng(2)
    a, b = rng.random((2, 20, 30), dtype=np.float32)
    by_torch = bm3d_matching._distance_torch(torch.from_numpy(a)[None], torch.from_numpy(b)[None], 8).numpy()
    assert np.allclose(bm3d_matching._distance_opencv(a[None], b[None], 8), by_torch, atol=1e-6)
    assert by_torch[0, 3, 5] == pytest.approx(np.mean((a[3:11, 5:13] - b[3:11, 5:13]) ** 2), rel=1e-5)


def one_step(image, pilot, step, tau, block, shrink):
    """One step of BM3D on an image whose sides fit the step, group by group."""
    n = step.N1
    over, under = np.zeros_like(image), np.zeros_like(image)
    inverse, window = np.linalg.inv(block), kaiser(n, step.beta)
    for y in range(0, image.shape[0] - n + 1, step.N_step):
        for x in range(0, image.shape[1] - n + 1, step.N_step):
            places = neighbours(pilot, y, x, step, tau)
            places = places[: 2 ** int(np.log2(len(places)))]
            along = haar(len(places))
            spectra = [
                np.tensordot(along, [block @ source[v : v + n, u : u + n] @ block.T for v, u in places], 1)
                for source in (image, pilot)
            ]
            kept, weight = shrink(*spectra)
            for (v, u), filtered in zip(places, np.tensordot(along.T, kept, 1), strict=True):
                over[v : v + n, u : u + n] += weight * window * (inverse @ filtered @ inverse.T)
                under[v : v + n, u : u + n] += weight * window
    return over / under


def plain_bm3d(image: np.ndarray, sigma: float, profile: Profile) -> np.ndarray:
    """Both steps as the paper describes them, sharing only the matrices with ours."""

    def hard(noisy, _):
        kept = np.abs(noisy) > profile.lambda_3D * sigma
        return noisy * kept, 1 / max(kept.sum(), 1)

    def wiener(noisy, pilot):
        gain = pilot**2 / (pilot**2 + sigma**2)
        return noisy * gain, 1 / max((gain**2).sum(), 0.01)

    first, second = profile.hard, profile.wiener
    basic = one_step(image, image, first, first.tau(sigma), bior15(first.N1), hard)
    return one_step(image, basic, second, second.tau(sigma), dct(second.N1), wiener)


@pytest.mark.parametrize("sigma", [10 / 255, 50 / 255])
def test_it_computes_what_the_paper_describes(sigma):
    _, noisy = noisy_picture(35, 41, sigma)
    assert np.abs(bm3d(noisy, sigma, SMALL) - plain_bm3d(noisy, sigma, SMALL)).max() < 1e-5


# Measured once with this implementation, which was then within 0.1 dB of the authors' program on natural images.
@pytest.mark.parametrize(("level", "normal", "fast"), [(10, 41.4, 40.2), (25, 33.85, 33.15), (50, 29.4, 28.8)])
def test_quality_stays_in_a_narrow_band(level, normal, fast):
    clean, noisy = noisy_picture(128, 128, level / 255)
    assert psnr(noisy, clean) == pytest.approx(20 * np.log10(255 / level), abs=0.1)
    assert psnr(bm3d(noisy, level / 255), clean) == pytest.approx(normal, abs=0.1)
    assert psnr(bm3d(noisy, level / 255, FAST), clean) == pytest.approx(fast, abs=0.1)


@pytest.mark.parametrize("value", [0.0, 0.003, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(8, 8), (40, 50)])
def test_a_flat_picture_stays_as_it_is(value, shape):
    image = np.full(shape, value, dtype=np.float32)
    assert np.abs(bm3d(image, 0.1) - image).max() < 1e-6


def test_no_noise_gives_the_picture_back():
    image = np.random.default_rng(0).random((20, 30)).astype(np.float32)
    assert np.array_equal(bm3d(image, 0), image)


@pytest.mark.parametrize("shape", [(8, 8), (1, 1), (5, 3), (8, 40), (9, 10), (3, 17, 16), (1, 8, 8)])
def test_any_shape_comes_back(shape):
    image = np.random.default_rng(0).random(shape)
    out = bm3d(image, 0.2)
    assert out.shape == shape
    assert out.dtype == np.float32
    assert np.isfinite(out).all()
    assert image.size == 1 or out.std() < image.std()


@pytest.mark.parametrize(
    ("image", "sigma", "sentence"),
    [
        (np.full((9, 9), np.nan), 0.1, "not finite"),
        (np.full((9, 9), np.inf), 0.1, "not finite"),
        (np.zeros((0, 8)), 0.1, "not empty"),
        (np.zeros((0, 8, 8)), 0.1, "not empty"),
        (np.zeros(9), 0.1, r"must be \(H, W\)"),
        (np.zeros((9, 9), dtype=complex), 0.1, "real numbers"),
        (np.zeros((9, 9)), -0.1, "sigma"),
        (np.zeros((9, 9)), np.nan, "sigma"),
    ],
)
def test_bad_input_is_a_clear_error(image, sigma, sentence):
    with pytest.raises(ValueError, match=sentence):
        bm3d(image, sigma)


def test_a_stack_gives_exactly_what_its_frames_give():
    frames = np.stack([noisy_picture(40, 45, 0.1, seed)[1] for seed in range(4)])
    together = bm3d(frames, 0.1, SMALL)
    assert all(np.array_equal(together[i], bm3d(frames[i], 0.1, SMALL)) for i in range(4))
    assert np.array_equal(bm3d(frames[::-1], 0.1, SMALL)[::-1], together)


def test_frames_in_one_batch_are_the_same_frames(monkeypatch):
    frames = np.stack([noisy_picture(40, 45, 0.1, seed)[1] for seed in range(5)]).astype(np.float32)
    mask = torch.zeros(40, 45, dtype=torch.bool)
    mask[5:30, 8:40] = True
    for where in (None, mask):
        monkeypatch.setitem(bm3d_steps._DISTANCES, "cpu", 2**26)
        alone = torch.cat([bm3d_steps.denoise(f[None], 0.1, SMALL, where) for f in torch.from_numpy(frames)])
        assert (bm3d_steps.denoise(torch.from_numpy(frames), 0.1, SMALL, where) - alone).abs().max() < 1e-5
        monkeypatch.setitem(bm3d_steps._DISTANCES, "cpu", 60_000)  # two frames at a time
        assert (bm3d_steps.denoise(torch.from_numpy(frames), 0.1, SMALL, where) - alone).abs().max() < 1e-5


def test_black_stays_black():
    image = np.zeros((60, 60), np.float32)
    image[:, 30:] = 0.5
    noisy = image + np.random.default_rng(0).normal(0, 0.1, image.shape)
    assert np.abs(bm3d(noisy, 0.1)[:, :20]).max() < 0.02


def test_equal_blocks_do_not_push_the_reference_out_of_its_group():
    step = Step(N_S=13, N2=4)
    members, _ = bm3d_matching.match(torch.zeros(1, 26, 26), step, 0.1, torch.arange(49))
    assert members[0].tolist() == [y * 19 + x for y in range(0, 19, 3) for x in range(0, 19, 3)]


def test_a_large_frame_in_strips_is_the_same_frame(monkeypatch):
    _, noisy = noisy_picture(130, 40, 0.1)
    whole = bm3d(noisy, 0.1, SMALL)
    monkeypatch.setitem(bm3d_steps._DISTANCES, "cpu", 25_000)
    mask = torch.ones(130, 40)
    assert len(list(bm3d_steps._parts(mask, SMALL.hard, 1))) > 3
    assert np.abs(bm3d(noisy, 0.1, SMALL) - whole).max() < 1e-5


def test_a_mask_saves_work_and_changes_nothing_inside():
    _, noisy = noisy_picture(64, 64, 0.1)
    mask = np.zeros((64, 64), dtype=bool)
    mask[20:40, 25:50] = True
    whole, part = bm3d(noisy, 0.1, SMALL), bm3d(noisy, 0.1, replace(SMALL), mask=mask)
    far = np.ones((64, 64), dtype=bool)
    far[:60, 5:] = False
    assert np.array_equal(part[far], noisy.astype(np.float32)[far])
    assert np.abs(part - whole)[28:32, 33:42].max() < 0.02  # the pilot differs only at the mask's border
    nothing = bm3d(noisy, 0.1, SMALL, mask=np.zeros_like(mask))
    assert np.array_equal(nothing, noisy.astype(np.float32))


def test_the_callers_threads_are_left_as_they_were():
    before = torch.get_num_threads()
    bm3d(np.zeros((2, 16, 16)), 0.1)
    assert torch.get_num_threads() == before


def test_separable_is_the_transform_on_both_axes():
    block, matrix = np.random.default_rng(0).random((8, 8)), bior15(8)
    assert np.allclose(separable(matrix) @ block.ravel(), (matrix @ block @ matrix.T).ravel())


@pytest.mark.parametrize("wrong", [{"N1": 6}, {"N2": 12}, {"N_step": 0}, {"N_S": 38}])
def test_parameters_that_cannot_work_are_refused(wrong):
    with pytest.raises(ValueError, match="must be"):
        replace(NORMAL.hard, **wrong)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_cpu():
    _, noisy = noisy_picture(96, 96, 0.1)
    assert np.abs(bm3d(noisy, 0.1) - bm3d(noisy, 0.1, device="cuda")).max() < 1 / 255
