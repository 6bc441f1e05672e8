"""Readers of research archives, on tiny ones in their layouts and with their oddities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from echoq_models.errors import EchoQError, InputError
from tests.training.make_archives import (
    PATCH,
    Ellipse,
    Row,
    frames_of,
    labels_of,
    numbered,
    write_avi,
    write_csv,
    write_info,
    write_mhd,
    write_nifti,
)
from training.data import volumes
from training.data.echonet_dynamic import tracing_mask
from training.data.labelled import Archive, LabelledFrame, open_archive

SIZE = (112, 112)
LIST = "FileName,EF,ESV,EDV,FrameHeight,FrameWidth,FPS,NumberOfFrames,Split"
TRACINGS = "FileName,X1,Y1,X2,Y2,Frame"
WIDE, TIGHT, TILTED = Ellipse(), Ellipse(along=26, across=11), Ellipse(turn_deg=25, across=13)
CAMUS_SIZE = (120, 90)
ATRIUM = Ellipse(46, 98, 13, 16)
BEAT = [Ellipse(44, 48, 34 - t, 15 - t) for t in range(6)]


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


def shown_frames(frame: LabelledFrame) -> list[int]:
    """Which frames of the loop the context is, by the square in their corner."""
    squares = frame.context[:, 3 : PATCH - 3, 3 : PATCH - 3].mean(axis=(1, 2))
    return [int(np.abs([numbered(t) - square for t in range(14)]).argmin()) for square in squares]


def everything(archive: Archive, split: str) -> list[tuple[str, int]]:
    return [(frame.loop, frame.frame) for frame in archive.frames(split)]


def about(archive: Archive, name: str) -> list[str]:
    return [sentence for sentence in archive.problems if name in sentence]


# EchoNet-Dynamic ------------------------------------------------------------------------------------------------


def listed(name: str, split: str) -> tuple[object, ...]:
    return (name, 55.1, 40.0, 90.0, 112, 112, 50, 12, split)


def traced(name: str, frame: int, rows: list[Row]) -> list[tuple[object, ...]]:
    return [(name, *row, frame) for row in rows]


@pytest.fixture(scope="module")
def echonet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sound loops, and one for each oddity."""
    folder = tmp_path_factory.mktemp("echonet")
    shapes = dict.fromkeys(range(12), WIDE) | {8: TIGHT}
    for name in ("0X1A", "0X2B", "0X3C", "0X6F", "0X7A"):
        write_avi(folder / "Videos" / f"{name}.avi", frames_of([shapes[t] for t in range(12)]))
    write_avi(folder / "Videos" / "0X5E.AVI", frames_of([WIDE, WIDE]))
    (folder / "Videos" / "0X8D.avi").write_bytes(b"RIFF\x10\0\0\0AVI damaged")
    rows = [listed("0X1A", "TRAIN"), listed("0X2B.avi", "val"), listed("0X3C", "TEST"), listed("0X4D", "TRAIN")]
    rows += [listed("0X5E", "TRAIN"), listed("0X6F", "Train"), listed("0X7A", "holdout"), listed("0X8D", "TEST")]
    rows += [listed("0X1A", "TRAIN"), listed("0X2B", "TRAIN")]
    write_csv(folder / "FileList.csv", LIST, rows, ending="\r\n")
    tilted = TILTED.rows()
    swapped = [(c, d, a, b) if i % 3 == 2 else (a, b, c, d) for i, (a, b, c, d) in enumerate(tilted)]
    lines = [*traced("0X1A.avi", 2, WIDE.rows()), *traced("0X1A.avi", 8, TIGHT.rows())]
    lines += traced("0X2B", 5, [row for row in swapped for _ in range(2)])
    lines += [("", "", "", "", "", "")]
    lines += [*traced("0X3C.avi", 11, WIDE.rows()), *traced("0X3C.avi", 12, WIDE.rows())]
    lines += [*traced("0X4D.avi", 2, WIDE.rows()), *traced("0X8D.avi", 1, WIDE.rows())]
    gap, nan = traced("0X6F.avi", 1, WIDE.rows()), traced("0X6F.avi", 3, WIDE.rows())
    gap[0] = ("0X6F.avi", "", *WIDE.rows()[0][1:], 1)
    nan[7] = ("0X6F.avi", *WIDE.rows()[6][:3], "nan", 3)
    lines += [*gap, *nan, *traced("0X6F.avi", 4, WIDE.rows()), ("0X6F.avi", 1.0, 2.0, 3.0, 4.0, "")]
    lines += [*traced("0X6F.avi", 6, WIDE.rows()[1:]), *traced("0X6F.avi", 7, WIDE.rows()[:3])]
    lines += traced("0X6F.avi", 9, replace(WIDE, x=400.0).rows())
    lines += traced("0X9F.avi", 0, WIDE.rows())
    write_csv(folder / "VolumeTracings.csv", TRACINGS, lines)
    return folder


