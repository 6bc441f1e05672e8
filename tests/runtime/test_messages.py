"""A loop survives the journey through the pipe: pixels by file, the rest as plain data."""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import examples

from echoq_models.cine import read
from echoq_models.cine.loop import CineLoop, ColourPixels, UltrasoundRegion
from echoq_models.cine.sector import Spacing
from echoq_models.denoise.base import Settings
from echoq_models.runtime import messages
from echoq_models.runtime.jobs import BatchOptions, ExportOptions
from echoq_models.segment import Segmentation


def coloured_loop(per_frame: int) -> CineLoop:
    """Three frames with `per_frame` coloured pixels each."""
    rng = np.random.default_rng(4)
    count = 3 * per_frame
    colour = ColourPixels(
        np.arange(4, dtype=np.int64) * per_frame,
        rng.integers(0, 40, count).astype(np.uint32),
        rng.integers(0, 256, (count, 3)).astype(np.uint8),
    )
    return CineLoop(
        rng.integers(0, 256, (3, 5, 8)).astype(np.uint8),
        np.array([0.0, 33.3, 70.0]),
        "DICOM",
        source=Path("somewhere/loop.dcm"),
        colour=colour,
        tint=rng.integers(0, 256, (256, 3)).astype(np.uint8),
        regions=(UltrasoundRegion(0, 0, 7, 4, 1, 1, 0.3, None),),
        lossy=("JPEG baseline",),
        heart_rate=61.0,
        r_waves_ms=(1.0, 2.5),
        warnings=("Its end is cut off.",),
    )


@pytest.mark.parametrize("per_frame", [0, 6])
def test_a_loop_comes_out_as_it_went_in(tmp_path: Path, per_frame: int) -> None:
    loop = coloured_loop(per_frame)
    moved, message = messages.pack_loop(loop, tmp_path, "loop-1")
    through_the_pipe = pickle.loads(pickle.dumps(message))  # noqa: S301  (what a pipe does between our processes)
    assert len(pickle.dumps(message)) < 4000
    for each in (moved, messages.unpack_loop(through_the_pipe)):
        np.testing.assert_array_equal(each.frames, loop.frames)
        for t in range(3):
            np.testing.assert_array_equal(each.rgb(t), loop.rgb(t))
        for name in ("kind", "source", "regions", "lossy", "heart_rate", "r_waves_ms", "warnings", "times_assumed"):
            assert getattr(each, name) == getattr(loop, name), name
        np.testing.assert_array_equal(each.times_ms, loop.times_ms)
    assert {Path(name).name for name in messages.loop_files(message)} == {path.name for path in tmp_path.iterdir()}


def test_the_window_s_loop_is_read_only_and_has_no_header(tmp_path: Path) -> None:
    loop = read(Path(examples.get_path("ybr_color")))
    moved, message = messages.pack_loop(loop, tmp_path, "loop-1")
    seen = messages.unpack_loop(message)
    assert loop.header is not None and moved.header is loop.header and seen.header is None
    assert isinstance(seen.frames, np.memmap) and not seen.frames.flags.writeable
    np.testing.assert_array_equal(seen.rgb(7), loop.rgb(7))


def test_options_and_spacing_are_plain_and_come_back() -> None:
    export = ExportOptions("bm3d", Settings("cpu", 11.5, 0.8, 2), ("original", "bm3d"), True, False)
    batch = BatchOptions("unet", Settings(strength=0.5), ".avi", "overwrite", leave_out=(("a.dcm", "it is bad"),))
    spacing = Spacing(0.3, 0.4, 2, "Half.")
    assert messages.unpack_export(asdict(export)) == export
    assert messages.unpack_batch(asdict(batch)) == batch
    assert messages.unpack_settings(asdict(export.settings)) == export.settings
    assert messages.unpack_spacing(messages.pack_spacing(spacing)) == spacing
    assert messages.unpack_spacing(messages.pack_spacing(None)) is None
    json.dumps([asdict(export), asdict(batch)])  # nothing but plain data


def test_a_loop_that_is_a_map_already_is_copied(tmp_path: Path) -> None:
    loop = coloured_loop(2)
    source = np.memmap(tmp_path / "source", dtype=np.uint8, mode="w+", shape=loop.frames.shape)
    source[...] = loop.frames
    (tmp_path / "shared").mkdir()
    _, message = messages.pack_loop(replace(loop, frames=source), tmp_path / "shared", "loop-2")
    source[...] = 0
    np.testing.assert_array_equal(messages.unpack_loop(message).frames, loop.frames)


def test_a_segmentation_travels_small_and_comes_out_as_it_went_in() -> None:
    lv = np.zeros((40, 600, 800), dtype=bool)
    rng = np.random.default_rng(2)
    for t in range(40):
        lv[t, 100 + t : 303 + t, 200:311] = rng.random((203, 111)) < 0.9
    found = np.ones(40, dtype=bool)
    lv[7], found[7] = False, False
    lv[8] = False  # found, but all of it beyond the sector
    given = Segmentation(
        lv, np.linspace(0, 1, 40, dtype=np.float32), found, ("",) * 40, tuple(range(40)), {"sha256": "ab", "n": 1}
    )
    content = pickle.dumps(messages.pack_segmentation(given))
    assert len(content) < 40 * 3200  # bits of the box, not 480,000 pixels a frame
    came = messages.unpack_segmentation(pickle.loads(content))  # noqa: S301  (what a pipe does between our processes)
    for name in ("lv", "confidence", "found"):
        np.testing.assert_array_equal(getattr(came, name), getattr(given, name))
        assert getattr(came, name).dtype == getattr(given, name).dtype
    assert (came.reasons, came.frames, came.facts) == (given.reasons, given.frames, given.facts)
