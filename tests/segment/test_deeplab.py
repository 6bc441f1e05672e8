"""The published segmentation network: every parameter of its checkpoint has its place, and it computes what is said."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from echoq_models import resources
from echoq_models.errors import WeightsError
from echoq_models.segment import available, networks, segment, segmenter
from echoq_models.segment.deeplab import build
from echoq_models.weights import store, upstream
from tests.make_networks import bright_loop

State = dict[str, torch.Tensor]


@pytest.fixture(autouse=True)
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty user folder, and nothing shipped."""
    monkeypatch.setattr(resources, "path", lambda *parts: (tmp_path / "resources").joinpath(*parts))
    monkeypatch.setenv("ECHOQ_WEIGHTS", str(tmp_path / "user"))
    return tmp_path / "user"


def shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the checkpoint, written down from the published layout: ResNet-50 and the DeepLabV3 head."""
    found: dict[str, tuple[int, ...]] = {}

    def norm(name: str, width: int) -> None:
        found.update({f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")})
        found[f"{name}.num_batches_tracked"] = ()

    found["backbone.conv1.weight"] = (64, 3, 7, 7)
    norm("backbone.bn1", 64)
    before = 64
    for layer, (blocks, width) in enumerate(((3, 64), (4, 128), (6, 256), (3, 512)), start=1):
        for block in range(blocks):
            name = f"backbone.layer{layer}.{block}"
            for i, shape in enumerate(((width, before, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1)), start=1):
                found[f"{name}.conv{i}.weight"] = shape
                norm(f"{name}.bn{i}", shape[0])
            if block == 0:
                found[f"{name}.downsample.0.weight"] = (4 * width, before, 1, 1)
                norm(f"{name}.downsample.1", 4 * width)
            before = 4 * width
    for i, size in enumerate((1, 3, 3, 3)):
        found[f"classifier.0.convs.{i}.0.weight"] = (256, 2048, size, size)
        norm(f"classifier.0.convs.{i}.1", 256)
    found["classifier.0.convs.4.1.weight"] = (256, 2048, 1, 1)
    norm("classifier.0.convs.4.2", 256)
    found["classifier.0.project.0.weight"] = (256, 1280, 1, 1)
    norm("classifier.0.project.1", 256)
    found["classifier.1.weight"] = (256, 256, 3, 3)
    norm("classifier.2", 256)
    found["classifier.4.weight"], found["classifier.4.bias"] = (1, 256, 1, 1), (1,)
    return found


def released_layout() -> State:
    """Random weights with those names and shapes, of a size that lets signals through."""
    generator = torch.Generator().manual_seed(3)
    state: State = {}
    for name, shape in shapes().items():
        noise = torch.randn(shape, generator=generator)
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(77)
        elif len(shape) == 4:
            state[name] = noise * (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
        elif name.endswith(("running_var", "weight")):
            state[name] = 1 + 0.2 * noise.tanh()
        else:
            state[name] = 0.2 * noise
    return state


def forward_from_the_description(state: State, x: torch.Tensor) -> torch.Tensor:
    """The published network written out from its description, sharing no code with ours. x: normalised."""

    def conv(x: torch.Tensor, name: str, **options: int) -> torch.Tensor:
        return F.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), **options)

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, var, weight, bias = (state[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
        scale = weight / (var + 1e-5).sqrt()
        return x * scale[:, None, None] + (bias - mean * scale)[:, None, None]

    y = norm(conv(x, "backbone.conv1", stride=2, padding=3), "backbone.bn1").relu()
    y = F.max_pool2d(y, 3, 2, 1)
    # (stride of the first block, dilation of the first block, dilation of the others)
    for layer, (blocks, stride, first, others) in enumerate(
        ((3, 1, 1, 1), (4, 2, 1, 1), (6, 1, 1, 2), (3, 1, 2, 4)), 1
    ):
        for block in range(blocks):
            name = f"backbone.layer{layer}.{block}"
            step, reach = (stride, first) if block == 0 else (1, others)
            z = norm(conv(y, f"{name}.conv1"), f"{name}.bn1").relu()
            z = norm(conv(z, f"{name}.conv2", stride=step, padding=reach, dilation=reach), f"{name}.bn2").relu()
            z = norm(conv(z, f"{name}.conv3"), f"{name}.bn3")
            if block == 0:
                y = norm(conv(y, f"{name}.downsample.0", stride=step), f"{name}.downsample.1")
            y = (y + z).relu()
    pyramid = "classifier.0.convs"
    looks = [norm(conv(y, f"{pyramid}.0.0"), f"{pyramid}.0.1").relu()]
    for i, rate in enumerate((12, 24, 36), start=1):
        look = conv(y, f"{pyramid}.{i}.0", padding=rate, dilation=rate)
        looks.append(norm(look, f"{pyramid}.{i}.1").relu())
    whole = norm(conv(y.mean((2, 3), keepdim=True), f"{pyramid}.4.1"), f"{pyramid}.4.2").relu()
    looks.append(F.interpolate(whole, size=y.shape[2:], mode="bilinear", align_corners=False))
    y = norm(conv(torch.cat(looks, 1), "classifier.0.project.0"), "classifier.0.project.1").relu()
    y = norm(conv(y, "classifier.1", padding=1), "classifier.2").relu()
    return F.interpolate(conv(y, "classifier.4"), size=x.shape[2:], mode="bilinear", align_corners=False)


def checkpoint(path: Path, state: State) -> Path:
    """A file as EchoNet-Dynamic's training writes it."""
    parallel = {f"module.{name}": value for name, value in state.items()}
    rest = {"epoch": 49, "best_loss": 0.0371, "loss": 0.04, "opt_dict": {"state": {}, "param_groups": [{"lr": 1e-5}]}}
    torch.save({"state_dict": parallel, **rest}, path)
    return path


