"""Export and measuring jobs with a denoiser of known effect."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from echoq_models import cine, regions
from echoq_models.cine.loop import CineLoop
from echoq_models.denoise import registry
from echoq_models.denoise.base import Settings
from echoq_models.errors import Cancelled, EchoQError, InputError, OutputError, RegionError, WeightsError
from echoq_models.metrics.gcnr import gcnr
from echoq_models.runtime.jobs import ExportOptions, denoise_file, export_loop, measure
from tests.runtime.halving import Halving
from tests.shared import said_by_ffmpeg


@pytest.fixture(autouse=True)
def halving(monkeypatch: pytest.MonkeyPatch) -> Halving:
    denoiser = Halving()
    monkeypatch.setattr(registry, "denoisers", lambda: {"halving": denoiser})
    return denoiser


HALVE = ExportOptions(method="halving")


def test_npz_holds_what_the_denoiser_gave(fan_file: Path, tmp_path: Path) -> None:
    source = cine.read(fan_file)
    seen: list[tuple[int, int, str]] = []
    facts = denoise_file(fan_file, tmp_path / "out.npz", HALVE, lambda *news: seen.append(news))
    with np.load(tmp_path / "out.npz", allow_pickle=False) as out:
        assert np.array_equal(out["frames"], source.frames // 2)
        assert np.array_equal(out["times_ms"], source.times_ms)
    assert facts["frames"] == 3
    assert facts["methods"] == {"halving": {"factor": 0.5}}
    json.dumps(facts, allow_nan=False)
    assert [news[:2] for news in seen if news[2].startswith("writing")] == [(1, 3), (2, 3), (3, 3)]


def test_frames_stream_one_by_one(fan_file: Path, tmp_path: Path, halving: Halving) -> None:
    """No more frames are asked of the denoiser than were written: memory does not grow with the loop."""
    ahead = []
    denoise_file(fan_file, tmp_path / "out.npz", HALVE, lambda done, total, text: ahead.append(halving.asked - done))
    assert max(ahead) == 0


def test_side_by_side_shows_original_and_denoised(fan_file: Path, tmp_path: Path) -> None:
    options = replace(HALVE, side_by_side=("original", "halving"))
    denoise_file(fan_file, tmp_path / "beside", options)
    written = cine.read(tmp_path / "beside")
    source = cine.read(fan_file)
    height, width = source.size
    assert len(written) == 3
    assert written.size[0] > height
    assert written.size[1] > 2 * width
    top, left, gap = (written.size[0] - height) // 2, 6, 6
    for t in range(3):
        picture = written.frames[t][top : top + height]
        assert np.array_equal(picture[:, left : left + width], source.frames[t])
        assert np.array_equal(picture[:, left + width + gap :][:, :width], source.frames[t] // 2)


def test_side_by_side_does_not_fit_npz(fan_file: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="side by side"):
        denoise_file(fan_file, tmp_path / "x.npz", replace(HALVE, side_by_side=("original", "halving")))


def test_film_is_captioned_and_the_picture_is_not_hidden(fan_file: Path, tmp_path: Path) -> None:
    denoise_file(fan_file, tmp_path / "out.gif", HALVE)
    source, film = cine.read(fan_file), cine.read(tmp_path / "out.gif")
    height, width = source.size
    fan = source.frames.max(axis=0) > 0
    assert np.abs(film.frames[1][:height, :width][fan].astype(int) - (source.frames[1] // 2)[fan]).max() <= 1
    outside = film.frames[1].copy()
    outside[:height, :width][fan] = 0
    assert np.count_nonzero(outside > 100) > 20, "no caption was drawn"


def test_cancel_leaves_nothing_behind(fan_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    written = 0

    def count(done: int, total: int, text: str) -> None:
        nonlocal written
        written = done if text.startswith("writing") else 0

    with pytest.raises(Cancelled):
        denoise_file(fan_file, folder / "x.npz", HALVE, count, lambda: written == 1)
    assert written == 1
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["x.npz", "x.gif", "x"])
def test_cancel_during_any_format(name: str, fan_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    calls = iter(range(100))
    with pytest.raises(Cancelled):
        denoise_file(fan_file, folder / name, HALVE, cancel=lambda: next(calls) > 4)
    assert list(folder.iterdir()) == []


def test_the_input_is_never_overwritten(fan_file: Path) -> None:
    before = fan_file.read_bytes()
    with pytest.raises(OutputError, match="the input itself"):
        denoise_file(fan_file, fan_file.parent / "." / fan_file.name, HALVE)
    assert fan_file.read_bytes() == before


def test_existing_output_is_kept_unless_allowed(fan_file: Path, tmp_path: Path) -> None:
    (tmp_path / "out.npz").write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists already"):
        denoise_file(fan_file, tmp_path / "out.npz", replace(HALVE, overwrite=False))
    assert (tmp_path / "out.npz").read_bytes() == b"precious"
    denoise_file(fan_file, tmp_path / "out.npz", HALVE)
    assert (tmp_path / "out.npz").read_bytes() != b"precious"


def test_a_method_without_weights_is_refused_before_any_work(
    fan_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, halving: Halving
) -> None:
    monkeypatch.setattr(halving, "available", lambda: "Import or train weights.")
    with pytest.raises(WeightsError, match="Import or train"):
        denoise_file(fan_file, tmp_path / "out.npz", HALVE)
    with pytest.raises(EchoQError, match="known: halving"):
        denoise_file(fan_file, tmp_path / "out.npz", ExportOptions(method="other"))
    with pytest.raises(InputError):
        denoise_file(tmp_path / "nothing.dcm", tmp_path / "out.npz", ExportOptions(method="original"))


def test_export_of_frames_that_are_there(fan_loop: CineLoop, tmp_path: Path, halving: Halving) -> None:
    """The window's way gives the same file as the command line's, and does not denoise again."""
    export_loop(fan_loop, tmp_path / "out.npz", HALVE, lambda name: fan_loop.frames // 2)
    with np.load(tmp_path / "out.npz", allow_pickle=False) as out:
        assert np.array_equal(out["frames"], fan_loop.frames // 2)
    assert halving.asked == 0
    with pytest.raises(OutputError, match="2 of 3 frames"):
        export_loop(fan_loop, tmp_path / "out.npz", HALVE, lambda name: fan_loop.frames[:2])


def test_measure_gives_each_frames_gcnr(fan_loop: CineLoop, fan_roi: Path) -> None:
    drawn = regions.load(fan_roi)
    found = measure(fan_loop, drawn, ["halving"], Settings())
    assert list(found["methods"]) == ["original", "halving"]
    a, b = drawn.masks(fan_loop.size)
    for name, frames in (("original", fan_loop.frames), ("halving", fan_loop.frames // 2)):
        expected = [gcnr(frame, a, b) for frame in frames]
        assert found["methods"][name]["gcnr"] == pytest.approx(expected, abs=1e-4)
        assert found["methods"][name]["median"] == pytest.approx(float(np.median(expected)), abs=1e-4)
    assert found["methods"]["halving"]["facts"] == {"factor": 0.5}
    assert (found["lv_pixels"], found["myocardium_pixels"]) == (int(a.sum()), int(b.sum()))
    assert found["small_regions"]
    assert 0 < found["null_gcnr"] < 1
    json.dumps(found, allow_nan=False)


def test_measure_follows_key_frames(fan_loop: CineLoop, fan_roi: Path) -> None:
    still = regions.load(fan_roi)
    moved = regions.FrameRegions(lv=[contour.moved(3.0, 3.0) for contour in still.lv])
    found = measure(fan_loop, replace(still, frames={1: moved}), [], Settings())
    a, b = still.masks(fan_loop.size)
    shifted = regions.Regions(moved.lv, still.myocardium).masks(fan_loop.size)
    expected = [gcnr(fan_loop.frames[0], a, b), *(gcnr(fan_loop.frames[t], *shifted) for t in (1, 2))]
    assert found["methods"]["original"]["gcnr"] == pytest.approx(expected, abs=1e-4)


def test_measure_can_be_cancelled_and_refuses_bad_regions(fan_loop: CineLoop, fan_roi: Path) -> None:
    drawn = regions.load(fan_roi)
    calls = iter(range(100))
    with pytest.raises(Cancelled):
        measure(fan_loop, drawn, ["halving"], Settings(), cancel=lambda: next(calls) > 3)
    with pytest.raises(RegionError, match="share"):
        measure(fan_loop, regions.Regions(drawn.lv, drawn.lv), [], Settings())


def test_a_still_has_no_interval_but_valid_json(fan_loop: CineLoop, fan_roi: Path) -> None:
    still = replace(fan_loop, frames=fan_loop.frames[:1], times_ms=fan_loop.times_ms[:1])
    found = measure(still, regions.load(fan_roi), [], Settings())
    assert len(found["methods"]["original"]["gcnr"]) == 1
    json.dumps(found, allow_nan=False)


def test_an_exported_film_says_which_noise_level_its_method_was_given(fan_loop: CineLoop, tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    export_loop(fan_loop, path, HALVE, lambda name: fan_loop.frames // 2, facts={"halving": {"sigma": 17.5}})
    assert "halving sigma 17.5" in said_by_ffmpeg(path)
