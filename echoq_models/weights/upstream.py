"""Brings foreign weights in: EchoNet-Quality's U-Net, EchoNet-Dynamic's segmentation network, and EchoQ's own files.

A `.pt` file is a pickle, which could run any program. Only torch's tensors-only reader opens it, and anything
else in the file refuses the import. What comes in is written as safetensors, values unchanged.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echoq_models.errors import WeightsError
from echoq_models.weights import store
from echoq_models.weights.store import Card, Entry

if TYPE_CHECKING:
    from torch import Tensor

SUPPORTED = (
    "the U-Net .pt file of EchoNet-Quality, the segmentation .pt file of EchoNet-Dynamic (DeepLabV3), and EchoQ's own "
    ".safetensors with the .json card beside it"
)

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

# By which parameters a released network is recognised.
_RELEASED = {
    ("dconv_down1.0.weight", "conv_last.weight"): RELEASED_UNET,
    ("backbone.layer4.2.conv3.weight", "classifier.4.weight"): RELEASED_DEEPLAB,
}

# Where training scripts put the parameters, and what wrappers put before their names.
_NESTED_IN = ("state_dict", "model_state_dict", "model", "net")
_PREFIXES = ("module.", "_orig_mod.")

# Files of the same authors and field that are something else: first letters of a parameter's name -> what it is.
_OTHER_KINDS = {
    "synthesis.": "a StyleGAN2 generator",
    "mapping.": "a StyleGAN2 generator",
    "convs.": "a StyleGAN2 generator",
    "encoder.": "a generator's encoder",
    "backbone.": "a segmentation network of another kind",
    "classifier.": "a segmentation network of another kind",
}


def import_file(path: Path, name: str | None = None) -> Entry:
    """Import the weights in `path` into the user's folder as `name`.

    name: None for "unet" or "deeplab" (the released networks) or the name on the file's own card.
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
    if ours:
        card, tensors = _read_ours(path, content)
    else:
        tensors = _parameters(_harvest(path, content), path)
        card = _recognise(tensors, path)
    target = name or card.name
    if not store.is_name(target):
        raise WeightsError(f"'{target}' cannot be a name for weights: use letters, digits, '-', '_' and '.'.")
    store.check(card.architecture, tensors, path)
    place = store.user_folder() / f"{target}.safetensors"
    return store.write(place, content, card) if ours else store.save(place, tensors, card)


def _is_safetensors(content: bytes) -> bool:
    """Safetensors begins with the header's length in 8 bytes and the header, a JSON object."""
    return 8 < int.from_bytes(content[:8], "little") + 8 <= len(content) and content[8:9] == b"{"


def _read_ours(path: Path, content: bytes) -> tuple[Card, dict[str, Tensor]]:
    card = store.read_card(path.with_suffix(".json"))
    if hashlib.sha256(content).hexdigest() != card.sha256:
        raise WeightsError(f"{path} is not the file that {path.stem}.json describes: its sha256 differs.")
    return card, store.parse(content, path)


def _harvest(path: Path, content: bytes) -> Any:
    """What the file holds, tensors only; nothing in it is executed."""
    import torch

    if _is_safetensors(content):
        return store.parse(content, path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks on old formats would only puzzle
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        if wanted is None:
            raise _not_weights(path) from error
        raise WeightsError(
            f"{path} holds more than tensors (it asks for '{wanted.group(1)}', which could run a program), so it "
            f"was not opened: supported are {SUPPORTED}."
        ) from error
    except Exception as error:  # damaged files raise all kinds: EOFError, RuntimeError, KeyError, AttributeError
        raise _not_weights(path) from error


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
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise WeightsError(
                f"{path} is not a plain table of named tensors ({key!r:.60}): supported are {SUPPORTED}."
            )
        for prefix in _PREFIXES:
            key = key.removeprefix(prefix)
        tensors[key] = value.float() if value.is_floating_point() else value
    return tensors


def _recognise(tensors: Mapping[str, Tensor], path: Path) -> Card:
    """The card for the network whose parameters these are. Raises WeightsError that says what it is instead."""
    for signs, card in _RELEASED.items():
        if all(sign in tensors for sign in signs):
            return replace(card, recipe=f"imported from {path.name}")
    for start, kind in _OTHER_KINDS.items():
        if any(key.startswith(start) for key in tensors):
            raise WeightsError(f"{path} is {kind}, which cannot be imported: supported are {SUPPORTED}.")
    first = ", ".join(repr(key) for key in list(tensors)[:3])
    raise WeightsError(f"{path} is an unknown network ({first}, ...): supported are {SUPPORTED}.")
