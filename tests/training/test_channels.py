"""The stage `channels`: how haze is read off pictures, planted channels that are found, the review, the list."""

from __future__ import annotations

import csv
import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from echoq_models.errors import InputError
from echoq_models.generative import noise_channels
from echoq_models.generative.editor import RANKED_KEY
from echoq_models.generative.noise_channels import COMPONENTS, NoiseChannels
from echoq_models.generative.stylespace import StyleSpace
from echoq_models.weights import store as weights
from tests.shared import ROOT
from tests.training import planted
from training import channels
from training.channels import ChannelsConfig
from training.data.frames import FrameStore
from training.evaluation import fd_echo
from training.noise import review, search
from training.noise.check import Examiner
from training.noise.codes import Inverter, collect, drawn_haze, grey_of, labelled, visible
from training.noise.haze_model import HazeModel, phantom_pairs, strongest_reading
from training.noise.learned import LearnConfig, Learner
from training.pipeline import PipelineConfig

CPU = torch.device("cpu")
SMALL = ChannelsConfig(
    frames=96, pairs=32, top=20, tried=8, held_out=16, most=2, reaches=(16.0,), sheets=4, sheet_sigmas=2.0
)
WIDE = LearnConfig(sizes=(24, 6), steps=30, again=15, batch=4, rate=0.1)
RECIPE = PipelineConfig(
    "planted",
    "Planted",
    frames=planted.FRAMES,
    generator=planted.CONFIG,
    channels=SMALL,
    channel_sets=LearnConfig(sizes=()),
)


@pytest.fixture(scope="module")
def made() -> planted.Planted:
    return planted.planted()


@pytest.fixture(scope="module")
def model(made) -> HazeModel:
    return made.haze


@pytest.fixture(scope="module")
def inverter(made) -> Inverter:
    return Inverter(made, None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, made) -> Path:
    """A run in which the stage was run."""
    place = planted.run_folder(tmp_path_factory.mktemp("run"), made)
    with pytest.MonkeyPatch.context() as patch:
        planted.load_instead(patch, made)
        channels.run(RECIPE, place, CPU, lambda _: None)
    return place


@pytest.fixture(scope="module")
def frames(folder) -> FrameStore:
    return FrameStore(folder / "frames")


def test_each_component_is_read_off_same_seed_pairs_that_were_not_seen(model):
    unseen = phantom_pairs(32, 32, "a4c", 9_300_000, CPU)
    for component in range(3):
        own, *others = (
            float(model.reading(unseen.clean, unseen.hazed[component])[:, i].mean()) for i in _from(component)
        )
        assert own == pytest.approx(1.0, abs=0.2)
        assert max(map(abs, others)) < 0.2
    both = unseen.clean + (unseen.hazed[1] - unseen.clean) + (unseen.hazed[2] - unseen.clean)
    assert model.reading(unseen.clean, both).mean(0).tolist() == pytest.approx([0, 1, 1], abs=0.25)
    assert not model.reading(unseen.clean, unseen.clean).any()


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _from(component: int) -> list[int]:
    return [component, *(i for i in range(3) if i != component)]


def test_what_haze_does_in_walls_is_little(model):
    clean = phantom_pairs(16, 32, "a4c", 9_400_000, CPU).clean
    for component in range(3):
        wall = model.wall(clean, component)
        assert wall.any(1).float().mean() > 0.7
        assert float(model.expected(clean)[component][wall].max()) < 0.03
    assert strongest_reading(0) > 1


def test_the_papers_statistics_are_as_defined():
    draw = torch.Generator().manual_seed(3)
    clean, noisy = torch.randn(400, 5, generator=draw) * 2 + 1, torch.randn(300, 5, generator=draw) * 2 + 1
    noisy[:, 2] -= 3.0
    clean[:, 4] = noisy[:, 4] = 7.0
    found = search.unpaired(clean, noisy)
    delta = (noisy[:, :4] - clean.mean(0)[:4]) / clean.std(0)[:4]
    assert torch.allclose(found.theta[:4], delta.mean(0).abs() / delta.std(0), rtol=1e-4)
    assert found.top(1) == [2] and found.mean[2] < 0
    assert found.theta[4] == 0
    twin = clean + 0.1 * torch.randn(400, 5, generator=draw)
    twin[:, 1] += 0.5
    assert search.paired(clean, twin).top(1) == [1]
    assert search.unpaired(clean, twin).theta[1] < 0.5 < 2 < search.paired(clean, twin).theta[1]


