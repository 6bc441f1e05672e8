"""Archives of loops as frame stores: every layout, what is left out and why, and runs that were interrupted."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from echoq_models.errors import InputError
from tests.make_files import with_doppler, write_dicom, write_stills, write_video
from tests.shared import ROOT
from tests.training.make_archives import (
    heart,
    linear_probe,
    names_in,
    no_heart,
    with_writing,
    write_avi,
    write_csv,
    write_info,
    write_mhd,
    write_nifti,
)
from tests.training.test_all_tiny import reduced
from training import all_stages
from training.cli import app
from training.data import archive_store, view_list
from training.data.archive_frames import spread
from training.data.archive_loops import pseudonym
from training.data.frames import INDEX, FramesConfig, FrameStore, draw, split_of
from training.pipeline import read_recipe

CPU = torch.device("cpu")
SIDE = 48


def config(source: str, path: Path, **changes: object) -> FramesConfig:
    """Two loops a shard, read in this process."""
    base = FramesConfig(source, side=SIDE, frames=0, shard=16, workers=0, path=str(path), per_loop=8)
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def take(wanted: FramesConfig, folder: Path, say: Callable[[str], None] = lambda _: None) -> FrameStore:
    return draw(wanted, folder, CPU, say)


def rows(path: Path) -> dict[str, str]:
    """File -> reason."""
    with path.open(newline="", encoding="utf-8") as file:
        return {row["file"]: row["reason"] for row in csv.DictReader(file)}


def column(store: FrameStore, name: str, by: str = "loop") -> dict[str, object]:
    """A column's value for each loop."""
    return dict(zip(store.index[by].tolist(), store.index[name].tolist(), strict=True))


def content(folder: Path) -> dict[str, bytes]:
    """All that a store holds, without the note of what was asked for."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "store.json")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


# A folder of loops ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def loops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Loops of every kind in folders as a person has them, and all that can be wrong with some."""
    place = tmp_path_factory.mktemp("loops")
    for folder in ("first visit", "second visit", "bert", "carla"):
        (place / folder).mkdir()
    large = heart(10, size=(180, 240))
    written, plain = with_writing(large), np.pad(large, ((0, 0), (0, 24), (0, 0)))
    write_dicom(place / "first visit" / "IM1", written, PatientID="MRN 471147", PatientName="Doe^Jane")
    write_dicom(place / "second visit" / "IM1.dcm", plain, PatientID="MRN 471147", PatientName="Doe^Jane")
    write_video(place / "bert" / "a.avi", heart(7, 1), "-c:v", "mjpeg", "-q:v", "2")
    write_video(place / "bert" / "b.mp4", heart(7, 2), "-c:v", "libx264", "-crf", "10")
    write_stills(place / "carla" / "loop of stills", heart(5, 3))
    (place / "phantom.dcm").write_bytes((ROOT / "resources" / "sample" / "phantom_a4c.dcm").read_bytes())
    write_dicom(place / "bert" / "colour.dcm", with_doppler(heart()), PatientID="MRN 471147")
    write_avi(place / "bert" / "nothing.avi", no_heart())
    write_dicom(place / "bert" / "vessel.dcm", linear_probe())
    write_dicom(place / "bert" / "one.dcm", heart(1))
    noise = np.random.default_rng(0).integers(0, 256, (6, 80, 100), dtype=np.uint8)
    write_video(place / "bert" / "full.avi", noise, "-c:v", "mjpeg", "-q:v", "2")
    (place / "broken.dcm").write_bytes((place / "second visit" / "IM1.dcm").read_bytes()[:400])
    (place / "notes.txt").write_text("read me")
    return place


LEFT_OUT = {
    "bert/colour.dcm": "colour Doppler",
    "bert/full.avi": "no ultrasound sector",
    "bert/nothing.avi": "No LV found",
    "bert/one.dcm": "still",
    "bert/vessel.dcm": "No LV found",
    "broken.dcm": "cut off",
}


