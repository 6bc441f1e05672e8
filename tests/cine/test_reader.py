"""One door: content decides, and everything else is refused in one sentence."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from echoq_models.cine import read
from echoq_models.errors import Cancelled, InputError
from tests import make_files as make


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as refused:
        read(path)
    text = str(refused.value)
    assert str(path) in text
    assert "\n" not in text
    assert refused.value.exit_code == 3
    return text


def test_names_say_nothing(tmp_path: Path) -> None:
    frames = make.sector_frames()
    avi = make.write_video(tmp_path / "loop.mp4", frames, "-c:v", "mjpeg", "-q:v", "2", container="avi")
    assert read(avi).kind == "AVI"
    assert read(make.write_dicom(tmp_path / "loop.avi", frames)).kind == "DICOM"
    gif = make.write_gif(tmp_path / "loop.dcm", frames, [40] * 6)
    assert read(gif).kind == "GIF"
    npz = make.write_npz(tmp_path / "no_suffix", frames)
    assert read(npz).kind == "npz"
    Image.fromarray(frames[0]).save(tmp_path / "still.npz", format="PNG")
    assert read(str(tmp_path / "still.npz")).kind == "PNG"


def test_missing_empty_and_foreign_files(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "absent.dcm")
    (tmp_path / "empty.dcm").touch()
    assert "empty" in refusal(tmp_path / "empty.dcm")
    (tmp_path / "notes.avi").write_text("Dear colleague, the loop is attached. " * 40)
    assert "not a loop" in refusal(tmp_path / "notes.avi")
    (tmp_path / "code.mp4").write_bytes(b"#EXTM3U\n#EXTINF:10,\nhttp://localhost:9/secret.ts\n")
    assert "not a loop" in refusal(tmp_path / "code.mp4")
    (tmp_path / "paper.pdf").write_bytes(b"%PDF-1.7\n" + os.urandom(3000))
    assert "not a loop" in refusal(tmp_path / "paper.pdf")
    shutil.make_archive(str(tmp_path / "archive"), "zip", tmp_path, "notes.avi")
    assert "no array named" in refusal(tmp_path / "archive.zip")


@pytest.mark.parametrize("start", ["RIFF....AVI LIST", "GIF89a", "\x89PNG\r\n\x1a\n", "\xff\xd8\xff\xe0"])
def test_only_a_beginning(tmp_path: Path, start: str) -> None:
    path = tmp_path / "start"
    path.write_bytes(start.encode("latin-1") + bytes(40))
    refusal(path)


def test_dicom_without_pixels(tmp_path: Path) -> None:
    from pydicom.data import get_testdata_file

    report = get_testdata_file("test-SR.dcm", download=False)
    assert report is not None
    assert "no pixels" in refusal(Path(report))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "not an ordinary file" in refusal(tmp_path / "pipe")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path: Path) -> None:
    path = make.write_npz(tmp_path / "locked.npz", make.sector_frames())
    path.chmod(0)
    assert "permission" in refusal(path)


def test_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make.write_npz(tmp_path / "locked.npz", make.sector_frames())

    def locked(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", locked)
    assert "no permission" in refusal(path)


def test_folders(tmp_path: Path) -> None:
    assert "no pictures and no loops" in refusal(tmp_path)
    stills = make.write_stills(tmp_path / "stills", make.sector_frames(12))
    loop = read(stills)
    assert loop.kind == "stills"
    assert len(loop) == 12
    one = tmp_path / "one"
    one.mkdir()
    make.write_dicom(one / "a", make.sector_frames())
    assert read(one).kind == "DICOM"
    make.write_dicom(one / "b", make.sector_frames())
    assert "2 loops" in refusal(one)


def test_progress_and_cancel(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = make.write_dicom(tmp_path / "loop", make.sector_frames())
    read(path, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(n, 6) for n in range(1, 7)]

    def stop(done: int, total: int) -> None:
        raise Cancelled("stopped")

    for source in (path, make.write_video(tmp_path / "v.avi", make.sector_frames(), "-c:v", "ffv1")):
        with pytest.raises(Cancelled):
            read(source, progress=stop)


def test_importing_the_door_stays_cheap() -> None:
    """The window's first frame waits for these imports."""
    code = "import sys, echoq_models.cine; print([m for m in ('pydicom', 'cv2', 'PIL', 'torch') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.strip() == "[]"
