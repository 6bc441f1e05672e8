"""The StyleGAN2 generators of others: NVIDIA's layout (stylegan2-ada-pytorch) and rosinality's, translated into ours.

NVIDIA's names are ours, and what it computes too. rosinality scales weights where NVIDIA does not:

    3 x 3 convolutions  its weight / sqrt(9 inputs) is ours (it matters only beside the 1e-8 of demodulation)
    to-RGB, affines, mapping  the same numbers: 1 / sqrt(inputs), and the mapping's 0.01, are applied in use by both
    up-sampling  its filters [1, 3, 3, 1] carry their gain of 4, and are no parameters here

What neither file holds is measured over random w when it comes in: mean and deviation of each channel of the StyleSpace
code, and the mean w where it is missing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echoq_models.errors import WeightsError
from echoq_models.weights import store
from echoq_models.weights.pickles import Damaged, Made, Values
from echoq_models.weights.store import Card

if TYPE_CHECKING:
    from torch import Tensor

    from echoq_models.generative.stylegan2 import GeneratorConfig

# The channels that the authors of EchoNet-Quality found to make noise in their generator: layer (ToRGB layers count),
# channel, and the direction in which noise grows.
RELEASED_CHANNELS = {"global": (12, 247, -1.0), "centre field": (9, 416, -1.0), "near field": (12, 100, 1.0)}

_CARD = Card(
    name="stylegan2",
    title="StyleGAN2 generator (EchoNet-Quality)",
    architecture={},
    output="generator",
    data="apical four-chamber frames of the authors' own hospital (EchoNet-Quality), if it is their file",
    trained="by the authors of EchoNet-Quality, or whoever made the file",
    intended_use="research: to turn the noise of a frame up and down with the published method",
    limits="draws what its training has seen; the mean and deviation of its channels were measured here, over random w",
    licence="none stated by its authors; imported by the user, not part of EchoQ",
)

MAX_DEPTH = 20  # modules within modules


@dataclass(frozen=True)
class Found:
    """What a foreign file holds. tensors: by name.  latent_avg: the mean w beside them, in any of its shapes.
    facts: plain values beside them: a module's attributes by dotted name, or the options of a training."""

    tensors: Mapping[str, Tensor]
    latent_avg: Tensor | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


Part = tuple[Card, dict[str, "Tensor"]]  # one network, ready for the store


def module_contents(module: Made) -> tuple[dict[str, Values], dict[str, Any]]:
    """Tensors and plain attributes of a pickled torch module, by dotted name. Raises Damaged when it is too deep."""
    tensors: dict[str, Values] = {}
    facts: dict[str, Any] = {}
    waiting, seen = [("", module)], set()
    while waiting:
        prefix, made = waiting.pop()
        if prefix.count(".") > MAX_DEPTH:
            raise Damaged("its modules are nested too deeply")
        if id(made) in seen:
            continue
        seen.add(id(made))
        state = attributes(made)
        facts |= {prefix + key: v for key, v in state.items() if isinstance(v, str | int | float)}
        for group in ("_parameters", "_buffers"):
            tensors |= {prefix + key: v for key, v in _table(state.get(group)).items() if isinstance(v, Values)}
        children = _table(state.get("_modules")).items()
        waiting += [(f"{prefix}{key}.", child) for key, child in children if isinstance(child, Made)]
    return tensors, facts


def attributes(made: Any) -> dict[str, Any]:
    """What a pickled object or dict has by name. In NVIDIA's pickles an object's state lies within its one argument,
    beside the source text of its class (which nobody reads)."""
    if not isinstance(made, Made):
        return _table(made)
    if isinstance(made.state, dict):
        return made.state
    meta = made.args[0] if len(made.args) == 1 else None
    return _table(_table(meta).get("state")) or made.table


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else value.table if isinstance(value, Made) else {}


