"""The sector, letters inside it, and blanking what is outside."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from echoq_models import cine, resources
from echoq_models.cine import sector
from echoq_models.cine.loop import CineLoop, UltrasoundRegion
from echoq_models.deidentify import judge
from echoq_models.deidentify.pixels import looks_like_sector
from tests.make_files import sector_frames, with_doppler, write_dicom

U8 = NDArray[np.uint8]
WORDS = ("DOE^JOHN", "Smith J", "12.03.1961", "MRN 483920", "Anna")


def loop_of(frames: U8, **more: object) -> CineLoop:
    return CineLoop(frames, np.arange(len(frames)) * 40.0, "npz", **more)  # type: ignore[arg-type]


def phantom() -> CineLoop:
    return cine.read(resources.phantom_sample()[0])


def test_a_plain_loop_is_clean() -> None:
    loop = phantom()
    judged = judge(loop)
    assert judged.clean
    assert judged.mask is not None
    assert np.array_equal(judged.mask, sector.fit(loop).mask)


def test_the_real_cardiac_loop_is_clean(cardiac_loop_path: Path) -> None:
    assert judge(cine.read(cardiac_loop_path)).clean


def test_real_loops_are_clean(realdata: Path) -> None:
    for name in (
        "a4c/loop_1.gif",
        "a4c/loop_with_ecg.mp4",
        "a4c/hazy_loop_2",
        "a4c/lv_pair_1.npz",
        "a4c/lv_pair_2.npz",
    ):
        assert judge(cine.read(realdata / name)).clean, name
    assert judge(cine.read(realdata / "dicom" / "US-PAL-8-10x-echo")).clean  # colour Doppler with its box


@pytest.mark.parametrize("name", ["YBR_FULL-RLE.dcm", "US1_UNCR.dcm", "gdcm-US-ALOKA-16.dcm", "YBR_422.dcm"])
def test_real_pictures_with_names_in_them_are_not_clean(realdata: Path, name: str) -> None:
    judged = judge(cine.read(realdata / "dicom" / name))
    assert not judged.clean
    assert judged.mask is None


def place(rng: np.random.Generator, mask: NDArray[np.bool_], width: int, height: int) -> tuple[int, int]:
    """Where a word of this size begins so that its corners lie in the sector."""
    ys, xs = np.nonzero(mask[height:, :-width])
    while True:
        at = int(rng.integers(len(ys)))
        x, y = int(xs[at]), int(ys[at]) + height
        if mask[y, x] and mask[y, x + width] and mask[y - height, x] and mask[y - height, x + width]:
            return x, y


def share_found(loop: CineLoop, first: int, last: int, trials: int) -> float:
    """Share of words, written anywhere in the sector from frame `first` to `last`, that are told of where they are."""
    rng, mask, found = np.random.default_rng(1), sector.fit(loop).mask, 0
    for trial in range(trials):
        text, scale, level = str(rng.choice(WORDS)), float(rng.uniform(0.4, 0.9)), int(rng.choice([255, 220, 180]))
        (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        x, y = place(rng, mask, width, height)
        frames = np.array(loop.frames)
        for frame in frames[first : last + 1]:
            line = cv2.LINE_AA if trial % 2 else cv2.LINE_8
            cv2.putText(frame, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, level, 1, line)
        texts = judge(loop_of(frames)).texts
        found += any(
            each.x < x + width and x < each.x + each.width and each.y <= y and y - height < each.y + each.height
            for each in texts
        )
    return found / trials


def test_words_in_the_sector_are_found() -> None:
    share = share_found(phantom(), 0, 26, 30)
    print(f"words all along the loop: {share:.0%} found")
    assert share >= 0.95


def test_most_words_that_pass_are_found_with_their_frames() -> None:
    share = share_found(phantom(), 6, 26, 30)
    print(f"words in 21 of 27 frames: {share:.0%} found")
    assert share >= 0.55
    frames = np.array(phantom().frames)
    for frame in frames[8:]:
        cv2.putText(frame, "DOE JOHN", (250, 200), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 1)
    text = judge(loop_of(frames)).texts[0]
    assert 4 <= text.first_frame <= 12
    assert text.last_frame >= 20


def test_coloured_words_are_found() -> None:
    loop = phantom()
    rgb = np.repeat(np.array(loop.frames)[..., None], 3, axis=3)
    index = []
    for frame in rgb:
        before = frame.copy()
        cv2.putText(frame, "DOE JOHN", (250, 200), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 255), 1)  # luminance 29
        index.append(np.flatnonzero((frame != before).any(axis=2)).astype(np.uint32))
    offsets = np.cumsum([0, *map(len, index)])
    pixels = np.concatenate([frame.reshape(-1, 3)[at] for frame, at in zip(rgb, index, strict=True)])
    colour = cine.ColourPixels(offsets, np.concatenate(index), pixels)
    frames = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in rgb])
    judged = judge(CineLoop(frames, loop.times_ms, "npz", colour=colour))
    assert judged.texts
    assert not judged.clean


def test_a_still_and_a_frozen_loop_cannot_be_judged() -> None:
    frames = sector_frames(8, 240, 320)
    assert judge(loop_of(frames)).clean
    still, frozen = judge(loop_of(frames[:1])), judge(loop_of(np.repeat(frames[:1], 8, axis=0)))
    assert "1 frame" in still.doubts[0]
    assert "stands still" in frozen.doubts[0]
    assert still.mask is not None


@pytest.mark.parametrize(("spatial_format", "name"), [(2, "M-mode"), (3, "Doppler spectrum")])
def test_a_trace_beside_the_sector_is_not_judged(spatial_format: int, name: str) -> None:
    trace = UltrasoundRegion(0, 0, 100, 60, 3, spatial_format, None, None)
    judged = judge(loop_of(sector_frames(8, 240, 320), regions=(trace,)))
    assert judged.mask is None
    assert name in judged.doubts[0]


def test_an_ecg_strip_is_outside() -> None:
    loop = phantom()
    strip = [region for region in loop.regions if region.data_type == 10]
    assert strip
    judged = judge(loop)
    assert judged.mask is not None
    assert not judged.mask[strip[0].y0 : strip[0].y1 + 1].any()


def test_a_page_and_a_box_are_no_sector() -> None:
    page = np.zeros((8, 240, 320), np.uint8)
    for t, frame in enumerate(page):
        cv2.rectangle(frame, (20, 20), (300, 220), 60 + t, -1)
        for row in range(40, 220, 20):
            cv2.putText(frame, "LVEF 55 % John Doe", (30, row), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 1)
    assert judge(loop_of(page)).mask is None
    box = np.zeros((240, 320), bool)
    box[40:200, 60:260] = True
    assert not looks_like_sector(box)
    assert looks_like_sector(sector.fit(loop_of(sector_frames(8, 240, 320))).mask)


def test_another_kind_of_image_is_no_ultrasound(tmp_path: Path) -> None:
    ct = "1.2.840.10008.5.1.4.1.1.2"
    path = write_dicom(tmp_path / "ct.dcm", sector_frames(8, 240, 320), sop_class=ct, Modality="CT")
    judged = judge(cine.read(path))
    assert not judged.ultrasound
    assert not judged.clean


def test_doppler_is_part_of_the_sector(tmp_path: Path) -> None:
    loop = cine.read(write_dicom(tmp_path / "d.dcm", with_doppler(sector_frames(8, 240, 320))))
    judged = judge(loop)
    assert judged.mask is not None
    assert judged.mask[90, 140]
    assert loop.colour is not None
