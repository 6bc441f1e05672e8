"""Region files: both versions, the way there and back, and everything that may be wrong with one."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from echoq_models.errors import InputError, OutputError
from echoq_models.regions import (
    Contour,
    Findings,
    FrameRegions,
    Marks,
    Regions,
    Review,
    edit,
    generated,
    leave_out,
    load,
    polygons_mask,
    save,
    sidecar,
)

LV = [[105, 90], [150.25, 100], [157, 140.125]]
MYO = [[[78, 95], [92, 98], [97, 125]], [[163, 110], [185, 125], [190, 160], [165, 160]]]


def test_version_1_numbers_are_taken_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.roi.json"
    path.write_text(json.dumps({"lv": [LV], "myocardium": MYO}))
    drawn = load(path)
    np.testing.assert_array_equal(drawn.lv[0].points, LV)
    assert [c.points.tolist() for c in drawn.myocardium] == MYO
    assert drawn.frames == {}


def test_version_2_has_key_frames(tmp_path: Path) -> None:
    path = tmp_path / "a.roi.json"
    content = {"version": 2, "lv": [LV], "myocardium": MYO, "frames": {"17": {"lv": [LV]}, "3": {"myocardium": MYO}}}
    path.write_text(json.dumps(content))
    drawn = load(path)
    assert list(drawn.frames) == [3, 17]
    assert drawn.frames[17] == FrameRegions([LV])
    assert drawn.frames[3] == FrameRegions([], MYO)


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "a.roi.json"
    plain = Regions([LV], MYO)
    save(plain, path)
    assert load(path) == plain
    assert json.loads(path.read_text()) == {"lv": [LV], "myocardium": MYO}
    keyed = Regions([LV], MYO, {0: FrameRegions([LV]), 12: FrameRegions([], MYO)})
    save(keyed, path)
    assert load(path) == keyed
    assert json.loads(path.read_text())["version"] == 2
    assert [p.name for p in tmp_path.iterdir()] == ["a.roi.json"]  # nothing temporary stays


finite = st.floats(-1000, 1000)
polygons = st.lists(st.lists(st.tuples(finite, finite), min_size=3, max_size=6), max_size=3)


@settings(max_examples=50, deadline=None)
@given(polygons, polygons, st.dictionaries(st.integers(0, 500), polygons, max_size=3))
def test_any_regions_survive_the_way_to_disk(tmp_path_factory, lv, myocardium, keys) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("roi") / "a.roi.json"
    drawn = Regions(lv, myocardium, {t: FrameRegions(p) for t, p in keys.items()})
    save(drawn, path)
    assert load(path) == drawn


HANDLES = np.array([[50.0, 20], [90, 40], [85, 90], [40, 95], [25, 60]])


def full() -> Regions:
    """Regions with everything that a file may hold."""
    curve = Contour(HANDLES, smooth=True)
    shapes = {t: FrameRegions([curve.moved(t, 0)], [curve.moved(0, 100), Contour(LV)]) for t in range(4)}
    made = generated(shapes, {t: curve.scaled(1.2) for t in range(3)}, 6, "lv 0123abcd")
    made = edit(made, 2, "lv", [curve.moved(5.123456789, 3).at_handle(1, (95.55555, 41))], 6)
    review = Review("corrected", "Dr. Ünal", "2025-01-31T09:30:00+01:00", 'septum "moved"')
    findings = Findings({0: 0.9, 1: 0.87654, 5: 0.2}, {5: "The left ventricle would be too small."})
    return replace(leave_out(made, 3), marks=Marks((0, 4), (2,), by_hand=True), review=review, findings=findings)


def test_everything_survives_the_way_to_disk(tmp_path: Path) -> None:
    path = tmp_path / "a.roi.json"
    drawn = full()
    save(drawn, path)
    back = load(path)
    assert back == drawn
    assert back.edited == {2} and back.review == drawn.review and back.marks.es == (2,)
    assert back.left_out == {3} and back.findings == drawn.findings and back.findings.reasons[5].endswith("small.")
    assert back.under(3).lv[0].smooth and back.lv_whole[1].smooth
    assert edit(back, 2, "lv", drawn.generated[2].lv, 6).frames[1] == drawn.generated[1]  # it knows what was given
    save(back, tmp_path / "b.roi.json")
    assert (tmp_path / "b.roi.json").read_bytes() == path.read_bytes()


def test_any_other_reader_measures_the_same(tmp_path: Path) -> None:
    drawn = full()
    save(drawn, tmp_path / "a.roi.json")
    data = json.loads((tmp_path / "a.roi.json").read_text())
    assert data["version"] == 2
    for t in range(6):
        for kind, mask in zip(("lv", "myocardium"), drawn.under(t).masks((240, 240)), strict=True):
            polygons = [np.array(p) for p in data["frames"][str(t)][kind]]
            np.testing.assert_array_equal(polygons_mask(polygons, (240, 240)), mask)


def test_a_spline_for_all_frames_needs_version_2_and_a_polygon_does_not(tmp_path: Path) -> None:
    path = tmp_path / "a.roi.json"
    save(Regions([Contour(HANDLES, smooth=True)]), path)
    data = json.loads(path.read_text())
    assert data["version"] == 2 and data["handles"]["lv"] == [HANDLES.tolist()]
    assert load(path).lv == (Contour(HANDLES, smooth=True),)
    save(Regions([Contour(HANDLES)]), path)
    assert set(json.loads(path.read_text())) == {"lv", "myocardium"}


def test_a_polygon_changed_by_another_program_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.roi.json"
    save(Regions([Contour(HANDLES, smooth=True)], [Contour(HANDLES + 100, smooth=True)]), path)
    data = json.loads(path.read_text())
    data["lv"][0][0][0] += 0.5
    path.write_text(json.dumps(data))
    back = load(path)
    assert not back.lv[0].smooth and back.lv[0].points[0, 0] == data["lv"][0][0][0]
    assert back.myocardium[0].smooth


def test_key_frames_of_other_writers_were_set_by_a_person(tmp_path: Path) -> None:
    path = tmp_path / "a.roi.json"
    path.write_text(json.dumps({"version": 2, "lv": [LV], "frames": {"4": {"lv": [LV]}}}))
    assert load(path).edited == {4}


def test_what_is_not_known_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.roi.json"
    data = {"lv": [LV], "myocardium": MYO, "colour": "red", "handles": {"atrium": 5}, "review": None, "lv_area": [1]}
    path.write_text(json.dumps(data))
    assert load(path) == Regions([LV], MYO)


def test_three_hundred_frames_make_a_file_of_reasonable_size(tmp_path: Path) -> None:
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    large = Contour(np.stack([400 + 150 * np.cos(angle), 300 + 250 * np.sin(angle)], axis=1).round(2), smooth=True)
    shapes = {t: FrameRegions([large.moved(t, 0)], [large.moved(t, 9)]) for t in range(300)}
    save(generated(shapes, dict.fromkeys(range(300), large), 300), tmp_path / "a.roi.json")
    assert (tmp_path / "a.roi.json").stat().st_size < 8e6
    assert len(load(tmp_path / "a.roi.json").frames) == 300


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.roi.json"
    save(Regions([LV]), path)
    monkeypatch.setattr("echoq_models.regions.files.LARGEST_FILE", 200)
    with pytest.raises(OutputError, match="too large"):
        save(full(), path)
    assert load(path) == Regions([LV])


names = st.text(max_size=8)
contours = st.builds(
    lambda points, smooth: Contour(points, smooth),
    st.lists(st.tuples(finite, finite), min_size=3, max_size=6),
    st.booleans(),
)
shown = st.builds(FrameRegions, st.lists(contours, max_size=2), st.lists(contours, max_size=2))
numbers = st.integers(0, 300)
any_regions = st.builds(
    Regions,
    st.lists(contours, max_size=2),
    st.lists(contours, max_size=2),
    st.dictionaries(numbers, shown, max_size=3),
    st.frozensets(numbers, max_size=3),
    st.dictionaries(numbers, shown, max_size=3),
    st.dictionaries(numbers, contours, max_size=2),
    st.builds(Marks, st.lists(numbers, max_size=3), st.lists(numbers, max_size=3), st.booleans()),
    st.none()
    | st.builds(
        Review,
        st.sampled_from(["accepted", "corrected", "rejected"]),
        names,
        st.datetimes(timezones=st.just(UTC)).map(lambda when: when.isoformat()),
        names,
    ),
    names,
    st.frozensets(numbers, max_size=3),
    st.builds(Findings, st.dictionaries(numbers, st.floats(0, 1), max_size=3), st.dictionaries(numbers, names)),
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(any_regions)
def test_any_regions_with_all_their_blocks_survive_the_way_to_disk(tmp_path_factory, drawn: Regions) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("roi") / "a.roi.json"
    save(drawn, path)
    back = load(path)
    assert back == drawn
    assert (back.edited, back.marks, back.review, back.source) == (
        drawn.edited,
        drawn.marks,
        drawn.review,
        drawn.source,
    )


WRONG = {
    "no json": "hello",
    "half a file": '{"lv": [[[1, 2], [3',
    "not an object": "[1, 2]",
    "nothing known": '{"left": []}',
    "number for polygons": '{"lv": 5}',
    "number for a polygon": '{"lv": [5]}',
    "two points": '{"lv": [[[1, 2], [3, 4]]]}',
    "three coordinates": '{"lv": [[[1, 2, 3], [3, 4, 5], [5, 6, 7]]]}',
    "text for a number": '{"lv": [[[1, "2"], [3, 4], [5, 6]]]}',
    "true for a number": '{"lv": [[[1, true], [3, 4], [5, 6]]]}',
    "not a number": '{"lv": [[[1, NaN], [3, 4], [5, 6]]]}',
    "infinite": '{"lv": [[[1, 1e999], [3, 4], [5, 6]]]}',
    "far too large": '{"lv": [[[1, 1' + "0" * 400 + "], [3, 4], [5, 6]]]}",
    "frames is a list": '{"lv": [], "frames": [1]}',
    "frame number is a word": '{"lv": [], "frames": {"one": {}}}',
    "negative frame number": '{"lv": [], "frames": {"-1": {}}}',
    "frame is a list": '{"lv": [], "frames": {"1": []}}',
    "wrong polygon in a frame": '{"lv": [], "frames": {"1": {"lv": [[[1, 2]]]}}}',
    "newer version": '{"version": 3, "lv": []}',
    "version is a list": '{"version": [2], "lv": []}',
    "handles are a list": '{"lv": [], "handles": [1]}',
    "handles of a kind are a number": '{"lv": [], "handles": {"lv": 3}}',
    "too few handles": '{"lv": [[[1, 2], [3, 4], [5, 9]]], "handles": {"lv": [[[1, 2]]]}}',
    "edited is a number": '{"lv": [], "edited": 4}',
    "edited before the first frame": '{"lv": [], "edited": [-4]}',
    "edited is true": '{"lv": [], "edited": [true]}',
    "generated like no frame": '{"lv": [], "generated": {"3": null}}',
    "generated is text": '{"lv": [], "generated": {"3": "x"}}',
    "whole ventricle without points": '{"lv": [], "lv_whole": {"3": {}}}',
    "whole smooth by number": '{"lv": [], "lv_whole": {"3": {"points": [[1, 2], [3, 4], [5, 9]], "smooth": 1}}}',
    "marks are a list": '{"lv": [], "marks": [1]}',
    "marks between frames": '{"lv": [], "marks": {"ed": [1.5]}}',
    "marks by hand by text": '{"lv": [], "marks": {"by_hand": "yes"}}',
    "unknown decision": '{"lv": [], "review": {"decision": "perhaps", "when": "2025-01-31T09:30:00Z"}}',
    "review without a zone": '{"lv": [], "review": {"decision": "accepted", "when": "2025-01-31T09:30:00"}}',
    "review at no time": '{"lv": [], "review": {"decision": "accepted", "when": "yesterday, or the day before that"}}',
    "review by a number": '{"lv": [], "review": {"decision": "accepted", "who": 5, "when": "2025-01-31T09:30:00Z"}}',
    "review is text": '{"lv": [], "review": "accepted"}',
    "left out is true": '{"lv": [], "left_out": true}',
    "left out before the first frame": '{"lv": [], "left_out": [-1]}',
    "findings are a list": '{"lv": [], "findings": []}',
    "confidence is a list": '{"lv": [], "findings": {"confidence": [0.5]}}',
    "confidence is text": '{"lv": [], "findings": {"confidence": {"3": "0.5"}}}',
    "confidence above 1": '{"lv": [], "findings": {"confidence": {"3": 1.01}}}',
    "confidence is no number": '{"lv": [], "findings": {"confidence": {"3": NaN}}}',
    "confidence of no frame": '{"lv": [], "findings": {"confidence": {"x": 0.5}}}',
    "a reason is a number": '{"lv": [], "findings": {"reasons": {"3": 7}}}',
    "a reason without end": '{"lv": [], "findings": {"reasons": {"3": "' + "why " * 200 + '"}}}',
    "source is a list": '{"lv": [], "source": ["lv"]}',
    "very deep": "[" * 100_000,
    "too many digits": '{"lv": [[[' + "9" * 10_000 + ", 2], [3, 4], [5, 6]]]}",
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_file_gives_one_sentence_that_names_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load(path)
    message = str(caught.value)
    assert "wrong.json" in message
    assert "\n" not in message
    assert len(message) < 300 + len(str(path))


def test_missing_binary_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json.*No such file"):
        load(tmp_path / "none.json")
    with pytest.raises(InputError, match="Cannot read"):
        load(tmp_path)
    (tmp_path / "picture.json").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    with pytest.raises(InputError, match="not JSON text"):
        load(tmp_path / "picture.json")
    (tmp_path / "large.json").write_bytes(b" " * (33 * 2**20))
    with pytest.raises(InputError, match="too large"):
        load(tmp_path / "large.json")


BLOCKS = (
    "lv myocardium frames version 1 x handles edited generated lv_whole marks ed review decision when source points"
    " left_out findings confidence reasons"
)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(BLOCKS.split()),
                inner,
                max_size=4,
            )
        ),
    ).map(lambda data: json.dumps(data).encode())
)
def test_any_file_loads_or_gives_an_input_error(tmp_path_factory, content: bytes) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("roi") / "any.json"
    path.write_bytes(content)
    try:
        assert isinstance(load(path), Regions)
    except InputError as error:
        assert "any.json" in str(error)


def test_a_failed_save_keeps_the_old_file_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.roi.json"
    save(Regions([LV], MYO), path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match="No space left"):
        save(Regions([LV]), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.roi.json"]
    with pytest.raises(OutputError, match="Cannot write"):
        save(Regions([LV]), tmp_path / "no such folder" / "a.roi.json")


@pytest.mark.parametrize(
    ("loop", "expected"),
    [
        ("a/heart.dcm", "a/heart.roi.json"),
        ("a/heart.MP4", "a/heart.roi.json"),
        ("a/hazy_1.png", "a/hazy_1.roi.json"),
        ("a/US-PAL-8-10x-echo", "a/US-PAL-8-10x-echo.roi.json"),
        ("a/1.2.840.10008.7", "a/1.2.840.10008.7.roi.json"),
        ("stills", "stills.roi.json"),
    ],
)
def test_the_file_beside_a_loop(loop: str, expected: str) -> None:
    assert sidecar(Path(loop)) == Path(expected)
