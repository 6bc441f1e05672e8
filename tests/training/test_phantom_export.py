"""Phantom loops as files: they open, hold what was drawn, say what they are, and carry their truth."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pydicom
import pytest
from typer.testing import CliRunner

from echoq_models import cine, regions, resources
from echoq_models.cine import sector
from echoq_models.metrics.gcnr import gcnr, loop_gcnr
from echoq_models.runtime.batch import find_loops
from training.cli import app
from training.phantom import export, overlay

SMALL = export.LoopOptions(fps=8.0, level_db=export.NOISY, size=(300, 400), heart_rate=75)
SEED = 111


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One loop as DICOM and the same as AVI."""
    folder = tmp_path_factory.mktemp("loops")
    export.write_loop(SEED, folder, "a", SMALL)
    export.write_loop(SEED, folder, "b", dataclasses.replace(SMALL, format="avi", truth=False))
    return folder


def open_truth(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as found:
        return dict(found)


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    loops, rate = export.draw_loop(SEED, SMALL)
    return export.scanner_frames(loops.loop(0), loops, export.facts_of(loops, rate))


def test_the_dicom_loop_reads_back_as_it_was_drawn(folder: Path, drawn: np.ndarray) -> None:
    loop = cine.read(folder / "a.dcm")
    assert np.array_equal(loop.frames, drawn)
    assert loop.times_ms == pytest.approx(np.arange(6) * 800 / 6, abs=1e-3)  # whole beats: 800 ms in 6 frames
    assert not loop.times_assumed and not loop.lossy and not loop.warnings
    assert loop.heart_rate == 75 and loop.r_waves_ms == (0.0,)


def test_the_sector_is_found_and_its_pixels_have_the_phantom_s_size(folder: Path) -> None:
    truth = open_truth(folder / "a.truth.npz")
    for name in ("a.dcm", "b.avi"):
        loop = cine.read(folder / name)
        found = sector.fit(loop)
        wanted = truth["sector"][0]
        assert found.found
        assert (found.mask & wanted).sum() / (found.mask | wanted).sum() > 0.97
    loop = cine.read(folder / "a.dcm")
    spacing = sector.usable_spacing(loop, sector.fit(loop))
    assert spacing is not None and spacing.shrink == 1
    assert (spacing.mm_per_pixel_x, spacing.mm_per_pixel_y) == pytest.approx(tuple(truth["mm_per_pixel"]), rel=1e-5)
    assert [region.data_type for region in loop.regions] == [0x01, 0x0A]


def test_avi_keeps_every_pixel(folder: Path, drawn: np.ndarray) -> None:
    loop = cine.read(folder / "b.avi")
    assert np.array_equal(loop.frames, drawn)
    assert loop.fps == pytest.approx(7.5, rel=1e-3)


def test_the_header_says_that_it_is_a_simulation(folder: Path) -> None:
    data = pydicom.dcmread(folder / "a.dcm")
    assert data.SOPClassUID == "1.2.840.10008.5.1.4.1.1.3.1"
    assert data.file_meta.TransferSyntaxUID == pydicom.uid.RLELossless
    assert str(data.PatientName) == "Phantom^EchoQ"
    assert "imulated" in data.SeriesDescription
    assert data.BurnedInAnnotation == "NO" and data.QualityControlImage == "YES"
    assert float(data.FrameTime) == pytest.approx(800 / 6, abs=1e-6)
    assert data.CineRate in (7, 8) and data.HeartRate == 75 and data.NumberOfFrames == 6
    ecg = data.SequenceOfUltrasoundRegions[1]
    box = overlay.ecg_box((300, 400))
    assert (ecg.RegionLocationMinX0, ecg.RegionLocationMaxX1) == (box.x0, box.x1)
    assert ecg.PhysicalUnitsXDirection == 4  # seconds
    assert ecg.PhysicalDeltaX * (box.x1 - box.x0) == pytest.approx(0.8 * 1.8)  # the beat, and 0.4 on both sides


def test_the_same_seed_writes_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = export.write_loop(SEED, tmp_path, "again", dataclasses.replace(SMALL, truth=False))
    assert again.read_bytes() == (folder / "a.dcm").read_bytes()


def test_truth_is_beside_it_without_pickles(folder: Path, drawn: np.ndarray) -> None:
    truth = open_truth(folder / "a.truth.npz")
    frames, height, width = drawn.shape
    for name in ("clean", "target"):
        assert truth[name].dtype == np.uint8 and truth[name].shape == drawn.shape
    for name in ("sector", "lv", "lv_whole", "myocardium", "septum", "rv", "la", "ra"):
        assert truth[name].dtype == bool and truth[name].shape == drawn.shape and truth[name][0].any(), name
    assert truth["displacement"].shape == (frames - 1, 2, height, width)
    assert truth["displacement"].dtype == np.float16
    assert truth["confidence"].shape == truth["change"].shape == drawn.shape
    assert float(truth["change"].max()) <= 0 and 0 <= truth["confidence"].min() <= truth["confidence"].max() <= 1
    assert truth["contraction"].shape == truth["times_ms"].shape == (frames,)
    assert truth["contraction"][0] == 0 and export.NOISY[0] <= truth["haze_db"] <= export.NOISY[1]
    assert np.allclose(truth["times_ms"], cine.read(folder / "a.dcm").times_ms, atol=1e-3)
    lv, muscle = truth["lv"][0], truth["myocardium"][0]
    assert gcnr(truth["clean"][0], lv, muscle) > gcnr(drawn[0], lv, muscle) + 0.2


def test_outside_the_sector_stand_words_ticks_and_an_ecg_that_runs(folder: Path, drawn: np.ndarray) -> None:
    inside = open_truth(folder / "a.truth.npz")["sector"][0]
    around = np.where(inside, 0, drawn)
    box = overlay.ecg_box(inside.shape)
    assert (around[:, :60, :80] > 100).any()  # words
    assert (around[:, 30:250, 350:] > 100).any()  # depth ticks
    changing = np.ptp(around, axis=0) > 0
    rows, columns = np.nonzero(changing)
    assert rows.min() >= box.y0 and rows.max() <= box.y1 and columns.min() >= box.x0 and columns.max() <= box.x1
    cursors = [int((frame[box.y0 : box.y1 + 1] == overlay.CURSOR).sum(axis=0).argmax()) for frame in around]
    assert cursors == sorted(cursors) and len(set(cursors)) == len(cursors)


def test_the_r_wave_stands_at_end_diastole() -> None:
    beat = overlay.Beat(loop_ms=1600.0, beat_ms=800.0, systole_ms=300.0)
    times = np.arange(0.0, 1600.0, 1.0)
    trace = overlay.ecg(times, beat)
    assert beat.r_waves_ms == [0.0, 800.0]
    assert trace[0] == pytest.approx(trace.max(), abs=0.02) and trace[800] == pytest.approx(trace.max(), abs=0.02)
    rest = trace[100:600]
    assert 200 < 100 + int(rest.argmax()) < 320  # the T wave ends systole
    assert trace[635] > 0.1  # the P wave comes before the next R


def test_regions_measure_at_once(folder: Path, drawn: np.ndarray) -> None:
    truth = open_truth(folder / "a.truth.npz")
    found = regions.load(regions.sidecar(folder / "a.dcm"))
    found.check(drawn.shape[1:])
    assert not found.frames  # version 1: for all frames
    for mask, name in zip(found.masks(drawn.shape[1:]), ("lv", "myocardium"), strict=True):
        wanted = truth[name][0]
        assert (mask & wanted).sum() / (mask | wanted).sum() > 0.9


def test_a_batch_takes_the_loops_and_not_their_truth(folder: Path) -> None:
    assert [path.name for path in find_loops(folder)] == ["a.dcm", "b.avi"]


def test_nothing_half_written_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "write_dicom", broken)
    result = CliRunner().invoke(
        app, ["phantom", "--loops", "1", "-o", str(tmp_path), "--quick", "--size", "200x160", "--noisy"]
    )
    assert result.exit_code == 5
    assert "No space left" in result.output
    assert not list(tmp_path.glob("*.dcm")) and not list(tmp_path.glob("*.tmp"))