def test_planted_channels_are_in_the_top_three(inverter, frames, model):
    names = StyleSpace(planted.CONFIG).names
    codes = collect(inverter, frames, 200, None, -14.0, 0)
    theta = search.unpaired(codes.clean, codes.noisy)
    assert {names[i] for i in theta.top(3)} == set(planted.PLANTED.values())
    assert all(theta.mean[i] > 0 for i in theta.top(3))
    tried = inverter.random(8, 1)
    effect, wanted = search.effects(inverter, tried, range(len(names))), model.expected(inverter.drawn(tried))
    for component, name in enumerate(planted.PLANTED.values()):
        like = search.likeness(effect, wanted[component])
        assert name in [names[i] for i in like.abs().argsort(descending=True)[:3].tolist()]
        pull = search.pulls(inverter.generator, model, tried, component)
        assert name in [names[i] for i in pull.abs().argsort(descending=True)[:3].tolist()]
        assert like[names.index(name)] > 0.6 and pull[names.index(name)] > 0


def test_a_set_separates_what_a_channel_mixes():
    haze, shape = torch.tensor([1.0, 1, 0, 0]), torch.tensor([0.0, 0, 1, 1])
    effect = torch.stack([haze + shape, shape * 0.9, torch.full((4,), 0.01)])
    one, two = search.sets(effect, haze, 2, reach=1e3)
    assert one.nonzero()[:, 0].tolist() == [0]
    assert two[0] > 0 > two[1] and float(two.norm()) == pytest.approx(1.0)
    together = two @ effect
    assert float(together @ haze / together.norm() / haze.norm()) > 0.99
    weak = torch.stack([haze * 0.01, haze + 0.5 * shape])
    assert search.sets(weak, haze, 1, reach=1e3)[0].nonzero()[0, 0] == 0  # fits exactly, and has to be turned far
    assert search.sets(weak, haze, 1, reach=8.0)[0].nonzero()[0, 0] == 1


def test_learned_sets_keep_the_planted_channel_while_they_shrink(inverter, model):
    s, lv = inverter.random(48, 1), fd_echo.network(CPU)
    names = StyleSpace(planted.CONFIG).names
    start = torch.zeros(len(names))
    pairs = phantom_pairs(32, 32, "a4c", 9_300_000, CPU)
    wide, few = Learner(inverter.generator, model, lv, pairs, WIDE).sets(s, 2, start, seed=0)
    assert int((wide != 0).sum()) == 24 and int((few != 0).sum()) == 6
    assert planted.PLANTED["near field"] in [names[i] for i in few.nonzero()[:, 0].tolist()]
    examiner = Examiner(inverter, model, inverter.random(16, 2), lv)
    seen = examiner.look(2, {names[i]: float(wide[i]) for i in wide.nonzero()[:, 0].tolist()}, 1.0)
    assert seen.own > 0.25 and abs(seen.other) < 1
    assert list(Learner(inverter.generator, model, lv, pairs, LearnConfig(sizes=())).sets(s, 2, start, seed=0)) == []


def test_demands_are_met_by_the_haze_itself(model, inverter):
    before = inverter.drawn(inverter.random(6, 2))
    haze = model.expected(before)
    for component in range(3):
        effect, target = search.demands(model, before, haze, component)
        off = (effect - target).norm(dim=1) / target.norm()
        assert off[component] < 0.5 and off.argmin() == component


def test_the_stage_leaves_what_a_person_reviews(folder):
    own = folder / "channels"
    noise = noise_channels.load(own / "noise_channels.json")
    assert set(noise.components) == set(COMPONENTS)
    for component, name in planted.PLANTED.items():
        assert noise.components[component][name] > 0.7
        assert noise.limit(component) > 1
    rows = table(own / "review.csv")
    kept = [row for row in rows if row["keep"] == "yes"]
    assert {row["component"] for row in kept} == set(COMPONENTS)
    assert planted.PLANTED["global"] in [row["channel"] for row in kept]
    assert len({row["channel"] for row in rows if row["keep"] == "no"}) == len(rows) - len(kept)
    sheets = [row["sheet"] for row in rows if row["sheet"]]
    assert len(set(sheets)) == SMALL.sheets
    sheet = cv2.imread(str(own / sheets[0]))
    assert sheet.shape == (4 * 32, 6 * 32, 3)
    tried = [json.loads(line) for line in (own / "log.jsonl").read_text().splitlines()]
    assert sum(entry["how"] != "learned" for entry in tried) == 3 * SMALL.most
    assert json.loads((own / "config.json").read_text())["channels"]["top"] == SMALL.top


def test_interventions_on_held_out_pictures_are_reported_and_in_the_card(folder):
    found = json.loads((folder / "channels" / "report.json").read_text())["noise channels"]
    for component in COMPONENTS:
        at_limit, half = found[component]["at the limit"], found[component]["at half of it"]
        assert at_limit["own"] > half["own"] > 0.2
        assert abs(at_limit["largest of the others, share of own"]) < 0.3
    card = weights.read_card(folder / "gan" / "generator.json")
    assert NoiseChannels.of_card(card) == noise_channels.load(folder / "channels" / "noise_channels.json")
    assert card.figures["noise channels"] == found
    ranked = dict(card.figures[RANKED_KEY])  # what the window's browser shows
    assert len(ranked) == SMALL.top and ranked[planted.PLANTED["global"]] > 0
    assert set(planted.PLANTED.values()) <= set(ranked)
    assert weights.verify(weights.Entry("generator", folder / "gan" / "generator.safetensors", False, card)) is None


