"""What the panes show of a frame: grey maps, blend, difference, colour pixels, and where pixels land."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydicom import examples
from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QImage

from echoq_desktop.player.camera import Camera
from echoq_desktop.player.picture import Pictures
from echoq_desktop.player.view import GREY_MAPS, View, blend, difference, difference_lut, lut
from echoq_models.cine import read
from echoq_models.cine.loop import CineLoop

REALDATA = Path(__file__).parent.parent.parent.parent / "shared" / "realdata"
AREA = QRectF(10, 30, 400, 300)


def grey(table: np.ndarray) -> np.ndarray:
    """Mean of R, G and B of each entry."""
    return ((table >> 16 & 255) + (table >> 8 & 255) + (table & 255)) / 3.0


@pytest.mark.parametrize("grey_map", GREY_MAPS)
@pytest.mark.parametrize("gamma", [0.4, 1.0, 2.5])
def test_grey_maps_keep_the_order_of_greys(grey_map: str, gamma: float) -> None:
    levels = grey(lut(View(grey_map=grey_map, gamma=gamma)))
    assert (np.diff(levels) >= 0).all()
    assert levels[0] == 0 and levels[-1] > 200
    assert (np.diff(grey(lut(View(grey_map=grey_map, gamma=gamma, invert=True)))) <= 0).all()


def test_as_acquired_is_the_identity_and_the_loop_own_tint() -> None:
    assert (grey(lut(View())) == np.arange(256)).all()
    tint = np.stack([np.arange(256), np.arange(256) // 2, np.arange(256) // 4], axis=1).astype(np.uint8)
    table = lut(View(), tint)
    assert table[200] == 0xFF000000 | 200 << 16 | 100 << 8 | 50
    assert (grey(lut(View(grey_map="Soft"), tint))[-1]) == 255  # a chosen grey map replaces the tint


def test_blend_ends_and_middle() -> None:
    a, b = np.full((2, 2), 200, np.uint8), np.full((2, 2), 100, np.uint8)
    assert blend(a, b, 0.0) is a and blend(a, b, 1.0) is b
    assert (blend(a, b, 0.5) == 150).all()
    assert (blend(a, a, 0.3) == 200).all()


def test_difference_shows_removed_in_amber_and_added_in_blue() -> None:
    original = np.array([[100, 100, 100]], np.uint8)
    coded = difference(original, np.array([[100, 60, 140]], np.uint8))
    assert coded.tolist() == [[128, 208, 48]]
    colours = difference_lut()[coded[0]]
    assert colours[0] == 0xFF000000
    red, blue = colours >> 16 & 255, colours & 255
    assert red[1] > blue[1] and blue[2] > red[2]


@pytest.mark.parametrize("view", [View(), View(zoom=3.0, centre=(20.0, 70.0))])
@pytest.mark.parametrize("aspect", [1.0, 1.6])
def test_camera_maps_there_and_back(view: View, aspect: float) -> None:
    camera = Camera(AREA, (120, 160), view, QRectF(-0.5, -0.5, 160, 120), aspect)
    for x, y in ((0.0, 0.0), (159.0, 119.0), (33.3, 71.9)):
        back = camera.to_source(camera.transform.map(QPointF(x, y)))
        assert back == pytest.approx((x, y), abs=1e-6)
    if view.zoom == 1.0:
        assert AREA.adjusted(-1e-6, -1e-6, 1e-6, 1e-6).contains(camera.picture)


def test_zoom_keeps_what_is_under_the_mouse() -> None:
    camera = Camera(AREA, (120, 160), View(), QRectF(-0.5, -0.5, 160, 120))
    mouse = QPointF(150.0, 200.0)
    before = camera.to_source(mouse)
    zoom, centre = camera.zoomed(2.0, mouse)
    after = replace(camera, view=View(zoom=zoom, centre=centre)).to_source(mouse)
    assert after == pytest.approx(before, abs=1e-6)
    assert camera.zoomed(0.5, mouse) == (1.0, None)


def rgb_of(image: QImage) -> np.ndarray:
    """uint8 (H, W, 3) of an RGB32 image."""
    pixels = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.width(), 4)
    return pixels[..., 2::-1]


def shown(loop: CineLoop, index: int, pane: str = "original", denoised: np.ndarray | None = None, **view: Any) -> Any:
    """The picture of a pane of a session that has this loop and one denoised frame."""

    def frame_of(name: str, t: int) -> np.ndarray | None:
        return loop.frames[t] if name == "original" else denoised

    session = SimpleNamespace(current=SimpleNamespace(loop=loop, loop_id=1), frame=index, frame_of=frame_of)
    return Pictures(session).picture(pane, View(**view))  # type: ignore[arg-type]


def test_source_is_shown_exactly_with_its_colour() -> None:
    loop = read(examples.get_path("ybr_color"))
    assert loop.colour is not None
    image, own = shown(loop, 7)
    assert own and np.array_equal(rgb_of(image), loop.rgb(7))


@pytest.mark.skipif(not REALDATA.is_dir(), reason="needs ../shared/realdata")
def test_doppler_is_shown_exactly() -> None:
    loop = read(REALDATA / "dicom" / "US-PAL-8-10x-echo")
    assert loop.colour is not None
    image, _ = shown(loop, 3)
    assert np.array_equal(rgb_of(image), loop.rgb(3))


def test_a_tinted_loop_is_shown_in_its_tint(fan_loop: CineLoop) -> None:
    tint = np.stack([np.arange(256), np.arange(256) * 4 // 5, np.arange(256) // 2], axis=1).astype(np.uint8)
    tinted = replace(fan_loop, tint=tint)
    image, _ = shown(tinted, 1)
    assert np.array_equal(rgb_of(image), tinted.rgb(1))


def test_a_large_grey_frame_is_averaged_down_to_the_screen() -> None:
    loop = CineLoop(np.full((1, 60, 80), 100, np.uint8), np.zeros(1), "still")
    loop.frames[0, :, ::2] = 200  # one-pixel stripes: sampling would show stripes, averaging shows grey
    session = SimpleNamespace(
        current=SimpleNamespace(loop=loop, loop_id=1), frame=0, frame_of=lambda _name, t: loop.frames[t]
    )
    image, _ = Pictures(session).picture("original", View(), (33, 25))  # type: ignore[arg-type]
    assert (image.width(), image.height()) == (33, 25)
    assert np.abs(rgb_of(image).astype(int) - 150).max() <= 1
    image, _ = Pictures(session).picture("original", View(), (800, 600))  # type: ignore[arg-type]
    assert (image.width(), image.height()) == (80, 60)


def test_a_missing_frame_is_never_passed_off(fan_loop: CineLoop) -> None:
    image, own = shown(fan_loop, 1, "bm3d", None)
    assert not own and np.array_equal(rgb_of(image), fan_loop.rgb(1))
    image, own = shown(fan_loop, 1, "bm3d", fan_loop.frames[1] // 2)
    assert own and np.array_equal(rgb_of(image), fan_loop.rgb(1, fan_loop.frames[1] // 2))
