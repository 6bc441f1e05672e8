"""Noise channels: which style channels of a generator make which noise, and which way. No torch.

    strengths {"global": 2.0} x channels {"global": {"b64.conv1:247": -1.0}} -> changes {"b64.conv1:247": -2.0}

`stylespace.edited` takes such changes, in standard deviations of each channel. What one channel makes alone has the
weight 1 or -1; where several make it together their weights have the length 1, so that a strength is a distance in
standard deviations either way.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echoq_models.errors import InputError, OutputError
from echoq_models.files import replacing

if TYPE_CHECKING:
    from echoq_models.generative.stylespace import StyleSpace
    from echoq_models.weights.store import Card

COMPONENTS = ("global", "centre field", "near field")  # as the paper names them; a person may add names
STRONGEST = 10.0  # standard deviations, where nobody measured how far a component can be turned
MOST = 1e6  # no weight or limit in a file is larger
LIMITS_KEY = "strongest noise, standard deviations"  # in a generator's card, among the figures


@dataclass(frozen=True)
class NoiseChannels:
    """A signed set of style channels for each component of the noise.

    components: by the component's name, its channels and their weights, {"global": {"b64.conv1:247": -1.0}}; a
    positive strength makes more noise.  limits: how far each can be turned, in standard deviations; STRONGEST where it
    is not said.  generator: name of the weights that they are of, "" for any.
    """

    components: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    generator: str = ""

    @classmethod
    def of_card(cls, card: Card) -> NoiseChannels:
        """The presets of a generator's model card; none has no components."""
        limits = card.figures.get(LIMITS_KEY, {})
        return cls(card.noise_channels, limits if isinstance(limits, dict) else {}, card.name)

    def limit(self, component: str) -> float:
        """The strongest that `component` can be turned to, standard deviations."""
        return self.limits.get(component, STRONGEST)

    def changes(self, strengths: Mapping[str, float]) -> dict[str, float]:
        """By how many of its standard deviations each channel moves when the components have these strengths.

        A channel that two components share moves by the sum. Raises InputError for an unknown component.
        """
        moved: dict[str, float] = {}
        for component, strength in strengths.items():
            if component not in self.components:
                known = ", ".join(self.components) or "none"
                raise InputError(f"There are no noise channels for '{component}' (there are: {known}).")
            for channel, weight in self.components[component].items():
                moved[channel] = moved.get(channel, 0.0) + strength * weight
        return moved

    def named(self, component: str, channels: Mapping[str, float], limit: float | None = None) -> NoiseChannels:
        """With this component added, or replaced, its weights brought to length 1. Raises InputError without any."""
        length = math.sqrt(sum(weight**2 for weight in channels.values()))
        if length == 0 or not math.isfinite(length):
            raise InputError(f"The noise '{component}' has no channels with a weight.")
        weights = {channel: weight / length for channel, weight in channels.items()}
        limits = dict(self.limits) | ({} if limit is None else {component: limit})
        return replace(self, components={**self.components, component: weights}, limits=limits)

    def without(self, component: str) -> NoiseChannels:
        """Less this component, if it is there."""
        left = {name: channels for name, channels in self.components.items() if name != component}
        return replace(self, components=left, limits={k: v for k, v in self.limits.items() if k != component})

    def check(self, space: StyleSpace) -> None:
        """Raise InputError unless the generator has all these channels."""
        for component, channels in self.components.items():
            for channel in channels:
                try:
                    space.index(channel)
                except InputError as error:
                    raise InputError(f"The noise channels '{component}' are of another generator: {error}") from None

    def save(self, path: Path) -> None:
        """Write as JSON, whole or not at all. Raises OutputError."""
        try:
            with replacing(path) as new:
                new.write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"The noise channels cannot be written to {path}: {error.strerror or error}.") from error


def load(path: Path) -> NoiseChannels:
    """The noise channels that `save` wrote. Raises InputError when they are missing, damaged or something else."""
    try:
        return _parsed(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"The noise channels {path} cannot be read: {error.strerror or error}.") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} does not hold noise channels: {error}.") from None


def _parsed(found: Any) -> NoiseChannels:
    if not isinstance(found, dict) or not isinstance(found.get("components"), dict):
        raise ValueError("it has no 'components'")
    components = {name: _numbers(channels, name) for name, channels in found["components"].items()}
    if empty := [name for name, channels in components.items() if not any(channels.values())]:
        raise ValueError(f"'{empty[0]}' has no channels with a weight")
    generator = found.get("generator", "")
    if not isinstance(generator, str):
        raise ValueError("its 'generator' is not a name")
    return NoiseChannels(components, _numbers(found.get("limits", {}), "limits"), generator)


def _numbers(found: Any, name: str) -> dict[str, float]:
    """A JSON object of numbers by name."""
    if not isinstance(found, dict):
        raise ValueError(f"'{name}' is not a list of numbers by name")
    for key, value in found.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < MOST:
            raise ValueError(f"the number of '{key}' in '{name}' is {value!r}")
    return {key: float(value) for key, value in found.items()}
