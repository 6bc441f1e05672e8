"""Noise turned up and down in a frame: its code is found, style channels are moved, and what that changed is added.

    patch (256, 256) --encoder--> w_plus --affines--> s -----------generator--> reconstruction
                                                      s + changes -generator--> edited
    noisy frame = frame + (edited - reconstruction), at the frame's own size, inside the sector

The change is added and the generator's picture is not pasted, because the generator draws 64 to 256 pixels with a
speckle of its own. What its two pictures share, its failings included, cancels in their difference; the frame's own
speckle and walls and all that lies outside the sector stay. So a noisy frame differs from its clean one by noise
alone, and the clean one is a true reference. The price: the frame's speckle is not drawn anew where haze covers it.
With phantom twins of 64 pixels in the generator's place, gCNR after pasting is 0.00 to 0.11 from the noisy twin's.

Importing this imports no torch: the window pastes changes too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from echoq_models.cine import sector as sectors
from echoq_models.cine.sector import PATCH, Coloured, Sector
from echoq_models.errors import InputError, WeightsError
from echoq_models.generative.noise_channels import NoiseChannels
from echoq_models.metrics import fidelity
from echoq_models.weights import store
from echoq_models.weights.store import Card, Entry

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from echoq_models.generative.encoder import Encoder
    from echoq_models.generative.stylegan2 import Generator

Picture = NDArray[np.float32]  # (side, side) of the generator, grey in [0, 1], or a change of it

PREFERRED = "generator"  # the weights that ship, and a person's own of that name
SMOOTHED = 2.5  # of the generator's pixels, standard deviation: frames are compared without their speckle
# In-sector SSIM of frame and reconstruction, both smoothed, below which the generator does not know the frame. On 60
# phantom frames of 64 x 64 pixels the same heart with other speckle reads 0.96 (95 % above 0.93) and another heart 0.48
# (95 % below 0.69); an encoder is to reach 0.75. An encoder's card may bring a limit of its own.
KNOWN_SSIM = 0.7
KNOWN_KEY = "least SSIM of a known frame"  # among an encoder's figures
RANKED_KEY = "ranked channels"  # among a generator's figures: [["b64.conv1:247", -3.2], ...], noise first, signed
REFINE_STEPS, REFINE_ROUNDS = 10, 4  # a round is short enough to be cancelled after it

NOTHING_HERE = (
    "There is no generator of echo frames here yet: import one (echoq weights import FILE) or train one "
    "(python -m training all --config training/recipes/default.toml)."
)


@dataclass(frozen=True)
class Pair:
    """A generator and the encoder that finds codes for it."""

    generator: Entry
    encoder: Entry

    @property
    def card(self) -> Card:
        """The generator's card."""
        assert self.generator.card is not None  # else it would not be here
        return self.generator.card


@dataclass(frozen=True)
class Likeness:
    """How near a reconstruction is to its frame inside the sector, at the generator's size, both without speckle.

    psnr: dB, infinite for equal pictures.  ssim: -1 to 1.  known: whether the generator knows such frames: the limit is
    kept, and a flat grey would be less like the frame.
    """

    psnr: float
    ssim: float
    known: bool


@dataclass(frozen=True)
class Encoded:
    """A frame's codes w_plus float32 (1, num_ws, w_dim) and s (1, S), the generator's picture, and how near that is."""

    w_plus: Tensor
    s: Tensor
    reconstruction: Picture
    likeness: Likeness


def pairs() -> dict[str, Pair]:
    """The generators that have an encoder, by name, the preferred one first. Reads cards, no tensors."""
    sound = [entry for entry in store.list_weights() if entry.card is not None and entry.problem is None]
    encoders = sorted((e for e in sound if _output(e) == "encoder"), key=lambda e: not e.user)
    found = {}
    for generator in sorted((e for e in sound if _output(e) == "generator"), key=lambda e: e.name != PREFERRED):
        for encoder in encoders:
            if _meant_for(encoder, generator):
                found[generator.name] = Pair(generator, encoder)
                break
    return found


def _output(entry: Entry) -> str:
    return entry.card.output if entry.card is not None else ""


def _meant_for(encoder: Entry, generator: Entry) -> bool:
    """Whether the encoder names this generator; one that names none serves those whose codes have its shape."""
    assert encoder.card is not None and generator.card is not None
    if encoder.card.generator:
        return encoder.card.generator == generator.name
    given, wanted = encoder.card.architecture, generator.card.architecture
    rows = 2 * int(math.log2(wanted.get("resolution", 256))) - 2
    return (given.get("num_ws"), given.get("w_dim")) == (rows, wanted.get("w_dim"))


