"""A network of known effect on loops of known content: found in source pixels, the same in any batch, or refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from echoq_models import resources
from echoq_models.cine import sector as sectors
from echoq_models.cine.loop import CineLoop
from echoq_models.denoise import registry
from echoq_models.denoise.architectures import build
from echoq_models.denoise.base import Settings
from echoq_models.errors import Cancelled, EchoQError, WeightsError
from echoq_models.segment import available, networks, segment, segmenter
from echoq_models.segment.postprocess import overlap
from echoq_models.segment.segmenter import INPUTS, Segmenter
from echoq_models.weights import store
from tests.make_networks import bright_is_lv, bright_loop, ellipse, save_bright

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty user folder, and nothing shipped."""
    monkeypatch.setattr(resources, "path", lambda *parts: (tmp_path / "resources").joinpath(*parts))
    monkeypatch.setenv("ECHOQ_WEIGHTS", str(tmp_path / "user"))
    segmenter._build.cache_clear()
    return tmp_path / "user"


def bright(**options: object) -> Segmenter:
    """A segmenter that takes bright pixels for the left ventricle."""
    return Segmenter(bright_is_lv(), CPU, INPUTS["lv"], **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(112, 112), (240, 320), (600, 800)])
def test_it_is_found_in_source_pixels(size: tuple[int, int]) -> None:
    loop, truth = bright_loop(6, size)
    found = bright().segment(loop)
    assert found.lv.shape == loop.frames.shape and found.lv.dtype == bool
    assert found.found.all() and found.reasons == ("",) * 6 and found.share == 1 and found.main_reason() is None
    assert found.confidence.dtype == np.float32 and found.confidence.min() > 0.9
    assert min(overlap(a, b) for a, b in zip(found.lv, truth, strict=True)) > 0.93
    areas, true_areas = found.areas, truth.sum(axis=(1, 2))
    assert np.corrcoef(areas, true_areas)[0, 1] > 0.97 and areas.argmin() in (2, 3, 4)
    assert not (found.lv & ~sectors.fit(loop).mask).any()


def test_a_frame_is_the_same_alone_and_in_any_batch() -> None:
    loop, _ = bright_loop(15)
    whole = bright().segment(loop)
    for options, frames in (({"batch": 1}, None), ({"batch": 4}, [3, 14, 3, 0]), ({}, [7])):
        part = bright(**options).segment(loop, frames)
        assert part.frames == tuple(sorted(set(frames or range(15))))
        for t in part.frames:
            assert np.array_equal(part.lv[t], whole.lv[t]) and part.confidence[t] == whole.confidence[t]
        others = sorted(set(range(15)) - set(part.frames))
        assert not part.lv[others].any() and not part.found[others].any() and part.share == 1
    with pytest.raises(ValueError, match="frames 0 to 14"):
        bright().segment(loop, [15])
    assert bright().segment(loop, []).frames == ()


class Notes(nn.Module):
    """Marks nothing and remembers the mean of each channel that it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[float]] = []

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
        assert x.shape[1:] == (3, 128, 128)
        self.seen.append((255 * x[0, :, 64, 64]).round().tolist())
        return torch.full((len(x), 1, 128, 128), -9.0), None


def test_the_network_sees_the_frame_between_its_neighbours_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmenter.forward.device, "thread_count", lambda: 1)  # in order
    frames = np.full((7, 150, 150), 60, dtype=np.uint8) + 10 * np.arange(7, dtype=np.uint8)[:, None, None]
    notes = Notes()
    found = Segmenter(notes, CPU, INPUTS["lv"], batch=3).segment(CineLoop(frames, np.arange(7) * 40.0, "npz"))
    grey = [60 + 10 * t for t in range(7)]
    assert notes.seen == [[grey[max(t - 2, 0)], grey[t], grey[min(t + 2, 6)]] for t in range(7)]
    assert not found.found.any() and found.main_reason() == "No LV found: nothing in the frame looks like one."


def test_a_loop_that_seldom_has_one_or_has_it_elsewhere_is_refused_there() -> None:
    loop, _ = bright_loop(20, without=tuple(range(4, 20)))
    rare = bright().segment(loop)
    assert not rare.found.any() and not rare.lv.any()
    assert rare.reasons[0] == "No LV found: only 25 % of the loop's frames seem to have one."  # 3 of 12
    assert rare.reasons[10] == rare.main_reason() == "No LV found: nothing in the frame looks like one."

    loop, truth = bright_loop(20, without=(9,))
    pixels = loop.frames.copy()
    pixels[9][ellipse(loop.size, (215, 130), (20, 36))] = 230
    odd = bright().segment(replace(loop, frames=pixels))
    assert np.flatnonzero(~odd.found).tolist() == [9] and truth[8].any()
    assert "elsewhere than in the rest of the loop" in odd.reasons[9]
    alone = bright().segment(replace(loop, frames=pixels), [9])
    assert alone.reasons[9] == odd.reasons[9]


def test_a_frame_without_a_ventricle_is_refused_by_the_network_itself() -> None:
    loop, _ = bright_loop(4)
    found = Segmenter(bright_is_lv(present=-3.0), CPU, INPUTS["lv"]).segment(loop)
    assert not found.found.any()
    assert found.reasons[2] == "No LV found: the network sees none that it would trust (probability 0.05)."
    assert found.confidence.max() < 0.05


def test_neighbours_steady_a_frame_but_never_move_what_moves() -> None:
    """A flicker of the network between equal frames is averaged away; a ventricle that moves stays where it is."""

    class Flickers(nn.Module):
        """The bright network, except that it misses the lower half of the ventricle in a frame with a marked corner."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = bright_is_lv()

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            logit, present = self.inner(x)
            missed = (x[:, 1, 60:68, 60:68].mean((1, 2)) > 0.93)[:, None, None, None]
            logit[:, :, 58:] = torch.where(missed, torch.tensor(-2.0), logit[:, :, 58:])
            return logit, present

    loop, truth = bright_loop(1)
    frames = np.repeat(loop.frames, 7, axis=0)
    frames[3][frames[3] == 230] = 245
    still = CineLoop(frames, np.arange(7) * 33.0, "npz")
    flicker = Segmenter(Flickers(), CPU, INPUTS["lv"])
    assert overlap(flicker.segment(still).lv[3], truth[0]) > 0.93
    unsteadied = replace(flicker, rules=replace(flicker.rules, reach=0)).segment(still)
    assert overlap(unsteadied.lv[3], truth[0]) < 0.8


