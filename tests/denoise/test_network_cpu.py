"""What makes the networks quick on a CPU changes no result."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from echoq_models.cine import sector as sectors
from echoq_models.denoise import architectures, network
from echoq_models.denoise.base import Settings
from echoq_models.denoise.network import fast
from echoq_models.runtime import forward

CPU = torch.device("cpu")


@pytest.fixture
def three_threads():
    """More than one core's worth, whatever the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_folded_norms_change_nothing_but_rounding() -> None:
    torch.manual_seed(0)
    plain = architectures.build({"family": "fast"})
    for module in plain.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after training
            nn.init.normal_(module.weight, 1.0, 0.2)
            nn.init.normal_(module.running_mean, 0.0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    folded = copy.deepcopy(plain.eval())
    forward.fold_norms(folded)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    x = torch.rand(2, 1, 256, 256)
    with torch.inference_mode():
        for wanted, found in zip(plain(x), folded(x), strict=True):
            assert (255 * (wanted - found)).abs().max() < 0.05


def test_frames_side_by_side_are_those_of_one_alone(fast_weights, loop, three_threads, monkeypatch) -> None:
    monkeypatch.setattr(network.device, "cpu_count", lambda: 3)
    prepared = fast.prepare(loop, Settings(device="cpu"))
    assert prepared.state.batch % 3 == 0
    patches = sectors.patches(loop.frames, prepared.state.sector)[:, 0]
    together = network._forward(prepared.state.network, patches, CPU)
    for t in range(len(loop)):
        alone = network._forward(prepared.state.network, patches[t : t + 1], CPU)
        assert np.array_equal(together[0][t], alone[0][0])
        assert np.array_equal(together[1][t], alone[1][0])
    assert torch.get_num_threads() == 3


def test_what_goes_wrong_in_one_frame_is_told(fast_weights, loop, three_threads, monkeypatch) -> None:
    prepared = fast.prepare(loop, Settings(device="cpu"))

    def fails(*_):
        raise RuntimeError("broken")

    monkeypatch.setattr(forward, "_run", fails)
    with pytest.raises(RuntimeError, match="broken"):
        list(fast.run(loop, prepared, range(3)))
    assert torch.get_num_threads() == 3