def test_echonet_splits_are_its_own_without_loops_that_lack_a_video_or_a_tracing(echonet: Path) -> None:
    archive = open_archive("echonet-dynamic", echonet)
    assert archive.splits() == {"train": ["0X1A", "0X6F"], "val": ["0X2B"], "test": ["0X3C", "0X8D"]}
    assert "no such video" in about(archive, "0X4D")[0]
    assert "no tracing" in about(archive, "0X5E")[0]
    assert "'holdout'" in about(archive, "0X7A")[0]
    assert "not listed" in about(archive, "0X9F")[0]
    assert "val and in train" in about(archive, "0X2B")[0]
    assert not about(archive, "0X1A")


def test_echonet_frames_carry_their_ventricle_and_their_neighbours(echonet: Path) -> None:
    archive = open_archive("echonet-dynamic", echonet)
    first, second = [frame for frame in archive.frames("train") if frame.loop == "0X1A"]
    assert (first.frame, second.frame) == (2, 8)
    assert shown_frames(first) == [0, 2, 4]
    assert shown_frames(second) == [6, 8, 10]
    for frame, shape in ((first, WIDE), (second, TIGHT)):
        assert frame.context.dtype == np.uint8
        assert frame.context.shape == (3, *SIZE)
        assert frame.lv.dtype == np.bool_
        assert dice(frame.lv, shape.mask(SIZE)) > 0.97
        inside, around = frame.context[1][frame.lv].mean(), frame.context[1][~frame.lv][: 112 * 20].mean()
        assert inside < 45 < around
        assert frame.spacing_mm is None
    assert dice(first.lv, second.lv) < 0.9


def test_swapped_ends_and_repeated_rows_change_nothing(echonet: Path) -> None:
    (frame,) = open_archive("echonet-dynamic", echonet).frames("val")
    assert frame.loop == "0X2B"
    assert dice(frame.lv, TILTED.mask(SIZE)) > 0.97
    assert np.array_equal(frame.lv, tracing_mask(np.array(TILTED.rows()), SIZE))


def test_context_repeats_the_end_and_a_frame_beyond_it_is_a_problem(echonet: Path) -> None:
    archive = open_archive("echonet-dynamic", echonet)
    (frame,) = archive.frames("test")
    assert shown_frames(frame) == [9, 11, 11]
    assert about(archive, "0X3C") == ["0X3C: the tracing of frame 12 is left out: the loop has 12 frames."]
    assert len(about(archive, "0X8D")) == 1


def test_tracings_that_cannot_be_trusted_are_left_out(echonet: Path) -> None:
    archive = open_archive("echonet-dynamic", echonet)
    assert everything(archive, "train") == [("0X1A", 2), ("0X1A", 8), ("0X6F", 4)]
    told = {sentence.partition(" is left out: ")[0][-1]: sentence for sentence in about(archive, "0X6F")}
    assert "no number" in told["1"]
    assert "no number" in told["3"]
    assert "no long axis" in told["6"]
    assert "2 chords" in told["7"]
    assert "outside the picture" in told["9"]
    assert any("names no frame" in sentence for sentence in archive.problems)
    before = list(archive.problems)
    assert len(everything(archive, "train")) == 3
    assert archive.problems == before


def test_echonet_loops_are_read_one_by_one(echonet: Path) -> None:
    archive = open_archive("echonet-dynamic", echonet)
    frames = archive.frames("test")
    assert next(frames).loop == "0X3C"
    assert not about(archive, "0X8D")
    assert not list(frames)
    assert about(archive, "0X8D")


