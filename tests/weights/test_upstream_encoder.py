"""The released encoder: its file comes in with the generator inside it, and both compute what their layouts say."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from echoq_desktop import cli
from echoq_models import resources
from echoq_models.errors import WeightsError
from echoq_models.generative import encoder, stylegan2
from echoq_models.weights import store, upstream
from tests.weights.released_generators import State, random_state, rosinality_draw, rosinality_shapes

GENERATOR_WIDTHS = {4: 12, 8: 12, 16: 12, 32: 8}  # 8 rows
SMALL = {"colours": 1, "widths": (4, 6, 8, 10), "depths": (3, 4, 14, 3), "rows": 8, "w": 16, "side": 64}
RELEASED = {"colours": 1, "widths": (64, 128, 256, 512), "depths": (3, 4, 14, 3), "rows": 14, "w": 512, "side": 256}


@pytest.fixture(autouse=True)
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty user folder, and nothing shipped."""
    monkeypatch.setattr(resources, "path", lambda *parts: (tmp_path / "resources").joinpath(*parts))
    monkeypatch.setenv("ECHOQ_WEIGHTS", str(tmp_path / "user"))
    return tmp_path / "user"


def shapes(
    colours: int, widths: tuple[int, ...], depths: tuple[int, ...], rows: int, w: int, side: int
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the released layout: IR-SE-50 and its style blocks, for `rows` rows."""
    found: dict[str, tuple[int, ...]] = {}

    def norm(name: str, width: int) -> None:
        found.update({f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")})
        found[f"{name}.num_batches_tracked"] = ()

    found["input_layer.0.weight"] = (widths[0], colours, 3, 3)
    norm("input_layer.1", widths[0])
    found["input_layer.2.weight"] = (widths[0],)
    outputs = [width for width, depth in zip(widths, depths, strict=True) for _ in range(depth)]
    for i, (n_in, n_out) in enumerate(zip([widths[0], *outputs], outputs, strict=False)):
        name = f"body.{i}"
        if n_in != n_out:
            found[f"{name}.shortcut_layer.0.weight"] = (n_out, n_in, 1, 1)
            norm(f"{name}.shortcut_layer.1", n_out)
        norm(f"{name}.res_layer.0", n_in)
        found[f"{name}.res_layer.1.weight"] = (n_out, n_in, 3, 3)
        found[f"{name}.res_layer.2.weight"] = (n_out,)
        found[f"{name}.res_layer.3.weight"] = (n_out, n_out, 3, 3)
        norm(f"{name}.res_layer.4", n_out)
        found[f"{name}.res_layer.5.fc1.weight"] = (max(n_out // 16, 1), n_out, 1, 1)
        found[f"{name}.res_layer.5.fc2.weight"] = (n_out, max(n_out // 16, 1), 1, 1)
    for row in range(rows):
        seen = side // (16 if row < 3 else 8 if row < 7 else 4)
        for k in range(int(math.log2(seen))):
            found[f"styles.{row}.convs.{2 * k}.weight"] = (w, widths[3] if k == 0 else w, 3, 3)
            found[f"styles.{row}.convs.{2 * k}.bias"] = (w,)
        found |= {f"styles.{row}.linear.weight": (w, w), f"styles.{row}.linear.bias": (w,)}
    for number, width in ((1, widths[2]), (2, widths[1])):
        found |= {f"latlayer{number}.weight": (widths[3], width, 1, 1), f"latlayer{number}.bias": (widths[3],)}
    return found


def random_encoder(**size: object) -> State:
    """Random weights that let signals through fifty layers."""
    generator = torch.Generator().manual_seed(6)
    state: State = {}
    for name, shape in shapes(**size).items():  # type: ignore[arg-type]
        noise = torch.randn(shape, generator=generator)
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(9)
        elif len(shape) == 4:
            state[name] = noise * (2 / math.prod(shape[1:])) ** 0.5
        elif name.endswith("running_var"):
            state[name] = 1 + 0.2 * noise.tanh()
        elif name.endswith(("res_layer.2.weight", "input_layer.2.weight")):
            state[name] = 0.25 + 0.1 * noise
        elif name.endswith("weight") and len(shape) == 1:
            state[name] = 0.6 + 0.2 * noise.tanh()
        else:
            state[name] = noise if name.endswith("linear.weight") else 0.2 * noise
    return state


def encode(state: State, x: torch.Tensor) -> torch.Tensor:
    """w0 and deltas for each row, written out from the layout, sharing no code with ours."""

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, var, weight, bias = (state[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
        return (x - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt() * weight[:, None, None] + bias[
            :, None, None
        ]

    def prelu(x: torch.Tensor, name: str) -> torch.Tensor:
        return x.clamp_min(0) + state[f"{name}.weight"][:, None, None] * x.clamp_max(0)

    def unit(x: torch.Tensor, name: str, stride: int) -> torch.Tensor:
        if f"{name}.shortcut_layer.0.weight" in state:
            short = norm(
                F.conv2d(x, state[f"{name}.shortcut_layer.0.weight"], stride=stride), f"{name}.shortcut_layer.1"
            )
        else:
            short = F.max_pool2d(x, 1, stride)
        y = norm(x, f"{name}.res_layer.0")
        y = prelu(F.conv2d(y, state[f"{name}.res_layer.1.weight"], padding=1), f"{name}.res_layer.2")
        y = norm(F.conv2d(y, state[f"{name}.res_layer.3.weight"], padding=1, stride=stride), f"{name}.res_layer.4")
        first, second = (state[f"{name}.res_layer.5.fc{i}.weight"][:, :, 0, 0] for i in (1, 2))
        share = torch.sigmoid((y.mean((2, 3)) @ first.T).relu() @ second.T)
        return short + y * share[:, :, None, None]

    def row(i: int, x: torch.Tensor) -> torch.Tensor:
        k = 0
        while f"styles.{i}.convs.{k}.weight" in state:
            weight, bias = state[f"styles.{i}.convs.{k}.weight"], state[f"styles.{i}.convs.{k}.bias"]
            x = F.leaky_relu(F.conv2d(x, weight, bias, stride=2, padding=1), 0.01)
            k += 2
        weight = state[f"styles.{i}.linear.weight"]
        return x[:, :, 0, 0] @ weight.T / math.sqrt(weight.shape[1]) + state[f"styles.{i}.linear.bias"]

    def lateral(name: str, x: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
        side = F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"])
        return side + F.interpolate(coarse, size=x.shape[2:], mode="bilinear", align_corners=True)

    x = prelu(norm(F.conv2d(x, state["input_layer.0.weight"], padding=1), "input_layer.1"), "input_layer.2")
    taps = {}
    for i in range(24):
        x = taps[i] = unit(x, f"body.{i}", 2 if i in (0, 3, 7, 21) else 1)
    middle = lateral("latlayer1", taps[20], taps[23])
    fine = lateral("latlayer2", taps[6], middle)
    rows = sum(name.endswith("linear.bias") for name in state)
    w0 = row(0, taps[23])
    deltas = [row(i, taps[23] if i < 3 else middle if i < 7 else fine) for i in range(1, rows)]
    return torch.stack([w0, *(w0 + delta for delta in deltas)], dim=1)


def write(
    path: Path, state: State, inside: State | None, latent_avg: torch.Tensor | None, opts: object, zipped: bool = True
) -> Path:
    """A checkpoint as e4e's training writes it. inside: the generator's, if it holds one."""
    both = {f"encoder.{name}": v for name, v in state.items()} | {f"decoder.{k}": v for k, v in (inside or {}).items()}
    content: dict[str, object] = {"state_dict": both, "opts": opts}
    content |= {} if latent_avg is None else {"latent_avg": latent_avg}
    content["discriminator_state_dict"] = {"0.weight": torch.zeros(2)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def loaded(name: str) -> tuple[store.Card, encoder.Encoder]:
    card, tensors = store.load(name)
    network = encoder.build(dict(card.architecture))
    network.load_state_dict(tensors)
    return card, network.eval()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("colours", [1, 3])
def test_encoder_and_generator_come_in_and_compute_what_their_layouts_say(
    tmp_path: Path, colours: int, zipped: bool
) -> None:
    state = random_encoder(**{**SMALL, "colours": colours})
    inside = random_state(rosinality_shapes(GENERATOR_WIDTHS, w=16, colours=colours))
    average = torch.randn(8, 16, generator=torch.Generator().manual_seed(2))
    opts = argparse.Namespace(start_from_latent_avg=True, device="cuda:0", stylegan_size=32)
    entries = upstream.import_file(write(tmp_path / "e4e_echo.pt", state, inside, average, opts, zipped))
    assert [entry.name for entry in entries] == ["e4e", "e4e-generator"]
    assert all(store.verify(entry) is None for entry in entries)

    card, network = loaded("e4e")
    assert card.output == "encoder" and card.generator == "e4e-generator" and card.recipe.endswith("e4e_echo.pt")
    assert card.architecture["image_channels"] == colours and card.architecture["side"] == 64
    x = torch.rand(2, colours, 64, 64, generator=torch.Generator().manual_seed(3)) * 2 - 1
    with torch.inference_mode():
        w_plus, wanted = network(x), encode(state, x) + average
    assert w_plus.shape == (2, 8, 16) and (wanted - average).std() > 0.1
    torch.testing.assert_close(w_plus, wanted, rtol=1e-4, atol=1e-4)

    its_card, tensors = store.load("e4e-generator")
    assert its_card.output == "generator" and its_card.architecture["image_channels"] == colours
    generator = stylegan2.build(dict(its_card.architecture)).eval()
    generator.load_state_dict(tensors)
    with torch.inference_mode():
        picture = generator.from_s(generator.to_s(w_plus), "constant")
        torch.testing.assert_close(picture, rosinality_draw(inside, w_plus)[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(generator.mapping.w_avg, average[0])


def test_the_command_line_imports_and_lists_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inside = random_state(rosinality_shapes(GENERATOR_WIDTHS, w=16))
    file = write(tmp_path / "e4e.pt", random_encoder(**SMALL), inside, None, {})
    assert cli.main(["weights", "import", str(file), "--name", "echo"]) == 0
    printed = capsys.readouterr().out
    assert "echo: " in printed and "echo-generator: " in printed
    assert cli.main(["weights", "verify"]) == 0 and cli.main(["weights", "list"]) == 0
    printed = capsys.readouterr().out
    assert "echo-generator: ok" in printed and "StyleGAN2 generator" in printed
    with pytest.raises(WeightsError, match="cannot denoise: they are made to encode frames"):
        store.find("echo", "denoise")


@pytest.mark.parametrize(
    ("average", "opts", "added"),
    [
        (torch.full((16,), 2.0), {"start_from_latent_avg": True}, 2.0),
        (torch.full((1, 16), 2.0), argparse.Namespace(), 2.0),
        (torch.full((8, 16), 2.0), argparse.Namespace(start_from_latent_avg=False), 0.0),
        (None, {"start_from_latent_avg": True}, 0.0),
    ],
)
def test_the_mean_w_is_added_where_the_training_added_it(
    tmp_path: Path, average: torch.Tensor | None, opts: object, added: float
) -> None:
    (entry,) = upstream.import_file(write(tmp_path / "x.pt", random_encoder(**SMALL), None, average, opts), "authors")
    assert entry.name == "authors" and entry.card is not None and entry.card.generator == ""
    _, network = loaded("authors")
    assert torch.equal(network.latent_avg, torch.full((8, 16), added))


@pytest.mark.parametrize("colours", [1, 3])
def test_the_released_size_fits_name_for_name_and_shape_for_shape(colours: int) -> None:
    config = encoder.EncoderConfig(image_channels=colours)
    with torch.device("meta"):
        ours = encoder.build(encoder.describe(config)).state_dict()
    wanted = shapes(**{**RELEASED, "colours": colours})  # type: ignore[arg-type]
    assert {name: tuple(v.shape) for name, v in ours.items()} == wanted | {"latent_avg": (14, 512)}
    assert sum(name.endswith("res_layer.1.weight") for name in ours) == 24


def test_other_encoders_are_refused_with_their_misfit(tmp_path: Path, user: Path) -> None:
    state, generator = random_encoder(**SMALL), random_state(rosinality_shapes(GENERATOR_WIDTHS, w=16))
    smaller = random_state(rosinality_shapes({4: 12, 8: 12, 16: 12}, w=16))

    def without(name: str) -> State:
        return {key: value for key, value in state.items() if key != name}

    for encoder_state, decoder_state, average, sentence in (
        (without("body.7.res_layer.4.bias"), None, None, r"'body\.7\.res_layer\.4\.bias' is missing"),
        (without("styles.3.convs.2.weight"), None, None, r"'styles\.3\.convs\.2\.weight' is missing"),
        (state | {"body.24.extra": torch.ones(1)}, None, None, "no place for 'body.24.extra'"),
        (state | {"input_layer.0.weight": torch.ones(4, 2, 3, 3)}, None, None, "image_channels is 2"),
        (without("body.2.res_layer.1.weight"), None, None, r"'encoder\.body\.2\.res_layer\.1\.weight' is missing"),
        (
            {k: v for k, v in state.items() if not k.startswith(("body.21.", "body.22.", "body.23."))},
            None,
            None,
            "four",
        ),
        (state, smaller, None, "gives 8 rows of 16, not 6 of 16"),
        (state, generator | {"more": torch.ones(1)}, None, "no place for its 'more'"),
        (state, None, torch.zeros(3, 16), r"latent_avg is \(3, 16\)"),
    ):
        file = write(tmp_path / "other.pt", encoder_state, decoder_state, average, {})
        with pytest.raises(WeightsError, match=sentence) as caught:
            upstream.import_file(file)
        assert "\n" not in str(caught.value)
    assert not user.exists()
