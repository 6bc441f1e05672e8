"""The evaluation: its statistics by hand, what its null tests catch, its report."""

import csv
import json
import math

import numpy as np
import pytest

from echoq_models.errors import InputError, WeightsError
from echoq_models.weights import store
from tests.shared import ROOT
from training import evaluate as stage
from training.evaluation import fidelity, hazed, nulls, real, sets, stages
from training.evaluation.certainty import Certainty
from training.evaluation.methods import Method, confidence, denoise
from training.evaluation.page import Section, Table
from training.evaluation.records import Record, Records
from training.evaluation.rows import must_hold
from training.evaluation.statistics import (
    ks_distance,
    loops_median_ci,
    ranks,
    reliability,
    spearman,
    warping_error,
)

SMALL = stages.Sizes(
    loops=2, frames=2, slow=1, search=1, clean=1, beats=1, beat_frames=3, null=1, sure=1, native=1, hazed=2, real=2
)


@pytest.fixture(autouse=True)
def shipped_only(monkeypatch, tmp_path):
    monkeypatch.setenv("ECHOQ_WEIGHTS", str(tmp_path / "none"))


def grey(*levels):
    return np.array(levels, dtype=np.uint8)


def test_ks_distance_by_hand():
    # F_a steps to 1/2 at 10 and to 1 at 20, F_b to 1/4 at 10, to 1/2 at 20 and to 1 at 30
    assert ks_distance(grey(10, 10, 20, 20), grey(10, 20, 30, 30)) == pytest.approx(0.5)
    assert ks_distance(grey(1, 2, 3), grey(3, 2, 1)) == 0.0
    assert ks_distance(grey(0, 5), grey(6, 255)) == 1.0
    with pytest.raises(ValueError, match="pixel"):
        ks_distance(grey(), grey(1))


def test_ranks_share_ties_and_spearman_follows_them():
    assert ranks(np.array([30.0, 10.0, 10.0, 20.0])).tolist() == [3.0, 0.5, 0.5, 2.0]
    x = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    assert spearman(x, np.exp(x)) == pytest.approx(1.0)
    assert spearman(x, -(x**3)) == pytest.approx(-1.0)
    # by hand: d = (0, 1, -1, 0, 0), 1 - 6 * 2 / (5 * 24)
    assert spearman(x, np.array([1.0, 3.0, 2.0, 4.0, 5.0])) == pytest.approx(0.9)
    assert math.isnan(spearman(x, np.ones(5)))


def test_the_interval_of_a_median_counts_loops_not_frames():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=20)
    values = np.repeat(centres, 30) + 0.01 * rng.normal(size=600)
    by_loop = loops_median_ci(values, np.repeat(np.arange(20), 30).tolist())
    by_frame = loops_median_ci(values, list(range(600)))
    assert by_loop.median == by_frame.median == np.median(values)
    assert by_loop.high - by_loop.low > 3 * (by_frame.high - by_frame.low)
    assert loops_median_ci(values, np.repeat(np.arange(20), 30).tolist()) == by_loop
    assert loops_median_ci(np.array([1.0, 2.0, 9.0]), ["a", "a", "b"]).high == 9.0  # loops of differing length
    with pytest.raises(ValueError, match="one loop a frame"):
        loops_median_ci(values, ["a"])


def test_warping_error_sees_only_what_is_not_motion():
    rng = np.random.default_rng(1)
    scene = rng.integers(0, 256, (80, 90)).astype(np.uint8)
    frames = np.stack([scene[10 : 10 + 60, 10 : 10 + 64], scene[8 : 8 + 60, 13 : 13 + 64]])  # moves by (-3, +2)
    move = np.zeros((1, 2, 60, 64), dtype=np.float32)
    move[:, 0], move[:, 1] = -3, 2
    inside = np.ones((60, 64), dtype=bool)
    assert warping_error(frames, move, inside) == pytest.approx(0.0, abs=1e-4)
    assert warping_error(frames, -move, inside) > 40
    brighter = frames.astype(np.int16) // 2 + np.array([0, 7])[:, None, None]
    assert warping_error(brighter.astype(np.uint8), move, inside) == pytest.approx(7.0, abs=1e-3)
    with pytest.raises(ValueError, match="displacement"):
        warping_error(frames, move[:0], inside)