@pytest.fixture(scope="module")
def kept(loops: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[FrameStore, list[str]]:
    said: list[str] = []
    return take(config("loops", loops), tmp_path_factory.mktemp("run") / "frames", said.append), said


def test_loops_of_every_kind_become_frames_of_their_sector(kept, loops):
    store, said = kept
    assert set(INDEX) < set(store.index)
    assert store.side == SIDE
    assert set(store.index["loop"]) == {
        "first visit/IM1",
        "second visit/IM1.dcm",
        "bert/a.avi",
        "bert/b.mp4",
        "carla/loop of stills",
        "phantom.dcm",
    }
    assert len(set(store.index["sha256"])) > 30
    assert said[0] == "loops=2/12 frames=14 left_out=0"
    assert said[-1].startswith("left out: 6 of 12 loops")
    spacing = column(store, "spacing_mm")
    assert 0.5 < spacing["phantom.dcm"] < 5.0
    assert np.isnan(spacing["bert/a.avi"])


def test_what_cannot_be_used_is_listed_with_the_reason(kept):
    found = rows(kept[0].folder / "left_out.csv")
    assert found.keys() == LEFT_OUT.keys()
    for file, part in LEFT_OUT.items():
        assert part in found[file]


def test_writing_and_ecg_around_the_sector_are_not_in_the_store(kept):
    store = kept[0]
    names = ("first visit/IM1", "second visit/IM1.dcm")
    written, plain = (store.frames(np.flatnonzero(store.index["loop"] == name)) for name in names)
    assert np.array_equal(written, plain)
    assert written[:, :8, :12].max() == 0
    assert written.max() > 100


def test_a_patient_is_a_pseudonym_or_a_folder_and_no_header_gets_into_the_store(kept, loops):
    store = kept[0]
    patient = column(store, "patient")
    assert patient["first visit/IM1"] == patient["second visit/IM1.dcm"] == pseudonym("MRN 471147")
    assert patient["bert/a.avi"] == patient["bert/b.mp4"] == "bert"
    assert patient["carla/loop of stills"] == "carla"
    for name, data in content(store.folder).items():
        assert b"471147" not in data and b"Jane" not in data, name
    for who, split in column(store, "split", by="patient").items():
        assert split_of(who) == split


def test_frames_are_spread_over_about_a_beat(kept):
    store = kept[0]
    numbers = store.index["frame"][store.index["loop"] == "phantom.dcm"]
    times = store.index["time_ms"][store.index["loop"] == "phantom.dcm"]
    assert len(numbers) == 8
    assert times.max() <= 1000
    assert np.ptp(np.diff(numbers)) <= 1
    assert store.index["frame"][store.index["loop"] == "carla/loop of stills"].tolist() == [0, 1, 2, 3, 4]
    assert spread(np.arange(100) * 20.0, 6, 1000.0).tolist() == [0, 10, 20, 30, 40, 50]
    assert spread(np.arange(3) * 20.0, 1, 0.0).tolist() == [0]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems know no such names")
def test_a_name_that_no_table_can_hold_is_left_out(tmp_path):
    write_avi(tmp_path / "a.avi", heart())
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xfc.avi")).write_bytes((tmp_path / "a.avi").read_bytes())
    (tmp_path / "run").mkdir()
    store = take(config("loops", tmp_path), tmp_path / "run" / "frames")
    assert rows(store.folder / "left_out.csv") == {"?.avi": "its name is not in UTF-8"}


# Runs that were interrupted -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def listed(loops: Path, tmp_path_factory: pytest.TempPathFactory) -> FramesConfig:
    """All loops by a view list, which spares the network."""
    files = [path.relative_to(loops) for path in sorted(loops.rglob("*")) if path.suffix in (".dcm", ".avi", ".mp4")]
    path = tmp_path_factory.mktemp("list") / "views.csv"
    write_csv(path, "loop,view", [(file, "A4C") for file in [*files, "first visit/IM1"]])
    return config("loops", loops, views=str(path))


@pytest.fixture(scope="module")
def undisturbed(listed: FramesConfig, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return content(take(listed, tmp_path_factory.mktemp("undisturbed") / "frames").folder)


def test_an_interrupted_run_ends_as_an_undisturbed_one(listed, undisturbed, tmp_path, monkeypatch):
    folder, asked = tmp_path / "frames", []
    whole = archive_store.take

    def dies(root, file, sampling):
        asked.append(file)
        if len(asked) == 6:
            raise KeyboardInterrupt
        return whole(root, file, sampling)

    monkeypatch.setattr(archive_store, "take", dies)
    with pytest.raises(KeyboardInterrupt):
        take(listed, folder)
    assert not (folder / "left_out.csv").exists()
    (folder / "shard_00004.npy").write_bytes(b"a shard without its index")
    (folder / ".shard_00002.npy.1234.tmp").write_bytes(b"half of a shard")
    take(listed, folder)
    assert len(asked) == 6 + 11 - 4
    assert content(folder) == undisturbed
    before = (folder / "left_out.csv").stat().st_mtime_ns
    take(listed, folder)
    assert len(asked) == 6 + 11 - 4
    assert (folder / "left_out.csv").stat().st_mtime_ns == before


def test_another_process_makes_the_same_store_and_stops_when_there_are_frames_enough(listed, undisturbed, tmp_path):
    few = take(dataclasses.replace(listed, workers=1, frames=12), tmp_path / "frames")
    found = content(few.folder)
    shards = [name for name in found if name.startswith("shard")]
    assert shards and all(found[name] == undisturbed[name] for name in shards)
    assert 12 <= len(few) < 12 + 16
    assert len(list(few.folder.glob("left_out/*"))) == len(few.shards)
    more = take(dataclasses.replace(listed, frames=0), tmp_path / "frames")
    assert content(more.folder) == undisturbed


def test_an_archive_that_goes_away_or_was_another_is_no_list_of_missing_files(loops, tmp_path, monkeypatch):
    copy = tmp_path / "archive"
    copy.mkdir()
    write_avi(copy / "a.avi", heart())
    write_avi(copy / "b.avi", heart(6, 1))
    folder = tmp_path / "run" / "frames"
    gone = archive_store.take

    def unmounted(root, file, sampling):
        copy.rename(tmp_path / "away")
        return gone(root, file, sampling)

    monkeypatch.setattr(archive_store, "take", unmounted)
    with pytest.raises(InputError, match="not there any more"):
        take(config("loops", copy), folder)
    monkeypatch.undo()
    (tmp_path / "away").rename(copy)
    with pytest.raises(InputError, match="another recipe"):
        take(config("loops", loops), folder)
    assert set(take(config("loops", copy), folder).index["loop"]) == {"a.avi", "b.avi"}


# View lists -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", ["A4C", "a4c", "4CH", "AP4", "Apical 4-chamber", "apical_four_chamber view", "4C"])
def test_the_four_chamber_view_goes_by_many_names(view):
    assert view_list.is_a4c(view)


@pytest.mark.parametrize("view", ["A2C", "A5C", "PLAX", "", "subcostal 4 chamber", "A4C zoomed on the LV"])
def test_other_views_are_others(view):
    assert not view_list.is_a4c(view)


def test_a_list_names_loops_by_file_or_by_as_much_as_tells_them_apart(tmp_path):
    path = tmp_path / "views.csv"
    names = ["IM1.dcm,A4C", "one/IM2,4CH", "two\\IM2.DCM,PLAX", "IM3,A4C", "IM4,A4C", "IM4,PSAX", ",A4C", "IM5,"]
    write_csv(path, "study,loop,view,sure", [("x", name, 0.9) for name in names])
    files = ["one/IM1.dcm", "one/IM2.dcm", "two/IM2.dcm", "one/IM3", "two/IM3", "IM4.avi", "IM5.avi"]
    found = dict(zip(files, view_list.refused(path, files), strict=True))
    assert [file for file, reason in found.items() if not reason] == ["one/IM1.dcm", "one/IM2.dcm"]
    assert "'PLAX'" in found["two/IM2.dcm"]
    assert "several files" in found["one/IM3"] and "several files" in found["two/IM3"]
    assert "'PSAX'" in found["IM4.avi"]
    assert "not in the view list" in found["IM5.avi"]


@pytest.mark.parametrize("text", ["file,view\na,A4C\n", "", "\0\0"])
def test_a_file_that_is_no_view_list_is_refused(tmp_path, text):
    (tmp_path / "views.csv").write_text(text)
    with pytest.raises(InputError, match=r"needs the columns loop and view|not a CSV file"):
        view_list.refused(tmp_path / "views.csv", ["a"])
    with pytest.raises(InputError, match="cannot be read"):
        view_list.refused(tmp_path / "none.csv", ["a"])


# MIMIC-IV-ECHO --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mimic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patients of the training split and one of the test's, with loops of several views."""
    place = tmp_path_factory.mktemp("mimic")
    a, b = names_in("train", 2, "p100{:05d}")
    (c,) = names_in("test", 1, "p100{:05d}")
    for patient, study, pictures in (
        (a, "s90000001", [heart(), no_heart(), None]),
        (a, "s90000002", [heart(6, 1)]),
        (b, "s90000003", [with_doppler(heart()), heart(6, 2)]),
        (c, "s90000004", [heart(6, 3)]),
    ):
        folder = place / "files" / patient[:3] / patient / study
        folder.mkdir(parents=True)
        for number, frames in enumerate(pictures, 1):
            path = folder / f"{study[1:]}_{number:04d}.dcm"
            if frames is None:
                path.write_bytes(b"\0" * 128 + b"DICM and then nothing")
            else:
                write_dicom(path, frames, PatientID=patient[1:])
        (folder / "index.html").write_text("<html>")
    (place / "echo-record-list.csv").write_text("subject_id,study_id\n")
    return place


def test_mimic_loops_are_accepted_by_the_network(mimic, tmp_path):
    store = take(config("mimic-iv-echo", mimic), tmp_path / "frames")
    a, b, c = sorted(path.name for path in mimic.glob("files/p10/*"))
    patient, split = column(store, "patient"), column(store, "split")
    assert sorted(patient) == ["90000001_0001", "90000002_0001", "90000003_0002", "90000004_0001"]
    assert patient["90000001_0001"] == patient["90000002_0001"]
    assert {split_of(name): name for name in patient.values()}["test"] == patient["90000004_0001"]
    assert all(split[loop] == split_of(name) for loop, name in patient.items())
    assert set(patient.values()) == {a, b, c}
    found = {Path(file).name: reason for file, reason in rows(store.folder / "left_out.csv").items()}
    assert set(found) == {"90000001_0002.dcm", "90000001_0003.dcm", "90000003_0001.dcm"}
    assert "No LV found" in found["90000001_0002.dcm"]
    assert "colour Doppler" in found["90000003_0001.dcm"]
    assert not any(str(mimic) in reason for reason in found.values())


def test_mimic_loops_are_chosen_by_a_view_list(mimic, tmp_path):
    path = tmp_path / "views.csv"
    lines = [
        ("90000001_0001", "PLAX"),
        ("90000001_0002.dcm", "A4C"),
        ("90000003_0002", "4CH"),
        ("90000003_0001", "A4C"),
    ]
    first = next(mimic.glob("files/p10/*/*/90000001_0003.dcm"))
    lines.append((first.relative_to(mimic), "A4C"))
    write_csv(path, "loop,view", lines)
    part = mimic / "files" / "p10"
    store = take(config("mimic-iv-echo", part, views=str(path)), tmp_path / "frames")
    assert set(store.index["loop"]) == {"90000001_0002", "90000003_0002"}
    found = {Path(file).stem: reason for file, reason in rows(store.folder / "left_out.csv").items()}
    assert found["90000001_0001"] == "its view in the view list is 'PLAX'"
    assert found["90000002_0001"] == found["90000004_0001"] == "it is not in the view list"
    assert set(found) == {*found, "90000001_0003", "90000003_0001"}
    with pytest.raises(InputError, match="none of its 7 loops is taken"):
        write_csv(path, "loop,view", [("1", "A4C")])
        take(config("mimic-iv-echo", part, views=str(path)), tmp_path / "other")
    with pytest.raises(InputError, match="is not MIMIC-IV-ECHO"):
        take(config("mimic-iv-echo", tmp_path), tmp_path / "none")


# Published archives with a division of their own ----------------------------------------------------------------------


def test_echonet_keeps_its_division_and_loops_that_nobody_traced(tmp_path):
    place = tmp_path / "EchoNet-Dynamic"
    for name in ("0X1A", "0X2B", "0X3C", "0X4D", "0X5E"):
        write_avi(place / "Videos" / f"{name}.avi", heart(6, size=(112, 112)))
    (place / "Videos" / "0X4D.avi").write_bytes(b"RIFF\x10\0\0\0AVI damaged")
    lines = [("0X1A", "TRAIN"), ("0X2B.avi", "VAL"), ("0X3C", "TEST"), ("0X4D", "TRAIN"), ("0X6F", "TRAIN")]
    write_csv(place / "FileList.csv", "FileName,Split", lines)
    write_csv(place / "VolumeTracings.csv", "FileName,X1,Y1,X2,Y2,Frame", [])
    store = take(config("echonet-dynamic", tmp_path), tmp_path / "run" / "frames")
    assert column(store, "split") == {"0X1A": "train", "0X2B": "val", "0X3C": "test"}
    assert column(store, "patient") == {name: name for name in ("0X1A", "0X2B", "0X3C")}
    found = rows(store.folder / "left_out.csv")
    assert "none of its splits" in found["EchoNet-Dynamic/Videos/0X5E.avi"]
    assert "missing" in found["0X6F"]
    assert set(found) == {"EchoNet-Dynamic/Videos/0X4D.avi", "EchoNet-Dynamic/Videos/0X5E.avi", "0X6F"}


def camus_loop(place: Path, frames: np.ndarray, spacing: tuple[float, float] = (0.3, 0.3)) -> None:
    write_nifti(place / f"{place.name}_4CH_half_sequence.nii.gz", frames, spacing)
    write_info(place, 1, len(frames), len(frames))


def test_camus_keeps_its_division_and_loops_without_labels(tmp_path):
    root = tmp_path / "CAMUS_public"
    flat = heart(6, 1)[:, ::2]  # rows twice as far apart
    for number, frames, spacing in ((1, heart(), (0.3, 0.3)), (2, flat, (0.3, 0.6)), (3, heart(), (1.0, 1.0))):
        camus_loop(root / "database_nifti" / f"patient{number:04d}", frames, spacing)
    (root / "database_nifti" / "patient0004").mkdir()
    camus_loop(root / "database_nifti" / "patient0005", heart())
    lists = {"training": [1, 4], "validation": [2], "testing": [3]}
    for name, numbers in lists.items():
        write_csv(root / "database_split" / f"subgroup_{name}.txt", "", [[f"patient{n:04d}"] for n in numbers])
    store = take(config("camus", tmp_path), tmp_path / "run" / "frames")
    assert column(store, "split") == {"patient0001": "train", "patient0002": "val", "patient0003": "test"}
    spacing = column(store, "spacing_mm")
    assert spacing["patient0001"] == pytest.approx(0.3 * 160 / SIDE, rel=0.05)
    assert np.isnan(spacing["patient0003"])
    firsts = [np.flatnonzero(store.index["loop"] == f"patient000{n}")[0] for n in (1, 2)]
    square, stretched = store.frames(firsts)
    assert np.mean((square > 0) == (stretched > 0)) > 0.97
    found = rows(store.folder / "left_out.csv")
    assert found["patient0004"] == "its loop is missing"
    assert "none of its splits" in found["CAMUS_public/database_nifti/patient0005/patient0005_4CH_half_sequence.nii.gz"]


def test_the_first_release_of_camus_tests_on_what_it_holds_in_testing(tmp_path):
    for part, number in (("training", 1), ("training", 2), ("training", 3), ("testing", 1001)):
        place = tmp_path / part / f"patient{number:04d}"
        write_mhd(place / f"{place.name}_4CH_sequence.mhd", heart()[:, ::2], (0.15, 0.3))
    store = take(config("camus", tmp_path), tmp_path / "run" / "frames")
    split = column(store, "split")
    assert len(split) == 4
    assert split["patient1001"] == "test"
    assert "train" in split.values()


# The command, and the stages after it ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Loops of 8 patients to train on and two that are held out; every other one is hazy. With views and labels."""
    place = tmp_path_factory.mktemp("archive")
    names = [*names_in("train", 8), *names_in("val", 1), *names_in("test", 1)]
    labels = []
    for number, name in enumerate(names):
        frames = heart(6, number)
        if number % 2:
            frames = np.where(frames > 0, np.minimum(frames.astype(int) + 70, 255), 0).astype(np.uint8)
        (place / "loops" / name).mkdir(parents=True)
        write_dicom(place / "loops" / name / "a4c.dcm", frames, PatientID="")
        labels += [(name, f"{name}/a4c.dcm", t, "noisy" if number % 2 else "clean") for t in range(6)]
    write_csv(place / "views.csv", "loop,view", [(f"{name}/a4c.dcm", "A4C") for name in names])
    write_csv(place / "labels.csv", "patient,loop,frame,label", labels)
    return place


@pytest.fixture(scope="module")
def recipe(archive: Path) -> Path:
    """The reduced recipe, its frames from the archive."""
    text = reduced().replace("[frames]\n", f'[frames]\nsource = "loops"\nviews = "{archive / "views.csv"}"\n')
    text = text.replace("frames = 128\n", "frames = 0\n")
    path = archive / "recipe.toml"
    path.write_text(text.replace("[channels]\n", f'[channels]\nlabels = "{archive / "labels.csv"}"\n'))
    return path


def command(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [*map(str, words), "--device", "cpu"])
    return done.exit_code, done.output


def test_the_command_says_what_it_took_and_what_it_lacks(archive, recipe, tmp_path):
    asked = ("frames", "--config", recipe, "-o", tmp_path / "run")
    code, said = command(*asked)
    assert code == 3 and "--data FOLDER" in said
    code, said = command(*asked, "--data", tmp_path / "nowhere")
    assert code == 3 and "no such folder" in said
    code, said = command(*asked, "--data", archive / "loops")
    assert code == 0
    assert "loops=10/10 frames=60 left_out=0" in said
    assert "patients: 8 in train, 1 in val, 1 in test" in said
    assert "left out: 0 of 10 loops" in said
    code, said = command("frames", "--config", ROOT / "training" / "recipes" / "tiny.toml", "--data", archive)
    assert code == 2 and "the phantom's" in said


def test_all_stages_run_on_an_archive_and_know_what_is_done(archive, recipe, tmp_path):
    place = tmp_path / "run"
    code, said = command("all", "--config", recipe, "-o", place, "--data", archive / "loops")
    assert code == 0, said
    assert "labelled by labels.csv" in said
    card = (place / "gan" / "generator.json").read_text()
    assert "archive of one's own" in card and "phantom" not in card and "Apache" not in card
    clean = np.load(place / "pairs" / "sequences" / "shard_00000" / "clean.npy")
    assert clean.shape == (1, 4, 32, 32)
    assert len({frame.tobytes() for frame in clean[0]}) == 4
    run = all_stages.Run(read_recipe(recipe), recipe, place, CPU, lambda _: None)
    assert [all_stages.state_of(run, n) for n in range(6)] == ["done"] * 6  # also where nobody says where it lies
    note = place / "gan" / "config.json"
    noted, times = json.loads(note.read_text()), (note.stat().st_atime_ns, note.stat().st_mtime_ns)
    del noted["frames"]["span_ms"]  # as if it had been run before the recipe knew of it
    note.write_text(json.dumps(noted))
    os.utime(note, ns=times)
    assert all_stages.state_of(run, 1) == "done"
    (place / "frames" / "left_out.csv").unlink()
    assert all_stages.state_of(run, 0) == "unfinished"
    with pytest.raises(InputError, match="columns patient, loop, frame and label"):
        channels = dataclasses.replace(run.recipe.channels, labels="")
        all_stages.channels.run(dataclasses.replace(run.recipe, channels=channels), place, CPU, lambda _: None)


@pytest.mark.parametrize(
    "wrong", [{"source": "echonet"}, {"side": 512}, {"per_loop": 0}, {"per_loop": 32}, {"span_ms": -1.0}]
)
def test_what_makes_no_sense_in_a_recipe_is_refused(wrong):
    with pytest.raises(ValueError, match=r"source is|per_loop must be"):
        dataclasses.replace(config("loops", Path("x")), **wrong)
