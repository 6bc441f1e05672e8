"""Weights on disk: what is saved comes back, and everything wrong gives one sentence."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from echoq_models import resources
from echoq_models.errors import WeightsError
from echoq_models.weights import store
from echoq_models.weights.store import Card


def build(architecture: dict) -> torch.nn.Module:
    """What store.BUILDERS finds for the family "tiny"."""
    return torch.nn.Conv2d(1, architecture["width"], 3)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """An empty shipped folder and an empty user folder."""
    shipped, user = tmp_path / "resources" / "weights", tmp_path / "user"
    monkeypatch.setattr(resources, "path", lambda *parts: (tmp_path / "resources").joinpath(*parts))
    monkeypatch.setenv("ECHOQ_WEIGHTS", str(user))
    monkeypatch.setitem(store.BUILDERS, "tiny", __name__)
    return shipped, user


def card(**changes: object) -> Card:
    values = {"name": "", "title": "Tiny", "architecture": {"family": "tiny", "width": 4}, "output": "image"}
    return Card(**(values | {"figures": {"psnr_db": 27.1}, "licence": "Apache-2.0"} | changes))


def tensors(width: int = 4) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {"weight": torch.randn(width, 1, 3, 3), "bias": torch.randn(width)}


def test_fp32_comes_back_bit_for_bit_with_its_card(folders):
    entry = store.save(folders[0] / "tiny.safetensors", tensors(), card())
    found, loaded = store.load("tiny")
    assert found == entry.card
    assert found.name == "tiny"
    assert found.figures == {"psnr_db": 27.1}
    assert found.sha256 == hashlib.sha256(entry.path.read_bytes()).hexdigest()
    assert all(torch.equal(loaded[key], value) for key, value in tensors().items())


def test_fp16_is_half_as_large_and_loads_as_float32(folders):
    full = store.save(
        folders[0] / "full.safetensors", tensors(400), card(architecture={"family": "tiny", "width": 400})
    )
    half = store.save(
        folders[0] / "half.safetensors", tensors(400), card(architecture={"family": "tiny", "width": 400}), half=True
    )
    assert half.path.stat().st_size < 0.6 * full.path.stat().st_size
    _, loaded = store.load("half")
    assert {value.dtype for value in loaded.values()} == {torch.float32}
    assert torch.equal(loaded["weight"], tensors(400)["weight"].half().float())


def test_half_refuses_what_fp16_cannot_hold(folders):
    with pytest.raises(ValueError, match="fp16"):
        store.save(folders[0] / "tiny.safetensors", {"bias": torch.tensor([1e6])}, card(), half=True)
    assert not folders[0].exists()


def test_a_users_file_of_the_same_name_wins(folders):
    store.save(folders[0] / "tiny.safetensors", tensors(), card(title="Shipped"))
    assert not store.find("tiny").user
    store.save(folders[1] / "tiny.safetensors", tensors(), card(title="Mine"))
    entry = store.find("tiny")
    assert entry.user
    assert entry.card is not None
    assert entry.card.title == "Mine"
    assert [e.name for e in store.list_weights()] == ["tiny"]


def test_missing_weights_are_named(folders):
    with pytest.raises(WeightsError, match="no weights called 'unet'"):
        store.find("unet")
    assert store.list_weights() == []


def spoil_bytes(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def cut(path: Path) -> None:
    """A file that is cut short, with a card that agrees: the safetensors reader has to notice."""
    path.write_bytes(path.read_bytes()[:-40])
    restamp(path)


def restamp(path: Path, **changes: object) -> None:
    described = json.loads(path.with_suffix(".json").read_text())
    described |= {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()} | changes
    path.with_suffix(".json").write_text(json.dumps(described))


DAMAGES = {
    "sha256 differs": spoil_bytes,
    "damaged or not a safetensors": cut,
    "is missing though its model card": Path.unlink,
    "has no model card": lambda path: path.with_suffix(".json").unlink(),
    "cannot be read": lambda path: path.with_suffix(".json").write_text("{"),
    "it is not a JSON object": lambda path: path.with_suffix(".json").write_text("[" * 3 + "]" * 3),
    "unknown architecture 'other'": lambda path: restamp(path, architecture={"family": "other"}),
    "cannot be built": lambda path: restamp(path, architecture={"family": "tiny"}),
    r"'bias' is \(4,\) where \(5,\) is expected": lambda path: restamp(
        path, architecture={"family": "tiny", "width": 5}
    ),
    "its output is 'sound'": lambda path: restamp(path, output="sound"),
    "its 'figures' is a list": lambda path: restamp(path, figures=[]),
    "noise channels 'global' are not numbers": lambda path: restamp(
        path, noise_channels={"global": {"b4.conv1:0": "-"}}
    ),
    "is for 'other'": lambda path: restamp(path, name="other"),
}


@pytest.mark.parametrize("sentence", DAMAGES)
def test_damage_gives_one_sentence(folders, sentence):
    path = store.save(folders[0] / "tiny.safetensors", tensors(), card()).path
    DAMAGES[sentence](path)
    with pytest.raises(WeightsError, match=sentence) as caught:
        store.load("tiny")
    said = str(caught.value)
    assert said.endswith(".")
    assert "\n" not in said
    [entry] = store.list_weights()  # the list itself never fails
    assert store.verify(entry) == said


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.pop("bias"), "'bias' is missing"),
        (lambda t: t.update(extra=torch.zeros(1)), "it has no place for 'extra'"),
    ],
)
def test_wrong_tensors_are_named(folders, change, sentence):
    changed = tensors()
    change(changed)
    store.save(folders[0] / "tiny.safetensors", changed, card())
    assert sentence in (store.verify("tiny") or "")


def test_good_weights_verify(folders):
    assert store.verify(store.save(folders[0] / "tiny.safetensors", tensors(), card())) is None


def test_a_failed_write_leaves_nothing_behind(folders, monkeypatch):
    path = store.save(folders[0] / "tiny.safetensors", tensors(), card()).path
    before = {p.name: p.read_bytes() for p in folders[0].iterdir()}
    monkeypatch.setattr(Card, "to_json", lambda self: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(store.OutputError, match="No space left"):
        store.save(path, tensors(), card(title="New"))
    assert {p.name: p.read_bytes() for p in folders[0].iterdir()} == before


def test_weights_serve_the_task_they_are_made_for_and_no_other(folders):
    _, user = folders
    store.save(user / "grey.safetensors", tensors(), card())
    store.save(user / "heart.safetensors", tensors(), card(output="lv"))
    assert store.find("grey", "denoise").name == "grey" and store.find("heart").name == "heart"
    assert store.find("heart", "find the left ventricle").name == "heart"
    for name, task, other in (
        ("grey", "find the left ventricle", "denoise"),
        ("heart", "denoise", "find the left ventricle"),
    ):
        with pytest.raises(WeightsError, match=rf"'{name}' .* cannot {task}: they are made to {other}\.") as caught:
            store.find(name, task)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["..safetensors", ".hidden.safetensors", "a b.safetensors", "tiny.pt"])
def test_odd_names_are_refused(folders, name):
    with pytest.raises(ValueError, match="not a name"):
        store.save(folders[0] / name, tensors(), card())


def test_listing_needs_no_torch():
    code = "import sys; from echoq_models.weights import store; store.list_weights(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