def test_mask_of_a_tracing_holds_the_pixels_inside_and_on_its_edge() -> None:
    rows = [(5.0, 9.0, 5.0, 0.0), (2.6, 8.2, 7.4, 8.0), (7.0, 5.0, 3.0, 5.0), (4.0, 2.0, 6.0, 2.0)]
    drawn = """
    ..........
    ..........
    ....###...
    ....###...
    ....###...
    ...#####..
    ...#####..
    ...#####..
    ...#####..
    .........."""
    expected = [[cell == "#" for cell in line] for line in drawn.split()]
    assert np.array_equal(tracing_mask(np.array(rows), (10, 10)), expected)
    sideways = [(b, a, d, c) for a, b, c, d in rows]
    assert np.array_equal(tracing_mask(np.array(sideways), (10, 10)), np.array(expected).T)


def test_a_tracing_in_the_other_direction_or_beyond_the_border_is_filled_too() -> None:
    rows = np.array(TILTED.rows())
    backwards = np.concatenate([rows[:1], rows[:0:-1]])
    assert np.array_equal(tracing_mask(backwards, SIZE), tracing_mask(rows, SIZE))
    high = replace(WIDE, y=20.0)
    assert dice(tracing_mask(np.array(high.rows()), SIZE), high.mask(SIZE)) > 0.97


@pytest.mark.parametrize(("table", "head"), [("FileList.csv", "FileName,EF"), ("VolumeTracings.csv", "FileName,X1")])
def test_a_table_without_its_columns_is_refused(table: str, head: str, tmp_path: Path) -> None:
    write_avi(tmp_path / "Videos" / "0X1A.avi", frames_of([WIDE]))
    write_csv(tmp_path / "FileList.csv", LIST, [listed("0X1A", "TRAIN")])
    write_csv(tmp_path / "VolumeTracings.csv", TRACINGS, traced("0X1A", 0, WIDE.rows()))
    assert everything(open_archive("echonet-dynamic", tmp_path), "train") == [("0X1A", 0)]
    write_csv(tmp_path / table, head, [])
    with pytest.raises(InputError, match=f"{table}: the table lacks the column"):
        open_archive("echonet-dynamic", tmp_path)


# CAMUS ----------------------------------------------------------------------------------------------------------

Patient = Callable[..., Path]


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    """Make one patient of the present release: a labelled half cycle of six frames, ED first, and ED and ES alone."""

    def make(
        number: int,
        pictures: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        ed_first: bool = True,
        spacing: tuple[float, float] = (0.308, 0.308),
        root: str = "CAMUS_public/database_nifti",
    ) -> Path:
        place = tmp_path / root / f"patient{number:04d}"
        stem = f"{place.name}_4CH_"
        pictures = frames_of(BEAT, CAMUS_SIZE, ATRIUM) if pictures is None else pictures
        labels = labels_of(BEAT, CAMUS_SIZE, ATRIUM) if labels is None else labels
        write_nifti(place / f"{stem}half_sequence.nii.gz", pictures, spacing)
        write_nifti(place / f"{stem}half_sequence_gt.nii.gz", labels, spacing)
        ed, es = (0, len(labels) - 1) if ed_first else (len(labels) - 1, 0)
        for instant, t in (("ED", ed), ("ES", es)):
            write_nifti(place / f"{stem}{instant}.nii.gz", pictures[t : t + 1], spacing)
            write_nifti(place / f"{stem}{instant}_gt.nii.gz", labels[t : t + 1], spacing)
        write_info(place, ed + 1, es + 1, len(labels))
        return place

    return make


def write_lists(root: Path, **lists: list[int]) -> None:
    (root / "database_split").mkdir(exist_ok=True)
    for name, numbers in lists.items():
        text = "".join(f"patient{number:04d}\r\n" for number in numbers)
        (root / "database_split" / f"subgroup_{name}.txt").write_text(text, encoding="utf-8", newline="")


def test_camus_splits_are_its_own(patient: Patient, tmp_path: Path) -> None:
    for number in (1, 2, 3, 4):
        patient(number)
    for gone in ("half_sequence_gt", "ED_gt", "ES_gt"):
        (patient(5) if gone == "half_sequence_gt" else tmp_path / "CAMUS_public/database_nifti/patient0005").joinpath(
            f"patient0005_4CH_{gone}.nii.gz"
        ).unlink()
    root = tmp_path / "CAMUS_public"
    write_lists(root, training=[2, 1, 5], validation=[3, 9], testing=[1])
    archive = open_archive("camus", tmp_path)
    assert archive.splits() == {"train": ["patient0002"], "val": ["patient0003"], "test": ["patient0001"]}
    assert "two lists" in about(archive, "patient0001")[0]
    assert "in no list" in about(archive, "patient0004")[0]
    assert "no label" in about(archive, "patient0005")[0]
    assert "no such folder" in about(archive, "patient0009")[0]
    assert open_archive("camus", root / "database_nifti").splits() == archive.splits()
    (root / "database_split" / "subgroup_validation.txt").unlink()
    short = open_archive("camus", root)
    assert short.splits()["val"] == []
    assert about(short, "subgroup_validation.txt")


