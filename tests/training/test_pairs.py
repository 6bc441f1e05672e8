"""The stage `pairs`, and the denoiser that is trained on them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from echoq_models.denoise.architectures import ReleasedUNet, build
from echoq_models.errors import InputError
from echoq_models.generative.noise_channels import NoiseChannels
from echoq_models.weights import store as weights
from tests.training import planted
from training import pair_denoiser, pairs
from training.channels import ChannelsConfig
from training.data import pairs_pool
from training.data.pairs_pool import Variety
from training.data.phantom_pool import CHANGE_SCALE, PoolConfig, TrainingBatch
from training.denoiser import LossConfig
from training.loop import TrainConfig
from training.noise.codes import Inverter
from training.noise.haze_model import pooled
from training.pair_denoiser import PairDenoiserConfig
from training.pairs import PairsConfig
from training.pipeline import PipelineConfig

CPU = torch.device("cpu")
NOISE = NoiseChannels(
    {name: {channel: 1.0} for name, channel in planted.PLANTED.items()}, dict.fromkeys(planted.PLANTED, 4.0)
)
RECIPE = PipelineConfig(
    "planted",
    "Planted",
    frames=planted.FRAMES,
    generator=planted.CONFIG,
    channels=ChannelsConfig(frames=96, tried=8, held_out=8),
    pairs=PairsConfig(count=64, shard=32, sequences=2, length=6),
    denoiser=PairDenoiserConfig(
        name="paired",
        architecture={"family": "fast", "widths": [8, 12, 16, 16], "deep_blocks": 1, "context": True},
        side=32,
        grain=0.3,
        empty=0.1,
    ),
    denoiser_train=TrainConfig(batch=8, steps=100, lr=4e-3, warmup=5, ema=0.8, bfloat16=False, log_every=10),
)
QUIET = [None].append


@pytest.fixture(scope="module")
def made() -> planted.Planted:
    return planted.planted()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, made) -> Path:
    """A run in which pairs were made."""
    place = planted.run_folder(tmp_path_factory.mktemp("run"), made)
    (place / "channels").mkdir()
    NOISE.save(place / "channels" / "noise_channels.json")
    with pytest.MonkeyPatch.context() as patch:
        planted.load_instead(patch, made)
        pairs.run(RECIPE, place, CPU, QUIET)
    return place


def still(folder: Path, name: str) -> np.ndarray:
    parts = [np.load(shard / f"{name}.npy") for shard in sorted((folder / "pairs" / "stills").glob("shard_*"))]
    return np.concatenate(parts)[:, 0]


def test_pairs_differ_in_noise_and_not_in_anatomy(folder, made):
    clean, noisy = still(folder, "target").astype(float) / 255, still(folder, "noisy").astype(float) / 255
    assert clean.shape == noisy.shape == (64, 32, 32)
    added = noisy - clean
    assert (added.max(axis=(1, 2)) > 0.05).mean() > 0.8
    assert added.min() > -0.01
    before = torch.from_numpy(clean).float()[:, None]
    haze = made.haze.read(made.haze.expected(before), pooled(torch.from_numpy(added).float()[:, None]))
    rest = added - (haze.T[:, :, None] * made.haze.expected(before)).sum(0).reshape(64, 32, 32).numpy()
    inside = still(folder, "sector") > 0
    assert np.abs(rest[inside]).mean() < 0.1 * np.abs(added[inside]).mean()  # what was added is haze, and nothing else


def test_a_pair_is_one_code_under_two_strengths(made):
    inverter = Inverter(made, None)
    s = inverter.random(4, 0)
    clean, noisy = pairs.twins(inverter, s, NOISE, np.zeros((4, 3)))
    assert torch.equal(clean, noisy) and torch.equal(clean, inverter.drawn(s))
    strengths = np.array([[3.0, 0, 0], [0, 3, 0], [0, 0, 3], [2, 2, 2]])
    clean, noisy = pairs.twins(inverter, s, NOISE, strengths)
    reading = made.haze.reading(clean, noisy)
    assert reading[:3].argmax(1).tolist() == [0, 1, 2]
    assert float(reading[3].min()) > 0.1


def test_strengths_are_random_within_the_limits():
    noise = dataclasses.replace(NOISE, limits={"global": 4.0, "centre field": 2.0, "near field": 1.0})
    config = PairsConfig(on=0.5, untouched=0.1)
    drawn = pairs.draw_strengths(noise, 4000, config, np.random.default_rng(0))
    assert (drawn >= 0).all() and drawn.max(axis=0) == pytest.approx([4, 2, 1], rel=0.01)
    assert (drawn / [4, 2, 1]).sum(axis=1).max() == pytest.approx(config.together)
    assert (drawn.sum(axis=1) == 0).mean() == pytest.approx(0.1, abs=0.02)
    assert (drawn[:, 0] > 0).mean() == pytest.approx(0.9 * (0.5 + 0.5 / 3), abs=0.03)


def test_the_gain_form_is_what_darkening_can_do(folder):
    noisy, clean = still(folder, "noisy").astype(float), still(folder, "target").astype(float)
    change = still(folder, "change") * (-255.0 / CHANGE_SCALE)
    inside = still(folder, "sector") > 0
    assert change.max() <= 0 and change.min() >= 255 * RECIPE.pairs.floor - 1
    left = np.abs(np.clip(noisy + change, 0, 255) - clean)[inside]
    assert left.mean() < 0.3 * np.abs(noisy - clean)[inside].mean()
    assert not change[~inside].any() and not noisy[~inside].any()
    deep = torch.full((1, 1, 32, 32), 0.9)
    arrays = pairs_pool.as_arrays(deep * 0.5, deep * 1.1, -0.27)
    assert arrays["change"].min() == round(0.27 * CHANGE_SCALE)
    assert arrays["confidence"][0, 0, 16, 16] == pytest.approx(255 * 0.27 / 0.54, abs=2)
    brighter = pairs_pool.as_arrays(deep, deep * 0.5, -0.4)
    assert not brighter["change"].any() and brighter["confidence"].min() == 255


def test_the_sector_is_the_hull_of_what_is_bright():
    picture = np.zeros((2, 64, 64), dtype=np.uint8)
    cv2.fillConvexPoly(picture[0], np.array([[32, 4], [60, 50], [4, 50]]), 90)
    wanted = picture[0] > 0
    picture[0, 20:30, 28:36] = 0  # a chamber
    picture[0, 60:62, 60:62] = 200  # a mark
    sector, nothing = pairs_pool.sectors(picture)
    assert (sector & wanted).sum() / (sector | wanted).sum() > 0.9
    assert not nothing.any()


def test_sequences_keep_one_edit_that_varies_smoothly(folder):
    found = sorted((folder / "pairs" / "sequences").glob("shard_*"))
    assert len(found) == RECIPE.pairs.sequences
    for shard in found:
        clean, noisy = (np.load(shard / f"{name}.npy").astype(float) for name in ("clean", "noisy"))
        strengths = np.load(shard / "strengths.npy")[0]
        assert clean.shape == noisy.shape == (1, 6, 32, 32) and strengths.shape == (6, 3)
        steps = np.abs(np.diff(strengths, axis=0)).max(axis=0)
        assert (steps <= 0.45 * strengths.max(axis=0) + 1e-6).all()
        assert ((strengths > 0).all(axis=0) | (strengths == 0).all(axis=0)).all()
        assert 0 < np.abs(np.diff(clean[0], axis=0)).max() < 30


def test_what_was_made_is_written_beside_it(folder):
    own = folder / "pairs"
    assert json.loads((own / "config.json").read_text())["pairs"]["count"] == 64
    assert len((own / "log.jsonl").read_text().splitlines()) == 4
    assert cv2.imread(str(own / "pairs.png"), cv2.IMREAD_UNCHANGED).shape == (3 * 32, 12 * 32)
    assert not (folder / "pairs-new").exists()


def test_batches_are_what_each_form_asks_for(folder):
    pool = pairs_pool.open_pool(folder / "pairs" / "stills", PoolConfig())
    for output in ("gain", "image"):
        batch = next(pairs_pool.batches(pool, 16, 0, CPU, PoolConfig(), output, side=64))
        assert batch.noisy.shape == batch.target.shape == (16, 1, 64, 64)
        same = torch.allclose(batch.target, (batch.noisy + batch.change).clamp(0, 1) * batch.sector, atol=1e-6)
        assert same == (output == "gain")
        grainy = next(pairs_pool.batches(pool, 16, 0, CPU, PoolConfig(), output, side=64, variety=Variety(grain=1.0)))
        assert (grainy.change >= batch.change).all() and torch.equal(grainy.sector, batch.sector)
        assert float((grainy.noisy - batch.noisy)[batch.noisy > 0].std()) > 0.02
        assert not bool(((grainy.noisy != 0) & (batch.noisy == 0)).any())  # black stays black
        cloudy = next(pairs_pool.batches(pool, 16, 0, CPU, PoolConfig(), output, side=64, variety=Variety(clouds=0.3)))
        plain = (batch.confidence > 0.999) & (cloudy.confidence > 0.999) & (cloudy.noisy > 0) & (cloudy.noisy < 1)
        assert torch.allclose(*((x.noisy + x.change)[plain] for x in (batch, cloudy)), atol=1e-3)
        assert 0.15 < float((cloudy.change / batch.change)[plain & (batch.change < -0.05)].log().std()) < 0.4
        heartless = next(
            pairs_pool.batches(pool, 16, 0, CPU, PoolConfig(), output, side=64, variety=Variety(empty=1.0))
        )
        assert torch.equal(heartless.noisy, heartless.target) and not heartless.change.any()
        assert torch.equal(heartless.sector, batch.sector) and torch.equal(heartless.confidence, batch.sector)
        assert not heartless.noisy[heartless.sector == 0].any()
        assert not torch.equal(heartless.noisy, batch.noisy)
    with pytest.raises(InputError, match="no pairs in"):
        pairs_pool.open_pool(folder / "nowhere", PoolConfig())


def test_grain_is_speckle_as_a_display_shows_it():
    rng = np.random.default_rng(0)
    for _ in range(3):
        speckle = pairs_pool.grain(4, 256, rng, CPU)
        assert float(speckle.std()) == pytest.approx(5.57 / 60, rel=0.05)  # dB of a Rayleigh amplitude
        assert abs(float(speckle.mean())) < 1e-5


@pytest.mark.parametrize("output", ["gain", "image"])
def test_a_denoiser_learns_from_pairs_in_either_form(folder, tmp_path, output):
    recipe, place = RECIPE, tmp_path / "run"
    place.mkdir()
    (place / "pairs").symlink_to(folder / "pairs")
    if output == "image":
        own = dataclasses.replace(RECIPE.denoiser, architecture={"family": "unet"}, side=16)
        schedule = dataclasses.replace(RECIPE.denoiser_train, batch=4, steps=40, lr=5e-4, log_every=8)
        recipe = dataclasses.replace(RECIPE, denoiser=own, denoiser_train=schedule)
    model = pair_denoiser.train(recipe, place, CPU, QUIET)
    losses = [json.loads(line) for line in (place / "denoiser" / "log.jsonl").read_text().splitlines()]
    assert losses[-1]["loss"] < 0.8 * losses[0]["loss"]
    path = pair_denoiser.publish(model, recipe, place, Path("training/recipes/tiny.toml"))
    card, tensors = weights.load(weights.Entry("paired", path, False, weights.read_card(path.with_suffix(".json"))))
    assert card.output == output and "64 pairs of 32 x 32 pixels" in card.data and "pairs" in card.limits
    network = build(dict(card.architecture)).eval()
    network.load_state_dict(tensors)
    assert (place / "denoiser" / "results.png").exists()
    again = pair_denoiser.train(recipe, place, CPU, QUIET)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_the_image_loss_is_the_cost_of_the_picture():
    noisy, target = torch.full((1, 1, 4, 4), 0.5), torch.full((1, 1, 4, 4), 0.3)
    sector = torch.zeros(1, 1, 4, 4)
    sector[..., :2] = 1
    batch = TrainingBatch(noisy, target, target - noisy, sector, sector)

    network = ReleasedUNet()
    network.raw = lambda x: x + 1.0
    value, figures = pair_denoiser.image_loss(LossConfig(absolute=1.0, square=4.0))(network, batch)
    assert float(value) == pytest.approx(1.2 + 4 * 1.44)  # white beyond what can be shown still counts
    assert figures["untouched"] == pytest.approx(0.2 + 4 * 0.04)


def test_what_is_missing_is_said(folder, made, tmp_path, monkeypatch):
    planted.load_instead(monkeypatch, made)
    bare = planted.run_folder(tmp_path / "run", made)
    with pytest.raises(InputError, match="no noise channels in"):
        pairs.run(RECIPE, bare, CPU, QUIET)
    (bare / "channels").mkdir()
    NoiseChannels({"global": {"b256.conv1:0": 1.0}}).save(bare / "channels" / "noise_channels.json")
    with pytest.raises(InputError, match="of another generator"):
        pairs.run(RECIPE, bare, CPU, QUIET)
    with pytest.raises(ValueError, match="multiple of shard"):
        PairsConfig(count=10, shard=4)


def test_heartless_pictures_are_speckle_over_tissue_of_every_brightness():
    rng = np.random.default_rng(1)
    drawn = torch.cat([pairs_pool.heartless(4, 128, rng, CPU) for _ in range(16)])
    assert drawn.shape == (64, 1, 128, 128) and drawn.min() >= 0 and drawn.max() <= 1
    levels = drawn.mean((1, 2, 3))
    assert levels.min() < 0.25 and levels.max() > 0.6
    speckle = drawn - torch.nn.functional.avg_pool2d(drawn, 15, 1, 7, count_include_pad=False)
    grey = (levels > 0.3) & (levels < 0.7)
    assert speckle[grey].std((1, 2, 3)).min() > 0.015
    wide = torch.nn.functional.avg_pool2d(drawn[grey], 16)
    assert 0.02 < float(wide.std((2, 3)).median()) < 0.15


def test_what_haze_and_speckle_hide_is_not_asked_for():
    clean = torch.full((1, 1, 256, 256), 0.5)
    clean[..., 96:160, 96:160] = 0.1
    sector, none = torch.ones_like(clean), torch.zeros_like(clean)
    assert pairs_pool.visible(clean, clean, none, sector)[0, 0, 128, 128] == 1
    assert not pairs_pool.visible(clean, torch.full_like(clean, 0.6), none, sector).any()
    faint = 0.45 + 0.1 * clean
    assert pairs_pool.visible(clean, faint, none, sector).max() < 0.1
    inside, far = (pairs_pool.visible(clean, 0.4 + 0.2 * clean, none, sector)[0, 0, y, y] for y in (128, 16))
    assert 0.1 < inside < 1 and far == 0  # nothing is there that could be seen
    coarse = pairs_pool.grain(1, 256, np.random.default_rng(3), CPU)
    assert pairs_pool.visible(clean, 0.4 + 0.2 * clean, 6 * coarse, sector)[0, 0, 128, 128] < inside
