"""Region files: both versions, the way there and back, and everything that may be wrong with one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echoq_models.errors import InputError, OutputError
from echoq_models.regions import FrameRegions, Regions, load, save, sidecar

LV = [[105, 90], [150.25, 100], [157, 140.125]]
MYO = [[[78, 95], [92, 98], [97, 125]], [[163, 110], [185, 125], [190, 160], [165, 160]]]


def test_version_1_numbers_are_taken_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.roi.json"
    path.write_text(json.dumps({"lv": [LV], "myocardium": MYO}))
    drawn = load(path)
    np.testing.assert_array_equal(drawn.lv[0], LV)
    assert [p.tolist() for p in drawn.myocardium] == MYO
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
    (tmp_path / "large.json").write_bytes(b" " * (17 * 2**20))
    with pytest.raises(InputError, match="too large"):
        load(tmp_path / "large.json")


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["lv", "myocardium", "frames", "version", "1", "x"]), inner, max_size=4)
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