def nvidia(found: Found, path: Path) -> list[Part]:
    """A generator in NVIDIA's layout. Raises WeightsError when it is one that we do not draw the same."""
    clamps = set()
    for name, value in found.facts.items():
        attribute = name.rpartition(".")[2]
        if attribute == "conv_clamp" and isinstance(value, int | float):
            clamps.add(float(value))
        if (attribute == "activation" and value not in ("lrelu", "linear")) or (
            re.fullmatch(r"mapping\.fc\d+\.bias_gain", name) and not math.isclose(value, 0.01)
        ):
            raise WeightsError(f"{path} is a StyleGAN2 generator of another kind: its '{name}' is {value!r}.")
    if len(clamps) > 1:
        raise WeightsError(f"{path} is a StyleGAN2 generator of another kind: it has several 'conv_clamp'.")
    _check_filters(found.tensors, "resample_filter", 1.0, path)
    tensors = {key: v for key, v in found.tensors.items() if not key.endswith("resample_filter")}
    return [_finished(_config(tensors, path, clamps.pop() if clamps else 0.0), tensors, path)]


def rosinality(found: Found, path: Path) -> list[Part]:
    """A generator in rosinality's layout."""
    _check_filters(found.tensors, "kernel", 4.0, path)
    theirs = {key: v for key, v in found.tensors.items() if not key.endswith(".kernel")}
    sides = 1 + sum(re.fullmatch(r"to_rgbs\.\d+\.bias", key) is not None for key in theirs)
    depth = sum(re.fullmatch(r"style\.\d+\.weight", key) is not None for key in theirs)
    tensors = {}
    for ours, name in _names(sides, depth):
        if name not in theirs:
            raise WeightsError(f"{path} is a StyleGAN2 generator whose '{name}' is missing.")
        tensors[ours] = _translated(ours, name, theirs.pop(name), path)
    for name in theirs:
        raise WeightsError(f"{path} is a StyleGAN2 generator of another kind: there is no place for its '{name}'.")
    if found.latent_avg is not None:
        tensors["mapping.w_avg"] = found.latent_avg.reshape(-1, found.latent_avg.shape[-1])[0]
    return [_finished(_config(tensors, path, 0.0), tensors, path)]


def _names(sides: int, depth: int) -> Iterator[tuple[str, str]]:
    """Our name and rosinality's, for each parameter."""
    for i in range(depth):
        yield from ((f"mapping.fc{i}.{part}", f"style.{i + 1}.{part}") for part in ("weight", "bias"))
    yield "synthesis.b4.const", "input.input"
    for k in range(sides):
        block = f"synthesis.b{4 << k}"
        for layer in ("conv0", "conv1") if k else ("conv1",):
            number = 2 * k - (layer == "conv0")  # of the noise: 0 at side 4, then two a side
            ours, theirs = f"{block}.{layer}", f"convs.{number - 1}" if k else "conv1"
            yield from _affine(ours, theirs)
            yield f"{ours}.weight", f"{theirs}.conv.weight"
            yield f"{ours}.bias", f"{theirs}.activate.bias"
            yield f"{ours}.noise_strength", f"{theirs}.noise.weight"
            yield f"{ours}.noise_const", f"noises.noise_{number}"
        ours, theirs = f"{block}.torgb", f"to_rgbs.{k - 1}" if k else "to_rgb1"
        yield from _affine(ours, theirs)
        yield f"{ours}.weight", f"{theirs}.conv.weight"
        yield f"{ours}.bias", f"{theirs}.bias"