def test_the_displacement_of_phantom_loops_points_where_the_material_goes():
    """The clean twins change less along the returned motion than without it, or against it."""
    (beat,) = sets.beats(1, 8, seed=3)
    clean, move = beat.frames.clean, beat.displacement
    assert np.abs(move).max() > 1.0
    along = warping_error(clean, move, beat.frames.sector)
    assert along < warping_error(clean, 0 * move, beat.frames.sector)
    assert along < warping_error(clean, -move, beat.frames.sector)
    assert beat.contraction[0] == pytest.approx(0.0, abs=0.05)


def test_reliability_bins():
    found = reliability(np.array([0.02, 0.08, 0.55, 1.0]), np.array([4.0, 8.0, 2.0, 1.0]))
    assert found.confidence == pytest.approx([0.05, 0.55, 0.95])
    assert found.mean == pytest.approx([6.0, 2.0, 1.0])
    assert found.share == pytest.approx([0.5, 0.25, 0.25])


def test_confidence_is_asked_only_where_the_network_looked():
    frame = np.zeros((120, 200), dtype=np.uint8)
    frame[10:110, 40:160] = np.random.default_rng(0).integers(60, 160, (100, 120))
    trust = confidence("fast", frame)
    assert trust.shape == frame.shape
    assert np.isnan(trust[:, :30]).all()
    inner = trust[20:100, 50:150]
    assert ((inner >= 0) & (inner <= 1)).all()
    assert confidence("bm3d", frame) is None


def painter(frames):
    """Paints a black chamber into the middle of every frame."""
    out = frames.copy()
    out[:, 110:180, 100:150] //= 8
    return out


@pytest.fixture(scope="module")
def null_tests():
    return nulls.null_tests(2)


def test_the_null_tests_pass_what_changes_nothing(null_tests):
    for test in null_tests:
        records, result = nulls.null_records(test, Method("identity", lambda frames: frames.copy()))
        assert (result == test.frames.noisy).all()
        assert all(r.values["share"] == 0.0 for r in records)
        assert all(r.values["gain"] == pytest.approx(1.0) for r in records if test.is_speckle)


def test_the_null_tests_catch_a_painter(null_tests):
    for test in null_tests:
        records, _ = nulls.null_records(test, Method("painter", painter))
        assert np.mean([r.values["share"] for r in records]) > 0.03, test.key
        assert all(r.values["untrue"] <= r.values["share"] for r in records)
        if test.is_speckle:
            assert min(r.values["gain"] for r in records) < 0.75


def test_what_the_clean_twin_shows_is_not_called_untrue(null_tests):
    buried = next(test for test in null_tests if test.key == "buried")
    data = buried.frames
    seer = Method(
        "seer", lambda frames: np.concatenate([np.minimum(f, c)[None] for f, c in zip(frames, twin, strict=True)])
    )
    for i in range(len(data)):
        twin = data.clean[i : i + 1]
        one = nulls.NullTest("buried", "", data[slice(i, i + 1)])
        (record,), _ = nulls.null_records(one, seer)
        assert record.values["share"] > 0.1
        assert record.values["untrue"] == 0.0


def test_the_null_frames_are_what_they_say(null_tests):
    chamberless, buried, speckle, other = (test.frames for test in null_tests)
    assert not chamberless.lv.any()
    assert (chamberless.target.astype(int) < chamberless.noisy).any()  # there is haze
    assert buried.lv.any(axis=(1, 2)).all()
    top = (buried.noisy.astype(int) - buried.target)[:, 20:60, 120:136]
    below = (buried.noisy.astype(int) - buried.target)[:, 110:200]
    assert np.abs(top).mean() < 0.35 * np.abs(below)[buried.sector[:, 110:200]].mean() or np.abs(top).mean() < 4
    assert (speckle.target == speckle.noisy).all()
    assert len({float(x) for x in other.dynamic_range_db}) == 2


def test_darkening_is_measured_in_decibels_of_the_display():
    target = np.full((4, 4), 200, dtype=np.uint8)
    result = target.copy()
    result[0, :2] = 200 - 26  # 26 levels of a 60 dB display are 6.1 dB
    result[1, :] = 200 - 25  # 5.9 dB
    sector = np.ones((4, 4), dtype=bool)
    assert nulls.share_darkened(target, result, target, sector, 60.0) == 2 / 16
    assert nulls.share_darkened(target, result, target, sector, 45.0) == 0.0
    assert nulls.share_darkened(result, result, target, sector, 60.0) == 0.0  # it was as dark before