def test_the_checkpoint_fits_name_for_name_and_shape_for_shape() -> None:
    with torch.device("meta"):
        ours = build({"family": "deeplab"}).state_dict()
    assert {name: tuple(value.shape) for name, value in ours.items()} == shapes()
    assert list(ours) == list(shapes())
    assert sum(name.endswith("num_batches_tracked") for name in ours) == 53 + 7  # backbone and head


def test_an_imported_checkpoint_computes_what_the_release_describes_and_can_be_chosen(tmp_path: Path) -> None:
    assert "no weights called 'deeplab'" in str(available("deeplab"))
    state = released_layout()
    (entry,) = upstream.import_file(checkpoint(tmp_path / "deeplabv3_resnet50_random.pt", state))
    assert entry.name == "deeplab" and entry.card is not None and entry.card.output == "lv"
    assert entry.card.title == networks()["deeplab"] == "DeepLabV3 (EchoNet-Dynamic)"
    assert available("deeplab") is None
    card, tensors = store.load("deeplab")
    assert tensors.keys() == state.keys() and all(torch.equal(tensors[name], state[name]) for name in state)

    network = build({**card.architecture, "mean": [30.0, 31.0, 32.0], "std": [48.0, 49.0, 50.0]}).eval()
    network.load_state_dict(tensors)
    network.double()  # sixty layers of random weights grow float32's rounding a thousandfold
    x = torch.rand(1, 3, 112, 112, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with torch.inference_mode():
        logit, present = network(x)
        centre, spread = torch.tensor([30.0, 31.0, 32.0]), torch.tensor([48.0, 49.0, 50.0])
        precise = {name: value.double() for name, value in state.items()}
        wanted = forward_from_the_description(precise, (255 * x - centre[:, None, None]) / spread[:, None, None])
    assert present is None and logit.shape == (1, 1, 112, 112)
    assert wanted.std() > 0.05  # a picture, not a constant
    torch.testing.assert_close(logit, wanted.float(), atol=1e-5, rtol=1e-5)

    loop, _ = bright_loop(2)
    found = segment(loop, network="deeplab", device="cpu")  # random weights: some answer, no crash
    assert found.facts["network"] == "deeplab" and found.lv.shape == loop.frames.shape
    assert all(bool(reason) != bool(there) for reason, there in zip(found.reasons, found.found, strict=True))
    segmenter._build.cache_clear()


def test_other_segmentation_networks_are_refused_with_their_misfit(tmp_path: Path, user: Path) -> None:
    def tiny(**changed: torch.Tensor | None) -> State:
        state = {name: torch.zeros(()).expand(shape) for name, shape in shapes().items()} | changed
        return {name: value for name, value in state.items() if value is not None}

    for state, sentence in (
        (tiny(**{"classifier.4.weight": torch.zeros(21, 256, 1, 1)}), r"'classifier.4.weight' is \(21, 256, 1, 1\)"),
        (tiny(**{"backbone.bn1.bias": None}), "'backbone.bn1.bias' is missing"),
        (tiny(**{"aux_classifier.4.bias": torch.zeros(1)}), "no place for 'aux_classifier.4.bias'"),
        ({"backbone.conv1.weight": torch.zeros(1)}, "a segmentation network of another kind"),
    ):
        with pytest.raises(WeightsError, match=sentence):
            upstream.import_file(checkpoint(tmp_path / "other.pt", state))
    assert not user.exists()
    with pytest.raises(WeightsError, match="std above 0"):
        build({"family": "deeplab", "std": [49.0, 0.0, 49.0]})
