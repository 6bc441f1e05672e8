"""A DICOMDIR as a list of loops, and what it must not lead to."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest

from echoq_desktop import cli
from echoq_models.cine import read
from echoq_models.cine.dicom_study import is_dicomdir, loops_of, read_study
from echoq_models.errors import InputError
from tests import make_files as make

MEDIA = Path(pydicom.__file__).parent / "data" / "test_files" / "dicomdirtests"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A DICOMDIR of three ultrasound loops of 4, 5 and 6 frames; its file."""
    folder = tmp_path / "disc"
    (folder / "STUDY" / "SERIES").mkdir(parents=True)
    for number in range(3):
        make.write_dicom(folder / "STUDY" / "SERIES" / f"IM00000{number}", make.sector_frames(4 + number))
    make.write_dicom(tmp_path / "outside", make.sector_frames())
    return make.write_dicomdir(folder / "DICOMDIR", [("IMAGE", ("STUDY", "SERIES", f"IM00000{n}")) for n in range(3)])


def test_all_loops_in_the_order_of_the_list(study: Path) -> None:
    found = loops_of(study)
    assert [len(read(path)) for path in found] == [4, 5, 6]
    assert all(path.is_relative_to(study.parent) for path in found)
    assert is_dicomdir(study)
    assert not is_dicomdir(found[0])
    assert not is_dicomdir(study.parent)


def test_a_list_of_several_names_one_of_them(study: Path) -> None:
    for place in (study, study.parent):
        with pytest.raises(InputError, match=r"lists 3 loops; open one of them, such as STUDY"):
            read(place)


def test_a_list_of_one_is_that_loop(study: Path) -> None:
    for path in loops_of(study)[1:]:
        path.unlink()
    for place in (study, study.parent):
        loop = read(place)
        assert np.array_equal(loop.frames, make.sector_frames(4))
        assert len([warning for warning in loop.warnings if "left out: there is no such file" in warning]) == 2


def test_nothing_there_is_one_sentence(study: Path) -> None:
    for path in loops_of(study):
        path.unlink()
    with pytest.raises(InputError, match="lists no loop that is there; 3 that it lists are missing"):
        read(study)


@pytest.mark.parametrize(
    "parts", [("..", "outside"), ("STUDY", "..", "..", "outside"), ("/etc", "passwd"), ("STUDY/../../outside",)]
)
def test_files_outside_are_never_looked_at(study: Path, parts: tuple[str, ...]) -> None:
    make.write_dicomdir(study, [("IMAGE", ("STUDY", "SERIES", "IM000002")), ("IMAGE", parts)])
    found = read_study(study)
    assert [path.name for path in found.loops] == ["IM000002"]
    assert found.left_out == (("/".join(parts), "it lies outside the folder"),)


def test_a_link_that_leads_outside_is_not_followed(study: Path, tmp_path: Path) -> None:
    first = loops_of(study)[0]
    first.unlink()
    first.symlink_to(tmp_path / "outside")
    assert "outside" in read_study(study).complaints()[0]


def test_names_of_discs_in_other_letters(study: Path) -> None:
    """ISO 9660 shows upper case and versions, Linux mounts it in lower case."""
    folder = study.parent
    for path in loops_of(study):
        path.rename(path.with_name(f"{path.name.lower()};1"))
    (folder / "STUDY").rename(folder / "study")
    assert len(loops_of(study)) == 3
    study.rename(folder / "dicomdir")
    assert len(loops_of(folder / "dicomdir")) == 3


def test_other_records_and_deleted_ones_are_passed_over(study: Path) -> None:
    files = [("STUDY", "SERIES", f"IM00000{n}") for n in range(3)]
    make.write_dicomdir(study, [("SR DOCUMENT", files[0]), ("IMAGE", files[2]), ("IMAGE", files[2])])
    assert [len(read(path)) for path in loops_of(study)] == [6]
    make.write_dicomdir(study, [("IMAGE", files[2])], in_use=0)
    assert loops_of(study) == []


@pytest.mark.parametrize("name", ["DICOMDIR", "DICOMDIR-bigEnd", "DICOMDIR-implicit", "DICOMDIR-reordered"])
def test_real_lists(name: str) -> None:
    found = read_study(MEDIA / name)
    assert len(found.loops) > 20
    assert all(path.is_file() for path in found.loops)


def test_damaged_lists_are_one_sentence(study: Path) -> None:
    data = study.read_bytes()
    for cut in (200, 400, len(data) // 2, len(data) - 3):
        study.write_bytes(data[:cut])
        try:
            found = read_study(study)
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert len(found.loops) <= 3
    with pytest.raises(InputError):
        read_study(MEDIA / "README.txt")
    with pytest.raises(InputError, match="cannot be read"):
        read_study(study.with_name("absent"))


def test_info_lists_them(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loops_of(study)[2].unlink()
    assert cli.main(["info", str(study), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["kind"] == "DICOMDIR"
    assert [each["frames"] for each in said["loops"]] == [4, 5]
    assert said["loops"][0]["modality"] == "US"
    assert (said["loops"][0]["width"], said["loops"][0]["height"]) == (64, 48)
    assert [each["reason"] for each in said["left_out"]] == ["there is no such file"]
    shutil.copyfile(__file__, loops_of(study)[1])
    assert cli.main(["info", str(study)]) == 0
    out, err = capsys.readouterr()
    assert "64 x 48" in out
    assert "unreadable" in out
    assert "left out: there is no such file" in err
    assert "Nobody" not in out + err
