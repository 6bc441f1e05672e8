"""A loop denoised into DICOM: provenance in the header, regions and gCNR beside it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from echoq_models import cine, regions
from echoq_models.denoise import registry
from echoq_models.errors import OutputError
from echoq_models.metrics.gcnr import gcnr
from echoq_models.runtime.jobs import ExportOptions, denoise_file, export_loop
from echoq_models.runtime.sidecar import sidecar_path
from tests import make_files as make
from tests.runtime.halving import Halving
from tests.shared import fan_frames

HALVE = ExportOptions(method="halving")


@pytest.fixture(autouse=True)
def halving(monkeypatch: pytest.MonkeyPatch) -> Halving:
    denoiser = Halving()
    monkeypatch.setattr(registry, "denoisers", lambda: {"halving": denoiser})
    return denoiser


@pytest.fixture
def fan_dicom(tmp_path: Path) -> Path:
    """The fan as an ultrasound object."""
    return make.write_dicom(tmp_path / "fan.dcm", fan_frames(3), SeriesDescription="Apical")


def test_the_file_holds_what_the_denoiser_gave_and_says_so(fan_dicom: Path, tmp_path: Path) -> None:
    done = denoise_file(fan_dicom, tmp_path / "out.dcm", replace(HALVE, dicom_encoding="jpeg-ls"))
    assert done["frames"] == 3
    assert "sidecar" not in done
    back = cine.read(tmp_path / "out.dcm")
    assert np.array_equal(back.frames, fan_frames(3) // 2)
    assert "denoised by halving" in back.warnings[0]
    data = dcmread(tmp_path / "out.dcm")
    assert data.file_meta.TransferSyntaxUID == make.JPEG_LS
    assert data.SeriesDescription == "Apical [denoised by halving, research use]"
    assert "factor 0.5" in data.ContributingEquipmentSequence[0].ContributionDescription
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fan.dcm", "out.dcm"]


def test_regions_beside_the_source_give_a_sidecar(fan_dicom: Path, fan_roi: Path, tmp_path: Path) -> None:
    done = denoise_file(fan_dicom, tmp_path / "out.dcm", HALVE)
    path = sidecar_path(tmp_path / "out.dcm")
    assert (done["sidecar"], path.name) == (str(path), "out.echoq.json")
    drawn = regions.load(fan_roi)
    assert regions.load(path) == drawn  # a region file like any other
    said = json.loads(path.read_text())["echoq"]
    assert said["what"] == "denoised by halving, research use"
    assert said["parameters"] == {"factor": 0.5}
    methods = said["gcnr"]["methods"]
    assert list(methods) == ["original", "halving"]
    for name, frames in (("original", fan_frames(3)), ("halving", fan_frames(3) // 2)):
        expected = [gcnr(frames[t], *drawn.masks((96, 128), t)) for t in range(3)]
        assert methods[name]["gcnr"] == pytest.approx(expected, abs=1e-4)
        assert methods[name]["median"] == pytest.approx(np.median(expected), abs=1e-4)


def test_regions_of_the_window_come_first(fan_dicom: Path, fan_roi: Path, tmp_path: Path) -> None:
    mine = regions.Regions([[[60, 44], [70, 44], [70, 60]]], [[[58, 14], [72, 14], [74, 24]]])
    export_loop(
        cine.read(fan_dicom),
        tmp_path / "out.dcm",
        replace(HALVE, regions=regions.to_data(mine)),
        lambda name: fan_frames(3) // 2,
    )
    assert regions.load(tmp_path / "out.echoq.json") == mine


def test_regions_that_cannot_be_measured_do_not_stop_the_export(fan_dicom: Path, fan_roi: Path, tmp_path: Path) -> None:
    fan_roi.write_text(json.dumps({"lv": [[[58, 42], [72, 42], [72, 62]]], "myocardium": []}))
    denoise_file(fan_dicom, tmp_path / "out.dcm", HALVE)
    said = json.loads((tmp_path / "out.echoq.json").read_text())["echoq"]
    assert said["gcnr"] is None
    assert "myocardium" in said["reason"]
    fan_roi.write_text("not JSON")
    done = denoise_file(fan_dicom, tmp_path / "out.dcm", HALVE)
    assert "not a region file" in done["warnings"][0]
    assert not (tmp_path / "out.echoq.json").exists()  # the one before spoke of other regions


def test_frames_left_out_are_not_measured(fan_dicom: Path, fan_roi: Path, tmp_path: Path) -> None:
    drawn = replace(regions.load(fan_roi), left_out=frozenset({1}))
    regions.save(drawn, fan_roi)
    denoise_file(fan_dicom, tmp_path / "out.dcm", HALVE)
    assert json.loads((tmp_path / "out.echoq.json").read_text())["echoq"]["gcnr"]["indices"] == [0, 2]


def test_other_formats_get_no_sidecar(fan_dicom: Path, fan_roi: Path, tmp_path: Path) -> None:
    denoise_file(fan_dicom, tmp_path / "out.npz", HALVE)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fan.dcm", "fan.roi.json", "out.npz"]


def test_the_original_may_be_written_as_it_is(fan_dicom: Path, tmp_path: Path) -> None:
    denoise_file(fan_dicom, tmp_path / "out.dcm", ExportOptions(method="original"))
    back = cine.read(tmp_path / "out.dcm")
    assert np.array_equal(back.frames, fan_frames(3))
    assert back.warnings == ()
    assert dcmread(tmp_path / "out.dcm").SeriesDescription == "Apical"


def test_a_loop_whose_header_stayed_behind_gets_it_again(fan_dicom: Path, tmp_path: Path) -> None:
    """As after the worker's death: the loop lives on in shared files, its header does not."""
    loop = replace(cine.read(fan_dicom), header=None)
    export_loop(loop, tmp_path / "out.dcm", HALVE, lambda name: fan_frames(3) // 2)
    assert dcmread(tmp_path / "out.dcm").PatientName == "Nobody^Synthetic"
    fan_dicom.unlink()
    with pytest.raises(Exception, match="header cannot be read any more"):
        export_loop(loop, tmp_path / "out2.dcm", HALVE, lambda name: fan_frames(3) // 2)


def test_side_by_side_is_no_loop(fan_dicom: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="side by side is a picture"):
        denoise_file(fan_dicom, tmp_path / "out.dcm", replace(HALVE, side_by_side=("original", "halving")))


def test_a_cancelled_export_leaves_nothing(fan_dicom: Path, fan_roi: Path, tmp_path: Path) -> None:
    seen: list[Any] = []
    with pytest.raises(Exception, match="Cancelled"):
        denoise_file(fan_dicom, tmp_path / "out.dcm", HALVE, lambda *news: seen.append(news), lambda: len(seen) > 4)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fan.dcm", "fan.roi.json"]
