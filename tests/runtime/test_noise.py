"""Noise on whole loops: every frame alike, from file to file, and captioned as what it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from echoq_models import cine
from echoq_models.cine import sector as sectors
from echoq_models.cine.loop import CineLoop
from echoq_models.denoise.base import Settings
from echoq_models.errors import Cancelled, InputError, OutputError, WeightsError
from echoq_models.generative import editor as editors
from echoq_models.generative.noise_channels import NoiseChannels
from echoq_models.runtime import jobs, noise
from echoq_models.runtime.noise import Noise, NoiseOptions
from echoq_models.runtime.noise_types import Edited, EditJob, EffectsJob, NoisyJob, pack_edited, unpack_edited
from echoq_models.runtime.schedule import Level, Schedule
from echoq_models.runtime.tasks import OpenJob, SegmentJob
from tests.make_networks import GLOBAL, NEAR, STEP, bright_loop, save_noise_networks
from tests.shared import said_by_ffmpeg


@pytest.fixture(autouse=True)
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The planted generator and its encoder in a person's folder."""
    monkeypatch.setenv("ECHOQ_WEIGHTS", str(tmp_path / "weights"))
    save_noise_networks(tmp_path / "weights")
    return tmp_path / "weights"


@pytest.fixture
def loop() -> CineLoop:
    return bright_loop(4)[0]


@pytest.fixture
def file(tmp_path: Path, loop: CineLoop) -> Path:
    np.savez(tmp_path / "clean.npz", frames=loop.frames, times_ms=loop.times_ms)
    return tmp_path / "clean.npz"


def test_every_frame_gets_the_same_noise_and_keeps_its_own_speckle(loop: CineLoop) -> None:
    steps: list[tuple[int, int, str]] = []
    noisy = noise.make_noisy(
        loop, editors.load(where="cpu"), Noise({GLOBAL: 2.0}, "global 2"), lambda *step: steps.append(step)
    )
    assert [step[:2] for step in steps] == [(1, 4), (2, 4), (3, 4), (4, 4)] and steps[0][2] == "adding noise"
    inside = sectors.fit(loop).mask
    assert np.array_equal(noisy.loop.frames[:, ~inside], loop.frames[:, ~inside])
    added = noisy.loop.frames[:, inside].astype(float) - loop.frames[:, inside]
    assert np.abs(added - np.minimum(2 * STEP * 255, 255.0 - loop.frames[:, inside])).max() <= 0.51
    assert noisy.loop.simulated.startswith("simulated noise, research use: global 2; generator generator ")
    assert noisy.loop.warnings == (
        "4 of 4 frames are outside what the generator knows: look before you use the noise.",
    )
    assert len(noisy.likeness) == 4 and noise.summary(noisy.likeness)["unknown"] == 4
    assert loop.simulated == "" and loop.warnings == ()


def test_it_is_cancelled_between_two_frames(loop: CineLoop) -> None:
    asked = iter([False, False, True])
    with pytest.raises(Cancelled, match="after 2 of 4"):
        noise.make_noisy(loop, editors.load(where="cpu"), Noise({GLOBAL: 1.0}, ""), cancel=lambda: next(asked))


def test_a_file_becomes_a_noisy_file(file: Path, loop: CineLoop, tmp_path: Path) -> None:
    target = tmp_path / "noisy.npz"
    done = noise.simulate_file(file, target, NoiseOptions({"global": 1.0, "near field": 0.0}, device="cpu"))
    held = np.load(target)
    assert held["frames"].shape == loop.frames.shape and np.array_equal(held["times_ms"], loop.times_ms)
    assert (held["frames"].astype(int) - loop.frames).max() == round(STEP * 255)
    assert done["frames"] == 4 and done["noise"]["global"] == 1.0 and len(done["noise"]["sha256"]) == 64
    assert done["likeness"]["unknown"] == 4 and "outside what the generator knows" in done["warnings"][0]
    json.dumps(done)


def test_what_is_written_says_that_it_is_simulated(file: Path, tmp_path: Path) -> None:
    noise.simulate_file(file, tmp_path / "noisy.mp4", NoiseOptions({"global": 1.0}, device="cpu"))
    told = said_by_ffmpeg(tmp_path / "noisy.mp4")
    assert "title           : simulated noise, research use" in told
    assert "comment         : simulated noise, research use, EchoQ" in told and "global 1" in told
    noise.simulate_file(file, tmp_path / "noisy.dcm", NoiseOptions({"global": 1.0}, device="cpu"))
    header = dcmread(tmp_path / "noisy.dcm")
    assert "simulated noise, research use: global 1" in header.DerivationDescription
    assert header.ImageType[0] == "DERIVED"


