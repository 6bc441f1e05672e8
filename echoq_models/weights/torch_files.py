"""Reads the files of torch.save, new and old, and pickles with tensors inside; nothing in them is executed.

See `pickles` for what a pickle is here. A `.pt` file is a zip with the pickle `data.pkl` and one file for each storage,
or, older, five pickles in a row and the storages behind. In a plain pickle (`.pkl`) each storage is such an older file.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from echoq_models.weights.pickles import Budget, Damaged, Machine, Name, Storage, is_count, run

_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of an older file

# torch's names for storages -> dtype and bytes of an element
_STORAGES: Mapping[str, tuple[str, int]] = {
    "DoubleStorage": ("float64", 8),
    "FloatStorage": ("float32", 4),
    "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2),
    "LongStorage": ("int64", 8),
    "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2),
    "CharStorage": ("int8", 1),
    "ByteStorage": ("uint8", 1),
    "BoolStorage": ("bool", 1),
}


def read(content: bytes) -> Any:
    """What a `.pt` file (zip or older) or a `.pkl` file holds: dicts, lists, tuples, plain values and records.

    Entries of dicts whose key is no str are left out. Raises Refused and Damaged.
    """
    try:
        if content.startswith(b"PK\x03\x04"):
            return _read_zip(content)
        return _read_stream(content, Budget(2 * len(content)))
    except (zipfile.BadZipFile, NotImplementedError, LookupError, ValueError, OSError, RecursionError) as error:
        raise Damaged(str(error)) from error


def _read_zip(content: bytes) -> Any:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        places = {info.filename: info for info in archive.infolist()}
        (root,) = {name.removesuffix("data.pkl") for name in places if name.endswith("/data.pkl")} or {""}
        order = _stored(content, places[f"{root}byteorder"]) if f"{root}byteorder" in places else b"little"
        if bytes(order) != b"little":
            raise Damaged("written on a big-endian machine")
        storages: dict[str, Storage] = {}
        program = io.BytesIO(_stored(content, places[f"{root}data.pkl"]))
        found = run(program, Machine(Budget(2 * len(content)), _by_key(storages)))
        for key, storage in storages.items():
            _fill(storage, _stored(content, places[f"{root}data/{key}"]))
    return found


def _stored(content: bytes, info: zipfile.ZipInfo) -> memoryview:
    """The bytes of a zip's file, which torch never compresses."""
    head = content[info.header_offset : info.header_offset + 30]
    start = info.header_offset + 30 + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
    data = memoryview(content)[start : start + info.file_size]
    if info.compress_type != zipfile.ZIP_STORED or len(data) != info.file_size or zlib.crc32(data) != info.CRC:
        raise Damaged(f"{info.filename} is compressed or cut short")
    return data


def _read_stream(content: bytes, budget: Budget, nested: bool = False) -> Any:
    """A plain pickle, or torch's older file. nested: it lies within a pickle, so that no further one lies in it."""
    stream = io.BytesIO(content)
    plain = partial(Machine, budget, inner=None if nested else partial(_read_stream, budget=budget, nested=True))
    found = run(stream, plain())
    if type(found) is not int or found != _MAGIC:
        return found
    run(stream, plain())  # version
    written_by = run(stream, plain())
    if not isinstance(written_by, dict) or written_by.get("little_endian") is not True:
        raise Damaged("written on a big-endian machine")
    storages: dict[str, Storage] = {}
    found = run(stream, plain(_by_key(storages)))
    keys = run(stream, plain())
    place, view = stream.tell(), memoryview(content)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or sorted(keys) != sorted(storages):
        raise Damaged("its list of storages is wrong")
    for key in keys:
        storage = storages[key]
        if int.from_bytes(view[place : place + 8], "little") != storage.count:
            raise Damaged("its storages are cut short")
        _fill(storage, view[place + 8 : place + 8 + storage.count * storage.size])
        place += 8 + storage.count * storage.size
    return found


def _fill(storage: Storage, data: memoryview) -> None:
    if len(data) != storage.count * storage.size:
        raise Damaged("a storage is cut short")
    storage.data = data


def _by_key(storages: dict[str, Storage]) -> Callable[[Any], Any]:
    """What a file of torch's means by a persistent id; the storages it names are gathered, still empty."""

    def found(pid: Any) -> Any:
        if isinstance(pid, tuple) and len(pid) == 4 and pid[0] == "module" and isinstance(pid[1], Name):
            return pid[1]  # older files put the source of a class beside its name
        if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage" or pid[5:] not in ((), (None,)):
            raise Damaged("a persistent id is not torch's")
        _, kind, key, _, count = pid[:5]
        if not isinstance(kind, Name) or kind.module != "torch" or kind.name not in _STORAGES:
            raise Damaged("a storage of unknown type")
        if not isinstance(key, str) or not is_count(count):
            raise Damaged("a storage without a name or a size")
        storage = storages.setdefault(key, Storage(*_STORAGES[kind.name], count))
        if (storage.dtype, storage.count) != (_STORAGES[kind.name][0], count):
            raise Damaged("a storage of two types")
        return storage

    return found
