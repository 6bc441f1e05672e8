"""A loop on its way through a batch, and what is looked at around it."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from pathlib import Path

from echoq_models.cine.loop import CineLoop
from echoq_models.denoise.base import Settings
from echoq_models.errors import OutputError
from echoq_models.files import Stamp, checksum
from echoq_models.runtime.batch_channel import Channel
from echoq_models.runtime.batch_types import BatchStopped
from echoq_models.runtime.manifest import Row

RESUME = "run the batch again: it goes on where it stopped"


@dataclass(eq=False)  # each is itself
class Item:
    """A loop on its way through the run."""

    number: int
    source: Path
    target: Path
    file: str
    output: str
    row: Row
    alone: bool
    settings: Settings
    stamp: Stamp = field(default_factory=Stamp)
    regions: Path | None = None
    checksums: tuple[str, str] = ("", "")  # of loop and regions
    loop: CineLoop | None = None
    channel: Channel | None = None
    begun: float = 0.0
    frames: int = 0
    denoised: int = 0
    already: bool = False


def regions_checksum(item: Item) -> str:
    """The checksum of the regions beside a loop, "" without: other regions make other figures."""
    try:
        return "" if item.regions is None else checksum(item.regions)
    except OSError:
        return ""


def check_place(target: Path, suffix: str) -> None:
    """Raise OutputError where something stands that no result may replace."""
    if not target.exists() or (suffix and target.is_file()):
        return
    if suffix or not target.is_dir():
        raise OutputError(f"{target}: a {'folder' if suffix else 'file'} has that name; rename or move it")
    if any(not (each.name.startswith("frame_") and each.suffix == ".png") for each in target.iterdir()):
        raise OutputError(f"{target}: exists and holds other things; move it away")


def lost_ground(error: Exception, folder: Path, output: Path, parts: Path) -> BatchStopped | None:
    """Why what went wrong with one loop would go wrong with each; None when it is that loop's own matter.

    folder, output: of the batch.  parts: the folder in `output` in which files are made.
    """
    if is_gone(folder):
        return BatchStopped(f"{folder}: the folder of loops is gone; bring it back and {RESUME}", 3)
    if is_disk_full(error):
        return BatchStopped(f"{output}: the disk is full; make room and {RESUME}")
    if not parts.is_dir():
        return BatchStopped(f"{output}: the folder to write into is gone; bring it back and {RESUME}")
    try:
        probe = parts / "probe"
        probe.touch()
        probe.unlink()
    except OSError as refused:
        why = refused.strerror or str(refused)
        return BatchStopped(f"{output}: nothing can be written there any more ({why}); mend it and {RESUME}")
    return error if isinstance(error, BatchStopped) else None


def is_gone(folder: Path) -> bool:
    """Whether a folder is not there, or is empty as the place of a drive that was unplugged."""
    try:
        return next(folder.iterdir(), None) is None
    except OSError:
        return True


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an exception, or what caused it, says that a disk or a quota is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
            return True
        if isinstance(error, OutputError) and ("No space left" in str(error) or "quota exceeded" in str(error)):
            return True  # ffmpeg's words
        error = error.__cause__ or error.__context__
    return False