def test_a_noisy_loop_that_is_denoised_says_both(loop: CineLoop, tmp_path: Path) -> None:
    simulated = replace(loop, simulated="simulated noise, research use: global 1")
    options = jobs.ExportOptions("fast", Settings("cpu"))
    jobs.export_loop(simulated, tmp_path / "both.mp4", options, lambda _: loop.frames)
    assert "title           : simulated noise, denoised, research use: fast" in said_by_ffmpeg(tmp_path / "both.mp4")
    jobs.export_loop(simulated, tmp_path / "both.dcm", options, lambda _: loop.frames)
    told = dcmread(tmp_path / "both.dcm").DerivationDescription
    assert "simulated noise, research use: global 1; denoised by fast, research use" in told


def test_a_set_of_ones_own_takes_the_place_of_the_generators(file: Path, loop: CineLoop, tmp_path: Path) -> None:
    NoiseChannels({"global": {NEAR: -1.0}}, generator="generator").save(tmp_path / "set.json")
    options = NoiseOptions({"global": 2.0}, channels=tmp_path / "set.json", device="cpu")
    noise.simulate_file(file, tmp_path / "noisy.npz", options)
    added = np.load(tmp_path / "noisy.npz")["frames"].astype(int) - loop.frames
    assert added[:, 20:60].max() > 5 and added[:, 180:].max() == 0  # the near field alone
    NoiseChannels({"global": {"b64.conv1:9": 1.0}}).save(tmp_path / "set.json")
    with pytest.raises(InputError, match="of another generator"):
        noise.simulate_file(file, tmp_path / "other.npz", options)
    assert not (tmp_path / "other.npz").exists()


def test_what_cannot_be_done_is_said_before_any_work(file: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="the input itself"):
        noise.simulate_file(file, file, NoiseOptions({"global": 1.0}))
    with pytest.raises(WeightsError, match="no weights called 'other'"):
        noise.simulate_file(file, tmp_path / "a.npz", NoiseOptions({"global": 1.0}, generator="other"))
    with pytest.raises(InputError, match="no noise channels for 'centre field'"):
        noise.simulate_file(file, tmp_path / "a.npz", NoiseOptions({"centre field": 1.0}, device="cpu"))


def test_a_loop_read_again_is_what_was_made(file: Path, tmp_path: Path, loop: CineLoop) -> None:
    """No strength, no change: to the pixel, in an exact format."""
    noise.simulate_file(file, tmp_path / "same.dcm", NoiseOptions({"global": 0.0}, device="cpu"))
    assert np.array_equal(cine.read(tmp_path / "same.dcm").frames, loop.frames)


def test_a_frame_that_is_turned_waits_for_files_alone() -> None:
    schedule = Schedule()
    segment, effects = SegmentJob(1, 1, "lv", None, "auto"), EffectsJob(2, 1, 0, "generator", "auto")
    noisy = NoisyJob(3, 1, "generator", {}, "none", "auto")
    edit, file = EditJob(4, 1, 0, "generator", {}, "auto"), OpenJob(5, Path("a.dcm"))
    schedule.segments.extend([segment, effects, noisy])
    schedule.edits.append(edit)
    schedule.opens.append(file)
    assert schedule.next(Level.SEGMENT, warm=False) is file and schedule.next(Level.SEGMENT, warm=False) is None
    assert schedule.next(Level.SEGMENT) is edit and schedule.next(Level.SEGMENT) is None  # let in while others work
    assert [schedule.next(), schedule.next(), schedule.next()] == [segment, effects, noisy]


def test_what_is_drawn_goes_through_the_pipe_to_a_tenth_of_a_grey_level() -> None:
    chance = np.random.default_rng(3)
    pictures = chance.random((2, 64, 64)).astype(np.float32)
    near = editors.Likeness(21.5, 0.8, True)
    edited = Edited(3, "generator", False, {GLOBAL: 1.5}, near, pictures[0], pictures[1] - 0.5)
    message = pack_edited(edited)
    again = unpack_edited(message)
    assert again.likeness == near and again.changes == {GLOBAL: 1.5} and again.frame == 3
    for name in ("reconstruction", "change"):
        assert message[name].nbytes == 8192
        np.testing.assert_allclose(getattr(again, name), getattr(edited, name), atol=0.1 / 255)
