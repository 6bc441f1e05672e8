"""The folder of shared frames: private, swept when its owner is dead, left alone while it lives."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from echoq_models.errors import OutputError
from echoq_models.runtime import shared_files
from echoq_models.runtime.shared_files import PREFIX, SharedFolder, allocate, attach, sweep, view

OWNER = """
import sys
from pathlib import Path
from echoq_models.runtime.shared_files import SharedFolder, allocate
folder = SharedFolder(Path(sys.argv[1]))
allocate(folder.file("patient.frames"), (2, 3, 4))[...] = 7
print(folder.path, flush=True)
sys.stdin.read()
"""


def owner(root: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that owns a folder under `root`."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def age(folder: Path) -> None:
    """Make a folder look an hour old."""
    then = time.time() - 3600
    os.utime(folder, (then, then))


def test_the_folder_is_private_and_goes_with_its_owner(tmp_path: Path) -> None:
    folder = SharedFolder(tmp_path)
    if sys.platform != "win32":
        assert folder.path.stat().st_mode & 0o777 == 0o700
    allocate(folder.file("a.frames"), (1, 2, 3))
    folder.close()
    assert not folder.path.exists()
    folder.close()  # twice is once


def test_only_folders_of_the_dead_are_swept(tmp_path: Path) -> None:
    living, kept = owner(tmp_path)
    dying, stale = owner(tmp_path)
    mine = SharedFolder(tmp_path)
    for folder in (kept, stale, mine.path):
        age(folder)
    dying.kill()
    dying.communicate()
    try:
        assert sweep(tmp_path) == 1
        assert not stale.exists()
        assert (kept / "patient.frames").exists() and mine.path.exists()
    finally:
        living.communicate()
        mine.close()
    assert sweep(tmp_path) == 1 and not kept.exists()


def test_a_folder_without_a_lock_is_swept_unless_it_is_new(tmp_path: Path) -> None:
    newborn, orphan = tmp_path / f"{PREFIX}new", tmp_path / f"{PREFIX}old"
    for folder in (newborn, orphan):
        folder.mkdir()
    age(orphan)
    assert sweep(tmp_path) == 1
    assert newborn.exists() and not orphan.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_a_link_is_never_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years")
    (tmp_path / f"{PREFIX}trap").symlink_to(precious)
    age(precious)
    assert sweep(tmp_path) == 0
    assert (precious / "thesis.txt").exists()


def test_a_view_shows_what_the_writer_puts_there_and_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "x.frames"
    written = allocate(path, (3, 4, 5))
    seen = view(path, (3, 4, 5))
    assert not seen.any()
    written[1] = 9
    attach(path, (3, 4, 5))[2] = 8
    assert (seen[1] == 9).all() and (seen[2] == 8).all() and not seen[0].any()
    with pytest.raises(ValueError, match="read-only"):
        seen[0] = 1
    numbers = allocate(tmp_path / "y.frames", (3,), np.uint32)
    numbers[:] = 2**32 - 1
    assert view(tmp_path / "y.frames", (3,), np.uint32)[2] == 2**32 - 1


def test_room_on_the_disk_is_taken_at_once(tmp_path: Path) -> None:
    allocate(tmp_path / "x.frames", (8, 512, 512))
    facts = (tmp_path / "x.frames").stat()
    assert facts.st_size == 8 * 512 * 512
    if hasattr(facts, "st_blocks"):
        assert facts.st_blocks * 512 >= facts.st_size  # not sparse: a full disk shows now, not as SIGBUS later


def test_writing_zeros_gives_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    pixels = allocate(tmp_path / "x.frames", (3, 700, 701))  # not a whole number of MiB
    assert pixels.shape == (3, 700, 701) and not pixels.any()


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "room" / "x.frames"
    path.parent.mkdir()
    with pytest.raises(OutputError, match=r"there is no room for \d+ MiB of frames .*TMPDIR"):
        allocate(path, (2**22, 2**12, 2**12))
    assert not path.exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no temporary folder can be made here"):
        SharedFolder(tmp_path / "missing")


def test_what_cannot_be_deleted_yet_is_deleted_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = SharedFolder(tmp_path)
    path = folder.file("x.frames")
    allocate(path, (1, 2, 3))

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "in use")

    with monkeypatch.context() as windows:  # which does not delete what is mapped
        windows.setattr(shared_files.Path, "unlink", refuse)
        folder.discard([path])
    assert path.exists()
    folder.discard([])
    assert not path.exists()
    folder.close()
