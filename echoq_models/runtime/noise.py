"""Noise added to a whole loop, in memory or from file to file: each frame is encoded and edited as in the window.

The generator's noise buffers are constant, so that its own speckle is the same in every frame and cancels in each.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from echoq_models.cine.loop import CineLoop
from echoq_models.denoise.base import Cancel, never
from echoq_models.errors import Cancelled, WeightsError
from echoq_models.generative import editor as editors
from echoq_models.generative import noise_channels
from echoq_models.generative.editor import FrameEditor, Likeness
from echoq_models.runtime.export import ORIGINAL, ExportOptions, Progress, check_output, export_loop, reading, silent

if TYPE_CHECKING:
    from echoq_models.cine.sector import Sector

ADDING = "adding noise"
MOST_UNKNOWN = 0.1  # of a loop's frames; more of them are told of


@dataclass(frozen=True)
class NoiseOptions:
    """What noise to add, and how to write it.

    strengths: standard deviations by component, above 0 for more noise.  generator: name of its weights, "" for the
    one that ships.  channels: a file of noise channels to take in place of the generator's own.
    refine: bring each frame's code nearer to it first, some seconds a frame.
    device: "auto", "cpu" or "cuda".  lossless, dicom_encoding: see `ExportOptions`.
    """

    strengths: Mapping[str, float] = field(default_factory=dict)
    generator: str = ""
    channels: Path | None = None
    refine: bool = False
    device: str = "auto"
    lossless: bool = False
    dicom_encoding: str = "rle"


@dataclass(frozen=True)
class Noise:
    """What is added to each frame. changes: standard deviations by channel.  label: what to call them.

    refine: bring each frame's code nearer to it first.
    """

    changes: Mapping[str, float]
    label: str
    refine: bool = False


@dataclass(frozen=True)
class Noisy:
    """A loop made noisy, and how near the reconstruction of each of its frames was."""

    loop: CineLoop
    likeness: tuple[Likeness, ...]


def label_of(strengths: Mapping[str, float]) -> str:
    """ "global 3, near field -0.5": strengths in words, without those that are 0."""
    return ", ".join(f"{name} {strength:g}" for name, strength in strengths.items() if strength) or "none"


def make_noisy(
    loop: CineLoop,
    editor: FrameEditor,
    noise: Noise,
    progress: Progress = silent,
    cancel: Cancel = never,
) -> Noisy:
    """A loop with noise added to every frame; outside the sector and in coloured pixels it is the source.

    Raises InputError for a channel that the generator does not have, Cancelled within one frame of `cancel()` turning
    true.
    """
    from echoq_models.cine import sector as sectors

    sector = sectors.fit(loop)
    frames = np.empty_like(loop.frames)
    found = []
    for t in range(len(loop)):
        if cancel():
            raise Cancelled(f"Cancelled after {t} of {len(loop)} frames.")
        frames[t], near = noisy_frame(loop, t, editor, noise, sector)
        found.append(near)
        progress(t + 1, len(loop), ADDING)
    sha256 = str(editor.facts.get("sha256", ""))[:12]
    what = f"simulated noise, research use: {noise.label}; generator {editor.facts.get('generator')} {sha256}".rstrip()
    warnings = (*loop.warnings, *_warning(found))
    return Noisy(replace(loop, frames=frames, simulated=what, warnings=warnings), tuple(found))


def _warning(found: Sequence[Likeness]) -> list[str]:
    """One sentence where the generator does not know a loop well enough."""
    unknown = sum(not each.known for each in found)
    if unknown <= MOST_UNKNOWN * len(found):
        return []
    return [f"{unknown} of {len(found)} frames are outside what the generator knows: look before you use the noise."]


def noisy_frame(
    loop: CineLoop, t: int, editor: FrameEditor, noise: Noise, sector: Sector
) -> tuple[NDArray[np.uint8], Likeness]:
    """Frame `t` with noise, uint8 (H, W), and how near its reconstruction was."""
    from echoq_models.cine import sector as sectors

    frame = np.asarray(loop.frames[t])[None]
    patch, inside = sectors.patches(frame, sector)[0, 0], editors.sector_patch(sector)
    encoded = editor.encode(patch, inside)
    for _ in range(editors.REFINE_ROUNDS if noise.refine else 0):
        encoded = editor.refined(encoded, patch, inside)
    change = editor.change(encoded, noise.changes)
    return editors.paste(frame, [change], sector, [loop.coloured(t)])[0], encoded.likeness


def simulate_file(
    source: Path,
    output: Path,
    options: NoiseOptions,
    progress: Progress = silent,
    cancel: Cancel = never,
) -> dict[str, Any]:
    """Read `source`, add noise and write `output`, whose suffix chooses the format; captioned as simulated.

    Returns the facts of what was written, ready for JSON: as `denoise_file`, with "noise": strengths, "likeness":
    the median "psnr" and "ssim" of the reconstructions and how many frames are "unknown", and the generator's facts.
    Raises InputError, WeightsError, OutputError, Cancelled; nothing half-written is left behind.
    """
    from echoq_models.cine import read

    writing = ExportOptions(ORIGINAL, lossless=options.lossless, dicom_encoding=options.dicom_encoding)
    check_output(source, output, writing)
    if missing := editors.available(options.generator):
        raise WeightsError(missing)
    progress(0, 0, "reading")
    loop = read(source, progress=reading(progress, cancel))
    started = time.monotonic()
    editor = editors.load(options.generator, options.device)
    changes = channels_of(editor, options).changes({name: v for name, v in options.strengths.items() if v})
    noise = Noise(changes, label_of(options.strengths), options.refine)
    noisy = make_noisy(loop, editor, noise, progress, cancel)
    written = export_loop(noisy.loop, output, writing, lambda _: noisy.loop.frames, progress, cancel)
    return {
        **written,
        "noise": {**dict(options.strengths), **editor.facts},
        "likeness": summary(noisy.likeness),
        "seconds": round(time.monotonic() - started, 3),
        "warnings": [*noisy.loop.warnings, *written["warnings"]],
    }


def channels_of(editor: FrameEditor, options: NoiseOptions) -> noise_channels.NoiseChannels:
    """The noise channels of a person's file, or the generator's own. Raises InputError where they do not fit it."""
    from echoq_models.generative.stylespace import StyleSpace

    if options.channels is None:
        return editor.channels
    given = noise_channels.load(options.channels)
    given.check(StyleSpace(editor.generator.config))
    return given


def summary(found: Sequence[Likeness]) -> dict[str, float | int]:
    """Medians over a loop's frames, and how many of them the generator does not know."""
    return {
        "psnr": round(float(np.median([each.psnr for each in found])), 2),
        "ssim": round(float(np.median([each.ssim for each in found])), 4),
        "unknown": sum(not each.known for each in found),
    }