def find(name: str = "") -> Pair:
    """The pair whose generator is called `name`; the preferred one where none is named.

    Raises WeightsError that says what is missing and how to get it.
    """
    there = pairs()
    if not name and there:
        return next(iter(there.values()))
    if name in there:
        return there[name]
    if name:
        store.find(name, store.OUTPUTS["generator"])
    generators = [entry.name for entry in store.list_weights() if _output(entry) == "generator"]
    if not generators:
        raise WeightsError(NOTHING_HERE)
    raise WeightsError(f"There is no encoder for the generator '{name or generators[0]}': import or train one.")


def available(name: str = "") -> str | None:
    """None when frames can be edited, else one sentence that says what is missing. Does not import torch."""
    try:
        find(name)
    except WeightsError as error:
        return str(error)
    return None


def load(name: str = "", where: str = "auto") -> FrameEditor:
    """The editor with the generator called `name` (see `find`) on the device `where`: "auto", "cpu" or "cuda".

    Raises WeightsError when weights are missing, damaged or do not fit each other.
    """
    from echoq_models.runtime import device

    pair, place = find(name), device.choose(where)
    assert pair.encoder.card is not None
    return _build(pair.generator.name, pair.card.sha256, pair.encoder.name, pair.encoder.card.sha256, str(place))


@lru_cache(maxsize=2)
def _build(generator: str, _sha256: str, encoder: str, _encoder_sha256: str, place: str) -> FrameEditor:
    """Kept by content: weights imported anew under the same name have another sha256."""
    import torch

    from echoq_models.generative import encoder as encoders
    from echoq_models.generative import stylegan2
    from echoq_models.generative.stylespace import StyleSpace
    from echoq_models.runtime import device, forward

    (card, tensors), (encoder_card, encoder_tensors) = store.load(generator), store.load(encoder)
    draws = stylegan2.build(dict(card.architecture))
    finds = encoders.build(dict(encoder_card.architecture))
    if (finds.config.num_ws, finds.config.w_dim) != (draws.config.num_ws, draws.config.w_dim):
        raise WeightsError(
            f"The encoder '{encoder}' gives codes of another shape than '{generator}' takes: import both."
        )
    draws.load_state_dict(tensors)
    finds.load_state_dict(encoder_tensors)
    channels = NoiseChannels.of_card(card)
    channels.check(StyleSpace(draws.config))
    on = torch.device(place)
    facts: dict[str, str | float | int | None] = {
        "generator": generator,
        "sha256": card.sha256,
        "encoder": encoder,
        "encoder sha256": encoder_card.sha256,
        "side": draws.config.resolution,
        "device": device.describe(on),
    }
    known = encoder_card.figures.get(KNOWN_KEY, KNOWN_SSIM)
    ranked = [str(name) for name, _ in card.figures.get(RANKED_KEY, ())]
    return FrameEditor(
        forward.ready(draws, on),  # type: ignore[arg-type]  # it gives back what it was given
        forward.ready(finds, on),  # type: ignore[arg-type]
        on,
        channels,
        float(known),
        tuple(ranked),
        facts,
    )


