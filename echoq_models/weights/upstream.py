"""Brings foreign weights in: EchoNet-Quality's U-Net, generator and encoder, EchoNet-Dynamic's segmentation network,
and EchoQ's own files.

A `.pt` or `.pkl` file is a pickle, which could run any program. `torch_files` takes the tensors out of it and runs
nothing. What comes in is written as safetensors; the values are unchanged, or scaled as our generator has them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echoq_models.errors import WeightsError
from echoq_models.weights import store, torch_files, upstream_encoder, upstream_stylegan
from echoq_models.weights.pickles import Damaged, Made, Refused, Values
from echoq_models.weights.store import Card, Entry
from echoq_models.weights.upstream_stylegan import Found, Part

if TYPE_CHECKING:
    from torch import Tensor

SUPPORTED = (
    "EchoNet-Quality's U-Net (.pt), StyleGAN2 generator (.pkl, .pt) and encoder (.pt), EchoNet-Dynamic's segmentation "
    "network (.pt, DeepLabV3), and EchoQ's own .safetensors with the .json card beside it"
)

# Numbers in all tensors of a file together; the largest of these networks, encoder and generator, have 240 million
MAX_NUMBERS = 1 << 29

RELEASED_UNET = Card(
    name="unet",
    title="U-Net (EchoNet-Quality)",
    architecture={"family": "unet", "channels_out": 1, "head": "image"},
    output="image",
    data="pairs made by the authors from their own hospital's archive (EchoNet-Quality)",
    trained="by the authors of EchoNet-Quality",
    intended_use="research: to compare with the published method",
    limits="gives back a picture, not a gain: it may add structure that the input does not show",
    licence="none stated by its authors; imported by the user, not part of EchoQ",
)

RELEASED_DEEPLAB = Card(
    name="deeplab",
    title="DeepLabV3 (EchoNet-Dynamic)",
    # Its training computed mean and deviation of the grey levels at run time and did not keep them.
    architecture={"family": "deeplab", "mean": [32.0, 32.0, 32.0], "std": [49.0, 49.0, 49.0]},
    output="lv",
    data="EchoNet-Dynamic: apical four-chamber loops at 112 x 112 with expert tracings at end diastole and end systole",
    trained="by the authors of EchoNet-Dynamic",
    intended_use="research: to compare with the published left-ventricle segmentation",
    limits="does not say whether a frame shows a left ventricle: only the shape of what it marks is judged",
    licence="that of EchoNet-Dynamic; imported by the user, not part of EchoQ",
)

# Where training scripts put the parameters, and what wrappers put before their names.
_NESTED_IN = ("g_ema", "state_dict", "model_state_dict", "model", "net")
_PREFIXES = ("module.", "_orig_mod.")

# Files of the same field that are something else: first letters of a parameter's name -> what it is.
_OTHER_KINDS = {
    "synthesis.": "a generator of another kind",
    "mapping.": "a generator of another kind",
    "convs.": "a generator of another kind",
    "encoder.": "an encoder of another kind",
    "backbone.": "a segmentation network of another kind",
    "classifier.": "a segmentation network of another kind",
}


def import_file(path: Path, name: str | None = None) -> list[Entry]:
    """Import the weights in `path` into the user's folder as `name`; an encoder's file may hold its generator too,
    which becomes a second entry with "-generator" after the name.

    name: None for "unet", "deeplab", "stylegan2" or "e4e" (the released networks) or the name on the file's own card.
    Raises WeightsError when the file is missing, damaged, wants to run code or is of no supported kind, and
    OutputError when the folder cannot be written.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise WeightsError(f"{path} does not exist.") from None
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}.") from error
    ours = _is_safetensors(content) and path.with_suffix(".json").exists()
    parts = [_read_ours(path, content)] if ours else _recognise(_found(path, content), path)
    target = name or parts[0][0].name
    names = [target, f"{target}-generator"][: len(parts)]
    if not all(store.is_name(each) for each in names):
        raise WeightsError(f"'{target}' cannot be a name for weights: use letters, digits, '-', '_' and '.'.")
    for card, tensors in parts:
        store.check(card.architecture, tensors, path)
    places = [store.user_folder() / f"{each}.safetensors" for each in names]
    if ours:
        return [store.write(places[0], content, parts[0][0])]
    if len(parts) > 1:
        parts[0] = (replace(parts[0][0], generator=names[1]), parts[0][1])
    return [store.save(place, tensors, card) for place, (card, tensors) in zip(places, parts, strict=True)]


