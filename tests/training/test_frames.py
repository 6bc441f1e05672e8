"""The frame store, and the phantom frames in it: they can be drawn again, also under other haze."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter

import numpy as np
import pytest
import torch

from echoq_models.errors import InputError
from training.data import frames as stage
from training.data.frames import INDEX, FramesConfig, FrameStore, split_of
from training.data.phantom_frames import BATCH, COMPONENTS, OFF_DB, ComponentConfig, draw_batch, draw_levels

CPU = torch.device("cpu")
CONFIG = FramesConfig(side=32, frames=64, shard=32, workers=0)


def quiet(message: str) -> None:
    pass


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> FrameStore:
    folder = tmp_path_factory.mktemp("store")
    for number in range(2):
        stage.draw_shard(folder, CONFIG, number)
    return FrameStore(folder)


def levels(*db: float) -> torch.Tensor:
    return torch.tensor(db).expand(BATCH, 3)


def test_a_store_keeps_frames_and_what_is_known_of_them(store):
    assert (len(store), store.side) == (64, 32)
    assert set(INDEX) < set(store.index)
    frames = store.frames([0, 40, 1])
    assert frames.shape == (3, 32, 32)
    assert frames.dtype == np.uint8
    assert 20 < frames.mean() < 120
    assert len(set(store.index["sha256"])) == len(set(store.index["patient"])) == 64
    split = {name: store.of(name) for name in ("train", "val", "test")}
    assert sorted(np.concatenate(list(split.values()))) == list(range(64))
    assert all(split_of(store.index["patient"][i]) == "val" for i in split["val"])


def test_a_frame_is_drawn_again_from_its_index_row_also_without_haze(store):
    hazed = int(np.argmax(store.index["haze_db"]))
    seed, member = int(store.index["seed"][hazed]), int(store.index["member"][hazed])
    again = draw_batch(seed, 32)
    assert np.array_equal(again.frames.noisy[member, 0].mul(255).round().numpy(), store.frames([hazed])[0])
    found = [store.index[f"{name}_db"][hazed] for name in COMPONENTS]
    assert again.levels_db[member].tolist() == pytest.approx(found)
    clean = draw_batch(seed, 32, levels_db=levels(OFF_DB, OFF_DB, OFF_DB)).frames
    assert torch.equal(clean.lv_whole, again.frames.lv_whole)
    assert torch.allclose(clean.noisy, again.frames.clean, atol=1.5 / 255)
    inside = clean.lv[member]
    assert clean.noisy[member][inside].mean() < again.frames.noisy[member][inside].mean() - 0.1


def test_each_component_acts_where_it_belongs_and_the_others_stay():
    clean = draw_batch(3, 64, levels_db=levels(OFF_DB, OFF_DB, OFF_DB)).frames
    rows = {}
    for i, name in enumerate(COMPONENTS):
        db = [OFF_DB] * 3
        db[i] = -2.0
        hazed = draw_batch(3, 64, levels_db=levels(*db)).frames
        risen = ((hazed.noisy - clean.noisy) * clean.sector).sum((0, 1)) / clean.sector.sum((0, 1)).clamp_min(1)
        rows[name] = [float(part.mean()) for part in (risen[4:16], risen[18:30], risen[36:48])]
    assert min(rows["global"]) > 0.05
    assert rows["near_field"][0] > 3 * rows["near_field"][2]
    assert rows["center_field"][1] > 2 * max(rows["center_field"][0], rows["center_field"][2])


def test_levels_are_independent_and_often_off():
    drawn = torch.cat([draw_levels(seed, ComponentConfig(), CPU) for seed in range(200)])
    off = drawn == OFF_DB
    config = ComponentConfig()
    expected = 1 - (1 - config.off) * (1 - config.clean)
    assert off.float().mean(0).tolist() == pytest.approx([expected] * 3, abs=0.03)
    assert config.clean < float(off.all(1).float().mean()) < config.clean + 0.05
    on = drawn[~off.any(1)]
    pairs = np.corrcoef(on.T.numpy())[np.triu_indices(3, 1)]
    assert np.abs(pairs).max() < 0.1
    limits = (config.global_db, config.center_field_db, config.near_field_db)
    for column, (low, high) in zip(on.T, limits, strict=True):
        assert low <= column.min() < low + 0.5
        assert high - 0.5 < column.max() <= high


def test_hearts_are_four_chamber_views_unless_all_are_asked_for():
    views, all_kinds = (draw_batch(5, 32, hearts).frames for hearts in ("a4c", "all"))
    assert views.lv_whole.flatten(1).any(1).all()
    assert all_kinds.textbook.float().mean() < 1.0
    with pytest.raises(ValueError, match="known are"):
        FramesConfig(hearts="fish")


def test_patients_keep_their_split_and_the_shares_are_90_5_5():
    count = Counter(split_of(f"patient {i}") for i in range(6000))
    assert count["train"] / 6000 == pytest.approx(0.90, abs=0.015)
    assert count["val"] / 6000 == pytest.approx(0.05, abs=0.01)
    assert [split_of("patient 7") for _ in range(3)] == [split_of("patient 7")] * 3


def test_drawing_goes_on_where_it_stopped(store, tmp_path):
    said: list[str] = []
    made = stage.draw(dataclasses.replace(CONFIG, frames=32), tmp_path, CPU, said.append)
    assert said == ["frames=32/32"]
    assert np.array_equal(made.frames(range(32)), store.frames(range(32)))
    kept = (tmp_path / "shard_00000.npy").stat().st_mtime_ns
    (tmp_path / "shard_00001.npy").write_bytes(b"half of a shard")  # its index never came
    whole = stage.draw(CONFIG, tmp_path, CPU, quiet)
    assert (tmp_path / "shard_00000.npy").stat().st_mtime_ns == kept
    assert np.array_equal(whole.frames(range(64)), store.frames(range(64)))
    with pytest.raises(InputError, match="another recipe"):
        stage.draw(dataclasses.replace(CONFIG, seed=1), tmp_path, CPU, quiet)


def test_a_store_that_was_begun_before_the_recipe_got_new_fields_goes_on(tmp_path):
    small = dataclasses.replace(CONFIG, frames=32)
    stage.draw(small, tmp_path, CPU, quiet)
    note = tmp_path / "store.json"
    old = {key: json.loads(note.read_text())[key] for key in ("source", "side", "frames", "shard", "seed", "hearts")}
    note.write_text(json.dumps(old))
    said: list[str] = []
    stage.draw(small, tmp_path, CPU, said.append)
    assert said == []
    with pytest.raises(InputError, match="another recipe"):
        stage.draw(dataclasses.replace(small, source="loops", path=str(tmp_path)), tmp_path, CPU, quiet)


def test_a_folder_without_whole_shards_is_no_store(tmp_path):
    with pytest.raises(InputError, match="run `python -m training frames` first"):
        FrameStore(tmp_path)
    (tmp_path / "shard_00000.parquet").write_bytes(b"PAR1 no table PAR1")
    with pytest.raises(InputError, match="damaged"):
        FrameStore(tmp_path)
