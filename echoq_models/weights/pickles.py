"""Takes pickles apart, tensors and plain values, and executes nothing of them. `torch_files` reads files with it.

A pickle is a program: it names functions and says what to call them with. `pickle.Unpickler` with its lookup
overridden would still be that program's machine: it calls whatever ends up callable, sets attributes, hashes keys
nested as deep as the file likes and allocates what the file announces. So there is none here. `pickletools` takes the
instructions apart, and `Machine` writes down what they would have made: names as `Name`, calls as `Made`, tensors as
`Values`, whose place in their storage is checked before a byte is read. Nothing is imported by a name in the file.

Names of torch, numpy and Python's own library may be called if they are on a short list; a file that calls another
(`os.system`, `builtins.eval`, `torch.load`) is no file of weights and is refused. Classes of other packages stand
around the tensors in training's files; they stay inert records.
"""

from __future__ import annotations

import io
import math
import pickletools
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

MAX_STEPS = 2_000_000  # instructions in a file; a checkpoint of 225 million parameters has some ten thousand
MAX_NAME = 300  # letters in the name of a module, class or function

# Python 2's names, which pickle still writes
_OLD_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg", "commands": "subprocess"}

# What may be called of torch, numpy and Python's library and is kept as a record
_HARMLESS = {
    *(f"builtins.{name}" for name in ("set", "frozenset", "bytearray", "complex", "range", "slice")),
    *(f"collections.{name}" for name in ("defaultdict", "Counter", "deque")),
    *(f"pathlib.{name}" for name in ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")),
    *(f"datetime.{name}" for name in ("date", "datetime", "time", "timedelta", "timezone")),
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *(f"numpy.{core}.numeric._frombuffer" for core in ("core", "_core")),
    "argparse.Namespace",
    "numpy.dtype",
    "torch.Size",
    "torch.device",
    "types.SimpleNamespace",
}
_WATCHED = sys.stdlib_module_names | {"torch", "numpy"}


class Refused(Exception):
    """The file asks for a call that no file of weights needs; its text names what."""


class Damaged(Exception):
    """The bytes are no pickle that torch or Python wrote."""


@dataclass(frozen=True)
class Name:
    """A class or function that the file names."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Made:
    """An object the file asks for: what it is made by and with, the state and the entries it is given afterwards."""

    by: Name
    args: tuple[Any, ...]
    state: Any = None
    items: list[Any] = field(default_factory=list)
    table: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class Storage:
    """`count` numbers in a row, little-endian. dtype: torch's name for it.  size: bytes of each."""

    dtype: str
    size: int
    count: int
    data: memoryview = field(default_factory=lambda: memoryview(b""))


@dataclass(frozen=True, eq=False)
class Values:
    """A tensor in the file: a view of a storage. Its numbers are read by `tensor`."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def numel(self) -> int:
        """Numbers in the tensor."""
        return math.prod(self.shape)

    @property
    def cost(self) -> int:
        """Numbers that `tensor` touches: a view may repeat some and skip others."""
        return max(self.numel, _last(self.offset, self.shape, self.stride) + 1 - self.offset) if self.numel else 0

    def tensor(self) -> Tensor:
        """The tensor itself, on the CPU, in its own dtype, memory of its own."""
        import torch

        dtype = getattr(torch, self.storage.dtype)
        if self.numel == 0:
            return torch.empty(self.shape, dtype=dtype)
        size, last = self.storage.size, _last(self.offset, self.shape, self.stride)
        part = bytearray(self.storage.data[self.offset * size : (last + 1) * size])
        view = torch.frombuffer(part, dtype=dtype).as_strided(self.shape, self.stride)
        return view.clone(memory_format=torch.contiguous_format)


@dataclass
class Budget:
    """What a file may still cost: instructions, and bytes that its calls copy or read again. An honest file touches
    each byte twice at most; without this a few bytes could ask for the same work a million times."""

    size: int
    steps: int = MAX_STEPS

    def step(self) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise Damaged("more instructions than any file of weights has")

    def copy(self, size: int) -> None:
        self.size -= size
        if self.size < 0:
            raise Damaged("it uses the same bytes again and again")


def is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 40


def _last(offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> int:
    """Index in the storage of the last number of a view that is not empty."""
    return offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))


def _view(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> Values:
    """The arguments of torch's `_rebuild_tensor` and `_rebuild_tensor_v2`, checked."""
    if isinstance(shape, Made) and str(shape.by) == "torch.Size" and len(shape.args) == 1:
        shape = shape.args[0]
    if not isinstance(storage, Storage) or not isinstance(shape, tuple) or not isinstance(stride, tuple):
        raise Damaged("a tensor without a storage or a shape")
    if len(shape) != len(stride) or len(shape) > 16 or not all(is_count(n) for n in (offset, *shape, *stride)):
        raise Damaged("a tensor of impossible shape")
    if math.prod(shape) > 0 and _last(offset, shape, stride) >= storage.count:
        raise Damaged("a tensor reaches beyond its storage")
    return Values(storage, offset, shape, stride)


def _encoded(text: Any, codec: Any = "latin1") -> bytes:
    """How protocol 2 writes bytes."""
    if not isinstance(text, str) or codec not in ("latin1", "latin-1"):
        raise Damaged("bytes in an odd form")
    return text.encode("latin1")


def _blank(of: Any, *_: Any) -> Made:
    """How protocols 0 and 1 begin an object; what stands behind the class only matters to Python."""
    if not isinstance(of, Name):
        raise Damaged("an object without a class")
    return Made(of, ())


def _parameter(data: Any, *_: Any) -> Any:
    return data


def _table() -> dict[str, Any]:
    return {}


def _bytes(*data: Any) -> Any:
    return data[0] if data else b""


# What is made here at once, by code of our own
_MAKERS: Mapping[str, Callable[..., Any]] = {
    "_codecs.encode": _encoded,
    "builtins.bytes": _bytes,
    "collections.OrderedDict": _table,
    "copyreg._reconstructor": _blank,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._utils._rebuild_tensor": _view,
    "torch._utils._rebuild_tensor_v2": _view,
}


def run(stream: io.BytesIO, machine: Machine) -> Any:
    """Take one pickle from the stream, which is left behind its end."""
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            machine.budget.step()
            if opcode.name == "STOP":
                return machine.stack.pop()
            machine.step(opcode.name, argument)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise Damaged(str(error)) from error
    raise Damaged("it has no end")


class Machine:
    """The stack and the memo of one pickle.

    persistent: gives persistent ids their meaning, None where there may be none.
    inner: reads a file within the pickle, None where there may be none.
    """

    def __init__(
        self,
        budget: Budget,
        persistent: Callable[[Any], Any] | None = None,
        inner: Callable[[bytes], Any] | None = None,
    ) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks beneath each mark
        self.memo: dict[int, Any] = {}
        self.budget, self.persistent, self.inner = budget, persistent, inner

    def step(self, name: str, argument: Any) -> None:
        """One instruction, by its name in `pickletools`."""
        if name in _PUSHED:
            self.stack.append(argument)
        elif name in _STEPS:
            _STEPS[name](self, argument)
        elif name not in ("PROTO", "FRAME"):
            raise Refused(f"pickle instruction {name}")  # extension codes and buffers from outside

    def since_mark(self) -> list[Any]:
        """Take off all above the last mark, and the mark."""
        found, self.stack = self.stack, self.below.pop()
        return found

    def taken(self, count: int) -> tuple[Any, ...]:
        """Take off the `count` topmost."""
        if len(self.stack) < count:
            raise Damaged("its stack is empty")
        found = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        return found

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.stack = self.below.pop()

    def remember(self, place: int) -> None:
        if not 0 <= place <= MAX_STEPS:
            raise Damaged("its memo is too large")
        self.memo[place] = self.stack[-1]

    def append(self, values: list[Any] | tuple[Any, ...]) -> None:
        target = self.stack[-1]
        target = target.items if isinstance(target, Made) else target
        if not isinstance(target, list):
            raise Damaged("it appends to something else than a list")
        target.extend(values)

    def put(self, flat: list[Any] | tuple[Any, ...]) -> None:
        """Keys and values by turns. Only names count: others would be hashed, however deep they are nested."""
        target = self.stack[-1]
        target = target.table if isinstance(target, Made) else target
        if not isinstance(target, dict):
            raise Damaged("it puts entries into something else than a dict")
        target.update((k, v) for k, v in zip(flat[::2], flat[1::2], strict=True) if isinstance(k, str))

    def name(self, module: Any, name: Any) -> None:
        if not all(isinstance(text, str) and len(text) <= MAX_NAME for text in (module, name)):
            raise Damaged("a name that is none")
        self.stack.append(Name(_OLD_MODULES.get(module, module), name))

    def call(self, by: Any, args: Any) -> None:
        """Note what would be called; make it where it is one of ours."""
        if not isinstance(by, Name) or not isinstance(args, tuple):
            raise Damaged("it calls something that has no name")
        said = str(by)
        if said in _MAKERS and len(args) <= 8:
            self.budget.copy(len(args[0]) if said == "_codecs.encode" and args and isinstance(args[0], str) else 0)
            self.stack.append(_MAKERS[said](*args))
        elif said == "torch.storage._load_from_bytes":
            self.stack.append(self.storage(*args))
        elif by.module.split(".")[0] in _WATCHED and said not in _HARMLESS:
            raise Refused(said)
        else:
            self.stack.append(Made(by, args))

    def storage(self, content: Any) -> Storage:
        """A storage outside a file of torch's own is such a file, small, within the pickle."""
        if self.inner is None or not isinstance(content, bytes):
            raise Damaged("a storage within a storage")
        self.budget.copy(len(content))
        found = self.inner(content)
        if not isinstance(found, Storage):
            raise Damaged("a storage that is something else")
        return found

    def new(self, by: Any, args: Any, *_: Any) -> None:
        """An object made without a call; torch's own modules are made so when they are saved whole."""
        if isinstance(by, Name) and by.module.split(".")[0] in ("torch", "numpy"):
            self.stack.append(Made(by, args))
        else:
            self.call(by, args)

    def build(self, state: Any) -> None:
        """State is kept with records; what a dict or a tensor has beside its entries does not matter."""
        if isinstance(self.stack[-1], Made):
            self.stack[-1].state = state

    def persist(self, pid: Any) -> None:
        if self.persistent is None:
            raise Damaged("a persistent id outside torch's files")
        self.stack.append(self.persistent(pid))


# Instructions whose argument is the value
_PUSHED = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
}


