"""`echoq denoise --deidentify`: what is planted in a loop and beside it is in nothing that is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread

from echoq_desktop import cli
from echoq_models import cine, regions, resources
from echoq_models.cine import sector
from echoq_models.deidentify import kept
from echoq_models.errors import InputError
from echoq_models.regions import Findings, Regions, Review
from echoq_models.runtime.jobs import ExportOptions, export_loop
from tests import make_files as make
from tests.deidentify import planted

Captured = pytest.CaptureFixture[str]
LV = [[[150, 110], [170, 110], [170, 150], [150, 150]]]
MYOCARDIUM = [[[150, 50], [170, 50], [172, 80], [148, 80]]]


def run(*arguments: object) -> int:
    return cli.main(["denoise", *map(str, arguments), "--method", "fast"])


def reviewed() -> Regions:
    """Regions whose every text names a person."""
    name = f"{planted.WORD} JOHN"
    return Regions(
        LV,
        MYOCARDIUM,
        review=Review("accepted", name, "1937-03-04T11:22:33+00:00", name),
        source=name,
        findings=Findings({0: 0.9, 1: 0.2}, {1: name}),
    )


def lettered_inside() -> NDArray[np.uint8]:
    """The phantom with a name written into the sector."""
    frames = np.array(cine.read(resources.phantom_sample()[0]).frames)
    for frame in frames:
        cv2.putText(frame, "DOE JOHN", (250, 200), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 1)
    return frames


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def test_nothing_planted_is_in_any_format(tmp_path: Path, out: Path, capsys: Captured) -> None:
    source, _ = planted.write_planted(tmp_path / "in", kept.NUMBERS, depth=1)
    regions.save(reviewed(), regions.sidecar(source))
    assert all(planted.found_in(tmp_path / "in").values())
    mask = sector.fit(cine.read(source)).mask
    for name in ("1.dcm", "2.mp4", "3.npz", "4.gif", "5", "6.avi"):
        assert run(source, "-o", out / name, "--deidentify", "--lossless") == 0
        shown = np.array(cine.read(out / name).frames)[:, :240]  # GIF has its caption below
        assert shown.shape == (8, 240, 320)
        assert not shown[:, ~mask].any()
        assert shown[0][mask].max() > 50
    assert "may still show" not in capsys.readouterr().err
    assert run(source, "-o", out / "7.mp4", "--deidentify", "--side-by-side") == 0
    assert planted.found_in(out) == {mark: [] for mark in planted.MARKS}
    with np.load(out / "3.npz") as held:
        assert set(held) == {"frames", "times_ms", "caption", "title", "comment"}
        assert all(planted.WORD not in str(held[name]) for name in ("caption", "title", "comment"))
    assert len(list(out.glob("*.deidentified.json"))) == 7


def test_the_sidecar_keeps_outlines_and_figures(tmp_path: Path, out: Path) -> None:
    source = make.write_dicom(tmp_path / "in.dcm", make.sector_frames(8, 240, 320))
    regions.save(reviewed(), regions.sidecar(source))
    assert run(source, "-o", out / "1.dcm", "--deidentify") == 0
    found = regions.load(out / "1.echoq.json")
    assert (found.lv, found.myocardium) == (reviewed().lv, reviewed().myocardium)
    assert (found.review, found.source, list(found.findings.reasons)) == (None, "", [1])
    said = json.loads((out / "1.echoq.json").read_text())["echoq"]
    assert list(said["gcnr"]["methods"]) == ["original", "fast"]
    assert "sha256" in said["parameters"]


def test_the_header_says_what_was_done(tmp_path: Path, out: Path) -> None:
    source = make.write_dicom(tmp_path / "in.dcm", planted.lettered(make.sector_frames(8, 240, 320)), HeartRate=66)
    assert run(source, "-o", out / "1.dcm", "--deidentify") == 0
    data = dcmread(out / "1.dcm")
    assert (data.PatientIdentityRemoved, data.BurnedInAnnotation) == ("YES", "NO")
    assert data.PatientName == data.PatientID and str(data.PatientID).startswith("P")
    assert data.HeartRate == 66
    assert data.StudyDate == data.ContentDate == ""
    assert "denoised by model fast" in cine.read(out / "1.dcm").warnings[0]
    told = json.loads((out / "1.deidentified.json").read_text())["files"][0]
    assert (told["output"], told["pixels_clean"], told["burned_in_annotation"]) == ("1.dcm", True, "NO")
    assert "(0010,0010) PatientName" in told["replaced"]


def test_a_film_becomes_a_whole_object(tmp_path: Path, out: Path) -> None:
    np.savez(tmp_path / "doe.npz", frames=make.sector_frames(8, 240, 320))  # without times
    assert run(tmp_path / "doe.npz", "-o", out / "1.dcm", "--deidentify") == 0
    data = dcmread(out / "1.dcm")
    assert data.FrameIncrementPointer == 0x00182001
    assert list(data.PageNumberVector) == list(range(1, 9))
    assert data.BurnedInAnnotation == "NO"


def test_what_may_show_a_name_is_written_only_when_asked(tmp_path: Path, out: Path, capsys: Captured) -> None:
    source = make.write_dicom(tmp_path / "in.dcm", lettered_inside())
    assert run(source, "-o", out / "1.dcm", "--deidentify") == 4
    said = capsys.readouterr().err
    assert "may still show a name: possible text inside the sector" in said
    assert "--keep-unjudged" in said
    assert not list(out.iterdir())
    assert run(source, "-o", out / "1.dcm", "--deidentify", "--keep-unjudged") == 0
    assert "warning" in capsys.readouterr().err
    data = dcmread(out / "1.dcm")
    assert data.BurnedInAnnotation == "YES"
    assert "113101" not in [item.CodeValue for item in data.DeidentificationMethodCodeSequence]
    assert json.loads((out / "1.deidentified.json").read_text())["files"][0]["pixels_clean"] is False


def test_what_is_no_ultrasound_is_refused_also_without_its_header(tmp_path: Path, out: Path) -> None:
    source = make.write_dicom(tmp_path / "ct.dcm", make.sector_frames(), sop_class="1.2.840.10008.5.1.4.1.1.2")
    assert run(source, "-o", out / "1.mp4", "--deidentify", "--keep-unjudged") == 3
    loop = replace(cine.read(source), header=None)  # as after the worker's death
    with pytest.raises(InputError, match="not an ultrasound"):
        export_loop(loop, out / "1.mp4", ExportOptions("original", deidentify=True), lambda name: loop.frames)
    assert not list(out.iterdir())


def test_an_output_named_after_the_input_is_told_of(tmp_path: Path, out: Path, capsys: Captured) -> None:
    source = make.write_dicom(tmp_path / "Doe John.dcm", make.sector_frames(8, 240, 320))
    assert run(source, "-o", out / "doe_john-2.npz", "--deidentify") == 0
    assert "named after the input" in capsys.readouterr().err


def test_a_folder_is_sent_to_echoq_deidentify_which_does_it(tmp_path: Path, out: Path, capsys: Captured) -> None:
    planted.write_planted(tmp_path / "in", kept.NUMBERS, depth=1)
    assert run(tmp_path / "in", "-o", out, "--deidentify") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "--format dcm" in said
    assert "echoq deidentify" in said
    assert not list(out.iterdir())
    assert run(tmp_path / "in", "-o", tmp_path / "denoised", "--format", "dcm") == 0
    assert cli.main(["deidentify", str(tmp_path / "denoised"), "-o", str(out)]) == 0
    assert planted.found_in(out) == {mark: [] for mark in planted.MARKS}
    assert "denoised by model fast" in cine.read(next(out.rglob("*.dcm"))).warnings[0]


def test_keeping_what_is_not_judged_is_an_option_of_de_identifying(tmp_path: Path, out: Path) -> None:
    source = make.write_dicom(tmp_path / "a.dcm", make.sector_frames())
    assert run(source, "-o", out / "1.npz", "--keep-unjudged") == 2
    assert not list(out.iterdir())