def test_camus_gives_the_whole_half_cycle_upright_and_exact(patient: Patient, tmp_path: Path) -> None:
    patient(1)
    write_lists(tmp_path / "CAMUS_public", training=[1], validation=[], testing=[])
    archive = open_archive("camus", tmp_path / "CAMUS_public")
    frames = list(archive.frames("train"))
    assert [frame.frame for frame in frames] == list(range(6))
    assert [shown_frames(frame) for frame in frames[:4]] == [[0, 0, 2], [0, 1, 3], [0, 2, 4], [1, 3, 5]]
    assert archive.problems == []
    pictures = frames_of(BEAT, CAMUS_SIZE, ATRIUM)
    for frame, shape in zip(frames, BEAT, strict=True):
        assert np.array_equal(frame.lv, shape.mask(CAMUS_SIZE))
        assert np.array_equal(frame.context[1], pictures[frame.frame])
        assert frame.spacing_mm == pytest.approx((0.308, 0.308))


def test_camus_takes_deep_signed_and_fractional_pictures_and_spare_axes(patient: Patient, tmp_path: Path) -> None:
    pictures = frames_of(BEAT, CAMUS_SIZE, ATRIUM)
    low, high = int(pictures.min()), int(pictures.max())
    for number in range(1, 5):
        patient(number, spacing=(0.308, 0.154))
    database = tmp_path / "CAMUS_public" / "database_nifti"
    paths = {n: database / f"patient{n:04d}" / f"patient{n:04d}_4CH_half_sequence.nii.gz" for n in range(1, 5)}
    write_nifti(paths[1], (pictures.astype("<i2") - low) * 5, (0.308, 0.154), axes=1)
    write_nifti(paths[2], (pictures / high).astype("<f4"), (1.0, 1.0))
    write_nifti(paths[3], pictures.astype("<i2"), (0.0, 0.0), scaling=(2.0, -100.0))
    spoilt = pictures.astype("<f8")
    spoilt[:, -1, -3:] = np.nan, np.inf, -np.inf
    write_nifti(paths[4], spoilt, (0.308, 0.154))
    labels = labels_of(BEAT, CAMUS_SIZE, ATRIUM)
    write_nifti(paths[1].with_name("patient0001_4CH_half_sequence_gt.nii.gz"), labels.astype("<f4"), axes=2)
    write_lists(tmp_path / "CAMUS_public", training=[1, 2, 3, 4], validation=[], testing=[])
    archive = open_archive("camus", tmp_path)
    found = {n: [f for f in archive.frames("train") if f.loop == f"patient{n:04d}"] for n in range(1, 5)}
    assert archive.problems == []
    span = (pictures[1].astype(float) - low) * 255 / (high - low)
    assert np.abs(found[1][1].context[1] - span).max() <= 0.5
    assert np.array_equal(found[1][1].lv, BEAT[1].mask(CAMUS_SIZE))
    assert np.abs(found[2][1].context[1] - pictures[1] * 255.0 / high).max() <= 0.51
    assert found[3][1].context[0].min() == 0
    assert found[3][1].context[1].astype(int)[60, 44] < found[3][1].context[1].astype(int)[110, 5]
    assert np.array_equal(found[4][1].context[1], np.where(np.isfinite(spoilt[1]), pictures[1], 0))
    assert found[1][0].spacing_mm == pytest.approx((0.308, 0.154))
    assert found[2][0].spacing_mm is None
    assert found[3][0].spacing_mm is None


@pytest.mark.parametrize("ed_first", [True, False])
def test_without_labels_of_the_half_cycle_ed_and_es_are_found_in_it(
    ed_first: bool, patient: Patient, tmp_path: Path
) -> None:
    place = patient(1, ed_first=ed_first)
    (place / "patient0001_4CH_half_sequence_gt.nii.gz").unlink()
    write_lists(tmp_path / "CAMUS_public", training=[], validation=[], testing=[1])
    archive = open_archive("camus", tmp_path)
    ed, es = archive.frames("test")
    at = (0, 5) if ed_first else (5, 0)
    assert (ed.frame, es.frame) == at
    neighbours = {0: [0, 0, 2], 5: [3, 5, 5]}
    for frame, t in ((ed, at[0]), (es, at[1])):
        assert shown_frames(frame) == neighbours[t]
        assert np.array_equal(frame.lv, BEAT[t].mask(CAMUS_SIZE))
    assert archive.problems == []