def test_progress_cancel_and_full_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, _ = bright_loop(9)
    told: list[tuple[int, int, str]] = []
    whole = bright(batch=4).segment(loop, progress=lambda *news: told.append(news))
    assert [news[:2] for news in told] == [(n, 9) for n in range(1, 10)]
    with pytest.raises(Cancelled):
        bright(batch=4).segment(loop, cancel=lambda: True)
    done: list[int] = []
    with pytest.raises(Cancelled):
        bright(batch=2).segment(loop, progress=lambda n, *_: done.append(n), cancel=lambda: len(done) >= 3)
    assert len(done) == 4  # the batch in work ends

    real, sizes = segmenter.forward.forward, []

    def tight(network: nn.Module, x: np.ndarray, *rest: object, **options: bool) -> list[np.ndarray]:
        sizes.append(len(x))
        if len(x) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(network, x, *rest, **options)

    monkeypatch.setattr(segmenter.forward, "forward", tight)
    assert np.array_equal(bright(batch=4).segment(loop).lv, whole.lv)
    assert sizes == [4, 2, 2, 2, 2, 1]


def test_weights_are_chosen_by_name_and_must_fit_the_task(user: Path) -> None:
    assert available("lv") == "There are no weights called 'lv': import or train them."
    assert networks() == {"lv": "Left ventricle", "deeplab": "DeepLabV3 (EchoNet-Dynamic)"}
    entry = save_bright(user)
    save_bright(user, "mine")
    assert available("lv") is None and networks()["mine"] == "Bright"
    loop, truth = bright_loop(3)
    for name in ("lv", "mine"):
        found = segment(loop, network=name, device="cpu")
        assert overlap(found.lv[0], truth[0]) > 0.93
        assert found.facts["network"] == name and found.facts["recipe"] == "set by hand"
    assert segment(loop, device="cpu").facts["sha256"] == entry.card.sha256 if entry.card else False
    save_bright(user, present=-9.0)
    assert not segment(loop, device="cpu").found.any()  # new weights of the same name are used at once

    fast = {"family": "fast"}
    card = store.Card("fast", "Fast", fast, "gain")
    store.save(user / "fast.safetensors", build(fast).state_dict(), card)
    with pytest.raises(WeightsError, match=r"'fast' .* cannot find the left ventricle: they are made to denoise"):
        segment(loop, network="fast")
    mixed_up = replace(card, output="lv")
    store.save(user / "mixed.safetensors", build(fast).state_dict(), mixed_up)
    with pytest.raises(WeightsError, match="architecture 'fast', which cannot find the left ventricle"):
        segment(loop, network="mixed")
    with pytest.raises(EchoQError, match="no device called 'gpu'"):
        segment(loop, device="gpu")


def test_denoisers_refuse_weights_that_segment(user: Path) -> None:
    save_bright(user, "fast")
    fast, sentence = registry.get("fast"), "cannot denoise: they are made to find the left ventricle"
    assert sentence in str(fast.available())
    with pytest.raises(WeightsError, match=sentence):
        fast.prepare(bright_loop(1)[0], Settings())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_same_ventricle(user: Path) -> None:
    save_bright(user)
    loop, _ = bright_loop(11)
    cpu, cuda = segment(loop, device="cpu"), segment(loop, device="cuda")
    assert min(overlap(a, b) for a, b in zip(cpu.lv, cuda.lv, strict=True)) > 0.99
    assert np.array_equal(segment(loop, [4], device="cuda").lv[4], cuda.lv[4])
