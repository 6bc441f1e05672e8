"""A loop in memory: frames, real times, and all that must survive between reading and writing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True)
class UltrasoundRegion:
    """One item of DICOM's Sequence of Ultrasound Regions (PS3.3 C.8.5.5).

    Bounds are inclusive pixel indices of the stored image, as the header gives them (they may not fit it:
    see `sector.usable_spacing`). Spacing is in mm per pixel, None where the region is not measured in cm.
    """

    x0: int
    y0: int
    x1: int
    y1: int
    data_type: int  # 1 tissue, 2 colour flow, 3 PW, 4 CW Doppler, 0x0A ECG trace, ...
    spatial_format: int  # 1 is 2D, 2 M-mode, 3 spectral, 4 waveform, 5 graphics
    mm_per_pixel_x: float | None
    mm_per_pixel_y: float | None


@dataclass(frozen=True)
class ColourPixels:
    """Pixels of a loop whose colour is not a function of their luminance: Doppler, ECG traces, coloured text.

    Sparse, since a 300-frame loop of full RGB would not fit the memory budget.
    offsets: int64 (T + 1,), frame t owns entries offsets[t]:offsets[t + 1].
    index: uint32 (n,), flat pixel index y * W + x.  rgb: uint8 (n, 3).
    """

    offsets: NDArray[np.int64]
    index: NDArray[np.uint32]
    rgb: NDArray[np.uint8]

    def frame(self, t: int) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
        """Flat indices (n,) and RGB values (n, 3) of the coloured pixels of frame `t`."""
        part = slice(int(self.offsets[t]), int(self.offsets[t + 1]))
        return self.index[part], self.rgb[part]


@dataclass(frozen=True)
class CineLoop:
    """An echo loop as it was acquired.

    frames: uint8 (T, H, W), luminance 0-255; may be a read-only memmap.
    times_ms: float64 (T,), starts at 0, strictly increasing: the real acquisition times in milliseconds.
    kind: what the content is, for people: "DICOM", "AVI", "MP4", "GIF", "still", "npz", ...
    colour: coloured pixels, None for a purely grey loop.  tint: uint8 (256, 3) RGB of each luminance when the
    loop is a tinted grey map (chroma is one function of luminance), else None.
    lossy: the lossy steps in the pixels' history ("JPEG baseline", "H.264", ...), empty when lossless.
    times_assumed: True when the file states no frame times and 30 fps was taken.
    header: the DICOM data set without pixel data, None for other sources.
    heart_rate: beats per minute, r_waves_ms: R-wave times in ms from the first frame, where the file has them.
    warnings: one sentence each, meant for the person who opened the loop.
    simulated: what was computed into the pixels, "simulated noise (global 3), research use"; "" as acquired.
    """

    frames: NDArray[np.uint8]
    times_ms: NDArray[np.float64]
    kind: str
    source: Path | None = None
    colour: ColourPixels | None = None
    tint: NDArray[np.uint8] | None = None
    regions: tuple[UltrasoundRegion, ...] = ()
    lossy: tuple[str, ...] = ()
    times_assumed: bool = False
    header: Dataset | None = None
    heart_rate: float | None = None
    r_waves_ms: tuple[float, ...] = ()
    warnings: tuple[str, ...] = field(default=())
    simulated: str = ""

    def __post_init__(self) -> None:
        if self.frames.ndim != 3 or self.frames.dtype != np.uint8 or self.frames.size == 0:
            raise ValueError(f"frames must be uint8 (T, H, W), not {self.frames.dtype} {self.frames.shape}")
        if self.times_ms.shape != (len(self.frames),):
            raise ValueError(f"{len(self.frames)} frames need as many times, not {self.times_ms.shape}")

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.frames.shape[1], self.frames.shape[2]

    @property
    def fps(self) -> float:
        """Mean acquired frame rate in frames per second; 0 for a still."""
        if len(self) < 2:
            return 0.0
        return 1000.0 * (len(self) - 1) / float(self.times_ms[-1] - self.times_ms[0])

    def rgb(self, t: int, luminance: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Frame `t` as RGB uint8 (H, W, 3), colour and tint put back.

        luminance: uint8 (H, W) to show instead of the source's own, e.g. a denoised frame.
        """
        grey = self.frames[t] if luminance is None else luminance
        out = self.tint[grey] if self.tint is not None else np.repeat(grey[..., None], 3, axis=2)
        if self.colour is not None:
            index, rgb = self.colour.frame(t)
            out.reshape(-1, 3)[index] = rgb
        return out

    def coloured(self, t: int) -> NDArray[np.bool_] | None:
        """Mask (H, W) of the coloured pixels of frame `t`, None when the loop has none."""
        if self.colour is None:
            return None
        mask = np.zeros(self.size, dtype=bool)
        mask.reshape(-1)[self.colour.frame(t)[0]] = True
        return mask