def test_a_label_of_another_shape_or_a_wrong_info_file_costs_only_what_it_must(
    patient: Patient, tmp_path: Path
) -> None:
    place = patient(1)
    write_nifti(place / "patient0001_4CH_half_sequence_gt.nii.gz", labels_of(BEAT[:4], CAMUS_SIZE, ATRIUM))
    other = patient(2)
    write_nifti(other / "patient0002_4CH_ED_gt.nii.gz", labels_of(BEAT[:1], (100, 90), ATRIUM))
    (other / "patient0002_4CH_half_sequence_gt.nii.gz").unlink()
    wrong = patient(3)
    (wrong / "patient0003_4CH_half_sequence_gt.nii.gz").unlink()
    write_info(wrong, 6, 1, 6)
    write_lists(tmp_path / "CAMUS_public", training=[1, 2, 3], validation=[], testing=[])
    archive = open_archive("camus", tmp_path)
    frames = list(archive.frames("train"))
    assert [(frame.loop[-1], shown_frames(frame)) for frame in frames] == [
        ("1", [0, 0, 2]),
        ("1", [3, 5, 5]),
        ("2", [3, 5, 5]),
        ("3", [0, 0, 0]),
        ("3", [5, 5, 5]),
    ]
    assert about(archive, "patient0001") == [
        "patient0001: a label of the shape (4, 120, 90) does not fit pictures of the shape (6, 120, 90)."
    ]
    assert "(1, 100, 90)" in about(archive, "patient0002")[0]
    assert len(about(archive, "stands alone")) == 2


def test_damaged_empty_and_wrongly_turned_files_are_problems_and_the_rest_goes_on(
    patient: Patient, tmp_path: Path
) -> None:
    pictures, labels = frames_of(BEAT, CAMUS_SIZE, ATRIUM), labels_of(BEAT, CAMUS_SIZE, ATRIUM)
    cut = patient(1)
    write_nifti(cut / "patient0001_4CH_half_sequence.nii.gz", pictures, keep=0.5)
    write_nifti(cut / "patient0001_4CH_ES_gt.nii.gz", labels[5:], keep=0.5)
    patient(2, pictures.transpose(0, 2, 1), labels.transpose(0, 2, 1))
    patient(3, pictures[:, ::-1], labels[:, ::-1])
    empty = labels.copy()
    empty[2] = 0
    patient(4, labels=empty)
    (patient(5) / "patient0005_4CH_half_sequence.nii.gz").write_bytes(b"not packed at all")
    write_lists(tmp_path / "CAMUS_public", training=[1, 2, 3, 4, 5], validation=[], testing=[])
    archive = open_archive("camus", tmp_path)
    assert everything(archive, "train") == [
        ("patient0001", 0),
        *(("patient0004", t) for t in (0, 1, 3, 4, 5)),
        ("patient0005", 0),
        ("patient0005", 5),
    ]
    first = next(archive.frames("train"))
    assert shown_frames(first) == [0, 0, 0]
    assert sum("damaged" in sentence for sentence in about(archive, "patient0001")) == 2
    assert "axes" in about(archive, "patient0002")[0]
    assert "axes" in about(archive, "patient0003")[0]
    assert about(archive, "patient0004") == ["patient0004: the label of frame 2 holds no left ventricle."]
    assert "damaged" in about(archive, "patient0005")[0]


