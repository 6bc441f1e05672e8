"""`echoq segment` and `echoq gcnr --auto` in this process: files, tables, figures, sentences and exit codes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from echoq_desktop import cli
from echoq_models import cine, regions, resources
from echoq_models.cine import sector as sectors
from echoq_models.cine.loop import CineLoop
from echoq_models.denoise import registry
from echoq_models.metrics.gcnr import gcnr, median_ci
from echoq_models.regions.recipe import PAPER, frame_regions
from echoq_models.segment import segment, segmenter
from tests.make_networks import bright_loop, save_bright
from tests.runtime.halving import Halving

Captured = pytest.CaptureFixture[str]

NOTHING = "No LV found: nothing in the frame looks like one."


@pytest.fixture(autouse=True)
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's weights: "lv" takes bright pixels for the left ventricle. Nothing is shipped but the samples."""
    real = resources.path
    monkeypatch.setattr(resources, "path", lambda *parts: real(*parts) if parts[0] != "weights" else tmp_path / "none")
    monkeypatch.setenv("ECHOQ_WEIGHTS", str(tmp_path / "user"))
    segmenter._build.cache_clear()
    save_bright(tmp_path / "user")
    return tmp_path / "user"


@pytest.fixture(autouse=True)
def halving(monkeypatch: pytest.MonkeyPatch) -> None:
    """The only denoiser: half the brightness."""
    monkeypatch.setattr(registry, "denoisers", lambda: {"halving": Halving()})


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def save(path: Path, loop: CineLoop) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, frames=loop.frames, times_ms=loop.times_ms)
    return path


def textured(frames: int = 6, seed: int = 0, without: tuple[int, ...] = ()) -> CineLoop:
    """A beating bright ellipse in tissue whose grey levels overlap with it, for a gCNR between 0 and 1."""
    loop, truth = bright_loop(frames, without=without)
    rng = np.random.default_rng(seed)
    inside = rng.integers(165, 255, loop.frames.shape)
    outside = np.clip(rng.normal(90, 50 + 25 * seed, loop.frames.shape), 1, 255)
    pixels = np.where(truth, inside, outside) * sectors.fit(loop).mask
    return CineLoop(pixels.astype(np.uint8), loop.times_ms, "npz")


