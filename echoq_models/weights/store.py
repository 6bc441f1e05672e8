"""Weights on disk: `NAME.safetensors` with a model card `NAME.json` beside it.

Two folders are looked at: the one that ships (`resources/weights`) and the user's own (`user_folder`). A
user's file of the same name wins. Nothing is ever unpickled, and torch is imported only to load tensors.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from echoq_models import resources
from echoq_models.errors import OutputError, WeightsError
from echoq_models.files import replacing

if TYPE_CHECKING:
    from torch import Tensor

# What a network gives back (a change in grey <= 0, a picture, the left ventricle) or is (a generator of frames, an
# encoder of frames for it), and what it is for.
OUTPUTS: Mapping[str, str] = {
    "gain": "denoise",
    "image": "denoise",
    "lv": "find the left ventricle",
    "generator": "generate frames",
    "encoder": "encode frames",
}

# Which module's `build(architecture)` makes the network of each family.
BUILDERS: Mapping[str, str] = {
    "unet": "echoq_models.denoise.architectures",
    "fast": "echoq_models.denoise.architectures",
    "lv": "echoq_models.segment.architecture",
    "deeplab": "echoq_models.segment.deeplab",
    "stylegan2": "echoq_models.generative.stylegan2",
    "encoder": "echoq_models.generative.encoder",
}

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True)
class Card:
    """A model card: what the weights are, where they come from and what they may be used for.

    name: the file's stem, by which they are found.  title: for menus.
    architecture: what `build` needs, with its "family".  output: one of `OUTPUTS`.
    recipe: the recipe or the release that made them.  data: what they were trained on.
    trained: when and for how long.  sha256: of the safetensors file, 64 hex digits.
    tried: what was tried on the way and did not help.  figures: measured values by name.
    generator: whose w_plus an encoder gives, by name.  noise_channels: of a generator, each preset's name with its
    channels and which way they make noise, {"global": {"b64.conv1:247": -1.0}}: the layer, and the channel within it.
    intended_use, limits, licence: sentences for a person.
    """

    name: str
    title: str
    architecture: Mapping[str, Any]
    output: str
    recipe: str = ""
    data: str = ""
    trained: str = ""
    tried: str = ""
    sha256: str = ""
    figures: Mapping[str, Any] = field(default_factory=dict)
    generator: str = ""
    noise_channels: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    intended_use: str = ""
    limits: str = ""
    licence: str = ""

    def to_json(self) -> str:
        """The card as JSON text, keys in the order of the fields."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Card:
        """Read a card; fields it does not know are left out. Raises ValueError saying what is wrong."""
        found = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError("it is not a JSON object")
        known = {f.name: f for f in fields(cls)}
        values = {key: value for key, value in found.items() if key in known}
        for name in ("name", "title", "architecture", "output"):
            if name not in values:
                raise ValueError(f"it has no '{name}'")
        for name, value in values.items():
            kind = dict if name in ("architecture", "figures", "noise_channels") else str
            if not isinstance(value, kind):
                raise ValueError(f"its '{name}' is a {type(value).__name__}, not a {kind.__name__}")
        for name, channels in values.get("noise_channels", {}).items():
            if not isinstance(channels, dict) or not all(isinstance(v, int | float) for v in channels.values()):
                raise ValueError(f"its noise channels '{name}' are not numbers by the channels' names")
        if values["output"] not in OUTPUTS:
            raise ValueError(f"its output is '{values['output']}', not one of {', '.join(OUTPUTS)}")
        return cls(**values)


@dataclass(frozen=True)
class Entry:
    """One set of weights on disk.

    name: by which `find` knows it.  path: the safetensors file.  user: from the user's folder, not shipped.
    card: None when it cannot be read, and then `problem` is the sentence that says why.
    """

    name: str
    path: Path
    user: bool
    card: Card | None
    problem: str | None = None


def is_name(name: str) -> bool:
    """Whether `name` can name weights: letters, digits, '_', '-' and '.', beginning with a letter or digit."""
    return _NAME.fullmatch(name) is not None


def user_folder() -> Path:
    """Where imported weights live: `$ECHOQ_WEIGHTS`, else the system's place for user data."""
    override = os.environ.get("ECHOQ_WEIGHTS")
    return Path(override) if override else Path(platformdirs.user_data_dir("echoq", False)) / "weights"


def list_weights() -> list[Entry]:
    """All weights, one per name, cards read but tensors not; broken ones come with their problem."""
    entries: dict[str, Entry] = {}
    for folder, user in ((resources.path("weights"), False), (user_folder(), True)):
        if folder.is_dir():
            stems = {p.stem for p in folder.iterdir() if p.suffix in (".safetensors", ".json")}
            entries |= {stem: _entry(folder, stem, user) for stem in stems if is_name(stem)}
    return [entries[name] for name in sorted(entries)]


def find(name: str, task: str | None = None) -> Entry:
    """The weights called `name`. task: what they must be for (a value of `OUTPUTS`), None for anything.

    Raises WeightsError when there are none, their card is broken, or they are for something else.
    """
    for entry in list_weights():
        if entry.name == name:
            if entry.problem:
                raise WeightsError(entry.problem)
            made_for = OUTPUTS[entry.card.output] if entry.card else task
            if task is not None and made_for != task:
                raise WeightsError(f"The weights '{name}' ({entry.path}) cannot {task}: they are made to {made_for}.")
            return entry
    raise WeightsError(f"There are no weights called '{name}': import or train them.")


