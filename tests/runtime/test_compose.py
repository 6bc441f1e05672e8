"""Side-by-side pictures: panes untouched, titles above, caption below."""

import numpy as np
import pytest

from echoq_models.runtime.compose import Canvas, Look


def panes(count: int, height: int = 60, width: int = 90) -> list[np.ndarray]:
    return [np.full((height, width, 3), 40 * (i + 1), dtype=np.uint8) for i in range(count)]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_pane_is_there_pixel_for_pixel(count: int) -> None:
    look = Look()
    canvas = Canvas(["Original", "Fast network", "BM3D"][:count], (60, 90))
    picture = canvas.draw(panes(count))
    assert picture.shape == (*canvas.size, 3)
    assert picture.shape[1] == count * 90 + (count + 1) * look.gap
    for i in range(count):
        assert np.count_nonzero((picture == 40 * (i + 1)).all(axis=2)) >= 60 * 90


def test_titles_and_caption_are_drawn_outside_the_panes() -> None:
    empty = [np.zeros((60, 90, 3), np.uint8)] * 2
    plain = Canvas([" ", " "], (60, 90), caption=" ").draw(empty)
    named = Canvas(["Original", "BM3D"], (60, 90)).draw(empty)
    changed = (plain != named).any(axis=(1, 2))
    bar = (named.shape[0] - 60) // 2
    assert changed[:bar].any()
    assert changed[-bar:].any()
    assert not changed[bar:-bar].any()


def test_a_long_title_shrinks_into_its_pane() -> None:
    canvas = Canvas(["A denoiser with a very long name indeed", "B"], (40, 80))
    picture = canvas.draw([np.zeros((40, 80, 3), np.uint8)] * 2)
    bar = (canvas.size[0] - 40) // 2
    edge = picture[:bar, : Look().gap]
    assert (edge == Look().background).all()


def test_no_pane_no_picture() -> None:
    with pytest.raises(ValueError, match="at least one pane"):
        Canvas([], (10, 10))


def test_panes_of_another_count_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        Canvas(["a", "b"], (60, 90)).draw(panes(1))
