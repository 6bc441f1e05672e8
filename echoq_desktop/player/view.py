"""How the panes show the loop: compare mode, grey map, zoom. Shared by all panes, never seen by a metric."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Signal

LAYOUTS = ("side", "wipe", "blink")
GREY_MAPS = ("As acquired", "Soft", "Contrast", "Suppress lows", "Sepia", "Ice")
GAMMA = 0.4, 2.5  # smallest, largest
ZOOM = 1.0, 16.0
MAGNIFY = 2.5  # what Z enlarges to
DIFFERENCE_GAIN = 2  # how much brighter than life the removed part is shown
TINTS = {"Sepia": (1.0, 0.87, 0.68), "Ice": (0.78, 0.92, 1.0)}


@dataclass(frozen=True)
class View:
    """What is fixed for all panes.

    layout: "side", "wipe" or "blink".  target: the pane compared with the original in wipe and blink.
    difference: show what was removed instead of the denoised frame.  swapped: original and target change places.
    wipe: edge of the wipe, 0-1 of the picture's width.  strength: 0-1, display blend from original to denoised.
    whole: fit the whole frame instead of the sector.  zoom: 1 fits the pane.  centre: x, y in source pixels, None
    for the middle of what is fitted.
    """

    layout: str = "side"
    target: str = ""
    difference: bool = False
    swapped: bool = False
    wipe: float = 0.5
    strength: float = 1.0
    grey_map: str = GREY_MAPS[0]
    gamma: float = 1.0
    invert: bool = False
    whole: bool = False
    zoom: float = 1.0
    centre: tuple[float, float] | None = None


class ViewState(QObject):
    """The one View of a window; panes repaint when it changes."""

    changed = Signal()  # anything
    layout_changed = Signal()  # which panes are on screen, or where

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.view = View()

    def set(self, **fields: Any) -> None:
        """Change fields of the view."""
        old, self.view = self.view, replace(self.view, **fields)
        if old == self.view:
            return
        if (old.layout, old.swapped, old.target) != (self.view.layout, self.view.swapped, self.view.target):
            self.layout_changed.emit()
        self.changed.emit()

    def toggle_magnify(self, at: tuple[float, float] | None) -> None:
        """Enlarge around `at` (x, y in source pixels), or fit the picture again."""
        if self.view.zoom > 1.0:
            self.set(zoom=1.0, centre=None)
        else:
            self.set(zoom=MAGNIFY, centre=at)


def lut(view: View, tint: NDArray[np.uint8] | None = None) -> NDArray[np.uint32]:
    """Look-up table (256,) from luminance to 0xffRRGGBB.

    tint: uint8 (256, 3), the loop's own tinted grey map; shown only "As acquired".
    """
    grey = np.linspace(0.0, 1.0, 256) ** (1.0 / view.gamma)
    if view.grey_map == "Soft":
        grey = grey**0.75
    elif view.grey_map == "Contrast":
        grey = grey + 0.16 * np.sin(2 * np.pi * (grey - 0.5))  # S-curve, monotone since 0.16 * 2 pi is about 1
    elif view.grey_map == "Suppress lows":
        grey = np.clip((grey - 0.10) / 0.90, 0.0, 1.0)
    grey = np.clip(1.0 - grey if view.invert else grey, 0.0, 1.0)
    levels = np.round(grey * 255.0).astype(np.uint8)
    if tint is not None and view.grey_map == GREY_MAPS[0]:
        rgb = tint[levels]
    else:
        rgb = np.round(levels[:, None] * np.array(TINTS.get(view.grey_map, (1.0, 1.0, 1.0)))).astype(np.uint8)
    return pack(rgb)


def difference_lut() -> NDArray[np.uint32]:
    """Look-up table (256,) for differences around 128: removed in amber, added in blue, unchanged black."""
    step = np.arange(256) - 128.0
    removed, added = np.clip(step / 127.0, 0, 1), np.clip(-step / 128.0, 0, 1)
    rgb = 255 * (removed[:, None] * (1.0, 0.78, 0.42) + added[:, None] * (0.30, 0.62, 1.0))
    return pack(np.round(rgb).astype(np.uint8))


def pack(rgb: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """RGB uint8 (n, 3) as 0xffRRGGBB uint32 (n,)."""
    wide = rgb.astype(np.uint32)
    packed = np.uint32(0xFF000000) | (wide[:, 0] << 16) | (wide[:, 1] << 8) | wide[:, 2]
    return packed.astype(np.uint32, copy=False)


def blend(original: NDArray[np.uint8], denoised: NDArray[np.uint8], strength: float) -> NDArray[np.uint8]:
    """Between original (strength 0) and denoised (1), both uint8 (H, W)."""
    if strength >= 1.0:
        return denoised
    if strength <= 0.0:
        return original
    share = np.uint16(round(strength * 256))
    mixed = original.astype(np.uint16) * (np.uint16(256) - share) + denoised * share
    return ((mixed + np.uint16(128)) >> 8).astype(np.uint8)


def difference(original: NDArray[np.uint8], denoised: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """128 + 2 (original - denoised), clipped to 0-255: above 128 is what was removed."""
    change = (original.astype(np.int16) - denoised) * DIFFERENCE_GAIN + 128
    return np.clip(change, 0, 255).astype(np.uint8)
