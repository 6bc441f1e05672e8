"""From a pane's luminance frame to the QImage on screen: blend, difference, grey map, colour pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from PySide6.QtGui import QImage

from echoq_desktop.player import view as looks
from echoq_desktop.session import ORIGINAL

if TYPE_CHECKING:
    from echoq_desktop.player.view import View
    from echoq_desktop.session import Session
    from echoq_models.cine.loop import CineLoop


class Pictures:
    """Makes the images of all panes; remembers the last one of each pane, since hovering repaints too."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._tables: dict[tuple[object, ...], NDArray[np.uint32]] = {}
        self._last: dict[str, tuple[tuple[object, ...], QImage, NDArray[np.uint32]]] = {}
        self._difference = looks.difference_lut()

    def clear(self, pane: str | None = None) -> None:
        """Forget what was made: the pane's frames are computed anew, or another loop is shown."""
        if pane is None:
            self._last.clear()
            self._tables.clear()
        else:
            self._last.pop(pane, None)

    def picture(self, pane: str, view: View, target: tuple[int, int] | None = None) -> tuple[QImage, bool]:
        """The pane's frame as QImage (RGB32), and whether it is really the pane's own.

        False: that frame is not computed, the image is the original's and must be marked as such.
        target: width and height on screen; a frame without colour that is larger is shrunk to it, which costs
        less than to have Qt do it. Other frames come in their own size.
        """
        session = self._session
        assert session.current is not None
        loop, index = session.current.loop, session.frame
        frame = session.frame_of(pane, index)
        own = frame is not None
        look = (view.strength, view.difference, view.grey_map, view.gamma, view.invert, target)
        key = (session.current.loop_id, index, own, *look)
        last = self._last.get(pane)
        if last is not None and last[0] == key:
            return last[1], own
        pixels = self._pixels(loop, index, frame if pane != ORIGINAL else None, view, target)
        height, width = pixels.shape
        image = QImage(pixels.data, width, height, width * 4, QImage.Format.Format_RGB32)
        self._last[pane] = key, image, pixels  # the image borrows the array's memory
        return image, own

    def _pixels(
        self,
        loop: CineLoop,
        index: int,
        denoised: NDArray[np.uint8] | None,
        view: View,
        target: tuple[int, int] | None,
    ) -> NDArray[np.uint32]:
        original = np.asarray(loop.frames[index])
        if denoised is not None and view.difference:
            return self._difference.take(shrunk(looks.difference(original, np.asarray(denoised)), target))
        shown = original if denoised is None else looks.blend(original, np.asarray(denoised), view.strength)
        if loop.colour is None:
            return self._table(loop, view).take(shrunk(shown, target))
        pixels = self._table(loop, view).take(shown)
        where, rgb = loop.colour.frame(index)
        pixels.reshape(-1)[where] = looks.pack(rgb)
        return pixels

    def _table(self, loop: CineLoop, view: View) -> NDArray[np.uint32]:
        key = (id(loop.tint), view.grey_map, view.gamma, view.invert)
        if key not in self._tables:
            self._tables.clear()
            self._tables[key] = looks.lut(view, loop.tint)
        return self._tables[key]


def shrunk(frame: NDArray[np.uint8], target: tuple[int, int] | None) -> NDArray[np.uint8]:
    """uint8 (H, W) averaged down to `target` (width, height); as it is where that would not be smaller.

    By halves first, so that no pixel is left out and speckle does not alias, then bilinear for the rest.
    """
    if target is None or target[0] >= frame.shape[1] or target[1] >= frame.shape[0] or min(target) < 1:
        return frame
    while frame.shape[1] >= 2 * target[0] and frame.shape[0] >= 2 * target[1]:
        half = frame.shape[1] // 2, frame.shape[0] // 2
        frame = cv2.resize(frame, half, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(frame, target, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