def test_the_command_writes_as_many_as_asked(tmp_path: Path) -> None:
    line = ["phantom", "--loops", "2", "-o", str(tmp_path / "new"), "--format", "avi", "--quick", "--size", "200x160"]
    result = CliRunner().invoke(app, [*line, "--level", "-8", "--seed", "7", "--beats", "2"])
    assert result.exit_code == 0, result.output
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert names == {f"phantom_0000{n}{end}" for n in (7, 8) for end in (".avi", ".roi.json", ".truth.npz")}
    truth = open_truth(tmp_path / "new" / "phantom_00007.truth.npz")
    assert truth["haze_db"] == pytest.approx(-8.0, abs=1.0)
    assert cine.read(tmp_path / "new" / "phantom_00007.avi").size == (160, 200)
    contraction = truth["contraction"]
    assert len(contraction) % 2 == 0 and np.allclose(*np.split(contraction, 2), atol=1e-4)  # two whole beats


@pytest.mark.parametrize(
    "wrong",
    [["--size", "tiny"], ["--size", "20x20"], ["--format", "mp4"], ["--beats", "0"], ["--noisy", "--level", "3"]],
)
def test_wrong_usage_is_told(tmp_path: Path, wrong: list[str]) -> None:
    assert CliRunner().invoke(app, ["phantom", "--loops", "1", "-o", str(tmp_path), *wrong]).exit_code == 2
    assert not list(tmp_path.iterdir())


def test_the_sample_is_small_hazy_and_measurable() -> None:
    path, beside = resources.phantom_sample()
    assert path.stat().st_size < 2 * 2**20
    loop, found = cine.read(path), regions.load(beside)
    assert loop.size == export.SAMPLE.size and len(loop) == 27 and not loop.lossy and loop.colour is None
    assert loop.heart_rate == export.SAMPLE.heart_rate and loop.r_waves_ms == (0.0,)
    assert sector.fit(loop).found
    found.check(loop.size)
    median = float(np.median(loop_gcnr(loop.frames, lambda t: found.masks(loop.size, t))))
    assert 0.50 <= median <= 0.62  # as the paper's noisy sets


def test_the_sample_is_what_the_command_makes() -> None:
    """Its first frame, up to a grey level here and there: processors round differently."""
    loops, rate = export.draw_loop(export.SAMPLE_SEED, dataclasses.replace(export.SAMPLE, fps=5.0))
    first = export.scanner_frames(loops.loop(0), loops, export.facts_of(loops, rate))[0]
    shipped = cine.read(resources.phantom_sample()[0]).frames[0]
    inside = loops.frames[0].sector[0, 0].numpy()
    apart = np.abs(first.astype(int) - shipped)[inside]
    assert (apart <= 1).mean() > 0.999
