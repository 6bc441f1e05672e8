"""The whole generative pipeline by one command: every stage leaves its product, and none is made twice."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from echoq_models.errors import InputError
from echoq_models.weights import store as weights
from tests.shared import ROOT
from training import all_stages
from training.all_stages import STAGES, Run, run_all, state_of
from training.pipeline import read_recipe

TINY = ROOT / "training" / "recipes" / "tiny.toml"
CPU = torch.device("cpu")
REDUCED = {
    "frames": {"side": 32, "frames": 128, "shard": 64, "workers": 0},
    "generator": {"resolution": 32, "channel_base": 256, "channel_max": 12, "z_dim": 16, "w_dim": 16},
    "discriminator": {"channel_base": 256, "channel_max": 12},
    "gan": {"batch": 16, "kimg": 0.16, "judged": 8, "bfloat16": False},
    "encoder": {"widths": [4, 8, 8, 8], "style_width": 8, "judged": 2},
    "encoder_train": {"batch": 8, "steps": 4, "warmup": 1},
    "channels": {
        "frames": 12,
        "pairs": 16,
        "tried": 4,
        "held_out": 8,
        "top": 6,
        "most": 2,
        "reaches": [8.0],
        "sheets": 3,
    },
    "channel_sets": {"sizes": [8], "steps": 2, "again": 2, "batch": 4},
    "pairs": {"count": 32, "shard": 16, "sequences": 1, "length": 4},
    "denoiser": {"side": 32},
    "denoiser_train": {"batch": 8, "steps": 4, "warmup": 1},
}


def reduced() -> str:
    """The recipe `tiny` with less of everything."""
    tables = tomllib.loads(TINY.read_text())
    lines = []
    for name, value in tables.items():
        if isinstance(value, dict):
            lines += [f"\n[{name}]", *(f"{k} = {toml(v)}" for k, v in {**value, **REDUCED.get(name, {})}.items())]
        else:
            lines.append(f"{name} = {toml(value)}")
    return "\n".join(lines)


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + "}"
    return json.dumps(value)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "reduced.toml"
    path.write_text(reduced())
    return path


@pytest.fixture(scope="module")
def folder(recipe, tmp_path_factory) -> Path:
    """A run of all stages."""
    place = tmp_path_factory.mktemp("all") / "run"
    command = [sys.executable, "-m", "training", "all", "--config", str(recipe), "-o", str(place), "--device", "cpu"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("stage ")] == [
        f"stage {stage.name}: unfinished" for stage in STAGES
    ]
    return place


def run_of(recipe: Path, folder: Path, said: list[str] | None = None) -> Run:
    return Run(read_recipe(recipe), recipe, folder, CPU, (said if said is not None else []).append)


def states(run: Run) -> list[str]:
    return [state_of(run, number) for number in range(len(STAGES))]


def test_every_stage_leaves_product_config_log_and_picture(folder):
    for stage in STAGES[1:]:
        own = folder / stage.name
        assert json.loads((own / "config.json").read_text())["name"] == "tiny"
        assert all(json.loads(line) for line in (own / "log.jsonl").read_text().splitlines())
        assert list(own.glob("**/*.png"))
        assert list(own.glob("curves/*"))
    for name, output in (
        ("gan/generator", "generator"),
        ("encoder/encoder", "encoder"),
        ("denoiser/tiny-pairs", "gain"),
    ):
        path = folder / f"{name}.safetensors"
        card = weights.read_card(path.with_suffix(".json"))
        assert card.output == output
        assert weights.verify(weights.Entry(path.stem, path, False, card)) is None
    assert weights.read_card(folder / "gan" / "generator.json").noise_channels
    assert np.load(folder / "pairs" / "stills" / "shard_00001" / "noisy.npy").shape == (16, 1, 32, 32)
    report = json.loads((folder / "channels" / "report.json").read_text())
    assert "encoded" in report["codes"]
    for found in report["noise channels"].values():
        assert len(found["gCNR from 0 to the limit"]) == 6


def test_what_is_done_is_left_out(recipe, folder):
    said: list[str] = []
    run_all(run_of(recipe, folder, said))
    assert said == [f"stage {stage.name}: done" for stage in STAGES]


def test_a_change_touches_its_stage_and_those_after_it(recipe, folder):
    run = run_of(recipe, folder)
    assert states(run) == ["done"] * 6

    def changed(**tables) -> list[str]:
        parts = {n: dataclasses.replace(getattr(run.recipe, n), **values) for n, values in tables.items()}
        return states(dataclasses.replace(run, recipe=dataclasses.replace(run.recipe, **parts)))

    assert changed(pairs={"on": 0.5}) == ["done"] * 4 + ["unfinished", "outdated"]
    assert changed(gan={"kimg": 1.0}) == ["done", "unfinished"] + ["outdated"] * 4
    assert changed(frames={"workers": 2}, denoiser_train={"save_every_s": 5.0}) == ["done"] * 6
    assert changed(denoiser_train={"steps": 5}) == ["done"] * 5 + ["unfinished"]


def test_it_goes_on_after_what_is_there(recipe, folder, monkeypatch):
    """A new product makes those after it outdated: they are set aside and made anew, the others stay."""
    ran: list[str] = []

    def instead(stage: all_stages.Stage) -> all_stages.Stage:
        def make(run: Run) -> None:
            ran.append(stage.name)
            own = run.folder / stage.name
            own.mkdir(exist_ok=True)
            (own / "config.json").write_text(json.dumps(dataclasses.asdict(run.recipe)))
            (own / stage.product(run.recipe)).touch()

        return dataclasses.replace(stage, run=make)

    monkeypatch.setattr(all_stages, "STAGES", tuple(map(instead, STAGES)))
    place = folder.parent / "copy"
    for stage in STAGES:
        (place / stage.name).mkdir(parents=True)
    (place / "frames").rmdir()
    (place / "frames").symlink_to(folder / "frames")
    run = run_of(recipe, place)
    run_all(run)
    assert ran == ["gan", "encoder", "channels", "pairs", "denoiser"]
    ran.clear()
    (place / "channels" / "report.json").unlink()
    (place / "denoiser" / "mark").touch()
    run_all(run)
    assert ran == ["channels", "pairs", "denoiser"]
    assert (place / "denoiser-before" / "mark").exists() and not (place / "denoiser" / "mark").exists()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="one process"):
        run_all(run)


@pytest.mark.parametrize("name", ["tiny", "default", "paper"])
def test_every_recipe_describes_the_whole_pipeline(name):
    recipe = read_recipe(ROOT / "training" / "recipes" / f"{name}.toml")
    assert recipe.denoiser.output == ("image" if name == "paper" else "gain")
    assert recipe.pairs.count == (512 if name == "tiny" else 5600)