def load(which: str | Entry) -> tuple[Card, dict[str, Tensor]]:
    """Card and tensors (float32 where stored as fp16 or fp32) of a name or an entry, on the CPU.

    Raises WeightsError when the file is missing, damaged, altered (sha256), or does not fit its architecture.
    """
    entry = find(which) if isinstance(which, str) else which
    if entry.problem or entry.card is None:
        raise WeightsError(entry.problem or f"{entry.path} has no model card.")
    content = _read(entry.path)
    if hashlib.sha256(content).hexdigest() != entry.card.sha256:
        raise WeightsError(f"{entry.path} is not the file its model card describes (sha256 differs): import it again.")
    tensors = parse(content, entry.path)
    check(entry.card.architecture, tensors, entry.path)
    return entry.card, tensors


def verify(which: str | Entry) -> str | None:
    """None when the weights load and fit their architecture, else the sentence that says what is wrong."""
    try:
        load(which)
    except WeightsError as error:
        return str(error)
    return None


def save(path: Path, tensors: Mapping[str, Tensor], card: Card, *, half: bool = False) -> Entry:
    """Write `path` (NAME.safetensors) and its card NAME.json; the card's name and sha256 are filled in.

    half: store floating tensors as fp16 (they load as float32). Raises OutputError when it cannot be written,
    ValueError when a value does not fit fp16.
    """
    import torch
    from safetensors.torch import save as serialise

    if path.suffix != ".safetensors" or not is_name(path.stem):
        raise ValueError(f"{path.name} is not a name for weights, such as fast.safetensors")
    stored = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    if half:
        stored = {key: v.half() if v.is_floating_point() else v for key, v in stored.items()}
        for key, value in stored.items():
            if not torch.isfinite(value).all():
                raise ValueError(f"'{key}' has values that fp16 cannot hold")
    return write(path, serialise(stored, metadata={"format": "pt"}), card)


def write(path: Path, content: bytes, card: Card) -> Entry:
    """Write the bytes of a safetensors file and its card, as `save` does. Raises OutputError."""
    card = replace(card, name=path.stem, sha256=hashlib.sha256(content).hexdigest())
    user = path.parent.resolve() == user_folder().resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as new, replacing(path.with_suffix(".json")) as new_card:
            new.write_bytes(content)
            new_card.write_text(card.to_json(), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"Cannot write weights to {path}: {error.strerror or error}.") from error
    return Entry(path.stem, path, user, card)


def parse(content: bytes, path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file's bytes, fp16 widened to float32. Raises WeightsError when damaged."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load as deserialise

    try:
        tensors = deserialise(content)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path} is damaged or not a safetensors file: import it again.") from error
    return {key: v.float() if v.dtype == torch.float16 else v for key, v in tensors.items()}


def check(architecture: Mapping[str, Any], tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise WeightsError unless `tensors` have exactly the names and shapes of the architecture."""
    import torch

    family = str(architecture.get("family"))
    if family not in BUILDERS:
        known = ", ".join(sorted(BUILDERS))
        raise WeightsError(f"{path} has the unknown architecture '{family}' (known: {known}): update EchoQ.")
    builder = importlib.import_module(BUILDERS[family])
    try:
        with torch.device("meta"):
            wanted = builder.build(dict(architecture)).state_dict()
    except (KeyError, TypeError, ValueError, WeightsError) as error:
        raise WeightsError(
            f"{path} describes a '{family}' network that cannot be built: {str(error).rstrip('.')}."
        ) from error
    for key in sorted(wanted.keys() | tensors.keys()):
        if key not in tensors:
            raise WeightsError(f"{path} does not fit its architecture '{family}': '{key}' is missing.")
        if key not in wanted:
            raise WeightsError(f"{path} does not fit its architecture '{family}': it has no place for '{key}'.")
        if (have := tuple(tensors[key].shape)) != (want := tuple(wanted[key].shape)):
            misfit = f"'{key}' is {have} where {want} is expected"
            raise WeightsError(f"{path} does not fit its architecture '{family}': {misfit}.")


def read_card(path: Path) -> Card:
    """The card at `path` (NAME.json). Raises WeightsError when it is missing or not a card."""
    try:
        return Card.from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WeightsError(f"{path.with_suffix('.safetensors')} has no model card: {path.name} is missing.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"The model card {path} cannot be read: {error}.") from error


def _entry(folder: Path, stem: str, user: bool) -> Entry:
    path = folder / f"{stem}.safetensors"
    try:
        card = read_card(folder / f"{stem}.json")
    except WeightsError as error:
        return Entry(stem, path, user, None, str(error))
    problem = None
    if card.name != stem:
        problem = f"The model card beside {path} is for '{card.name}': the files were renamed or mixed up."
    elif not path.is_file():
        problem = f"{path} is missing though its model card is there: import or train the weights again."
    return Entry(stem, path, user, card, problem)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise WeightsError(f"{path} is missing: import or train the weights again.") from None
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}.") from error
