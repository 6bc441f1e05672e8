"""Foreign weights: the released U-Net comes in bit for bit, a file that would run code does not."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from echoq_models import resources
from echoq_models.denoise import architectures
from echoq_models.errors import WeightsError
from echoq_models.weights import store, upstream


@pytest.fixture(autouse=True)
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty user folder, and nothing shipped."""
    monkeypatch.setattr(resources, "path", lambda *parts: (tmp_path / "resources").joinpath(*parts))
    monkeypatch.setenv("ECHOQ_WEIGHTS", str(tmp_path / "user"))
    return tmp_path / "user"


def released_layout() -> dict[str, torch.Tensor]:
    """Random weights with the exact names and shapes of the authors' file."""
    wide = {"dconv_down1": (1, 64), "dconv_down2": (64, 128), "dconv_down3": (128, 256), "dconv_down4": (256, 512)}
    wide |= {"dconv_up3": (768, 256), "dconv_up2": (384, 128), "dconv_up1": (192, 64)}
    generator = torch.Generator().manual_seed(1)
    state = {}
    for block, (n_in, n_out) in wide.items():
        for layer, fan in (("0", n_in), ("2", n_out)):
            weight = torch.randn(n_out, fan, 3, 3, generator=generator)
            state[f"{block}.{layer}.weight"] = weight * (2 / (9 * fan)) ** 0.5
            state[f"{block}.{layer}.bias"] = 0.1 * torch.randn(n_out, generator=generator)
    state["conv_last.weight"] = 0.1 * torch.randn(1, 64, 1, 1, generator=generator)
    state["conv_last.bias"] = torch.full((1,), 0.5)
    return state


