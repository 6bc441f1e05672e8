"""What window and worker say to each other about noise: the jobs, and what comes back. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from echoq_models.generative.editor import Likeness

THUMBNAIL = 72  # pixels: the side of an effect's picture, at most


@dataclass(eq=False)  # each is itself
class EditJob:
    """A frame to encode, and to draw with some channels moved. changes: standard deviations by channel.

    refine: bring the code nearer to the frame first, which takes a second or two, once.
    """

    job: int
    loop_id: int
    frame: int
    generator: str
    changes: dict[str, float]
    device: str
    refine: bool = False
    cancelled: bool = False


@dataclass(eq=False)  # each is itself
class EffectsJob:
    """A frame on which to try the foremost channels one by one. refine: as an EditJob's."""

    job: int
    loop_id: int
    frame: int
    generator: str
    device: str
    refine: bool = False
    cancelled: bool = False


@dataclass(eq=False)  # each is itself
class NoisyJob:
    """A loop to make noisy. label: the strengths in words, "global 3, near field 1".  refine: each frame's code."""

    job: int
    loop_id: int
    generator: str
    changes: dict[str, float]
    label: str
    device: str
    refine: bool = False
    cancelled: bool = False


NoiseJob = EditJob | EffectsJob | NoisyJob


@dataclass(frozen=True)
class Edited:
    """A frame as the generator draws it, and what the moved channels change.

    reconstruction, change: float32 (side, side), 1.0 is the whole grey scale.  changes: what was asked for.
    """

    frame: int
    generator: str
    refined: bool
    changes: Mapping[str, float]
    likeness: Likeness
    reconstruction: NDArray[np.float32]
    change: NDArray[np.float32]


@dataclass(frozen=True)
class Tried:
    """A channel in the browser. amount: standard deviations it was moved by.  picture: float32, the change, small."""

    channel: str
    amount: float
    picture: NDArray[np.float32]


def pack_edited(edited: Edited) -> dict[str, Any]:
    """As a message: some kilobytes, so that it needs no shared file."""
    return {**asdict(edited), "reconstruction": _half(edited.reconstruction), "change": _half(edited.change)}


def unpack_edited(message: Mapping[str, Any]) -> Edited:
    """What `pack_edited` packed, rounded to a tenth of a grey level."""
    pictures = {name: message[name].astype(np.float32) for name in ("reconstruction", "change")}
    return Edited(**{**message, "likeness": Likeness(**message["likeness"]), **pictures})


def pack_tried(tried: Sequence[Tried]) -> list[dict[str, Any]]:
    """As a message, the pictures small."""
    return [{"channel": each.channel, "amount": each.amount, "picture": _half(_small(each.picture))} for each in tried]


def unpack_tried(message: Sequence[Mapping[str, Any]]) -> list[Tried]:
    """What `pack_tried` packed."""
    return [Tried(each["channel"], each["amount"], each["picture"].astype(np.float32)) for each in message]


def _half(picture: NDArray[np.float32]) -> NDArray[np.float16]:
    return picture.astype(np.float16)


def _small(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    if len(picture) <= THUMBNAIL:
        return picture
    return np.asarray(cv2.resize(picture, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA), dtype=np.float32)
