"""Read pictures: GIF, single stills, folders of stills as one loop, and .npz arrays."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from echoq_models.cine import timing
from echoq_models.cine.colour import FrameCollector
from echoq_models.cine.limits import check_size
from echoq_models.cine.loop import CineLoop
from echoq_models.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

U8 = NDArray[np.uint8]
Progress = Callable[[int, int], None]

_FORMATS = ("GIF", "PNG", "JPEG", "BMP", "TIFF", "WEBP")


def read_picture(path: Path, kind: str, progress: Progress | None = None) -> CineLoop:
    """Read a still or an animation (GIF, APNG, WebP, pages of a TIFF). Raises InputError.

    kind: the file's kind from `sniff.kind_of`.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of what it then refuses, or repairs
        with Image.open(path, formats=_FORMATS) as image, FrameCollector(path, lossy=kind == "JPEG") as collector:
            lossy = _lossy(image, kind)
            delays, cut = _add_frames(path, image, collector, progress)
            if not delays:
                raise InputError(f"{path}: the {kind} is damaged or cut off before its first picture ends.")
            frames, colour, tint = collector.finish()
    times, assumed, notes = _animation_times(delays)
    if cut:
        notes += (f"The file is damaged or cut off; {len(frames)} frames could be read.",)
    return CineLoop(
        frames=frames,
        times_ms=times,
        kind=kind,
        source=path,
        colour=colour,
        tint=tint,
        lossy=lossy,
        times_assumed=assumed,
        warnings=notes,
    )


def _add_frames(
    path: Path, image: Image, collector: FrameCollector, progress: Progress | None
) -> tuple[list[float], bool]:
    """Delay of every frame (ms), and whether the file broke off."""
    delays: list[float] = []
    while True:
        try:
            image.seek(len(delays))
        except EOFError:
            return delays, False
        except Exception:  # damage between frames, whatever Pillow makes of it
            return delays, True
        width, height = image.size
        if collector.size not in (None, (height, width)):
            return delays, False  # pages of other sizes (thumbnails) are not frames
        check_size(path, height, width, len(delays) + 1)
        try:
            _add(image, collector)
        except InputError:
            raise
        except Exception as error:  # as above
            if isinstance(error, UnsupportedPicture):
                raise InputError(f"{path}: {error}") from error
            return delays, True
        delays.append(float(image.info.get("duration") or 0.0))
        if progress is not None:
            progress(len(delays), 0)


class UnsupportedPicture(Exception):
    """A picture whose values have no agreed brightness."""