def test_haze_comes_at_the_level_that_was_asked():
    sector = np.ones((256, 256), dtype=bool)
    frame = np.zeros((256, 256), dtype=np.uint8)
    frame[:, :128] = 170  # tissue at -20 dB beside an empty chamber
    assert hazed.tissue_level_db(frame, sector) == pytest.approx(-20.0)
    for level in (-15.0, -5.0):
        powers = []
        for seed in range(6):
            result = hazed.haze(frame, sector, level, np.random.default_rng(seed)).frame
            chamber = np.mean(hazed.amplitude(result[:, 140:]) ** 2)
            tissue = np.mean(hazed.amplitude(result[:, :116]) ** 2) - 0.01
            powers.append((chamber + tissue) / 2)  # the envelope favours one side or the other
        assert 10 * np.log10(np.mean(powers)) == pytest.approx(-20.0 + level, abs=1.0)


def test_haze_keeps_what_is_outside_and_a_weak_one_keeps_the_frame():
    rng = np.random.default_rng(2)
    frame = rng.integers(60, 200, (96, 128)).astype(np.uint8)
    sector = np.zeros((96, 128), dtype=bool)
    sector[20:80, 30:100] = True
    result = hazed.haze(frame, sector, -10.0, np.random.default_rng(3)).frame
    assert (result[~sector] == frame[~sector]).all()
    assert (result[sector] != frame[sector]).mean() > 0.5
    assert (hazed.haze(frame, sector, -10.0, np.random.default_rng(3)).frame == result).all()
    weak = hazed.haze(frame, sector, -90.0, np.random.default_rng(3)).frame
    assert np.abs(weak.astype(int) - frame).max() <= 1


def test_a_black_ellipse_wins_gcnr_and_loses_truth():
    data = sets.held_out(4, frames=2, seed=17)
    assert len(data) == 8
    assert data.loop.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert data.firsts(2).loop.tolist() == [0, 1]
    figures = {
        name: [r.values for r in fidelity.held_out_records(data, name, images)]
        for name, images in (("oracle", data.target), ("cheat", stages.black_ellipses(data)))
    }
    median = {(name, k): np.median([v[k] for v in values]) for name, values in figures.items() for k in values[0]}
    assert median["cheat", "gcnr"] > 0.95
    assert median["cheat", "psnr_db"] < median["oracle", "psnr_db"] - 5
    assert median["cheat", "ssim"] < median["oracle", "ssim"] - 0.05


def measured(**changes):
    """Records of a network `fast` in which every row holds, but for the changes: {part__method__key: value}."""
    values = {
        ("held-out", "original"): {"gcnr": 0.56},
        ("held-out", "bm3d"): {"psnr_db": 16.0},
        ("held-out", "oracle"): {"gcnr": 0.97},
        ("held-out", "clean"): {"gcnr": 0.98},
        ("held-out", "fast"): {"gcnr": 0.95, "psnr_db": 24.0, "ks_septum": 0.1, "ks_lv": 0.2},
        ("clean", "fast"): {"psnr_db": 38.0},
        **{(part, "fast"): {"share": 0.01, "gain": 0.9} for part in ("speckle", "other-speckle")},
        **{(part, "fast"): {"share": 0.01} for part in ("chamberless", "buried")},
        ("hazed", "hazed"): {"psnr_db": 16.0, "ssim": 0.5},
        ("hazed", "bm3d"): {"psnr_db": 16.5, "ssim": 0.5},
        ("hazed", "fast"): {"psnr_db": 24.0, "ssim": 0.7},
    }
    for name, value in changes.items():
        part, method, key = name.split("__")
        values[part.replace("_", "-"), method][key] = value
    return Records([Record(part, "0", 0, method, v) for (part, method), v in values.items()])


def rows_of(records, correlation=0.6):
    bins = reliability(np.array([0.5]), np.array([1.0]))
    return must_hold(records, {"fast": Certainty(correlation, bins)})


def test_a_good_network_holds_every_row_that_was_measured():
    rows = rows_of(measured())
    assert sum(row.holds is True for row in rows) == 17
    assert not [row for row in rows if row.holds is False]
    assert {row.measured for row in rows if row.holds is None} == {"not measured"}