def _old_instance(machine: Machine, names: str) -> None:
    args = machine.since_mark()
    machine.name(*names.split(" ", 1))
    machine.call(machine.stack.pop(), tuple(args))


def _old_object(machine: Machine, _: Any) -> None:
    by, *args = machine.since_mark()
    machine.call(by, tuple(args))


def _paired(machine: Machine, _: Any) -> None:
    flat = machine.since_mark()
    machine.push({})
    machine.put(flat)


_STEPS: Mapping[str, Callable[[Machine, Any], None]] = {
    "NONE": lambda m, _: m.push(None),
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    "MARK": lambda m, _: m.mark(),
    "POP": lambda m, _: m.pop(),
    "POP_MARK": lambda m, _: m.since_mark().clear(),
    "DUP": lambda m, _: m.push(m.stack[-1]),
    "PUT": lambda m, place: m.remember(place),
    "BINPUT": lambda m, place: m.remember(place),
    "LONG_BINPUT": lambda m, place: m.remember(place),
    "MEMOIZE": lambda m, _: m.remember(len(m.memo)),
    "GET": lambda m, place: m.push(m.memo[place]),
    "BINGET": lambda m, place: m.push(m.memo[place]),
    "LONG_BINGET": lambda m, place: m.push(m.memo[place]),
    "EMPTY_LIST": lambda m, _: m.push([]),
    "EMPTY_SET": lambda m, _: m.push([]),  # a set would hash what it holds
    "EMPTY_DICT": lambda m, _: m.push({}),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "LIST": lambda m, _: m.push(m.since_mark()),
    "FROZENSET": lambda m, _: m.push(m.since_mark()),
    "TUPLE": lambda m, _: m.push(tuple(m.since_mark())),
    "TUPLE1": lambda m, _: m.push(m.taken(1)),
    "TUPLE2": lambda m, _: m.push(m.taken(2)),
    "TUPLE3": lambda m, _: m.push(m.taken(3)),
    "DICT": _paired,
    "APPEND": lambda m, _: m.append(m.taken(1)),
    "APPENDS": lambda m, _: m.append(m.since_mark()),
    "ADDITEMS": lambda m, _: m.append(m.since_mark()),
    "SETITEM": lambda m, _: m.put(m.taken(2)),
    "SETITEMS": lambda m, _: m.put(m.since_mark()),
    "GLOBAL": lambda m, names: m.name(*names.split(" ", 1)),
    "STACK_GLOBAL": lambda m, _: m.name(*m.taken(2)),
    "REDUCE": lambda m, _: m.call(*m.taken(2)),
    "INST": _old_instance,
    "OBJ": _old_object,
    "NEWOBJ": lambda m, _: m.new(*m.taken(2)),
    "NEWOBJ_EX": lambda m, _: m.new(*m.taken(3)),
    "BUILD": lambda m, _: m.build(*m.taken(1)),
    "PERSID": lambda m, pid: m.persist(pid),
    "BINPERSID": lambda m, _: m.persist(*m.taken(1)),
}