@dataclass(frozen=True)
class FrameEditor:
    """Generator and encoder, evaluated on `place`.

    channels: the generator's own noise channels.  known_ssim: below it the generator does not know a frame.
    ranked: channels that make noise, the most certain first; empty where nobody ranked them.
    """

    generator: Generator
    encoder: Encoder
    place: torch.device
    channels: NoiseChannels = field(default_factory=NoiseChannels)
    known_ssim: float = KNOWN_SSIM
    ranked: tuple[str, ...] = ()
    facts: Mapping[str, str | float | int | None] = field(default_factory=dict)

    def encode(self, patch: NDArray[np.float32], sector: NDArray[np.bool_]) -> Encoded:
        """A frame's code. patch: float32 (256, 256) in [0, 1], as `sector.patches` gives it.  sector: bool, there."""
        import torch

        with torch.inference_mode():
            w_plus = self.encoder(self._picture(patch))
        return self._encoded(w_plus, patch, sector)

    def refined(self, encoded: Encoded, patch: NDArray[np.float32], sector: NDArray[np.bool_]) -> Encoded:
        """A code nearer to its frame, by REFINE_STEPS steps of descent; may be called again to go on."""
        from echoq_models.generative.refine import RefineConfig, refine

        frame = self._picture(shrunk(patch, self.side))
        nearer = refine(self.generator, frame, encoded.w_plus.clone(), RefineConfig(steps=REFINE_STEPS))
        return self._encoded(nearer.w_plus, patch, sector)

    def change(self, encoded: Encoded, changes: Mapping[str, float]) -> Picture:
        """What moving channels changes in the generator's picture: float32 (side, side), 1.0 is the whole grey scale.

        changes: standard deviations by channel. Raises InputError for a channel that the generator does not have.
        """
        return self.changed(encoded, [changes])[0]

    def changed(self, encoded: Encoded, changes: Sequence[Mapping[str, float]]) -> list[Picture]:
        """`change` for each of several, drawn together."""
        import torch

        from echoq_models.generative.stylespace import edited

        moved = torch.cat([edited(self.generator, encoded.s, each) for each in changes])
        return list(self._drawn(moved) - encoded.reconstruction)

    @property
    def side(self) -> int:
        """Of the generator's pictures, pixels."""
        return self.generator.config.resolution

    def _picture(self, patch: NDArray[np.float32]) -> Tensor:
        """As the networks take a frame: (1, 1, side, side) of -1 to 1."""
        import torch

        return torch.from_numpy(np.ascontiguousarray(patch))[None, None].to(self.place) * 2 - 1

    def _encoded(self, w_plus: Tensor, patch: NDArray[np.float32], sector: NDArray[np.bool_]) -> Encoded:
        import torch

        with torch.inference_mode():
            s = self.generator.to_s(w_plus)
        drawn = self._drawn(s)[0]
        return Encoded(w_plus, s, drawn, compared(patch, drawn, sector, self.known_ssim))

    def _drawn(self, s: Tensor) -> NDArray[np.float32]:
        """Grey pictures float32 (N, side, side) of codes (N, S), with the generator's own constant noise."""
        import torch

        from echoq_models.generative.stylegan2 import to_grey

        with torch.inference_mode():
            drawn = to_grey(self.generator.from_s(s, "constant"))[:, 0]
        return np.asarray(drawn.float().cpu().numpy())


def compared(
    patch: NDArray[np.float32], reconstruction: Picture, sector: NDArray[np.bool_], known_ssim: float = KNOWN_SSIM
) -> Likeness:
    """How near a reconstruction is to its patch (256, 256) inside the sector bool (256, 256); see `Likeness`.

    Both are smoothed first, since a code holds no speckle. Raises InputError for an empty sector.
    """
    side = len(reconstruction)
    inside = shrunk(sector.astype(np.float32), side) > 0.5
    if not inside.any():
        raise InputError("The frame has no ultrasound sector to compare.")
    frame = shrunk(patch, side)
    flat = np.full_like(frame, frame[inside].mean())
    wanted, drawn, grey = (_smoothed(each, inside) for each in (frame, reconstruction, flat))
    ssim = fidelity.ssim(wanted, drawn, inside)
    known = ssim >= known_ssim and ssim > fidelity.ssim(wanted, grey, inside)
    return Likeness(fidelity.psnr(wanted, drawn, inside), ssim, known)


def _smoothed(picture: Picture, inside: NDArray[np.bool_]) -> Picture:
    """Grey levels 0-255, black outside, without speckle."""
    return np.asarray(cv2.GaussianBlur(np.where(inside, picture * 255, np.float32(0)), (0, 0), SMOOTHED))


def shrunk(picture: NDArray[np.float32], side: int) -> Picture:
    """A patch at the generator's size, float32 (side, side): mean over area, bilinear where it grows."""
    how = cv2.INTER_AREA if side < len(picture) else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (side, side), interpolation=how), dtype=np.float32)


def enlarged(picture: Picture) -> NDArray[np.float32]:
    """A generator's picture or change at the patch's size, (256, 256): smooth, since bilinear would show its grid."""
    if picture.shape[0] == PATCH:
        return picture
    how = cv2.INTER_CUBIC if picture.shape[0] < PATCH else cv2.INTER_AREA
    return np.asarray(cv2.resize(picture, (PATCH, PATCH), interpolation=how), dtype=np.float32)


def sector_patch(sector: Sector) -> NDArray[np.bool_]:
    """Where the sector lies in its patches, bool (256, 256)."""
    return np.asarray(sectors.patches(sector.mask[None].astype(np.uint8) * np.uint8(255), sector)[0, 0] > 0.5)


def paste(
    frames: NDArray[np.uint8], changes: Sequence[Picture], sector: Sector, coloured: Coloured | None = None
) -> NDArray[np.uint8]:
    """Frames uint8 (N, H, W) with a generator's change added to each, as `sector.paste_change` does."""
    return sectors.paste_change(frames, np.stack([enlarged(each) for each in changes]), sector, coloured)
