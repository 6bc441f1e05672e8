"""The network denoisers: what they may change, and that a frame's result depends on nothing but the frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_for_denoising import make_loop, save_network

from echoq_models.cine import sector as sectors
from echoq_models.denoise import network
from echoq_models.denoise.base import Settings
from echoq_models.denoise.network import fast, unet
from echoq_models.errors import EchoQError, WeightsError
from echoq_models.weights import store

CPU = Settings(device="cpu")


def results(denoiser, loop, indices, settings=CPU) -> dict[int, np.ndarray]:
    return dict(denoiser.run(loop, denoiser.prepare(loop, settings), indices))


def test_without_weights_it_says_so(user, loop):
    assert "import or train" in (fast.available() or "")
    with pytest.raises(WeightsError, match="no weights called 'fast'"):
        fast.prepare(loop, CPU)


def test_damaged_weights_are_refused(fast_weights, loop):
    content = bytearray(fast_weights.path.read_bytes())
    content[-1] ^= 1
    fast_weights.path.write_bytes(bytes(content))
    network._build.cache_clear()
    with pytest.raises(WeightsError, match="sha256 differs"):
        fast.prepare(loop, CPU)


def test_a_gain_darkens_and_never_brightens(fast_weights, loop):
    for t, frame in results(fast, loop, range(len(loop))).items():
        assert frame.dtype == np.uint8
        assert frame.shape == loop.size
        assert (frame <= loop.frames[t]).all()
        assert (frame < loop.frames[t]).any()


def test_a_brightening_network_is_held_to_its_promise(fast_weights, loop, monkeypatch):
    prepared = fast.prepare(loop, CPU)

    class Brightens(torch.nn.Module):
        def forward(self, x):
            return torch.full_like(x, 0.2), None

    prepared = replace(prepared, state=replace(prepared.state, network=Brightens()))
    assert np.array_equal(dict(fast.run(loop, prepared, [0]))[0], loop.frames[0])


def test_outside_the_sector_and_on_colour_nothing_changes(fast_weights):
    loop = make_loop(2, coloured=True)
    prepared = fast.prepare(loop, CPU)
    mask = prepared.state.sector.mask
    for t, frame in fast.run(loop, prepared, range(2)):
        assert np.array_equal(frame[~mask], loop.frames[t][~mask])
        coloured = loop.coloured(t)
        assert coloured is not None
        assert (coloured & mask).any()
        assert np.array_equal(frame[coloured], loop.frames[t][coloured])


@pytest.mark.parametrize(("denoiser", "count"), [(fast, 4), (unet, 2)])
def test_any_order_and_any_batch_give_the_same_pixels(fast_weights, image_weights, denoiser, count):
    loop = make_loop(count, 140, 140)
    alone = {t: results(denoiser, loop, [t])[t] for t in range(count)}
    for batch in range(2, count + 1):
        order = [*range(1, count), 0][::-1]
        found = results(denoiser, loop, order, replace(CPU, batch=batch))
        assert list(found) == order
        assert all(np.array_equal(found[t], alone[t]) for t in order), batch


def test_an_image_network_goes_through_the_same_door(image_weights):
    """What paste_image does with the network's own output, written out."""
    loop = make_loop(1, 140, 140)
    prepared = unet.prepare(loop, CPU)
    assert prepared.facts["output"] == "image"
    x = sectors.patches(loop.frames, prepared.state.sector)
    with torch.inference_mode():
        wanted = prepared.state.network(torch.from_numpy(x))[0].numpy()[:, 0]
    pasted = sectors.paste_image(loop.frames, wanted, prepared.state.sector)
    found = dict(unet.run(loop, prepared, [0]))[0]
    assert np.abs(found.astype(int) - pasted[0]).max() <= 1
    assert not np.array_equal(found, loop.frames[0])


@pytest.mark.parametrize("denoiser", [fast, unet])
def test_strength_goes_from_nothing_to_everything(fast_weights, image_weights, denoiser):
    loop = make_loop(1, 140, 140)
    change = {
        s: results(denoiser, loop, [0], replace(CPU, strength=s))[0].astype(int) - loop.frames[0]
        for s in (0.0, 0.5, 1.0)
    }
    assert not change[0.0].any()
    free = (change[1.0] + loop.frames[0] > 0) & (change[1.0] + loop.frames[0] < 255)  # not clipped
    assert np.abs(change[1.0][free]).max() > 5
    assert np.abs(change[0.5] - change[1.0] / 2)[free].max() <= 1


@pytest.mark.parametrize("strength", [-0.1, 1.5, float("nan")])
def test_strength_out_of_range_is_refused(fast_weights, loop, strength):
    with pytest.raises(EchoQError, match="strength"):
        fast.prepare(loop, Settings(device="cpu", strength=strength))


def test_indices_are_taken_lazily_and_cancel_stops(fast_weights, loop):
    asked = []

    def indices():
        for t in (4, 2, 0, 1, 3):
            asked.append(t)
            yield t

    done = []
    prepared = fast.prepare(loop, replace(CPU, batch=2))
    for t, _ in fast.run(loop, prepared, indices(), cancel=lambda: len(done) >= 2):
        assert len(asked) <= len(done) + 2
        done.append(t)
    assert done == [4, 2]
    assert asked == [4, 2]


def test_facts_name_the_weights(fast_weights, loop):
    facts = fast.prepare(loop, CPU).facts
    assert facts["sha256"] == fast_weights.card.sha256
    assert facts["architecture"] == "fast"
    assert str(facts["device"]).startswith("CPU")


def test_confidence_is_there_for_gain_networks_only(fast_weights, image_weights, loop):
    confidence = fast.confidence(loop, fast.prepare(loop, CPU), 1)
    assert confidence is not None
    assert confidence.shape == (256, 256)
    assert confidence.dtype == np.float32
    assert 0 <= confidence.min() < confidence.max() <= 1
    assert unet.confidence(loop, unet.prepare(loop, CPU), 1) is None


def test_new_weights_of_the_same_name_are_used_at_once(fast_weights, user, loop):
    before = results(fast, loop, [0])[0]
    save_network(user, "fast", {"family": "fast"}, "gain", seed=7)
    assert not np.array_equal(results(fast, loop, [0])[0], before)


def test_memory_running_out_halves_the_batch(fast_weights, loop, monkeypatch):
    wanted = results(fast, loop, range(5))
    real, sizes = network._forward, []

    def tight(module, patches, place):
        sizes.append(len(patches))
        if len(patches) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(module, patches, place)

    monkeypatch.setattr(network, "_forward", tight)
    found = results(fast, loop, range(5), replace(CPU, batch=5))
    assert sizes == [5, 2, 2, 1]
    assert all(np.array_equal(found[t], wanted[t]) for t in wanted)


def test_store_entry_is_what_available_looks_at(fast_weights):
    assert fast.available() is None
    assert store.find("fast").path == fast_weights.path


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_is_within_one_grey_level_and_batch_independent(fast_weights, loop):
    cpu, cuda = results(fast, loop, range(5)), results(fast, loop, range(5), Settings(device="cuda"))
    alone = results(fast, loop, [3], Settings(device="cuda", batch=1))
    assert all(np.abs(cpu[t].astype(int) - cuda[t]).max() <= 1 for t in cpu)
    assert np.array_equal(alone[3], cuda[3])