@pytest.mark.parametrize(
    ("change", "value", "quantity"),
    [
        ("held_out__original__gcnr", 0.70, "default noisy set"),
        ("held_out__fast__gcnr", 0.92, "oracle target's"),
        ("held_out__fast__gcnr", 1.0, "above the clean twin's"),
        ("held_out__fast__psnr_db", 22.9, "above bm3d's"),
        ("held_out__fast__ks_septum", 0.19, "septum"),
        ("held_out__fast__ks_lv", 0.36, "LV"),
        ("clean__fast__psnr_db", 33.0, "clean frames"),
        ("chamberless__fast__share", 0.04, "chamberless"),
        ("buried__fast__share", 0.04, "buried"),
        ("other_speckle__fast__gain", 0.7, "local gain"),
        ("hazed__fast__ssim", 0.6, "SSIM above"),
    ],
)
def test_a_row_that_fails_is_flagged_alone(change, value, quantity):
    failing = [row for row in rows_of(measured(**{change: value})) if row.holds is False]
    assert len(failing) == 1
    assert quantity in failing[0].quantity


def test_a_network_unsure_in_the_wrong_places_is_flagged():
    assert [row.method for row in rows_of(measured(), correlation=0.3) if row.holds is False] == ["fast"]


def test_differences_between_methods_are_taken_on_shared_frames():
    records = Records([Record("held-out", str(i), 0, "fast", {"psnr_db": 20.0 + 10 * i}) for i in range(5)])
    records.add([Record("held-out", str(i), 0, "bm3d", {"psnr_db": 15.0}) for i in range(2)])
    assert records.gain("held-out", "fast", "bm3d", "psnr_db") == 10.0  # 25 - 15: loops 0 and 1 alone
    assert math.isnan(records.gain("held-out", "fast", "unet", "psnr_db"))


def test_the_page_escapes_what_it_is_given():
    table = Table(["<b>"], [["R&D", "NO"]], "a < b")
    html = Section("k", "<script>", ["1 < 2"], [table]).html()
    assert "<script>" not in html
    assert "R&amp;D" in html
    assert "1 &lt; 2" in html
    assert 'class="no">NO<' in html


def test_real_loops_are_found_with_their_regions(tmp_path, fan_file, fan_roi):
    stills = tmp_path / "patient" / "stills"
    stills.mkdir(parents=True)
    (tmp_path / "patient" / "stills.roi.json").write_text(fan_roi.read_text())
    (tmp_path / "alone.roi.json").write_text(fan_roi.read_text())
    assert real.loops_with_regions(tmp_path) == [
        (fan_file, fan_roi),
        (stills, tmp_path / "patient" / "stills.roi.json"),
    ]
    assert real.loops_with_regions(stills) == []
    with pytest.raises(InputError, match="no loop"):
        next(real.real_loops(stills, 1, print))


