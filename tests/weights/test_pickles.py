"""Pickles are taken apart, never run: what torch writes is found again, what would do harm does none."""

from __future__ import annotations

import argparse
import collections
import copyreg
import io
import os
import pickle
import pickletools
import random
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from echoq_models.errors import WeightsError
from echoq_models.weights import pickles, torch_files, upstream
from echoq_models.weights.pickles import Damaged, Made, Refused, Values


def saved(content: object, zipped: bool = True) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


WRITERS: dict[str, Callable[[object], bytes]] = {
    "zip": saved,
    "older": lambda content: saved(content, zipped=False),
    **{f"pickle {n}": lambda content, n=n: pickle.dumps(content, protocol=n) for n in range(6)},
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_tensors_of_all_kinds_come_out_as_they_went_in(write: Callable[[object], bytes]) -> None:
    base = torch.arange(60, dtype=torch.float32).reshape(3, 4, 5)
    tensors = {
        "plain": base,
        "a view": base[1:, ::2, 1:4],
        "turned": base.permute(2, 0, 1),
        "repeated": torch.tensor(2.5).expand(2, 3),
        "channels last": torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "a number": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "parameter": nn.Parameter(torch.rand(3)),
    }
    kinds = (
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint8,
        torch.bool,
    )
    tensors |= {str(kind): torch.tensor([0, 1, 3], dtype=kind) for kind in kinds}
    found = torch_files.read(
        write({"state": collections.OrderedDict(tensors), "list": [1, 2.5, "x", None, True, b"y"]})
    )
    assert found["list"] == [1, 2.5, "x", None, True, b"y"]
    assert list(found["state"]) == list(tensors)
    for name, value in tensors.items():
        tensor = found["state"][name].tensor()
        assert tensor.dtype == value.dtype and torch.equal(tensor, value), name
        assert tensor.is_contiguous()


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_what_stands_around_tensors_stays_a_record(write: Callable[[object], bytes]) -> None:
    options = argparse.Namespace(
        side=256, device=torch.device("cpu"), gain=np.float64(0.5), seen=np.arange(3), s={1, 2}
    )
    options.path, options.kind, options.table = Path("x"), torch.float32, collections.defaultdict(int)
    found = torch_files.read(write({"opts": options, "x": torch.ones(2), "odd keys": {1: 2, (3, 4): 5, "six": 6}}))
    assert isinstance(found["opts"], Made) and str(found["opts"].by) == "argparse.Namespace"
    assert found["opts"].state["side"] == 256 and str(found["opts"].state["kind"]) == "torch.float32"
    assert found["odd keys"] == {"six": 6}
    assert torch.equal(found["x"].tensor(), torch.ones(2))


def test_a_class_nobody_has_is_a_record_and_nothing_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker, package = tmp_path / "executed", ModuleType("evil_package")
    exec("class Config:\n    def __setstate__(self, state): raise RuntimeError\ndef run(x): pass", package.__dict__)
    package.Config.__module__ = package.run.__module__ = "evil_package"
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "evil_package", package)
        config = package.Config()
        config.side = 64
        config.rebuilt = Calls(package.run, "x")
        content = saved({"opts": config, "x": torch.ones(1)})
    (tmp_path / "evil_package.py").write_text(f"open({str(marker)!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    found = torch_files.read(content)
    assert str(found["opts"].by) == "evil_package.Config" and found["opts"].state["side"] == 64
    assert str(found["opts"].state["rebuilt"].by) == "evil_package.run"
    assert not marker.exists() and "evil_package" not in sys.modules


class Calls:
    """Pickles as a call."""

    def __init__(self, function: object, *args: object) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple:
        return self.call


def touch(marker: Path) -> str:
    return f"__import__('pathlib').Path({str(marker)!r}).touch()"


def by_extension(marker: Path) -> bytes:
    copyreg.add_extension("builtins", "exec", 240)
    try:
        return pickle.dumps({"x": Calls(exec, touch(marker))}, protocol=2)
    finally:
        copyreg.remove_extension("builtins", "exec", 240)


def in_the_storage(marker: Path) -> bytes:
    inner = saved(Calls(exec, touch(marker)), zipped=False)
    return pickle.dumps({"x": Calls(torch.storage._load_from_bytes, inner)})


def shell(marker: Path) -> str:
    return f"touch '{marker}'"


def in_steps(marker: Path) -> bytes:
    """getattr(__import__("os"), "system")(...)"""
    steps = b"\x80\x04\x8c\x08builtins\x8c\x07getattr\x93\x8c\x08builtins\x8c\x0a__import__\x93\x8c\x02os\x85R"
    text = shell(marker).encode()
    return steps + b"\x8c\x06system\x86RX" + struct.pack("<I", len(text)) + text + b"\x85R."


ATTACKS: dict[str, Callable[[Path], bytes]] = {
    "os.system": lambda m: pickle.dumps({"x": Calls(os.system, shell(m))}),
    "os.system in the options": lambda m: saved({"opts": argparse.Namespace(x=Calls(os.system, shell(m)))}),
    "os.system in an older file": lambda m: saved({"x": Calls(os.system, shell(m))}, zipped=False),
    "eval": lambda m: pickle.dumps({"x": Calls(eval, touch(m))}),
    "exec with Python 2's name": lambda m: pickle.dumps({"x": Calls(exec, touch(m))}, protocol=2),
    "getattr": in_steps,
    "subprocess": lambda m: pickle.dumps({"x": Calls(subprocess.call, ["touch", str(m)])}),
    "subprocess made anew": lambda m: b"\x80\x02csubprocess\nPopen\n(]X\x05\x00\x00\x00touchat\x81.",
    "an old instance": lambda m: f"(S{shell(m)!r}\nios\nsystem\n.".encode(),
    "an old object": lambda m: f"(cos\nsystem\nS{shell(m)!r}\no.".encode(),
    "a dotted name": lambda m: b"\x80\x04\x8c\x08argparse\x8c\x0a_os.system\x93\x8c\x01x\x85R.",
    "a pickle within": lambda m: pickle.dumps(Calls(pickle.loads, pickle.dumps(Calls(exec, touch(m))))),
    "numpy": lambda m: pickle.dumps({"x": Calls(np.load, str(m))}),
    "torch.load": lambda m: pickle.dumps({"x": Calls(torch.load, str(m))}),
    "torch.hub": lambda m: b"\x80\x02ctorch.hub\nload\nX\x01\x00\x00\x00x\x85R.",
    "an extension code": by_extension,
    "in the storage": in_the_storage,
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_file_that_would_run_a_program_is_refused_in_one_sentence(tmp_path: Path, attack: str) -> None:
    marker, file = tmp_path / "executed", tmp_path / "weights.pt"
    file.write_bytes(ATTACKS[attack](marker))
    with pytest.raises(WeightsError, match="which could run a program") as caught:
        upstream.import_file(file)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700
    assert not marker.exists()


def test_the_bait_is_real(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    for name in ("os.system", "eval", "getattr", "an old instance", "an old object", "a pickle within", "subprocess"):
        pickle.loads(ATTACKS[name](marker))  # noqa: S301
        assert marker.exists(), name
        marker.unlink()


def rebuilt(*place: object) -> bytes:
    """A tensor at an odd place of a storage of 6 numbers: offset, shape, stride."""
    storage = torch.zeros(6).untyped_storage()
    typed = torch.storage.TypedStorage(wrap_storage=storage, dtype=torch.float32, _internal=True)
    tensor = Calls(torch._utils._rebuild_tensor_v2, typed, *place, False, collections.OrderedDict())
    return pickle.dumps({"x": tensor})


def zipped(program: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/data/0", b"\0" * 24)
    return stream.getvalue()


def deflated() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps([0] * 10_000_000, protocol=2))
    return stream.getvalue()


def within_each_other(depth: int) -> bytes:
    content = saved({"x": torch.zeros(1)}, zipped=False)
    for _ in range(depth):
        content = saved(Calls(torch.storage._load_from_bytes, content), zipped=False)
    return pickle.dumps(Calls(torch.storage._load_from_bytes, content))


def text_again_and_again() -> bytes:
    text = b"c_codecs\nencode\nq\x000X" + struct.pack("<I", 1 << 20) + b"x" * (1 << 20) + b"q\x010("
    return b"\x80\x02" + text + b"h\x00h\x01\x85R" * 200_000 + b"l."


def modules_within_modules() -> bytes:
    module = nn.Module()
    module.register_parameter("x", nn.Parameter(torch.zeros(1)))
    for _ in range(60):
        module = nn.Sequential(module, module)
    return pickle.dumps({"G_ema": module})


def key(*pid: object) -> bytes:
    """A program that asks for this persistent id."""
    return pickle.dumps(pid, protocol=2)[:-1] + b"Q."


BOMBS: dict[str, Callable[[], bytes]] = {
    "a far place in the memo": lambda: b"\x80\x02Nr\xff\xff\xff\x7f.",
    "bytes that are not there": lambda: b"\x80\x04\x8e" + struct.pack("<Q", 1 << 45) + b"x.",
    "an array of bytes that is not there": lambda: b"\x80\x05\x96" + struct.pack("<Q", 1 << 45) + b"x.",
    "a key that takes for ever": lambda: b"\x80\x02}N" + b"2\x86" * 70 + b"Ns.",
    "instructions without end": lambda: b"\x80\x02" + b"N0" * 1_100_000 + b".",
    "marks": lambda: b"(" * 500_000,
    "a deep list": lambda: b"\x80\x02" + b"]" * 300_000 + b"a" * 299_999 + b".",
    "an empty stack": lambda: b"\x80\x02R.",
    "text again and again": text_again_and_again,
    "storages within each other": lambda: within_each_other(4),
    "modules within modules": modules_within_modules,
    "a view beyond its storage": lambda: rebuilt(0, (3, 3), (3, 1)),
    "a view before its storage": lambda: rebuilt(-1, (2,), (1,)),
    "a view backwards": lambda: rebuilt(5, (2,), (-1,)),
    "a shape too large": lambda: rebuilt(0, (1 << 62,), (0,)),
    "more numbers than there are": lambda: rebuilt(0, (1 << 20, 1 << 20), (0, 0)),
    "a compressed file": deflated,
    "a persistent id": lambda: b"Pos.system\n.",
    "a persistent id in torch's file": lambda: zipped(key("storage", os.system, "0", "cpu", 6)),
    "a storage that is not there": lambda: zipped(key("storage", torch.FloatStorage, "1", "cpu", 6)),
    "a storage larger than its file": lambda: zipped(key("storage", torch.FloatStorage, "0", "cpu", 1 << 39)),
    "a path for a storage": lambda: zipped(key("storage", torch.FloatStorage, "../../x", "cpu", 6)),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_what_would_take_for_ever_or_all_memory_is_refused_soon(tmp_path: Path, bomb: str) -> None:
    file = tmp_path / "bomb.pt"
    file.write_bytes(BOMBS[bomb]())
    begun = time.perf_counter()
    with pytest.raises(WeightsError, match=r"damaged or not a file of weights|more than \d+ numbers") as caught:
        upstream.import_file(file)
    assert "\n" not in str(caught.value)
    assert time.perf_counter() - begun < 20


@pytest.mark.parametrize("write", ["older", "pickle 2", "pickle 4"])
def test_damaged_bytes_are_named_damaged_or_give_tensors(write: str) -> None:
    state = {"a.weight": torch.rand(4, 3), "b": torch.arange(5), "opts": argparse.Namespace(side=4, s={1})}
    content, rng = WRITERS[write](state), random.Random(3)
    for _ in range(400):
        broken = bytearray(content)
        for _ in range(rng.randint(1, 4)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        try:
            found = torch_files.read(bytes(broken[: rng.choice((len(broken), rng.randrange(len(broken))))]))
        except (Damaged, Refused):
            continue
        for value in found.values() if isinstance(found, dict) else ():
            if isinstance(value, Values) and value.cost < 1000:
                assert value.tensor().shape == value.shape


def test_every_instruction_is_known_or_refused() -> None:
    known = pickles._PUSHED | set(pickles._STEPS) | {"PROTO", "FRAME", "STOP"}
    refused = {"EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"}
    assert {opcode.name for opcode in pickletools.opcodes} == known | refused
