"""The stage `segmenter`: its examples, its loss, and the command from recipe to weights that load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from echoq_models.segment.architecture import SIDE, build
from echoq_models.weights import store
from tests.shared import ROOT
from tests.training.make_archives import Ellipse, frames_of, write_avi, write_csv
from training.data import archive_lv, phantom_lv
from training.data.labelled import LabelledFrame
from training.data.not_echo import MAKERS, not_echo
from training.data.phantom_lv import LvBatch, LvPoolConfig, draw_shard, varied
from training.phantom.simulate import seeded
from training.segmenter import LvLossConfig, dice, lv_loss, read_recipe

CPU = torch.device("cpu")
RECIPE = ROOT / "training" / "recipes" / "lv.toml"
STILL = {"turn_deg": 0, "zoom": 1, "squash": 1, "shift": 0}


def test_the_recipe_builds_a_network_of_at_most_5_gmac():
    from tests.benchmarks.timing import gmac

    network = build(read_recipe(RECIPE).architecture).eval()
    with torch.inference_mode():
        lv, seen = network(torch.rand(2, 3, SIDE, SIDE))
        work = gmac(lambda: network(torch.rand(1, 3, SIDE, SIDE)))
    assert (lv.shape, seen.shape) == ((2, 1, SIDE, SIDE), (2,))
    assert 0.1 < work < 5


def test_every_kind_of_example_is_drawn():
    def draw(**shares):
        off = {"chamberless": 0.0, "blobs": 0.0, "structureless": 0.0, "other": 0.0, **shares}
        return phantom_lv._draw(4, seeded(3), np.random.default_rng(0), LvPoolConfig(**off))

    for kind in ("chamberless", "blobs", "structureless", "other"):
        batch = draw(**{kind: 1.0})
        assert batch.present.sum() == batch.lv.sum() == 0, kind
    moving, still = draw(moving=1.0), draw(moving=0.0)
    assert moving.present.sum() == still.present.sum() == 4
    assert torch.equal(still.frames[:, 0], still.frames[:, 1])
    assert (moving.frames[:, 0] - moving.frames[:, 1]).abs().mean() > 0.005
    assert 0.02 < float(still.lv.mean()) < 0.4


def test_a_shard_follows_from_its_number():
    config = LvPoolConfig(shard=16)
    first, again, other = draw_shard(config, 5), draw_shard(config, 5), draw_shard(config, 6)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["frames"], other["frames"])
    assert first["frames"].shape == (16, 3, SIDE, SIDE)
    assert {array.dtype for array in first.values()} == {np.dtype(np.uint8)}


def test_pictures_that_are_no_echo_are_of_many_kinds():
    rng = np.random.default_rng(0)
    for _ in range(40):
        picture = not_echo(rng, 64)
        assert picture.shape == (64, 64)
        assert picture.dtype == np.float32
        assert 0 <= picture.min() <= picture.max() <= 1
    assert len(set(MAKERS)) >= 7


def example() -> LvBatch:
    lv = torch.zeros(1, 1, SIDE, SIDE)
    lv[:, :, 40:90, 50:80] = 1
    frames = 0.2 + 0.6 * (1 - lv).expand(-1, 3, -1, -1)
    return LvBatch(frames.repeat(6, 1, 1, 1), lv.repeat(6, 1, 1, 1), torch.ones(6))


def test_picture_and_outline_move_together(monkeypatch):
    monkeypatch.setattr(phantom_lv, "_shown", lambda frames, rng, config: frames)
    config = LvPoolConfig(turn_deg=30, zoom=1.2, squash=1.1, shift=0.1, overturned=0)
    for seed in range(5):
        new = varied(example(), np.random.default_rng(seed), CPU, config)
        dark = ((new.frames[:, 1:2] > 0.1) & (new.frames[:, 1:2] < 0.5)).float()
        dark = (torch.nn.functional.avg_pool2d(dark, 5, 1, 2) > 0.5).float()  # without the picture's own edge
        assert float(dice(dark, new.lv).min()) > 0.9
        assert new.present.sum() == 6


def test_what_is_turned_over_counts_as_nothing_to_find():
    config = LvPoolConfig(**STILL, overturned=1.0)
    new = varied(example(), np.random.default_rng(0), CPU, config)
    assert new.present.sum() == new.lv.sum() == 0


class Says(torch.nn.Module):
    """A network whose word is fixed."""

    def __init__(self, lv, seen):
        super().__init__()
        self.lv, self.seen = lv, seen

    def forward(self, frames):
        return self.lv, self.seen


def test_the_loss_falls_with_overlap_and_with_honesty():
    batch, loss = example(), lv_loss(LvLossConfig())
    right, sure = 12 * (batch.lv - 0.5), torch.full((6,), 4.0)
    shifted = 12 * (batch.lv.roll(20, 3) - 0.5)
    good, figures = loss(Says(right, sure), batch)
    assert figures["dice"] == pytest.approx(1.0)
    assert float(good) < 0.1
    assert float(loss(Says(shifted, sure), batch)[0]) > float(loss(Says(shifted, -sure), batch)[0]) > float(good)
    nothing = LvBatch(batch.frames, torch.zeros_like(batch.lv), torch.zeros(6))
    assert float(loss(Says(right, sure), nothing)[0]) > float(loss(Says(-12 + 0 * right, -sure), nothing)[0])


def test_archive_frames_are_cut_to_the_sector_with_square_pixels():
    y, x = np.mgrid[:100, :160]
    fan = (np.hypot(x - 80, y) < 98) & (np.abs(x - 80) < 0.8 * y)
    lv = np.hypot((x - 84) / 14, (y - 45) / 22) < 1
    picture = np.where(lv, 20, 140).astype(np.uint8) * fan
    flat = np.stack([cv2.resize(picture, (160, 50), interpolation=cv2.INTER_AREA)] * 3)
    low = cv2.resize(lv.astype(np.uint8), (160, 50), interpolation=cv2.INTER_NEAREST) > 0
    square, mask = archive_lv.example(LabelledFrame(np.stack([picture] * 3), lv, "a", 0, None))
    pressed, pressed_mask = archive_lv.example(LabelledFrame(flat, low, "a", 0, (0.3, 0.6)))
    assert square.shape == (3, SIDE, SIDE)
    assert mask.shape == (1, SIDE, SIDE)
    assert float(dice(torch.from_numpy(mask[None]).float(), torch.from_numpy(pressed_mask[None]).float())) > 0.93
    assert np.abs(square.astype(int) - pressed).mean() < 6


def train(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "training", "segmenter", "--device", "cpu", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)


def test_the_command_makes_weights_that_load(tmp_path: Path):
    done = train("-o", str(tmp_path), "--steps", "1", "--frames", "16")
    assert done.returncode == 0, done.stderr
    entry = store.Entry("lv", tmp_path / "lv.safetensors", False, store.read_card(tmp_path / "lv.json"))
    card, tensors = store.load(entry)
    assert (card.output, card.recipe) == ("lv", "training/recipes/lv.toml")
    build(dict(card.architecture)).load_state_dict(tensors)


def test_the_command_trains_on_an_archive(tmp_path: Path):
    loop = frames_of([Ellipse()] * 6)
    rows, traced = [], []
    for name in ("0X1A", "0X2B"):
        write_avi(tmp_path / "data" / "Videos" / f"{name}.avi", loop)
        rows.append((name, 55, 40, 90, 112, 112, 50, 6, "TRAIN"))
        traced += [(name, *row, 3) for row in Ellipse().rows()]
    names = "FileName,EF,ESV,EDV,FrameHeight,FrameWidth,FPS,NumberOfFrames,Split"
    write_csv(tmp_path / "data" / "FileList.csv", names, rows)
    write_csv(tmp_path / "data" / "VolumeTracings.csv", "FileName,X1,Y1,X2,Y2,Frame", traced)
    run = tmp_path / "run"
    options = ("-o", str(run), "--steps", "1", "--frames", "16")
    done = train("--data", "echonet-dynamic", str(tmp_path / "data"), *options)
    assert done.returncode == 0, done.stderr
    assert "2 labelled frames" in done.stdout
    assert "echonet-dynamic" in store.read_card(run / "lv.json").data
    refused = train("--data", "camus", str(tmp_path / "data"), *options)
    assert refused.returncode == 3
    assert len(refused.stderr.strip().splitlines()) == 1
    assert train("--data", "camus", *options).returncode == 2