def _affine(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    yield from ((f"{ours}.affine.{part}", f"{theirs}.conv.modulation.{part}") for part in ("weight", "bias"))


def _translated(ours: str, name: str, value: Tensor, path: Path) -> Tensor:
    """One tensor in our shape (rosinality's have more axes of length 1) and scale."""
    drop = {"const": 1, "noise_const": 2, "noise_strength": 1}.get(ours.rpartition(".")[2], 0)
    if ours.endswith(("conv0.weight", "conv1.weight", "torgb.weight")):
        drop = 1
    if any(n != 1 for n in value.shape[:drop]):
        raise WeightsError(f"{path} does not fit a StyleGAN2 generator: its '{name}' is {tuple(value.shape)}.")
    value = value.reshape(value.shape[drop:])
    if ours.endswith("torgb.bias"):
        value = value.flatten()
    if ours.endswith(("conv0.weight", "conv1.weight")) and value.ndim == 4:
        value = value / math.sqrt(value[0].numel())
    return value


def _check_filters(tensors: Mapping[str, Tensor], name: str, gain: float, path: Path) -> None:
    """Refuse other resampling filters than [1, 3, 3, 1]."""
    import torch

    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    wanted = torch.outer(taps, taps) * gain
    for key, value in tensors.items():
        if key.endswith(f".{name}") and (value.shape != wanted.shape or not torch.allclose(value, wanted, atol=1e-4)):
            raise WeightsError(f"{path} is a StyleGAN2 generator of another kind: its '{key}' is not [1, 3, 3, 1].")


def _config(tensors: Mapping[str, Tensor], path: Path, clamp: float) -> GeneratorConfig:
    """The generator that these tensors, by our names, belong to."""
    from echoq_models.generative.stylegan2 import GeneratorConfig

    def shape(name: str, axes: int) -> tuple[int, ...]:
        found = tuple(tensors[name].shape) if name in tensors else None
        if found is None or len(found) != axes:
            said = "is missing" if found is None else f"is {found}"
            raise WeightsError(f"{path} does not fit a StyleGAN2 generator: its '{name}' {said}.")
        return found

    sides = sorted({int(found[1]) for key in tensors if (found := re.match(r"synthesis\.b(\d{1,4})\.", key))})
    widths = {side: shape(f"synthesis.b{side}.conv1.weight", 4)[0] for side in sides}
    depth = sum(re.fullmatch(r"mapping\.fc\d+\.weight", key) is not None for key in tensors)
    try:
        config = GeneratorConfig(
            resolution=max(sides, default=0),
            channel_base=max((side * width for side, width in widths.items()), default=0),
            channel_max=max(widths.values(), default=0),
            z_dim=shape("mapping.fc0.weight", 2)[1],
            w_dim=shape("mapping.fc0.weight", 2)[0],
            mapping_layers=depth,
            image_channels=shape("synthesis.b4.torgb.weight", 4)[0],
            clamp=clamp,
        )
    except ValueError as error:
        raise WeightsError(f"{path} is a StyleGAN2 generator of another kind: {error}.") from None
    return config


def _finished(config: GeneratorConfig, tensors: dict[str, Tensor], path: Path) -> Part:
    """With its card, and with what has to be measured."""
    import torch

    from echoq_models.generative import stylegan2

    total = sum(layer.channels for layer in config.layers)
    average = tensors.get("mapping.w_avg")
    blank = {"s_mean": torch.zeros(total), "s_std": torch.ones(total), "mapping.w_avg": torch.zeros(config.w_dim)}
    tensors = blank | tensors
    architecture = stylegan2.describe(config)
    store.check(architecture, tensors, path)
    generator = stylegan2.Generator(config)
    generator.load_state_dict(tensors)
    generator.measure()
    if average is not None:
        generator.mapping.w_avg.copy_(average)
    card = replace(
        _CARD, architecture=architecture, recipe=f"imported from {path.name}", noise_channels=presets(config)
    )
    return card, dict(generator.state_dict())


def presets(config: GeneratorConfig) -> dict[str, dict[str, float]]:
    """The authors' noise channels by our layers' names, for a generator of their one's shape; none for another."""
    from echoq_models.generative.stylegan2 import RELEASED

    if replace(config, image_channels=RELEASED.image_channels, clamp=RELEASED.clamp) != RELEASED:
        return {}
    layers = config.layers
    return {name: {f"{layers[i].name}:{c}": sign} for name, (i, c, sign) in RELEASED_CHANNELS.items()}