@pytest.fixture
def beating(tmp_path: Path) -> Path:
    """Six frames of a beating ellipse, not in the third one."""
    return save(tmp_path / "beating.npz", bright_loop(6, without=(2,))[0])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three loops, one of them in a folder of its own, a picture without a heart, and a file that is no loop."""
    top = tmp_path / "loops"
    save(top / "a.npz", textured(6, 0))
    save(top / "b.npz", textured(8, 1, without=(3,)))
    save(top / "sub" / "a.npz", textured(5, 2))
    save(top / "grey.npz", CineLoop(np.full((4, 80, 90), 60, np.uint8), np.arange(4) * 40.0, "npz"))
    (top / "bad.dcm").write_bytes(b"\0" * 500)
    (top / "notes.txt").write_text("no loop", encoding="utf-8")
    return top


# echoq segment


def test_masks_of_a_loop(beating: Path, tmp_path: Path, capsys: Captured) -> None:
    assert run("segment", beating, "-o", tmp_path / "masks.npz", "--device", "cpu") == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{tmp_path / 'masks.npz'}: left ventricle in 5 of 6 frames, ")
    assert err == f"echoq: 1 frame: {NOTHING}\n"
    loop = cine.read(beating)
    with np.load(tmp_path / "masks.npz", allow_pickle=False) as found:
        assert found["lv"].dtype == np.uint8 and found["lv"].shape == loop.frames.shape
        assert set(np.unique(found["lv"])) == {0, 1} and not found["lv"][2].any()
        expected = segment(loop, device="cpu")
        assert np.array_equal(found["lv"], expected.lv) and np.array_equal(found["confidence"], expected.confidence)
        assert np.array_equal(found["times_ms"], loop.times_ms)


def test_no_ventricle_is_zeros_said_and_no_error(folder: Path, tmp_path: Path, capsys: Captured) -> None:
    assert run("segment", folder / "grey.npz", "-o", tmp_path / "m.npz") == 0
    assert capsys.readouterr().err == f"echoq: {folder / 'grey.npz'}: {NOTHING}\n"
    with np.load(tmp_path / "m.npz", allow_pickle=False) as found:
        assert found["lv"].shape == (4, 80, 90) and not found["lv"].any()


def test_segment_for_scripts(beating: Path, tmp_path: Path, capsys: Captured) -> None:
    assert run("segment", beating, "-o", tmp_path / "m.npz", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["frames"], found["found"]) == (6, 5) and found["confidence"] > 0.9
    assert list(found["reasons"].values()) == [1] and found["network"]["network"] == "lv"


def test_a_folder_gives_masks_a_table_and_goes_on_past_a_bad_file(
    folder: Path, tmp_path: Path, capsys: Captured
) -> None:
    out = tmp_path / "masks"
    assert run("segment", folder, "-o", out) == 4
    printed = capsys.readouterr()
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.npz")) == [
        *("a.npz", "b.npz", "grey.npz", "sub/a.npz")
    ]
    with (out / "echoq-summary.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert [rows[name]["state"] for name in ("a.npz", "bad.dcm", "grey.npz")] == ["done", "failed", "no LV found"]
    assert (rows["b.npz"]["frames"], rows["b.npz"]["found"]) == ("8", "7")
    assert "bad.dcm" in printed.err and "grey.npz: No LV found: " in printed.err
    assert printed.out.splitlines()[0].split() == ["file", "state", "frames", "found", "confidence", "reason"]
    (folder / "bad.dcm").unlink()
    assert run("segment", folder, "-o", out, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [loop["state"] for loop in found["loops"]] == ["done", "done", "no LV found", "done"]


# echoq gcnr --auto


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_gcnr_in_regions_made_from_the_ventricle(preset: str, tmp_path: Path, capsys: Captured) -> None:
    path = save(tmp_path / "loop.npz", textured(6, without=(2,)))
    assert run("gcnr", path, "--auto", "--preset", preset, "--json", "--device", "cpu") == 0
    found = json.loads(capsys.readouterr().out)
    loop = cine.read(path)
    lv = segment(loop, device="cpu")
    assert found["indices"] == [0, 1, 3, 4, 5] == np.flatnonzero(lv.found).tolist()
    assert (found["lv"]["frames"], found["lv"]["found"], found["lv"]["preset"]) == (6, 5, preset)
    settings = {"settings": PAPER} if preset == "paper" else {}
    expected = []
    for t in found["indices"]:
        shown = frame_regions(lv.lv[t], sectors.fit(loop).mask, None, **settings)
        expected.append(gcnr(loop.frames[t], *regions.Regions(shown.lv, shown.myocardium).masks(loop.size)))
    values = found["methods"]["original"]["gcnr"]
    assert values == pytest.approx(expected, abs=1e-4) and 0.2 < min(values) < max(values) < 0.98
    assert found["methods"]["original"]["median"] == pytest.approx(float(np.median(expected)), abs=1e-4)


def test_gcnr_for_people_counts_what_is_left_out(beating: Path, capsys: Captured) -> None:
    assert run("gcnr", beating, "--auto", "-m", "halving") == 0
    out, err = capsys.readouterr()
    frames = [line.split()[0] for line in out.splitlines() if line]
    assert frames == ["frame", "1", "2", "4", "5", "6", "method", "original", "halving"]
    assert f"1 of 6 frames are left out: {NOTHING}" in err


def test_nothing_to_measure_is_said_and_no_error(folder: Path, capsys: Captured) -> None:
    assert run("gcnr", folder / "grey.npz", "--auto") == 0
    assert capsys.readouterr() == (
        "",
        f"echoq: {folder / 'grey.npz'}: {NOTHING}\n",
    )
    assert run("gcnr", folder / "grey.npz", "--auto", "--json") == 0
    assert json.loads(capsys.readouterr().out)["lv"]["found"] == 0


def test_a_folder_gives_a_table_a_csv_and_a_notched_box_plot(folder: Path, tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "measured"
    assert run("gcnr", folder, "--auto", "-o", out, "-m", "halving") == 4
    printed = capsys.readouterr()
    rows = [line.split() for line in printed.out.splitlines()]
    assert rows[0] == ["file", "frames", "LV", "found", "original", "halving"]
    assert [row[0] for row in rows[1:6]] == ["a.npz", "b.npz", "bad.dcm", "grey.npz", "sub/a.npz"]
    assert rows[2][1:4] == ["8", "88", "%"] and rows[4][1:4] == ["4", "0", "%"]
    assert "bad.dcm" in printed.err and "grey.npz: No LV found" in printed.err
    with (out / "gcnr.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["state"] for row in table] == ["done", "done", "failed", "no LV found", "done"]
    medians = [float(row["original_median"]) for row in table if row["state"] == "done"]
    assert float(table[0]["original_low"]) <= medians[0] <= float(table[0]["original_high"])
    over = median_ci(np.array(medians), block=1)
    assert rows[6][:3] == ["all", "loops", f"{over.median:.3f}"]

    with Image.open(out / "gcnr.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert min(pixels.shape[:2]) > 300
    for colour in ((0x8C, 0x8C, 0x8C), (0x76, 0xB7, 0xB2)):  # a box of each method, at three quarters of its colour
        shade = 0.75 * np.array(colour) + 0.25 * 255
        assert np.count_nonzero(np.abs(pixels - shade).max(axis=2) < 4) > 200


def test_a_folder_for_scripts(folder: Path, capsys: Captured) -> None:
    (folder / "bad.dcm").unlink()
    assert run("gcnr", folder, "--auto", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["files"] == [] and found["cancelled"] is False
    states = {loop["file"]: loop["state"] for loop in found["loops"]}
    assert states == {"a.npz": "done", "b.npz": "done", "grey.npz": "no LV found", "sub/a.npz": "done"}
    medians = [loop["methods"]["original"]["median"] for loop in found["loops"] if loop["state"] == "done"]
    assert found["methods"]["original"]["median"] == pytest.approx(float(np.median(medians)))


# what is refused


def test_wrong_usage(beating: Path, folder: Path, tmp_path: Path, capsys: Captured) -> None:
    roi = tmp_path / "x.roi.json"
    for arguments in (
        ["segment", beating, "-o", tmp_path / "masks.png"],
        ["segment", folder, "-o", tmp_path / "masks.npz"],
        ["segment", beating, "-o", tmp_path / "m.npz", "--network", "other"],
        ["gcnr", beating],
        ["gcnr", beating, "--auto", "--roi", roi],
        ["gcnr", beating, "--auto", "-o", tmp_path / "out"],
        ["gcnr", beating, "--auto", "--network", "other"],
        ["gcnr", beating, "--auto", "--preset", "other"],
        ["gcnr", folder, "--roi", roi],
        ["gcnr", folder, "--auto", "-o", tmp_path / "table.csv"],
    ):
        assert run(*arguments) == 2, arguments
        out, err = capsys.readouterr()
        assert out == "" and "Traceback" not in err
    assert not (tmp_path / "m.npz").exists() and not (tmp_path / "out").exists()


def test_bad_input_and_output(beating: Path, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.dcm").write_bytes(b"\0" * 300)
    for source in (tmp_path / "missing.dcm", tmp_path / "bad.dcm", tmp_path / "empty"):
        target = "o" if source.name == "empty" else "o.npz"
        for arguments in (["segment", source, "-o", tmp_path / target], ["gcnr", source, "--auto"]):
            assert run(*arguments) == 3, arguments
            assert source.name in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
    for output in (tmp_path / "nowhere" / "m.npz", beating):
        assert run("segment", beating, "-o", output) == 5
        assert output.name in capsys.readouterr().err
    assert cine.read(beating).frames.any()


def test_without_weights_nothing_is_faked(folder: Path, user: Path, tmp_path: Path, capsys: Captured) -> None:
    (user / "lv.safetensors").unlink()
    (user / "lv.json").unlink()
    for arguments in (
        ["segment", folder / "a.npz", "-o", tmp_path / "m.npz"],
        ["segment", folder, "-o", tmp_path / "masks"],
        ["gcnr", folder / "a.npz", "--auto"],
        ["gcnr", folder, "--auto", "-o", tmp_path / "out", "--network", "deeplab"],
    ):
        assert run(*arguments) == 5
        assert "no weights called" in capsys.readouterr().err
    assert not (tmp_path / "masks").exists() and not (tmp_path / "out").exists()
    assert run("weights", "list") == 0
    assert "lv cannot run: There are no weights called 'lv'" in capsys.readouterr().out


def test_cancelled_in_the_middle_of_a_folder(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from echoq_desktop import cli_regions
    from echoq_models.runtime import automatic

    real, asked = automatic.segment_file, []

    def then_stop(source: Path, *rest: object) -> dict:
        asked.append(source)
        return real(source, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(automatic, "segment_file", then_stop)
    monkeypatch.setattr(cli_regions, "stop", lambda: bool(asked))
    assert run("segment", folder, "-o", tmp_path / "masks") == 130
    assert len(asked) == 1 and list((tmp_path / "masks").glob("*.npz")) == []
