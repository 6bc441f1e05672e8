"""GIF, .npz and folders of PNG."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from echoq_models.cine.colour import luminance
from echoq_models.errors import OutputError

if TYPE_CHECKING:
    from zipfile import ZipInfo

    from PIL.Image import Image

    from echoq_models.cine.writer import WriteOptions

U8 = NDArray[np.uint8]


class NpzSink:
    """`frames` uint8 (T, H, W) luminance, `times_ms` float64 (T,), and `caption`, `title`, `comment` where given.

    Frames are streamed to disk as they come; memory holds one.
    """

    def __init__(self, path: Path, size: tuple[int, int], times_ms: NDArray[np.float64], options: WriteOptions) -> None:
        import zipfile

        self._times, self._options = times_ms, options
        self._zip = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=4)
        self._entry: IO[bytes] = self._zip.open(_member("frames"), "w", force_zip64=True)
        shape = (len(times_ms), *size)
        np.lib.format.write_array_header_1_0(self._entry, {"descr": "|u1", "fortran_order": False, "shape": shape})

    def add(self, frame: U8) -> None:
        """Grey (H, W), or RGB (H, W, 3) whose luminance is kept."""
        grey = luminance(np.ascontiguousarray(frame)) if frame.ndim == 3 else frame
        self._entry.write(np.ascontiguousarray(grey).data)

    def finish(self) -> None:
        """Add the times and close the archive."""
        self._entry.close()
        facts = {"times_ms": np.asarray(self._times, dtype=np.float64)}
        for name in ("caption", "title", "comment"):
            if text := getattr(self._options, name):
                facts[name] = np.asarray(text)
        for name, array in facts.items():
            with self._zip.open(_member(name), "w") as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)
        self._zip.close()

    def abort(self) -> None:
        """Close the file handle."""
        if not self._entry.closed:
            self._entry.close()
        self._zip.close()


def _member(name: str) -> ZipInfo:
    """An entry of the archive; without a time of day, so that the same loop gives the same bytes."""
    from zipfile import ZIP_DEFLATED, ZipInfo

    member = ZipInfo(f"{name}.npy")
    member.compress_type = ZIP_DEFLATED
    member._compresslevel = 4  # type: ignore[attr-defined]  # what ZipFile gives to names, not to ZipInfo
    return member


class PngFolderSink:
    """frame_00000.png and so on, grey or RGB, each with its time (ms) and the caption as text chunks."""

    def __init__(self, path: Path, size: tuple[int, int], times_ms: NDArray[np.float64], options: WriteOptions) -> None:
        self._path, self._times, self._options, self._count = path, times_ms, options, 0

    def add(self, frame: U8) -> None:
        """Write one PNG."""
        from PIL import Image
        from PIL.PngImagePlugin import PngInfo

        facts = PngInfo()
        facts.add_text("time_ms", repr(float(self._times[self._count])))
        texts = (
            ("Title", self._options.title),
            ("Comment", self._options.comment),
            ("Description", self._options.caption or ""),
        )
        for key, text in texts:
            if text:
                facts.add_text(key, text)
        image = Image.fromarray(np.ascontiguousarray(frame))
        image.save(self._path / f"frame_{self._count:05d}.png", pnginfo=facts, compress_level=4)
        self._count += 1

    def finish(self) -> None:
        """Nothing to do."""

    def abort(self) -> None:
        """Nothing to do."""


class GifSink:
    """An endless GIF with the loop's own delays, which GIF keeps in hundredths of a second.

    Rounding errors are carried on, so that the loop lasts as long as it should. Grey frames are exact; colour
    frames keep grey exactly where 200 greys suffice and spend the rest of the palette on the colours.
    """

    def __init__(self, path: Path, size: tuple[int, int], times_ms: NDArray[np.float64], options: WriteOptions) -> None:
        if max(size) > 65535:
            raise OutputError("GIF cannot hold pictures wider or higher than 65535 pixels.")
        self._file = path.open("wb")
        self._delays = gif_delays(times_ms)
        self._options = options
        self._count = 0
        self._size = size

    def add(self, frame: U8) -> None:
        """Append one frame with its own palette."""
        from PIL import GifImagePlugin

        image = _grey_image(frame) if frame.ndim == 2 else _colour_image(frame)
        if self._count == 0:
            self._begin()
        for part in GifImagePlugin.getdata(image, duration=10 * self._delays[self._count], include_color_table=True):
            self._file.write(part)
        self._count += 1

    def _begin(self) -> None:
        """Header: logical screen without a global palette, endless looping, comment (GIF89a 17 - 24)."""
        height, width = self._size
        self._file.write(b"GIF89a" + width.to_bytes(2, "little") + height.to_bytes(2, "little") + b"\x70\0\0")
        self._file.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0")
        texts = (self._options.title, self._options.comment, self._options.caption)
        comment = " - ".join(t for t in texts if t).encode("ascii", "replace")
        if comment:
            self._file.write(b"\x21\xfe")
            for at in range(0, len(comment), 255):
                block = comment[at : at + 255]
                self._file.write(bytes([len(block)]) + block)
            self._file.write(b"\0")

    def finish(self) -> None:
        """Write the trailer."""
        self._file.write(b";")
        self._file.close()

    def abort(self) -> None:
        """Close the file handle."""
        self._file.close()


def gif_delays(times_ms: NDArray[np.float64]) -> list[int]:
    """Delay of each frame (T,) in hundredths of a second, at least 1; the last one is the mean delay."""
    if len(times_ms) < 2:
        return [10] * len(times_ms)
    steps = np.diff(np.rint(times_ms / 10.0)).astype(int)
    mean = round(float(times_ms[-1] - times_ms[0]) / (len(times_ms) - 1) / 10.0)
    return [max(1, int(d)) for d in (*steps, mean)]


def _grey_image(frame: U8) -> Image:
    """A palette image whose palette is the 256 greys."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(frame)).convert("P")
    image.putpalette(np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes())
    return image


def _colour_image(frame: U8) -> Image:
    """A palette image of an RGB frame: its grey pixels exactly, its colours as well as the palette allows."""
    from PIL import Image

    spread = frame.max(axis=2) - frame.min(axis=2)
    coloured = spread > 0
    if not coloured.any():
        return _grey_image(frame[..., 0])
    greys = np.unique(frame[..., 1][~coloured])
    room = 256 - len(greys)
    if room < 32:
        return Image.fromarray(np.ascontiguousarray(frame)).quantize(256, dither=Image.Dither.NONE)
    strip = Image.fromarray(np.ascontiguousarray(frame[coloured][None]))
    few = strip.quantize(room, dither=Image.Dither.NONE)
    colours = np.asarray(few.getpalette() or [], dtype=np.uint8).reshape(-1, 3)[:room]
    index = np.empty(frame.shape[:2], dtype=np.uint8)
    lookup = np.zeros(256, dtype=np.uint8)
    lookup[greys] = np.arange(len(greys))
    index[~coloured] = lookup[frame[..., 1][~coloured]]
    index[coloured] = np.asarray(few)[0] + len(greys)
    table = np.zeros((256, 3), dtype=np.uint8)
    table[: len(greys)] = greys[:, None]
    table[len(greys) : len(greys) + len(colours)] = colours
    image = Image.fromarray(index).convert("P")
    image.putpalette(table.tobytes())
    return image