def forward_from_the_description(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The published network written out from its description, sharing no code with ours."""

    def block(name: str, x: torch.Tensor) -> torch.Tensor:
        for layer in ("0", "2"):
            weight, bias = state[f"{name}.{layer}.weight"], state[f"{name}.{layer}.bias"]
            x = F.mish(F.conv2d(x, weight, bias, padding=1))
        return x

    skips = []
    for i in (1, 2, 3):
        skips.append(block(f"dconv_down{i}", x))
        x = F.max_pool2d(skips[-1], 2)
    x = block("dconv_down4", x)
    for i in (3, 2, 1):
        x = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)(x)
        x = block(f"dconv_up{i}", torch.cat([x, skips[i - 1]], dim=1))
    return F.conv2d(x, state["conv_last.weight"], state["conv_last.bias"]).clamp(0, 1)


WRAPPERS = {
    "plain": lambda state: state,
    "nested": lambda state: {"epoch": 3, "state_dict": state},
    "parallel": lambda state: {"model": {f"module.{key}": value for key, value in state.items()}},
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("old_format", [False, True])
def test_the_released_layout_comes_in_bit_for_bit(tmp_path, user, wrapper, old_format):
    state = released_layout()
    file = tmp_path / "unet_denoise.pt"
    torch.save(WRAPPERS[wrapper](state), file, _use_new_zipfile_serialization=not old_format)
    (entry,) = upstream.import_file(file)
    assert (entry.name, entry.user, entry.path) == ("unet", True, user / "unet.safetensors")
    card, tensors = store.load("unet")
    assert card.output == "image"
    assert card.recipe == "imported from unet_denoise.pt"
    assert tensors.keys() == state.keys()
    assert all(torch.equal(tensors[key], value) for key, value in state.items())
    assert store.verify(entry) is None


def test_the_imported_network_computes_what_the_release_describes(tmp_path):
    state = released_layout()
    torch.save(state, tmp_path / "released.pt")
    card, tensors = store.load(upstream.import_file(tmp_path / "released.pt", name="authors")[0])
    assert card.name == "authors"
    network = architectures.build(dict(card.architecture)).eval()
    network.load_state_dict(tensors)
    x = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        out, confidence = network(x)
        wanted = forward_from_the_description(state, x)
    assert confidence is None
    assert wanted.std() > 0.01  # a picture, not a constant
    assert torch.equal(out, wanted)


class RunsAProgram:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.system, (f"touch '{self.marker}'",)


def evil_zip(file: Path, marker: Path) -> None:
    torch.save(released_layout() | {"conv_last.bias": RunsAProgram(marker)}, file)


def evil_pickle(file: Path, marker: Path) -> None:
    file.write_bytes(pickle.dumps({"state_dict": RunsAProgram(marker)}, protocol=2))


def evil_legacy(file: Path, marker: Path) -> None:
    torch.save({"x": RunsAProgram(marker)}, file, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("write", [evil_zip, evil_pickle, evil_legacy])
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_file_that_would_run_a_program_is_refused_unopened(tmp_path, user, write, suffix):
    file, marker = tmp_path / f"evil.{suffix}", tmp_path / "executed"
    write(file, marker)
    with pytest.raises(WeightsError, match=r"system.*could run a program") as caught:
        upstream.import_file(file)
    assert "\n" not in str(caught.value)
    assert not marker.exists()
    assert not user.exists()
    if write is evil_pickle:  # the bait is real: unpickling does run it
        pickle.loads(file.read_bytes())  # noqa: S301
        assert marker.exists()


def saved(tmp_path: Path, content: object) -> Path:
    torch.save(content, tmp_path / "foreign.pt")
    return tmp_path / "foreign.pt"


UNFIT = {
    "a generator of another kind": {"synthesis.b4.const": torch.zeros(4)},
    "an encoder of another kind": {"state_dict": {"encoder.input_layer.0.weight": torch.zeros(4)}},
    "a segmentation network": {"state_dict": {"module.backbone.conv1.weight": torch.zeros(4)}},
    "an unknown network": {"a": torch.zeros(4)},
    "not a plain table of named tensors": {"a": 3},
    "damaged or not a file of weights": [torch.zeros(4)],
    "'conv_last.bias' is missing": {k: v for k, v in released_layout().items() if k != "conv_last.bias"},
    r"'conv_last.weight' is \(2, 64, 1, 1\)": released_layout() | {"conv_last.weight": torch.zeros(2, 64, 1, 1)},
}


@pytest.mark.parametrize("sentence", UNFIT)
def test_other_layouts_are_named(tmp_path, user, sentence):
    with pytest.raises(WeightsError, match=sentence) as caught:
        upstream.import_file(saved(tmp_path, UNFIT[sentence]))
    assert "\n" not in str(caught.value)
    assert not user.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not weights at all", bytes(range(256)) * 40])
def test_damaged_files_give_one_sentence(tmp_path, content):
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(WeightsError, match=r"x\.pt") as caught:
        upstream.import_file(tmp_path / "x.pt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_file_cut_short_gives_one_sentence(tmp_path, share):
    file = saved(tmp_path, released_layout())
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(WeightsError, match=r"foreign\.pt is damaged"):
        upstream.import_file(file)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(WeightsError, match="does not exist"):
        upstream.import_file(tmp_path / "none.pt")
    with pytest.raises(WeightsError, match="cannot be read"):
        upstream.import_file(tmp_path)


def test_a_name_that_leaves_the_folder_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="cannot be a name"):
        upstream.import_file(saved(tmp_path, released_layout()), name="../unet")


def fast_weights(folder: Path) -> store.Entry:
    torch.manual_seed(0)
    tensors = architectures.build({"family": "fast"}).state_dict()
    card = store.Card("", "Fast", {"family": "fast"}, "gain", figures={"psnr_db": 20.0})
    return store.save(folder / "fast.safetensors", tensors, card, half=True)


def test_our_own_file_comes_in_with_its_card(tmp_path):
    made = fast_weights(tmp_path / "elsewhere")
    (entry,) = upstream.import_file(made.path)
    assert entry.card is not None
    assert entry.card == made.card  # sha256 included: the same bytes
    _, here = store.load(entry)
    _, there = store.load(made)
    assert all(torch.equal(here[key], there[key]) for key in there)


def test_a_safetensors_file_without_a_card_is_recognised_by_its_layout(tmp_path):
    state = released_layout()
    save_file(state, tmp_path / "converted.safetensors")
    _, tensors = store.load(upstream.import_file(tmp_path / "converted.safetensors")[0])
    assert all(torch.equal(tensors[key], value) for key, value in state.items())


def test_our_own_file_must_match_its_card(tmp_path):
    made = fast_weights(tmp_path / "elsewhere")
    content = bytearray(made.path.read_bytes())
    content[-1] ^= 1
    made.path.write_bytes(bytes(content))
    with pytest.raises(WeightsError, match="sha256 differs"):
        upstream.import_file(made.path)