def _add(image: Image, collector: FrameCollector) -> None:
    """Add one picture as grey or RGB uint8."""
    from PIL import ImageOps

    if image.format == "JPEG":
        image = ImageOps.exif_transpose(image)
    mode = image.mode
    if mode.startswith("I;16"):
        collector.add_grey((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    elif mode == "I":
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise UnsupportedPicture("its 32-bit values are not a picture; save it with 8 or 16 bits.")
        collector.add_grey((values >> 8).astype(np.uint8))
    elif mode == "F":
        raise UnsupportedPicture("its floating point values are not a picture; save it with 8 or 16 bits.")
    elif mode in ("L", "1"):
        collector.add_grey(np.asarray(image.convert("L")))
    elif mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in image.info:
        collector.add_rgb(_on_black(image))
    else:
        collector.add_rgb(np.asarray(image.convert("RGB")))


def _on_black(image: Image) -> U8:
    """RGB of a picture with transparency, on black."""
    from PIL import Image as Pillow

    solid = image.convert("RGBA")
    black = Pillow.new("RGBA", solid.size, (0, 0, 0, 255))
    return np.asarray(Pillow.alpha_composite(black, solid).convert("RGB"))


def _lossy(image: Image, kind: str) -> tuple[str, ...]:
    if kind == "JPEG" or image.info.get("compression") in ("jpeg", "tiff_jpeg"):
        return ("JPEG",)
    if kind == "WebP":
        return ("WebP",)
    return ()


def _animation_times(delays: list[float]) -> tuple[NDArray[np.float64], bool, tuple[str, ...]]:
    """Times from per-frame delays (ms); the last delay is only how long the last frame stays."""
    if len(delays) == 1:
        return np.zeros(1), False, ()
    if not any(delays[:-1]):
        times, why = timing.assumed(len(delays), "The file states no delays between its frames")
        return times, True, (why,)
    return timing.checked(np.concatenate([[0.0], np.cumsum(delays[:-1])]), len(delays))


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key that puts f2 before f10."""
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts]


def read_folder(folder: Path, files: list[Path], progress: Progress | None = None) -> CineLoop:
    """Read stills as one loop, in the natural order of their names. Raises InputError.

    Times come from the stills where an EchoQ export wrote them, else 30 frames per second are assumed.
    """
    files = sorted(files, key=lambda p: natural_key(p.name))
    notes: list[str] = []
    times: list[float | None] = []
    lossy: set[str] = set()
    with (
        warnings.catch_warnings(),
        FrameCollector(folder, expected=len(files), lossy=True) as collector,
    ):
        warnings.simplefilter("ignore")
        for done, file in enumerate(files):
            try:
                times.append(_add_still(file, collector, lossy))
            except (InputError, MemoryError):
                raise
            except Exception:  # whatever a damaged picture provokes
                notes.append(f"{file.name} cannot be read and is left out.")
            if progress is not None:
                progress(done + 1, len(files))
        if not times:
            raise InputError(f"{folder}: none of its {len(files)} pictures can be read.")
        frames, colour, tint = collector.finish()
    stated, assumed, complaints = _folder_times(times)
    return CineLoop(
        frames=frames,
        times_ms=stated,
        kind="stills",
        source=folder,
        colour=colour,
        tint=tint,
        lossy=tuple(sorted(lossy)),
        times_assumed=assumed,
        warnings=(*notes[:5], *complaints),
    )


def _add_still(file: Path, collector: FrameCollector, lossy: set[str]) -> float | None:
    """Add the first picture of a file; its time (ms) where it states one."""
    from PIL import Image

    with Image.open(file, formats=_FORMATS) as image:
        width, height = image.size
        check_size(file, height, width)
        if collector.size not in (None, (height, width)):
            had = collector.size or (0, 0)
            raise InputError(
                f"{file}: this picture is {width} x {height}, the ones before it {had[1]} x {had[0]}; "
                "a folder must hold frames of one loop."
            )
        try:
            _add(image, collector)
        except UnsupportedPicture as error:
            raise InputError(f"{file}: {error}") from error
        if image.format == "JPEG":
            lossy.add("JPEG")
        stated = image.info.get("time_ms")
        return float(stated) if isinstance(stated, str) else None


def _folder_times(times: list[float | None]) -> tuple[NDArray[np.float64], bool, tuple[str, ...]]:
    known = [t for t in times if t is not None]
    if len(known) == len(times):
        return timing.checked(known, len(times))
    if len(times) == 1:
        return np.zeros(1), False, ()
    stated, why = timing.assumed(len(times), "Stills state no frame times")
    return stated, True, (why,)


def read_npz(path: Path, progress: Progress | None = None) -> CineLoop:
    """Read `frames` uint8 (T, H, W), (H, W) or (T, H, W, 3) RGB, and `times_ms` (T,) if it is there.

    Raises InputError. Nothing is ever unpickled.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if "frames.npy" not in archive.namelist():
                raise InputError(f"{path}: this zip archive holds no array named `frames`.")
            shape = _checked_shape(path, archive)
            with archive.open("frames.npy") as entry:
                array = np.lib.format.read_array(entry, allow_pickle=False)
            times = None
            if "times_ms.npy" in archive.namelist() and archive.getinfo("times_ms.npy").file_size < 1 << 24:
                with archive.open("times_ms.npy") as entry:
                    times = np.lib.format.read_array(entry, allow_pickle=False)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError) as error:
        raise InputError(f"{path}: the archive is damaged or cut off; copy it again.") from error
    frames = array.reshape(shape)
    if times is None or times.dtype.kind not in "fiu":
        stated, why = timing.assumed(len(frames), "The file states no frame times")
        assumed = len(frames) > 1
        notes: tuple[str, ...] = (why,) if assumed else ()
    else:
        stated, assumed, notes = timing.checked(times, len(frames))
    colour = tint = None
    if frames.ndim == 4:
        with FrameCollector(path, expected=len(frames)) as collector:
            for frame in frames:
                collector.add_rgb(frame)
            frames, colour, tint = collector.finish()
    if progress is not None:
        progress(len(frames), len(frames))
    return CineLoop(
        frames=np.ascontiguousarray(frames),
        times_ms=stated,
        kind="npz",
        source=path,
        colour=colour,
        tint=tint,
        times_assumed=assumed,
        warnings=notes,
    )


def _checked_shape(path: Path, archive: zipfile.ZipFile) -> tuple[int, ...]:
    """Shape of `frames` as (T, H, W) or (T, H, W, 3), from its header alone."""
    with archive.open("frames.npy") as entry:
        version = np.lib.format.read_magic(entry)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(entry)
    if dtype != np.uint8:
        raise InputError(f"{path}: `frames` is {dtype}, it must be uint8 with luminance 0-255.")
    if len(shape) == 2:
        shape = (1, *shape)
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] != 3):
        raise InputError(f"{path}: `frames` has shape {shape}, it must be (T, H, W) or (T, H, W, 3).")
    check_size(path, shape[1], shape[2], shape[0])
    return tuple(int(n) for n in shape)
