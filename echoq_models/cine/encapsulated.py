"""Where the frames of a DICOM file's pixel data lie, also when its end is cut off (PS3.5 A.4)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from struct import unpack
from typing import BinaryIO

_ITEM = 0xFFFEE000
_UNDEFINED = 0xFFFFFFFF


@dataclass(frozen=True)
class Piece:
    """One stretch of bytes of a file; `whole` is False when the file ends before it does."""

    offset: int
    length: int
    whole: bool = True


def native_frames(start: int, frame_bytes: int, count: int, end: int) -> list[Piece]:
    """Uncompressed frames that lie completely between `start` and the file's `end`, at most `count`."""
    whole = min(count, max(0, end - start) // frame_bytes)
    return [Piece(start + i * frame_bytes, frame_bytes) for i in range(whole)]


def encapsulated_frames(
    file: BinaryIO, start: int, count: int, end: int, extended_offsets: tuple[int, ...] = ()
) -> list[tuple[Piece, ...]]:
    """The fragments of each compressed frame, at most `count`; frames cut by the file's end are left out.

    file: any seekable binary file; start: offset of the Basic Offset Table's item.
    Offset tables are used where they agree with the items; else one fragment a frame, else the markers that
    end a JPEG frame decide.
    """
    items = fragments(file, start, end)
    if not items:
        return []
    table, items = items[0], items[1:]
    if not items:
        return []
    offsets = extended_offsets or _offset_table(file, table)
    frames = _by_offsets(items, offsets, count) or _by_markers(file, items, count)
    return [f for f in frames if f and all(piece.whole for piece in f)][:count]


def read_pieces(file: BinaryIO, pieces: tuple[Piece, ...]) -> bytes:
    """The bytes of one frame."""
    parts = []
    for piece in pieces:
        file.seek(piece.offset)
        parts.append(file.read(piece.length))
    return b"".join(parts)


def fragments(file: BinaryIO, start: int, end: int) -> list[Piece]:
    """Items from `start` to the sequence delimiter, or as far as they make sense; the first is the offset table.

    Always little endian. The last one is not whole where the file ends in it.
    """
    found: list[Piece] = []
    at = start
    while at + 8 <= end:
        file.seek(at)
        group, element, length = unpack("<HHL", file.read(8))
        if (group << 16 | element) != _ITEM or length == _UNDEFINED:
            break  # the delimiter, or damage: what came before stands
        found.append(Piece(at + 8, min(length, end - at - 8), at + 8 + length <= end))
        at += 8 + length
    return found


def _offset_table(file: BinaryIO, table: Piece) -> tuple[int, ...]:
    if not table.whole or table.length == 0 or table.length > 1 << 24:
        return ()
    file.seek(table.offset)
    whole = table.length - table.length % 4
    return unpack(f"<{whole // 4}L", file.read(whole))


def _by_offsets(items: list[Piece], offsets: tuple[int, ...], count: int) -> list[tuple[Piece, ...]] | None:
    """Group items by the offsets of frame starts, None when the table does not fit the items."""
    if not offsets or offsets[0] != 0 or any(b <= a for a, b in pairwise(offsets)):
        return None
    if len(offsets) != count:
        return None
    base = items[0].offset - 8
    starts = {item.offset - 8 - base: i for i, item in enumerate(items)}
    reach = items[-1].offset - 8 - base
    if any(o not in starts for o in offsets if o <= reach):
        return None
    edges = [starts[o] for o in offsets if o <= reach] + [len(items)]
    return [tuple(items[a:b]) for a, b in pairwise(edges)]


def _by_markers(file: BinaryIO, items: list[Piece], count: int) -> list[tuple[Piece, ...]]:
    if len(items) <= count:  # also a file cut short
        return [(item,) for item in items]
    if count == 1:
        return [tuple(items)]
    frames: list[tuple[Piece, ...]] = []
    open_frame: list[Piece] = []
    for item in items:
        open_frame.append(item)
        file.seek(item.offset + max(0, item.length - 10))
        if b"\xff\xd9" in file.read(min(10, item.length)):
            frames.append(tuple(open_frame))
            open_frame = []
    return frames
