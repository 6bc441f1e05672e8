"""Loops and weights that the denoisers' tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from made_for_denoising import make_loop, save_network

from echoq_models import resources
from echoq_models.cine.loop import CineLoop
from echoq_models.weights import store


@pytest.fixture(autouse=True)
def one_thread():
    """The machine may be shared: spinning threads would make these tests many times slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def loop() -> CineLoop:
    return make_loop()


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of the user's weights, and nothing shipped."""
    monkeypatch.setattr(resources, "path", lambda *parts: (tmp_path / "resources").joinpath(*parts))
    monkeypatch.setenv("ECHOQ_WEIGHTS", str(tmp_path / "user"))
    return tmp_path / "user"


@pytest.fixture
def fast_weights(user: Path) -> store.Entry:
    return save_network(user, "fast", {"family": "fast"}, "gain")


@pytest.fixture
def image_weights(user: Path) -> store.Entry:
    return save_network(user, "unet", {"family": "unet", "channels_out": 1, "head": "image"}, "image")