def test_real_loops_without_regions_are_looked_at_too_and_damaged_ones_told_of(tmp_path, fan_file):
    (tmp_path / "broken.avi").write_bytes(b"RIFF....AVI nothing more")
    said = []
    found = list(real.real_loops(tmp_path, 2, said.append))
    assert [(loop.name, loop.regions, len(loop.frames)) for loop in found] == [(fan_file.name, None, 2)]
    assert len(said) == 1
    assert "broken.avi" in said[0]
    rows = list(real.real_records(found[0], "half", found[0].frames // 2))
    assert [r.part for r in rows] == ["real plain", "real plain", "real flicker"]
    assert rows[0].values["kept"] == pytest.approx(0.5, abs=0.01)
    assert "gcnr" not in rows[0].values


@pytest.fixture(scope="module")
def report(tmp_path_factory, cardiac_loop_path):
    """A small report on everything, once: its folder and what it found."""
    from tests.shared import fan_frames

    folder = tmp_path_factory.mktemp("report")
    loops = folder / "loops"
    loops.mkdir()
    np.savez(loops / "R&D 'one'.npz", frames=fan_frames(3), times_ms=np.arange(3) * 40.0)
    regions = {"lv": [[[58, 42], [72, 42], [72, 62], [58, 62]]], "myocardium": [[[58, 14], [72, 14], [74, 24]]]}
    (loops / "R&D 'one'.roi.json").write_text(json.dumps(regions))
    said = []
    found = stage.evaluate(["fast"], folder / "out", SMALL, real=loops, clear=[cardiac_loop_path], say=said.append)
    return folder / "out", found, said


def test_the_report_has_every_section_and_its_pictures(report):
    folder, _, _ = report
    html = (folder / "index.html").read_text(encoding="utf-8")
    keys = ("must-hold", "held-out", "clean", "flicker", "confidence", "nulls", "native", "hazed", "real", "speed")
    for key in keys:
        assert f'<h2 id="{key}">' in html
    assert "R&amp;D &#x27;one&#x27;.npz" in html
    assert "R&D" not in html
    assert "Van De Vyver" in html
    assert "http" not in html.replace("http-equiv", "")
    pictures = sorted(path.name for path in folder.glob("*.png"))
    assert html.count("data:image/png;base64,") == len(pictures) == 11
    assert not list(folder.glob("*.tmp"))


def test_gcnr_never_stands_without_fidelity(report):
    html = (report[0] / "index.html").read_text(encoding="utf-8")
    tables = [part for part in html.split("<table>")[1:] if "<th>gCNR</th>" in part.split("</table>")[0]]
    assert len(tables) == 2
    assert all("<th>PSNR" in table for table in tables)


def test_the_figures_are_finite_and_on_disk(report):
    folder, found, said = report
    saved = json.loads((folder / "figures.json").read_text())
    assert saved["figures"] == found.figures
    assert all(math.isfinite(v) for v in found.figures.values())
    for name in ("fast gCNR median", "fast over bm3d dB", "fast KS LV", "bm3d best sigma", "original gCNR median"):
        assert name in found.figures
    assert len(saved["must_hold"]) == len(found.rows) == 20
    assert any("null tests" in line for line in said)
    with (folder / "frames.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    parts = {line["set"] for line in lines}
    assert parts >= {
        "held-out",
        "clean",
        "beat",
        "flicker",
        "chamberless",
        "buried",
        "speckle",
        "native",
        "hazed",
        "real",
    }
    mine = [float(line["gcnr"]) for line in lines if (line["set"], line["method"]) == ("held-out", "fast")]
    assert len(mine) == 4
    assert np.median(mine) == pytest.approx(found.figures["fast gCNR median"], abs=1e-3)


def test_a_card_gets_no_other_networks_figures():
    report = stage.Report(
        {"fast gCNR median": 0.9, "unet gCNR median": 0.95, "x fast gCNR": 0.8, "bm3d best sigma": 20.0},
        ("fast", "unet"),
        (),
    )
    assert report.of("unet") == {"unet gCNR median": 0.95, "bm3d best sigma": 20.0}


def test_what_is_missing_is_said_before_the_work(tmp_path):
    def never(text):
        pytest.fail(f"the work began: {text}")

    with pytest.raises(InputError, match="no such file"):
        stage.evaluate(["fast"], tmp_path, SMALL, clear=[tmp_path / "none.mp4"], say=never)
    with pytest.raises(WeightsError):
        stage.evaluate(["unet"], tmp_path, SMALL, say=never)


def test_the_command_prints_figures_and_fills_the_card(tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from training.cli import app

    card, other = tmp_path / "fast.json", tmp_path / "unet.json"
    content = json.loads((ROOT / "resources" / "weights" / "fast.json").read_text())
    card.write_text(json.dumps(content))
    other.write_text(json.dumps({**content, "name": "unet", "figures": {}}))
    seen = {}

    def evaluate(wanted, folder, sizes, *, real, clear):
        seen.update(wanted=wanted, folder=folder, sizes=sizes, real=real, clear=clear)
        return stage.Report({"fast gCNR median": 0.91, "unet gCNR median": 0.5}, ("fast", "unet"), ())

    monkeypatch.setattr(stage, "evaluate", evaluate)
    words = ["evaluate", "--weights", "fast", "--quick", "--clear", "a.mp4", "--clear", "b.mp4"]
    result = CliRunner().invoke(app, [*words, "--card", str(card), "--card", str(other)])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["fast gCNR median"] == 0.91
    assert seen["wanted"] == ["fast"]
    assert [p.name for p in seen["clear"]] == ["a.mp4", "b.mp4"]
    assert seen["sizes"] == stage.QUICK
    figures = store.read_card(card).figures
    assert figures["fast gCNR median"] == 0.91
    assert "unet gCNR median" not in figures
    assert store.read_card(other).figures["unet gCNR median"] == 0.5


def test_clear_real_frames_come_nearer_to_what_they_were(realdata):
    (loop,) = hazed.hazed_loops([realdata / "a4c" / "loop_with_ecg.mp4"], 3)
    assert (loop.target <= loop.hazed).all()
    before = [r.values["psnr_db"] for r in hazed.quality(loop, 0, "hazed", loop.hazed)]
    result = np.concatenate([denoise("fast", frame[None]) for frame in loop.hazed])
    after = [r.values["psnr_db"] for r in hazed.quality(loop, 0, "fast", result)]
    assert min(np.subtract(after, before)) > 1.0
