"""The shipped network: where the truth is known it finds it, where there is no left ventricle it says so."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from echoq_models import cine, regions, resources
from echoq_models.cine.loop import CineLoop
from echoq_models.errors import InputError
from echoq_models.segment import Segmentation, segment
from echoq_models.segment.postprocess import NO_LV

pytestmark = pytest.mark.skipif(
    not resources.path("weights", "lv.safetensors").is_file(), reason="the left-ventricle network is not trained yet"
)


@pytest.fixture(autouse=True)
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights but those that ship."""
    monkeypatch.setenv("ECHOQ_WEIGHTS", str(tmp_path / "none"))


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / max(int(a.sum()) + int(b.sum()), 1))


def stills(frames: np.ndarray) -> list[Segmentation]:
    """Each frame, uint8 (N, H, W), as a loop of its own."""
    return [segment(CineLoop(frame[None], np.zeros(1), "still"), device="cpu") for frame in frames]


def assert_none(found: Segmentation) -> None:
    assert not found.found.any() and not found.lv.any()
    assert all(reason.startswith(NO_LV) for reason in found.reasons)


def test_the_sample_s_ventricle_is_where_its_regions_are() -> None:
    path, roi = resources.phantom_sample()
    loop, drawn = cine.read(path), regions.load(roi)
    found = segment(loop, device="cpu")
    assert found.share == 1
    lv, muscle = drawn.masks(loop.size)  # of the first frame: the ventricle shrunk and without its base, and muscle
    assert (found.lv[0] & lv).sum() > 0.95 * lv.sum()
    assert (found.lv[0] & muscle).sum() < 0.12 * muscle.sum()
    assert 1.3 * lv.sum() < found.lv[0].sum() < 3.2 * lv.sum()
    areas = found.areas / found.areas.max()
    assert 0.3 < areas.min() < 0.85 and 0.2 * len(loop) < areas.argmin() < 0.6 * len(loop)  # it contracts, in systole
    assert np.abs(np.diff(areas, 2)).max() < 0.2  # and is steady


def test_held_out_phantom_frames() -> None:
    from training.phantom.report import pixels, textbook_config
    from training.phantom.simulate import seeded, simulate

    batch = simulate(24, seeded(915_001), textbook_config(), side=256, level_db=(-25.0, -5.0))
    found = stills(pixels(batch.noisy))
    values = [dice(f.lv[0], lv) for f, lv in zip(found, batch.lv_whole[:, 0].numpy(), strict=True) if f.found[0]]
    assert len(values) >= 21 and np.median(values) >= 0.92 and min(values) > 0.6


NOISE = np.random.default_rng(4)
BARS = np.repeat(np.repeat(np.linspace(0, 255, 8).astype(np.uint8)[None], 240, 0), 40, 1)
PICTURES = {
    "white noise": NOISE.integers(0, 256, (4, 200, 260)).astype(np.uint8),
    "blurred noise": np.stack(
        [cv2.GaussianBlur(NOISE.integers(0, 256, (240, 240)).astype(np.uint8), (0, 0), s) for s in (2, 4, 8)]
    ),
    "black": np.zeros((1, 112, 112), np.uint8),
    "grey": np.full((1, 300, 400), 120, np.uint8),
    "colour bars": np.stack([BARS, BARS[:, ::-1]]),
    "chequers": np.kron(np.indices((8, 8)).sum(0) % 2, np.ones((32, 32))).astype(np.uint8)[None] * 200,
}


@pytest.mark.parametrize("kind", PICTURES)
def test_what_is_no_echo_has_no_ventricle(kind: str) -> None:
    for found in stills(PICTURES[kind]):
        assert_none(found)
    frames = np.resize(PICTURES[kind], (8, *PICTURES[kind].shape[1:]))
    assert_none(segment(CineLoop(frames, np.arange(8) * 33.0, "npz"), device="cpu"))


def test_phantoms_without_a_ventricle_have_none() -> None:
    from training.phantom.config import AnatomyConfig, PhantomConfig
    from training.phantom.report import pixels
    from training.phantom.simulate import seeded, simulate, simulate_structureless

    empty = simulate(16, seeded(915_002), PhantomConfig(anatomy=AnatomyConfig(empty=1.0)), side=256)
    speckle = simulate_structureless(8, seeded(915_003))
    for batch in (empty, speckle):
        for found in stills(pixels(batch.noisy)):
            assert_none(found)


# Not one of them shows an apical view: a CT of the neck, lymph node, thyroid, pelvis, an obstetric preset in the air
OTHERS = """ct_explicit_little.dcm ct_jpeg_lossless_70.dcm US1_J2KI.dcm US1_J2KR.dcm US1_RLE US1_UNCR.dcm YBR_422.dcm
YBR_FULL-RLE.dcm color-pl.dcm color-px.dcm gdcm-US-ALOKA-16.dcm gdcm-US-ALOKA-16_big.dcm US-RGB-8-epicard
OBXXXX1A_rle_2frame.dcm US-PAL-8-10x-echo"""


@pytest.mark.parametrize("name", OTHERS.split())
def test_other_organs_and_modalities_have_none(name: str, realdata: Path, tmp_path: Path) -> None:
    try:
        loop = cine.read(realdata / "dicom" / name)
    except InputError:  # the CT as DICOM may be refused: then as a picture
        import pydicom

        pixels = pydicom.dcmread(realdata / "dicom" / name).pixel_array.astype(float)
        grey = np.clip((pixels - pixels.min()) / np.ptp(pixels) * 255, 0, 255).astype(np.uint8)
        cv2.imwrite(str(tmp_path / "ct.png"), grey)
        loop = cine.read(tmp_path / "ct.png")
    assert_none(segment(loop, device="cpu"))


def test_real_loops_against_the_published_network(realdata: Path) -> None:
    """Dice with EchoNet-Dynamic's own masks at their native 112 x 112, and the area curve.

    The second loop's curve is wanted at 0.85 too and falls short of it (see the model card): a guard, not a success.
    """
    values = []
    for number, correlation in ((1, 0.85), (2, 0.5)):
        with np.load(realdata / "a4c" / f"lv_pair_{number}.npz") as pair:
            frames, theirs = np.ascontiguousarray(pair["frames"]), pair["lv_mask"].astype(bool)
        found = segment(CineLoop(frames, np.arange(len(frames)) * 20.0, "npz"), device="cpu")
        assert found.share > 0.9
        values += [dice(a, b) for a, b, there in zip(found.lv, theirs, found.found, strict=True) if there]
        areas, true_areas = found.areas[found.found], theirs.sum((1, 2))[found.found]
        assert np.corrcoef(areas, true_areas)[0, 1] >= correlation
    assert np.mean(values) >= 0.82


@pytest.mark.parametrize("name", ["hazy_1.png", "loop_1.gif", "loop_with_ecg.mp4", "hazy_loop_2"])
def test_real_apical_loops_are_found(name: str, realdata: Path) -> None:
    found = segment(cine.read(realdata / "a4c" / name), device="cpu")
    assert found.share > 0.8


def test_a_hundred_frames_take_less_than_five_seconds_on_two_cores() -> None:
    loop = cine.read(resources.phantom_sample()[0])
    frames = np.resize(loop.frames, (100, *loop.size))
    segment(loop, [0], device="cpu")  # the network is loaded
    started = time.process_time()  # of all threads, so that other work on the machine does not count
    found = segment(CineLoop(frames, np.arange(100) * 33.0, "npz"), device="cpu")
    assert time.process_time() - started < 2 * 5.0 and found.found.any()
