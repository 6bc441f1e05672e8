"""`echoq` in this process: what each command prints and returns."""

from __future__ import annotations

import io
import json
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from echoq_desktop import cli, terminal
from echoq_models import cine, regions, resources
from echoq_models.metrics.gcnr import gcnr
from tests.shared import said_by_ffmpeg

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def no_weights_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's weights folder: empty, in the test's own place."""
    folder = tmp_path / "user-weights"
    folder.mkdir()
    monkeypatch.setenv("ECHOQ_WEIGHTS", str(folder))
    return folder


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def only_json(captured: Captured) -> dict:
    """What was printed, which must be one JSON object on one line and nothing else."""
    out = captured.readouterr().out
    assert out.endswith("\n")
    assert out.count("\n") == 1
    found = json.loads(out)
    assert isinstance(found, dict)
    return found


def one_sentence(captured: Captured) -> str:
    """What was said on stderr, which must be one line of ours; stdout stays empty."""
    out, err = captured.readouterr()
    assert out == ""
    assert "Traceback" not in err
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("echoq: ")
    return lines[0]


# 0


def test_version(capsys: Captured) -> None:
    import echoq_models

    assert run("--version") == 0
    assert capsys.readouterr().out == f"echoq {echoq_models.__version__}\n"


@pytest.mark.parametrize("command", [[], ["info"], ["denoise"], ["gcnr"], ["open"], ["weights"], ["weights", "list"]])
def test_help(command: list[str], capsys: Captured) -> None:
    assert run(*command, "--help") == 0
    assert "Usage: echoq" in capsys.readouterr().out


def test_info_for_people(fan_file: Path, capsys: Captured) -> None:
    assert run("info", fan_file) == 0
    out = capsys.readouterr().out
    assert "128 x 96 pixels" in out
    assert "25.0 frames per second" in out


def test_info_for_scripts(capsys: Captured) -> None:
    loop, _ = resources.sample()
    assert run("info", loop, "--json") == 0
    found = only_json(capsys)
    assert (found["frames"], found["height"], found["width"]) == (30, 240, 320)
    assert found["fps"] == pytest.approx(30.0, abs=0.01)
    assert found["spacing"]["shrink"] == 2
    assert found["lossy"] == ["JPEG baseline"]
    assert found["sector"]["side"] > 150


def test_info_keeps_the_patient_to_itself(tmp_path: Path, capsys: Captured) -> None:
    import pydicom

    loop, _ = resources.sample()
    dataset = pydicom.dcmread(loop)
    dataset.PatientName, dataset.PatientID = "Doe^Jane", "4711-XYZ"
    dataset.save_as(tmp_path / "named.dcm")
    for arguments in (["--json"], []):
        assert run("info", tmp_path / "named.dcm", *arguments) == 0
        captured = capsys.readouterr()
        assert "Jane" not in captured.out + captured.err
        assert "4711" not in captured.out + captured.err


def test_gcnr_for_scripts(fan_file: Path, fan_roi: Path, capsys: Captured) -> None:
    assert run("gcnr", fan_file, "--roi", fan_roi, "--json") == 0
    found = only_json(capsys)
    loop = cine.read(fan_file)
    masks = regions.load(fan_roi).masks(loop.size)
    expected = [gcnr(frame, *masks) for frame in loop.frames]
    assert found["methods"]["original"]["gcnr"] == pytest.approx(expected, abs=1e-4)
    assert found["level"] == 0.95


def test_gcnr_for_people(fan_file: Path, fan_roi: Path, capsys: Captured) -> None:
    assert run("gcnr", fan_file, "--roi", fan_roi) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1 + 3 + 1 + 2
    assert "95 % CI" in out
    assert "small" in err
    assert "lossy" not in err
    assert run("gcnr", resources.sample()[0], "--roi", resources.sample()[1]) == 0
    assert "lossy source (JPEG baseline)" in capsys.readouterr().err


def test_denoise_and_measure_with_bm3d(fan_file: Path, fan_roi: Path, tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "out.npz"
    assert run("denoise", fan_file, "-o", out, "--method", "bm3d", "--sigma", 30, "--device", "cpu") == 0
    printed = capsys.readouterr()
    assert str(out) in printed.out
    source = cine.read(fan_file)
    with np.load(out, allow_pickle=False) as found:
        frames = found["frames"]
        assert frames.dtype == np.uint8
        assert frames.shape == source.frames.shape
        assert np.array_equal(found["times_ms"], source.times_ms)
    from echoq_models.cine import sector

    outside = ~sector.fit(source).mask
    assert np.array_equal(frames[:, outside], source.frames[:, outside])
    assert not np.array_equal(frames, source.frames)

    assert run("gcnr", fan_file, "--roi", fan_roi, "--method", "bm3d", "--sigma", 30, "--json") == 0
    measured = only_json(capsys)["methods"]
    masks = regions.load(fan_roi).masks(source.size)
    assert measured["bm3d"]["gcnr"] == pytest.approx([gcnr(frame, *masks) for frame in frames], abs=1e-4)


def test_strength_zero_changes_nothing(fan_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    assert run("denoise", fan_file, "-o", out, "-m", "bm3d", "--strength", 0) == 0
    with np.load(out, allow_pickle=False) as found:
        assert np.array_equal(found["frames"], cine.read(fan_file).frames)


@pytest.mark.parametrize("name", ["out.mp4", "out.avi", "out.gif", "out"])
def test_side_by_side_in_every_picture_format(name: str, fan_file: Path, tmp_path: Path) -> None:
    assert run("denoise", fan_file, "-o", tmp_path / name, "--method", "bm3d", "--side-by-side") == 0
    written = cine.read(tmp_path / name)
    assert len(written) == 3
    assert written.size[1] >= 2 * 128


def test_a_film_says_which_noise_level_bm3d_was_given(fan_file: Path, tmp_path: Path) -> None:
    assert run("denoise", fan_file, "-o", tmp_path / "x.mp4", "--method", "bm3d", "--sigma", 17.5) == 0
    assert "bm3d sigma 17.5" in said_by_ffmpeg(tmp_path / "x.mp4")


def test_a_folder_of_stills_is_one_loop(fan_file: Path, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "stills").mkdir()
    frames = cine.read(fan_file).frames
    for t, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / "stills" / f"{t:03}.png")
    assert run("denoise", tmp_path / "stills", "-o", tmp_path / "x.npz", "-m", "bm3d", "--strength", 0) == 0
    with np.load(tmp_path / "x.npz", allow_pickle=False) as found:
        assert np.array_equal(found["frames"], frames)


def test_skip_existing_leaves_the_file(fan_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    out.write_bytes(b"precious")
    assert run("denoise", fan_file, "-o", out, "-m", "bm3d", "--skip-existing") == 0
    assert out.read_bytes() == b"precious"


def test_weights_list_and_verify(capsys: Captured) -> None:
    assert run("weights", "list") == 0
    listed = capsys.readouterr().out
    assert run("weights", "verify") == 0
    verified = capsys.readouterr().out
    for path in resources.path("weights").glob("*.safetensors"):
        assert path.stem in listed
        assert f"{path.stem}: ok" in verified


def test_weights_import_makes_the_method_run(tmp_path: Path, fan_file: Path, capsys: Captured) -> None:
    import torch

    from echoq_models.denoise.architectures import build

    torch.manual_seed(0)
    network = build({"family": "unet", "channels_out": 1, "head": "image"})
    torch.save(network.state_dict(), tmp_path / "released.pt")
    assert run("weights", "import", tmp_path / "released.pt") == 0
    assert "unet" in capsys.readouterr().out
    assert run("weights", "verify", "unet") == 0
    still = tmp_path / "still.npz"
    np.savez(still, frames=cine.read(fan_file).frames[:1], times_ms=[0.0])
    assert run("denoise", still, "-o", tmp_path / "out.npz", "--method", "unet") == 0
    assert (tmp_path / "out.npz").is_file()


# 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["--nonsense"],
        ["info"],
        ["info", "a", "b"],
        ["denoise", "a.dcm"],
        ["denoise", "a.dcm", "-o", "b.mp4", "--method", "magic"],
        ["denoise", "a.dcm", "-o", "b.mp4", "--device", "abacus"],
        ["denoise", "a.dcm", "-o", "b.mp4", "--strength", "2"],
        ["denoise", "a.dcm", "-o", "b.mp4", "--sigma", "loud"],
        ["denoise", "a.dcm", "-o", "b.mp4", "--method", "fast", "--method", "bm3d"],
        ["denoise", "SOURCE", "-o", "b.xyz", "--method", "bm3d"],
        ["denoise", "FOLDER", "-o", "b.mp4", "--method", "bm3d"],
        ["gcnr", "a.dcm"],
        ["weights", "nonsense"],
        ["weights", "import"],
    ],
)
def test_wrong_usage(arguments: list[str], fan_file: Path, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "loops").mkdir()
    shutil.copy(fan_file, tmp_path / "loops" / "a.npz")
    known = {"SOURCE": str(fan_file), "FOLDER": str(tmp_path / "loops")}
    assert run(*(known.get(argument, argument) for argument in arguments)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Usage: echoq" in err or "Error:" in err


# 3


def broken(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.dcm"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "zeros":
        path.write_bytes(b"\0" * 1000)
    elif kind == "text":
        path.write_text("no loop at all\n" * 50, encoding="utf-8")
    elif kind == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("open", "missing"),  # what is wrong with a file that is there, the window itself tells
        *product(["info", "gcnr", "denoise"], ["missing", "empty", "zeros", "text", "folder"]),
    ],
)
def test_bad_input(command: str, kind: str, tmp_path: Path, fan_roi: Path, capsys: Captured) -> None:
    path = broken(tmp_path, kind)
    more = {"gcnr": ["--roi", fan_roi], "denoise": ["-o", tmp_path / "o.npz", "--method", "bm3d"]}
    assert run(command, path, *more.get(command, [])) == 3
    assert path.name in one_sentence(capsys)
    assert not (tmp_path / "o.npz").exists()


@pytest.mark.parametrize(
    "text", [None, "", "not json", "[]", '{"lv": []}', '{"lv": [[[1, 2]]], "myocardium": "x"}', '{"lv": 3}']
)
def test_bad_regions(text: str | None, fan_file: Path, tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "bad.roi.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    assert run("gcnr", fan_file, "--roi", path, "--json") == 3
    one_sentence(capsys)


def test_overlapping_regions(fan_file: Path, tmp_path: Path, capsys: Captured) -> None:
    square = [[[50, 40], [70, 40], [70, 60], [50, 60]]]
    path = tmp_path / "overlap.roi.json"
    path.write_text(json.dumps({"lv": square, "myocardium": square}), encoding="utf-8")
    assert run("gcnr", fan_file, "--roi", path) == 3
    assert "share" in one_sentence(capsys)


def test_import_of_a_missing_file(tmp_path: Path, capsys: Captured) -> None:
    assert run("weights", "import", tmp_path / "nothing.pt") == 3
    one_sentence(capsys)


# 4


@pytest.fixture
def folder(tmp_path: Path, fan_file: Path) -> Path:
    top = tmp_path / "loops"
    (top / "sub").mkdir(parents=True)
    shutil.copy(fan_file, top / "good.npz")
    shutil.copy(fan_file, top / "sub" / "good.npz")
    (top / "bad.dcm").write_bytes(b"\0" * 500)
    return top


def test_batch_partly_done(folder: Path, tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "out"
    arguments = ["denoise", folder, "-o", out, "--method", "bm3d", "--format", "npz"]
    assert run(*arguments) == 4
    printed = capsys.readouterr()
    assert "2 done, 1 failed, 0 skipped" in printed.out
    assert "bad.dcm: failed" in printed.err
    assert sorted(path.name for path in out.rglob("*.npz")) == ["good.npz", "good.npz"]
    assert (out / "sub" / "good.npz").is_file()
    assert (out / "echoq-summary.csv").is_file()
    (folder / "bad.dcm").unlink()
    assert run(*arguments, "--skip-existing") == 0
    printed = capsys.readouterr()
    assert "0 done, 0 failed, 2 skipped (2 done before)" in printed.out
    assert "skipped" not in printed.err  # a thousand of them would hide what matters
    assert run(*arguments, "--strength", "0.5") == 0
    assert "2 done, 0 failed, 0 skipped" in capsys.readouterr().out


def test_batch_with_nothing_good(tmp_path: Path) -> None:
    (tmp_path / "loops").mkdir()
    (tmp_path / "loops" / "bad.dcm").write_bytes(b"\0" * 500)
    assert run("denoise", tmp_path / "loops", "-o", tmp_path / "out", "--method", "bm3d") == 3


# 5


def test_output_that_cannot_be_written(fan_file: Path, tmp_path: Path, capsys: Captured) -> None:
    for output in (tmp_path / "no-such-folder" / "x.npz", fan_file, tmp_path / "gone" / "x.dcm"):
        assert run("denoise", fan_file, "-o", output, "--method", "bm3d") == 5
        assert output.name in one_sentence(capsys)
    assert run("denoise", fan_file, "-o", tmp_path / "x.npz", "--method", "bm3d", "--side-by-side") == 5
    assert "side by side" in one_sentence(capsys)


def test_broken_weights(fan_file: Path, tmp_path: Path, no_weights_of_ours: Path, capsys: Captured) -> None:
    (no_weights_of_ours / "fast.json").write_text("not a card", encoding="utf-8")
    assert run("denoise", fan_file, "-o", tmp_path / "x.npz", "--method", "fast") == 5
    assert "fast" in one_sentence(capsys)
    assert run("weights", "verify") == 5
    captured = capsys.readouterr()
    assert "fast: " in captured.out
    assert "cannot be used" in captured.err


def test_import_of_what_is_no_weights(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "x.pt").write_bytes(b"hello")
    assert run("weights", "import", tmp_path / "x.pt") == 5
    assert "x.pt" in one_sentence(capsys)


def test_cuda_where_there_is_none(fan_file: Path, tmp_path: Path, capsys: Captured) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is CUDA here")
    assert run("denoise", fan_file, "-o", tmp_path / "x.npz", "--method", "bm3d", "--device", "cuda") == 5
    assert "cuda" in one_sentence(capsys).lower()


def test_a_surprise_is_one_sentence(fan_file: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def surprise(path: Path, progress: object) -> None:
        raise ZeroDivisionError("deep inside")

    monkeypatch.setattr(cine, "read", surprise)
    assert run("info", fan_file) == 5
    assert "ZeroDivisionError" in one_sentence(capsys)


# the terminal


def test_progress_in_a_log_is_a_line_now_and_then() -> None:
    log = io.StringIO()
    line = terminal.ProgressLine(log, every_s=1000.0)
    for done in range(1, 501):
        line(done, 500, "writing")
    line.clear()
    assert log.getvalue().count("\n") <= 2
    assert "\r" not in log.getvalue()


def test_durations_for_people() -> None:
    assert terminal.duration(4.4) == "4 s"
    assert terminal.duration(125) == "2 min 5 s"
    assert terminal.duration(3780) == "1 h 3 min"


def test_json_goes_alone_and_progress_to_stderr(
    fan_file: Path, fan_roi: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal.ProgressLine.__init__, "__defaults__", (None, 0.0))  # a line for every frame
    assert run("gcnr", fan_file, "--roi", fan_roi, "--method", "bm3d", "--json") == 0
    out, err = capfd.readouterr()
    assert set(json.loads(out)["methods"]) == {"original", "bm3d"}
    assert "measuring" in err
