"""Whole files and folders through `echoq deidentify`: what is written, what is told, and what is left alone."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from echoq_desktop import cli
from echoq_models import cine, deidentify, resources
from echoq_models.cine import sector
from echoq_models.deidentify import Options, Pseudonyms
from tests import make_files as make
from tests.deidentify.planted import lettered

Captured = pytest.CaptureFixture[str]
SIZE = (8, 240, 320)


def run(*arguments: object) -> int:
    return cli.main(["deidentify", *map(str, arguments)])


def region() -> Dataset:
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = 1, 1, 0
    item.RegionLocationMinX0, item.RegionLocationMinY0 = 0, 0
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = 319, 239
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
    item.PhysicalDeltaX = item.PhysicalDeltaY = 0.0513
    return item


def loop_file(path: Path, frames: NDArray[np.uint8] | None = None, **elements: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = lettered(make.sector_frames(*SIZE)) if frames is None else frames
    more = {"SequenceOfUltrasoundRegions": [region()], "HeartRate": 66, "PatientID": "17", **elements}
    return make.write_dicom(path, pixels, **more)


def only(folder: Path) -> Path:
    found = list(folder.rglob("*.dcm"))
    assert len(found) == 1
    return found[0]


def report(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "deidentified.json").read_text(encoding="utf-8"))["files"]


def same_inside(source: Path, made: Path) -> None:
    """Inside the sector nothing changed, outside nothing is left, and the loop measures as before."""
    before, after = cine.read(source), cine.read(made)
    mask = sector.fit(before).mask
    assert len(before) == len(after)
    for t in range(len(before)):
        assert np.array_equal(before.rgb(t)[mask], after.rgb(t)[mask])
        assert not after.rgb(t)[~mask].any()
    assert before.frames[0][~mask].max() > 200  # there was something written
    assert np.allclose(before.times_ms, after.times_ms)
    assert (before.regions, before.heart_rate) == (after.regions, after.heart_rate)
    assert sector.usable_spacing(before, sector.fit(before)) == sector.usable_spacing(after, sector.fit(after))


@pytest.mark.parametrize(
    "syntax", [make.EXPLICIT_LITTLE, make.EXPLICIT_BIG, make.RLE, make.JPEG_LS, make.JPEG_2000_LOSSLESS]
)
def test_lossless_pixels_inside_the_sector_stay(tmp_path: Path, syntax: str) -> None:
    source = loop_file(tmp_path / "DOE" / "doe.dcm", syntax=syntax)
    assert run(source, "-o", tmp_path / "out") == 0
    made = only(tmp_path / "out")
    same_inside(source, made)
    data = dcmread(made)
    assert data.file_meta.TransferSyntaxUID == make.RLE
    assert data.BurnedInAnnotation == "NO"
    assert "LossyImageCompression" not in data
    assert data.file_meta.MediaStorageSOPInstanceUID == data.SOPInstanceUID


def test_a_lossy_loop_stays_known_as_lossy(tmp_path: Path) -> None:
    frames = np.repeat(lettered(make.sector_frames(*SIZE))[..., None], 3, axis=3)
    source = loop_file(
        tmp_path / "j.dcm", make.rgb_to_ybr(frames), syntax=make.JPEG_BASELINE, photometric="YBR_FULL_422"
    )
    assert run(source, "-o", tmp_path / "out") == 0
    data = dcmread(only(tmp_path / "out"))
    assert (data.LossyImageCompression, data.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    assert data.PhotometricInterpretation == "YBR_FULL"
    before, after = cine.read(source), cine.read(only(tmp_path / "out"))
    mask = sector.fit(before).mask
    assert all(np.array_equal(before.rgb(t)[mask], after.rgb(t)[mask]) for t in range(len(before)))
    assert after.lossy == ("JPEG",)


@pytest.mark.parametrize("planar", [0, 1])
def test_doppler_inside_the_sector_survives(tmp_path: Path, planar: int) -> None:
    source = loop_file(tmp_path / "d.dcm", make.with_doppler(lettered(make.sector_frames(*SIZE))), planar=planar)
    assert run(source, "-o", tmp_path / "out") == 0
    same_inside(source, only(tmp_path / "out"))
    assert cine.read(only(tmp_path / "out")).colour is not None


def test_letters_inside_are_told_of_and_left_out(tmp_path: Path, capsys: Captured) -> None:
    frames = np.array(cine.read(resources.phantom_sample()[0]).frames)
    for frame in frames:
        cv2.putText(frame, "DOE JOHN", (250, 200), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 1)
    source = loop_file(tmp_path / "t.dcm", frames, SequenceOfUltrasoundRegions=[], BurnedInAnnotation="NO")
    assert run(source, "-o", tmp_path / "out") == 4
    assert "possible text inside the sector" in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob("*.dcm"))
    (entry,) = report(tmp_path / "out")
    assert entry["state"] == "left out"
    assert entry["output"] is None
    text = entry["possible_text"][0]
    assert text["x"] <= 260 and 180 <= text["y"] <= 200
    assert (text["first_frame"], text["last_frame"]) == (0, len(frames) - 1)
    assert run(source, "-o", tmp_path / "kept", "--keep-unjudged") == 0
    data = dcmread(only(tmp_path / "kept"))
    assert data.BurnedInAnnotation == "YES"
    assert "113101" not in [item.CodeValue for item in data.DeidentificationMethodCodeSequence]


def test_what_is_no_ultrasound_is_never_written(tmp_path: Path) -> None:
    ct = "1.2.840.10008.5.1.4.1.1.2"
    source = loop_file(tmp_path / "ct.dcm", sop_class=ct, Modality="CT")
    assert run(source, "-o", tmp_path / "out", "--keep-unjudged") == 4
    assert not list((tmp_path / "out").rglob("*.dcm"))


def test_a_deep_palette_is_written_as_it_is_shown(realdata: Path, tmp_path: Path) -> None:
    source = realdata / "dicom" / "gdcm-US-ALOKA-16_big.dcm"
    assert run(source, "-o", tmp_path / "out", "--keep-unjudged") == 0
    before, after = cine.read(source), cine.read(only(tmp_path / "out"))
    assert np.array_equal(before.rgb(0), after.rgb(0))
    assert dcmread(only(tmp_path / "out")).PhotometricInterpretation == "RGB"


def batch(folder: Path) -> Path:
    """Two loops of one patient, one of another, a still, and a file that is none."""
    loop_file(folder / "Doe John" / "echo 1.dcm", PatientName="Doe^John", StudyDate="20200229")
    loop_file(folder / "Doe John" / "echo 2.dcm", PatientName="Doe^John", StudyDate="20200301")
    loop_file(folder / "Roe" / "roe.dcm", PatientID="18", PatientName="Roe^Jane", StudyDate="20200301")
    loop_file(folder / "Roe" / "roe still.dcm", make.sector_frames(1, 240, 320), PatientID="18")
    (folder / "Roe" / "broken Roe.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"Roe" * 99)
    return folder


def test_a_batch_goes_on_and_tells(tmp_path: Path, capsys: Captured) -> None:
    source, out = batch(tmp_path / "in"), tmp_path / "out"
    assert run(source, "-o", out, "--dates", "shift") == 4
    told = capsys.readouterr()
    assert "3 done, 1 left out, 1 failed" in told.out
    assert "broken Roe.dcm" in told.err
    states = [entry["state"] for entry in report(out)]
    assert sorted(states) == ["done", "done", "done", "failed", "left out"]
    made = [dcmread(path) for path in sorted(out.rglob("*.dcm"))]
    assert len({data.PatientID for data in made}) == 2
    assert {path.parent.name for path in out.rglob("*.dcm")} == {data.PatientID for data in made}
    with (out / "deidentified.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == states
    for path in (out / "deidentified.json", out / "deidentified.csv"):
        text = path.read_text(encoding="utf-8").casefold()
        assert not any(word in text for word in ("john", "jane", "broken", "2020", "echo 1", str(tmp_path)))
    assert not list(out.rglob(".*"))  # no temporary file is left


def test_the_same_key_gives_the_same_files(tmp_path: Path) -> None:
    source, key = batch(tmp_path / "in"), tmp_path / "secret.key"

    def made(name: str, *more: object) -> dict[str, str]:
        run(source, "-o", tmp_path / name, *more)
        found = sorted((tmp_path / name).rglob("*.dcm"))
        return {str(p.relative_to(tmp_path / name)): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}

    first = made("a", "--key", key)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(first) == 3
    assert made("b", "--key", key) == first
    assert made("a", "--key", key) == first  # again into the same folder
    assert not set(made("c")) & set(first)
    assert not set(made("d")) & set(made("e"))


def test_a_short_key_is_refused(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "key").write_text("secret")
    assert run(loop_file(tmp_path / "a.dcm"), "-o", tmp_path / "out", "--key", tmp_path / "key") == 3
    assert "at least 16 characters" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--key", "--map"])
def test_secrets_may_not_lie_among_the_output(tmp_path: Path, option: str) -> None:
    source = loop_file(tmp_path / "a.dcm")
    assert run(source, "-o", tmp_path / "out", option, tmp_path / "out" / "secret") == 2
    assert not (tmp_path / "out").exists()


def test_the_map_is_written_where_asked_and_warned_about(tmp_path: Path, capsys: Captured) -> None:
    source, out, map_file = batch(tmp_path / "in"), tmp_path / "out", tmp_path / "who.csv"
    run(source, "-o", out, "--map", map_file)
    assert "never hand it on" in capsys.readouterr().err
    with map_file.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    for row in rows:
        assert Path(row["input"]).is_file()
        assert bool(row["output"]) == (row["state"] == "done")
        assert not row["output"] or Path(row["output"]).parent.name == row["patient"]
    assert stat.S_IMODE(map_file.stat().st_mode) == 0o600


def test_the_input_is_never_written_over(tmp_path: Path, capsys: Captured) -> None:
    source = loop_file(tmp_path / "in" / "a.dcm")
    before = source.read_bytes()
    assert run(source, "-o", source) == 5
    assert run(tmp_path / "in", "-o", tmp_path / "in") == 5
    assert "the input itself" in capsys.readouterr().err
    assert source.read_bytes() == before
    assert list((tmp_path / "in").iterdir()) == [source]


def test_a_single_file_takes_a_name(tmp_path: Path) -> None:
    source = loop_file(tmp_path / "doe.dcm")
    assert run(source, "-o", tmp_path / "clean.dcm") == 0
    same_inside(source, tmp_path / "clean.dcm")
    told = json.loads((tmp_path / "clean.deidentified.json").read_text())
    assert told["files"][0]["output"] == "clean.dcm"
    assert run(source, "-o", tmp_path / "clean.mp4") == 5
    assert not (tmp_path / "clean.mp4").exists()
    assert run(tmp_path, "-o", tmp_path / "several.dcm") == 5


def test_an_object_found_twice_is_written_twice(tmp_path: Path) -> None:
    source = loop_file(tmp_path / "in" / "a.dcm")
    shutil.copy(source, tmp_path / "in" / "b.dcm")
    assert run(tmp_path / "in", "-o", tmp_path / "out") == 0
    names = sorted(path.stem for path in (tmp_path / "out").rglob("*.dcm"))
    assert len(names) == 2
    assert names[0] == names[1].removesuffix("-2") or names[1] == names[0].removesuffix("-2")


def test_a_dicomdir_lists_what_is_done(tmp_path: Path, capsys: Captured) -> None:
    source = loop_file(tmp_path / "IMAGES" / "DOE1")
    loop_file(tmp_path / "IMAGES" / "UNLISTED")
    listing = make.write_dicomdir(tmp_path / "DICOMDIR", [("IMAGE", ("IMAGES", "DOE1"))])
    assert run(listing, "-o", tmp_path / "out") == 0
    same_inside(source, only(tmp_path / "out"))
    make.write_dicomdir(listing, [("IMAGE", ("IMAGES", "DOE1")), ("IMAGE", ("IMAGES", "DOE2"))])
    assert run(listing, "-o", tmp_path / "out2") == 4
    assert "IMAGES/DOE2" in capsys.readouterr().err
    assert "DOE" not in (tmp_path / "out2" / "deidentified.json").read_text()
    make.write_dicomdir(listing, [("IMAGE", ("IMAGES", "DOE2"))])
    assert run(listing, "-o", tmp_path / "out3") == 3


def test_a_film_inside_dicom_becomes_frames(tmp_path: Path) -> None:
    frames = lettered(make.sector_frames(*SIZE))
    film = make.write_video(tmp_path / "f.h264", frames, "-c:v", "libx264", "-crf", "12", "-pix_fmt", "yuv420p")
    h264, more = "1.2.840.10008.1.2.4.102", {"PatientID": "17", "HeartRate": 66}
    source = make.write_dicom_film(tmp_path / "f.dcm", film.read_bytes(), frames, h264, **more)
    assert run(source, "-o", tmp_path / "out") == 0
    same_inside(source, only(tmp_path / "out"))
    data = dcmread(only(tmp_path / "out"))
    assert data.file_meta.TransferSyntaxUID == make.RLE
    assert (data.LossyImageCompression, data.LossyImageCompressionMethod) == ("01", "ISO_14496_10")


def test_a_loop_cut_short_keeps_its_whole_frames(tmp_path: Path) -> None:
    source = loop_file(tmp_path / "a.dcm", FrameTimeVector=[0, *[40.0] * 7], FrameIncrementPointer=0x00181065)
    source.write_bytes(source.read_bytes()[:-100_000])  # a frame is 76800 bytes
    assert run(source, "-o", tmp_path / "out") == 0
    data = dcmread(only(tmp_path / "out"))
    assert data.NumberOfFrames == 6
    assert [float(step) for step in data.FrameTimeVector] == [0.0, *[40.0] * 5]
    same_inside(source, only(tmp_path / "out"))


def test_films_stills_and_npz_are_blanked_and_lose_their_titles(tmp_path: Path) -> None:
    frames = lettered(make.sector_frames(*SIZE))
    folder = tmp_path / "in"
    folder.mkdir()
    exact = ("-c:v", "libx264", "-crf", "0", "-pix_fmt", "gray", "-color_range", "pc", "-metadata", "title=Doe John")
    make.write_video(folder / "doe.mp4", frames, *exact)
    make.write_npz(folder / "doe.npz", frames, np.arange(8) * 33.0)
    make.write_gif(folder / "doe.gif", frames, [40] * 8)
    make.write_stills(folder / "doe stills", frames, "doe{}.png")
    assert run(folder, "-o", tmp_path / "out") == 0
    made = {Path(entry["output"]).suffix: tmp_path / "out" / entry["output"] for entry in report(tmp_path / "out")}
    assert set(made) == {".mp4", ".npz", ".mkv", ""}
    mask = sector.fit(cine.CineLoop(frames, np.arange(8) * 40.0, "npz")).mask
    for suffix, path in made.items():
        loop = cine.read(path)
        assert len(loop) == 8, suffix
        assert not loop.frames[:, ~mask].any(), suffix
        assert np.array_equal(loop.frames[:, mask], frames[:, mask]), suffix
        assert "doe" not in path.name
        whole = path.read_bytes() if path.is_file() else b"".join(each.read_bytes() for each in path.iterdir())
        assert b"Doe" not in whole, suffix
    assert cine.read(made[".npz"]).times_ms[1] == 33.0


def test_stopping_leaves_whole_files_and_a_report(tmp_path: Path) -> None:
    source, out = batch(tmp_path / "in"), tmp_path / "out"
    ended: list[object] = []

    def stop() -> bool:
        return len(ended) >= 1

    done = deidentify.deidentify(
        source, out, Options(), Pseudonyms(), lambda *_: None, stop, lambda entry, total: ended.append(entry)
    )
    assert done.cancelled
    assert done.exit_code == 130
    assert len(report(out)) == 1
    assert len(cine.read(only(out))) == 8


def test_stopping_inside_a_file_leaves_nothing_of_it(tmp_path: Path) -> None:
    source, out = loop_file(tmp_path / "a.dcm"), tmp_path / "out"
    written: list[int] = []

    def tell(done: int, total: int, text: str) -> None:
        if text.endswith("writing"):
            written.append(done)

    done = deidentify.deidentify(source, out, Options(), Pseudonyms(), tell, lambda: len(written) >= 3)
    assert done.cancelled
    assert written == [1, 2, 3]
    assert not [
        path for path in out.rglob("*") if path.is_file() and path.name not in ("deidentified.json", "deidentified.csv")
    ]


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    from echoq_models.cine.dicom_writer import DicomSink

    def full(self: DicomSink, frame: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(DicomSink, "add", full)
    assert run(loop_file(tmp_path / "doe.dcm"), "-o", tmp_path / "out") == 5
    assert "No space left on device" in capsys.readouterr().err
    (entry,) = report(tmp_path / "out")
    assert (entry["state"], entry["reason"]) == ("failed", "the output cannot be written")
    assert not list((tmp_path / "out").rglob("*.tmp"))


def test_json_is_all_that_is_printed(tmp_path: Path, capsys: Captured) -> None:
    assert run(loop_file(tmp_path / "doe.dcm"), "-o", tmp_path / "out", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["files"][0]["state"] == "done"
    assert told["files"][0]["pixels_clean"] is True


def errors(path: Path) -> set[str]:
    """dciodvfy's errors, without the values that they quote."""
    import re

    said = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
    lines = (said.stdout + said.stderr).splitlines()
    return {re.sub(r"<[^>]*>|\s+", " ", line) for line in lines if line.startswith("Error")}


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")
def test_the_checker_finds_no_new_errors(tmp_path: Path, cardiac_loop_path: Path) -> None:
    for number, source in enumerate([cardiac_loop_path, resources.phantom_sample()[0]]):
        for dates in ("remove", "shift"):
            out = tmp_path / f"{number}{dates}"
            assert run(source, "-o", out, "--dates", dates) == 0
            assert errors(only(out)) <= errors(source)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")
def test_the_checker_finds_no_new_errors_in_real_files(tmp_path: Path, realdata: Path) -> None:
    map_file = tmp_path / "map.csv"
    run(realdata / "dicom", "-o", tmp_path / "out", "--keep-unjudged", "--map", map_file)
    with map_file.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["output"]]
    assert len(rows) >= 15
    for row in rows:
        assert errors(Path(row["output"])) <= errors(Path(row["input"])), row["input"]