def test_an_edit_that_lifts_everything_does_not_hold(inverter, frames, model):
    codes = collect(inverter, frames, 24, None, -14.0, 0)
    examiner = Examiner(inverter, model, codes.clean)
    own = examiner.look(2, {planted.PLANTED["near field"]: 1.0}, 2.0)
    mixed = examiner.look(2, dict.fromkeys(planted.PLANTED.values(), 1.0), 2.0)
    assert own.own > 0 and abs(own.other) < 0.3
    assert not mixed.holds and abs(mixed.other) > 0.3
    assert mixed.shortfall(2) > own.shortfall(2)
    assert not examiner.look(2, {planted.PLANTED["near field"]: 1.0}, -2.0).holds


def test_a_person_takes_other_channels(folder, made, monkeypatch, tmp_path):
    rows = table(folder / "channels" / "review.csv")
    for row in rows:
        row["keep"] = "yes" if row["channel"] == planted.PLANTED["near field"] else "no"
        row["component"], row["weight"] = "reverberation", "2"
    path = tmp_path / "mine.csv"
    with path.open("w", newline="") as file:
        out = csv.DictWriter(file, rows[0])
        out.writeheader()
        out.writerows(rows)
    assert review.read(path, "generator").components == {"reverberation": {planted.PLANTED["near field"]: 1.0}}
    recipe = dataclasses.replace(RECIPE, channels=dataclasses.replace(SMALL, frames=24))
    copy = planted.run_folder(tmp_path / "run", made)
    with monkeypatch.context() as patch:
        planted.load_instead(patch, made)
        noise = channels.run(recipe, copy, CPU, lambda _: None, reviewed=path)
    assert list(noise.components) == ["reverberation"]
    assert list(weights.read_card(copy / "gan" / "generator.json").noise_channels) == ["reverberation"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("keep,component,channel\nyes,global,b4.conv1:0\n", "needs the columns"),
        ("keep,component,channel,weight\nyes,,b4.conv1:0,1\n", "line 2: a channel that is kept needs"),
        ("keep,component,channel,weight\nyes,global,b4.conv1:0,nan\n", "line 2: a channel that is kept needs"),
        ("keep,component,channel,weight\nno,global,b4.conv1:0,1\n", "keeps no channel"),
        ("keep,component,channel,weight\nyes,global,b99.conv1:0,1\n", "of another generator"),
    ],
)
def test_a_damaged_review_is_refused_by_the_command(folder, tmp_path, content, problem):
    path = tmp_path / "review.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=problem):
        channels.run(RECIPE, folder, CPU, lambda _: None, reviewed=path)


def test_frames_are_labelled_by_a_list_or_by_their_haze(frames, tmp_path):
    by_haze = labelled(frames, None, -14.0)
    assert visible(frames, by_haze["clean"]).max() == 0
    assert frames.index["haze_db"][by_haze["noisy"]].min() >= -14
    assert set(frames.index["split"][by_haze["noisy"]]) == {"train"}
    path = tmp_path / "labels.csv"
    train, held_out = frames.of("train")[:6].tolist(), frames.of("test")[:1].tolist()
    columns = zip(*(frames.index[name][train + held_out] for name in ("patient", "loop", "frame")), strict=True)
    labels = [*["clean", "Noisy", "poor"] * 2, "clean"]
    lines = [f"{p},{c},{f},{label}" for (p, c, f), label in zip(columns, labels, strict=True)]
    path.write_text("\n".join(["patient,loop,frame,label", *lines]))
    found = {label: numbers.tolist() for label, numbers in labelled(frames, path, 0.0).items()}
    assert found == {"clean": [train[0], train[3]], "noisy": [train[1], train[4]]}
    path.write_text("patient,frame\n1,2\n")
    with pytest.raises(InputError, match="is no labelling list"):
        labelled(frames, path, 0.0)
    with pytest.raises(InputError, match="0 clean frames"):
        path.write_text("patient,loop,frame,label\n1,2,3,clean\n")
        labelled(frames, path, 0.0)


def test_haze_is_read_off_single_pictures(frames):
    numbers = frames.of("train")
    read = drawn_haze(frames, grey_of(frames, numbers), 0).numpy()
    assert np.corrcoef(read, visible(frames, numbers).sum(axis=1))[0, 1] > 0.6


def test_the_command_says_what_is_missing(tmp_path):
    command = [
        sys.executable,
        "-m",
        "training",
        "channels",
        "--config",
        "training/recipes/tiny.toml",
        "-o",
        str(tmp_path),
    ]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 3
    assert "There is no generator in" in ended.stderr and "Traceback" not in ended.stderr