def _is_safetensors(content: bytes) -> bool:
    """Safetensors begins with the header's length in 8 bytes and the header, a JSON object."""
    return 8 < int.from_bytes(content[:8], "little") + 8 <= len(content) and content[8:9] == b"{"


def _read_ours(path: Path, content: bytes) -> Part:
    card = store.read_card(path.with_suffix(".json"))
    if hashlib.sha256(content).hexdigest() != card.sha256:
        raise WeightsError(f"{path} is not the file that {path.stem}.json describes: its sha256 differs.")
    return card, store.parse(content, path)


def _found(path: Path, content: bytes) -> Found:
    """The named tensors in a file, and what lies beside them; nothing in it is executed."""
    if _is_safetensors(content):
        return Found(_parameters(store.parse(content, path), path))
    try:
        held = torch_files.read(content)
        generator = held.get("G_ema") if isinstance(held, dict) else None
        if isinstance(generator, Made):
            tensors, facts = upstream_stylegan.module_contents(generator)
            return Found(_parameters(tensors, path), None, facts)
    except Refused as error:
        raise WeightsError(
            f"{path} asks to call '{error}', which could run a program and which no file of weights needs, so it was "
            f"not imported: supported are {SUPPORTED}."
        ) from error
    except Damaged as error:
        raise _not_weights(path) from error
    beside = held if isinstance(held, dict) else {}
    average = beside.get("latent_avg")
    known = isinstance(average, Values) and average.numel and average.shape
    options = upstream_stylegan.attributes(beside.get("opts"))
    return Found(_parameters(held, path), _tensors({"": average}, path)[""] if known else None, options)


def _not_weights(path: Path) -> WeightsError:
    return WeightsError(f"{path} is damaged or not a file of weights: supported are {SUPPORTED}.")


def _parameters(found: Any, path: Path) -> dict[str, Tensor]:
    """The flat name -> tensor table in `found`, wrappers' prefixes removed, floating values as float32."""
    import torch

    for key in _NESTED_IN:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not found:
        raise _not_weights(path)
    tensors = {}
    for key, value in found.items():
        if not isinstance(value, Values | torch.Tensor):
            raise WeightsError(
                f"{path} is not a plain table of named tensors ({key!r:.60}): supported are {SUPPORTED}."
            )
        for prefix in _PREFIXES:
            key = key.removeprefix(prefix)
        tensors[key] = value
    return _tensors(tensors, path)


def _tensors(values: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """The tensors themselves, those of a pickle taken out of it; floating values as float32."""
    stored = [value for value in values.values() if isinstance(value, Values)]
    if sum(value.cost for value in stored) > MAX_NUMBERS:
        raise WeightsError(f"{path} claims to hold more than {MAX_NUMBERS} numbers, more than any network known here.")
    tensors = {key: v.tensor() if isinstance(v, Values) else v for key, v in values.items()}
    return {key: v.float() if v.is_floating_point() else v for key, v in tensors.items()}


def _plain(card: Card, found: Found, path: Path) -> list[Part]:
    """A network whose parameters have our names and scale."""
    return [(replace(card, recipe=f"imported from {path.name}"), dict(found.tensors))]


# By which parameters a released network is recognised, and what makes ours of it.
_RELEASED: Mapping[tuple[str, ...], Callable[[Found, Path], list[Part]]] = {
    ("dconv_down1.0.weight", "conv_last.weight"): partial(_plain, RELEASED_UNET),
    ("backbone.layer4.2.conv3.weight", "classifier.4.weight"): partial(_plain, RELEASED_DEEPLAB),
    ("synthesis.b4.const", "mapping.fc0.weight"): upstream_stylegan.nvidia,
    ("input.input", "style.1.weight"): upstream_stylegan.rosinality,
    ("encoder.input_layer.0.weight", "encoder.styles.0.linear.weight"): upstream_encoder.e4e,
}


def _recognise(found: Found, path: Path) -> list[Part]:
    """The networks in the file, with their cards. Raises WeightsError that says what it is instead."""
    for signs, translate in _RELEASED.items():
        if all(sign in found.tensors for sign in signs):
            return translate(found, path)
    for start, kind in _OTHER_KINDS.items():
        if any(key.startswith(start) for key in found.tensors):
            raise WeightsError(f"{path} is {kind}, which cannot be imported: supported are {SUPPORTED}.")
    first = ", ".join(repr(key) for key in list(found.tensors)[:3])
    raise WeightsError(f"{path} is an unknown network ({first}, ...): supported are {SUPPORTED}.")