def test_a_header_that_claims_too_much_is_not_believed(patient: Patient, tmp_path: Path) -> None:
    path = patient(1, root="CAMUS_public") / "patient0001_4CH_half_sequence.nii"
    write_nifti(path, frames_of(BEAT, CAMUS_SIZE))
    data = bytearray(path.read_bytes())
    data[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    path.write_bytes(data)
    with pytest.raises(InputError, match="claims 30000 x 30000 x 30000"):
        volumes.read_volume(path)


def first_release(folder: Path, part: str, number: int, labelled: bool = True, **head: str) -> Path:
    """One patient of the first release: MetaImage files, a sequence without labels, rows half as far apart."""
    place = folder / part / f"patient{number:04d}"
    pictures, labels = frames_of(BEAT, CAMUS_SIZE, ATRIUM), labels_of(BEAT, CAMUS_SIZE, ATRIUM)
    stem = f"{place.name}_4CH_"
    write_mhd(place / f"{stem}sequence.mhd", pictures)
    for instant, t in (("ED", 0), ("ES", 5)):
        write_mhd(place / f"{stem}{instant}.mhd", pictures[t : t + 1], **head)
        if labelled:
            write_mhd(place / f"{stem}{instant}_gt.mhd", labels[t : t + 1])
    write_info(place, 1, 6, 6)
    return place


def test_the_first_release_is_read_and_divided_the_same_way_every_time(tmp_path: Path) -> None:
    for number in range(1, 13):
        first_release(tmp_path, "training", number)
    first_release(tmp_path, "testing", 451, labelled=False)
    archive = open_archive("camus", tmp_path)
    splits = archive.splits()
    assert splits == open_archive("camus", tmp_path).splits()
    names = [name for split in splits.values() for name in split]
    assert sorted(names) == [f"patient{n:04d}" for n in range(1, 13)]
    assert len(splits["train"]) > 6
    assert "no label" in about(archive, "patient0451")[0]
    assert "one patient in 10" in about(archive, "no database_split")[0]
    ed, es = (frame for frame in archive.frames("train") if frame.loop == splits["train"][0])
    assert (shown_frames(ed), shown_frames(es)) == ([0, 0, 2], [3, 5, 5])
    assert np.array_equal(es.lv, BEAT[5].mask(CAMUS_SIZE))
    assert es.spacing_mm == pytest.approx((0.308, 0.154))
    first_release(tmp_path, "testing", 452)
    held = open_archive("camus", tmp_path)
    assert held.splits()["test"] == ["patient0452"]
    assert len(held.splits()["train"]) + len(held.splits()["val"]) == 12


@pytest.mark.parametrize(
    ("head", "told"),
    [
        ({"CompressedData": "True"}, "only uncompressed"),
        ({"ElementDataFile": "../patient0001_4CH_ED.raw"}, "only uncompressed"),
        ({"DimSize": "90 121 1"}, "holds 10800 bytes"),
        ({"DimSize": "90 x 1"}, "damaged"),
    ],
)
def test_metaimages_beyond_the_plain_kind_are_refused(head: dict[str, str], told: str, tmp_path: Path) -> None:
    place = first_release(tmp_path, "training", 1, **head)
    with pytest.raises(InputError, match=told):
        volumes.read_volume(place / "patient0001_4CH_ED.mhd")


def test_metaimages_of_sixteen_bits_are_read_in_either_byte_order(tmp_path: Path) -> None:
    pictures = frames_of(BEAT, CAMUS_SIZE).astype("<i2")
    write_mhd(tmp_path / "a.mhd", pictures)
    write_mhd(tmp_path / "b.mhd", pictures.byteswap(), BinaryDataByteOrderMSB="True")
    for name in ("a.mhd", "b.mhd"):
        assert np.array_equal(volumes.read_volume(tmp_path / name).values, pictures)


# The door --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["echonet-dynamic", "camus"])
def test_a_wrong_folder_is_refused_in_one_sentence(kind: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="this is not"):
        open_archive(kind, tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        open_archive(kind, tmp_path / "nowhere")
    with pytest.raises(InputError, match="no such kind"):
        open_archive("camera", tmp_path)


def test_the_folder_around_an_archive_will_do_and_so_will_tables_saved_by_a_spreadsheet(tmp_path: Path) -> None:
    folder = tmp_path / "EchoNet-Dynamic"
    write_avi(folder / "Videos" / "0X1A.avi", frames_of([WIDE]))
    write_csv(folder / "FileList.csv", f"\ufeff{LIST}", [listed("0X1A", "VAL")], ending="\r\n")
    write_csv(folder / "VolumeTracings.csv", TRACINGS, traced("0X1A", 0, WIDE.rows()))
    assert everything(open_archive("echonet-dynamic", tmp_path), "val") == [("0X1A", 0)]


def test_without_nibabel_a_person_is_told_what_to_install(
    patient: Patient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient(1, root=".")
    monkeypatch.setattr(volumes, "find_spec", lambda name: None)
    archive = open_archive("camus", tmp_path)
    (split,) = (split for split, names in archive.splits().items() if names)
    with pytest.raises(EchoQError, match="nibabel"):
        next(archive.frames(split))
