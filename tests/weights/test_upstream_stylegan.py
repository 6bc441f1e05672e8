"""Released generators: both layouts come in whole, with 1 and 3 channels, and draw what their layout says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from echoq_models import resources
from echoq_models.errors import WeightsError
from echoq_models.generative import stylegan2
from echoq_models.generative.stylespace import StyleSpace
from echoq_models.weights import store, upstream, upstream_stylegan
from tests.weights.released_generators import (
    Persistent,
    State,
    mapped,
    nvidia_draw,
    nvidia_shapes,
    random_state,
    rosinality_draw,
    rosinality_shapes,
    write_nvidia,
    write_rosinality,
)

WIDTHS = {4: 12, 8: 12, 16: 12, 32: 8}  # channel_base 256, channel_max 12
RELEASED_WIDTHS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64}


@pytest.fixture(autouse=True)
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty user folder, and nothing shipped."""
    monkeypatch.setattr(resources, "path", lambda *parts: (tmp_path / "resources").joinpath(*parts))
    monkeypatch.setenv("ECHOQ_WEIGHTS", str(tmp_path / "user"))
    return tmp_path / "user"


def loaded(path: Path) -> tuple[store.Card, stylegan2.Generator]:
    """The generator that an import of the file leaves, through the store."""
    (entry,) = upstream.import_file(path)
    assert store.verify(entry) is None
    card, tensors = store.load(entry.name)
    generator = stylegan2.build(dict(card.architecture))
    generator.load_state_dict(tensors)
    return card, generator.eval()


def nvidia_state(colours: int = 1) -> State:
    return random_state(nvidia_shapes(WIDTHS, z=16, w=16, colours=colours))


def codes(w_avg: torch.Tensor, w: torch.Tensor, rows: int) -> torch.Tensor:
    """Codes whose rows differ."""
    shift = torch.randn(len(w), rows, w.shape[1], generator=torch.Generator().manual_seed(4))
    return w[:, None] + 0.3 * shift + w_avg


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("colours", [1, 3])
def test_nvidias_generator_draws_what_its_layout_says(tmp_path: Path, colours: int, protocol: int) -> None:
    state = nvidia_state(colours)
    card, generator = loaded(write_nvidia(tmp_path / "network-snapshot.pkl", state, protocol, clamp=None))
    assert card.name == "stylegan2" and card.output == "generator" and card.recipe.endswith("network-snapshot.pkl")
    assert card.architecture["image_channels"] == colours and card.architecture["clamp"] == 0
    assert store.OUTPUTS[card.output] == "generate frames"
    z = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        w = generator.mapping(z)
        torch.testing.assert_close(w, mapped(state, ["mapping.fc0", "mapping.fc1"], z), rtol=1e-5, atol=1e-5)
        w_plus = codes(state["mapping.w_avg"], w, generator.config.num_ws)
        wanted, styles = nvidia_draw(state, w_plus, None)
        s = generator.to_s(w_plus)
        torch.testing.assert_close(s, styles, rtol=1e-5, atol=1e-5)
        picture = generator.from_s(s, "constant")
    assert picture.shape == (3, colours, 32, 32) and wanted.std() > 0.5
    torch.testing.assert_close(picture, wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(generator.mapping.w_avg, state["mapping.w_avg"])


def test_activations_are_limited_where_the_file_limits_them(tmp_path: Path) -> None:
    state = nvidia_state()
    card, generator = loaded(write_nvidia(tmp_path / "limited.pkl", state, clamp=1))
    assert card.architecture["clamp"] == 1
    w_plus = codes(state["mapping.w_avg"], torch.zeros(2, 16), generator.config.num_ws)
    with torch.inference_mode():
        picture, wanted = generator.from_s(generator.to_s(w_plus)), nvidia_draw(state, w_plus, 1.0)[0]
    assert (wanted - nvidia_draw(state, w_plus, None)[0]).abs().max() > 0.1  # the limit is felt
    torch.testing.assert_close(picture, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("colours", [1, 3])
def test_rosinalitys_generator_draws_what_its_layout_says(tmp_path: Path, colours: int, zipped: bool) -> None:
    state = random_state(rosinality_shapes(WIDTHS, w=16, colours=colours))
    latent_avg = torch.randn(16, generator=torch.Generator().manual_seed(5))
    card, generator = loaded(write_rosinality(tmp_path / "stylegan2.pt", state, latent_avg, zipped))
    assert card.architecture["image_channels"] == colours and card.architecture["channel_base"] == 256
    z = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        w = generator.mapping(z)
        torch.testing.assert_close(w, mapped(state, ["style.1", "style.2"], z), rtol=1e-5, atol=1e-5)
        w_plus = codes(latent_avg, w, generator.config.num_ws)
        wanted, styles = rosinality_draw(state, w_plus)
        s = generator.to_s(w_plus)
        torch.testing.assert_close(s, styles, rtol=1e-5, atol=1e-5)
        picture = generator.from_s(s, "constant")
    assert wanted.std() > 0.5
    torch.testing.assert_close(picture, wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(generator.mapping.w_avg, latent_avg)


def test_what_neither_file_holds_is_measured(tmp_path: Path) -> None:
    state = random_state(rosinality_shapes(WIDTHS, w=16))
    _, generator = loaded(write_rosinality(tmp_path / "training.pt", state, None))
    with torch.inference_mode():
        w = mapped(state, ["style.1", "style.2"], torch.randn(20_000, 16, generator=torch.Generator().manual_seed(8)))
        s = generator.to_s(generator.w_plus(w))
    spread = s.std(0).mean()
    assert (generator.mapping.w_avg - w.mean(0)).abs().max() < 0.05 * w.std()
    assert (generator.s_mean - s.mean(0)).abs().max() < 0.1 * spread
    torch.testing.assert_close(generator.s_std, s.std(0), rtol=0.1, atol=0.0)


def test_the_released_size_fits_name_for_name_and_shape_for_shape() -> None:
    with torch.device("meta"):
        ours = stylegan2.build(stylegan2.describe(stylegan2.RELEASED)).state_dict()
    theirs = nvidia_shapes(RELEASED_WIDTHS, z=512, w=512)
    wanted = {name: shape for name, shape in theirs.items() if not name.endswith("resample_filter")}
    assert {name: tuple(v.shape) for name, v in ours.items() if name not in ("s_mean", "s_std")} == wanted


def test_a_generator_of_the_released_shape_brings_the_authors_noise_channels(tmp_path: Path) -> None:
    shapes = nvidia_shapes(RELEASED_WIDTHS, z=512, w=512)
    state = {name: torch.tensor(0.1).expand(shape) for name, shape in shapes.items()}
    state |= {name: random_state({name: (4, 4)})[name] for name in shapes if name.endswith("resample_filter")}
    (entry,) = upstream.import_file(write_nvidia(tmp_path / "released.pkl", state, clamp=256))
    assert entry.card is not None
    assert stylegan2.build(dict(entry.card.architecture)).config.clamp == 256
    assert entry.card.noise_channels == {
        "global": {"b64.conv1:247": -1.0},
        "centre field": {"b32.conv1:416": -1.0},
        "near field": {"b64.conv1:100": 1.0},
    }
    assert json.loads(entry.path.with_suffix(".json").read_text())["noise_channels"] == entry.card.noise_channels
    space = StyleSpace(stylegan2.RELEASED)
    for channels in entry.card.noise_channels.values():
        assert [0 <= space.index(name) < 7424 for name in channels] == [True]
    newer = replace(stylegan2.RELEASED, image_channels=3, clamp=0.0)
    assert upstream_stylegan.presets(newer) == entry.card.noise_channels


def test_another_shape_has_no_noise_channels(tmp_path: Path) -> None:
    card, _ = loaded(write_nvidia(tmp_path / "small.pkl", nvidia_state(), clamp=None))
    assert card.noise_channels == {}


def test_the_source_text_in_the_pickle_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = tmp_path / "executed"
    monkeypatch.setattr(Persistent, "source", f"open({str(marker)!r}, 'w').close()")
    file = write_nvidia(tmp_path / "network.pkl", nvidia_state(), clamp=None)
    assert str(marker).encode() in file.read_bytes()
    upstream.import_file(file)
    assert not marker.exists()


def without(state: State, name: str) -> State:
    return {key: value for key, value in state.items() if key != name}


def test_other_generators_are_refused_with_their_misfit(tmp_path: Path, user: Path) -> None:
    nvidia, theirs = nvidia_state(), random_state(rosinality_shapes(WIDTHS, w=16))
    plain = {"clamp": None}

    def pickled(state: State, **options: object) -> Path:
        return write_nvidia(tmp_path / "other.pkl", state, **{**plain, **options})

    def saved(state: State, latent_avg: torch.Tensor | None = None) -> Path:
        return write_rosinality(tmp_path / "other.pt", state, latent_avg)

    name = "synthesis.b16.conv0"
    for write, sentence in (
        (lambda: pickled(nvidia, lr=0.1), r"'mapping\.fc1\.bias_gain' is 0\.1"),
        (lambda: pickled(nvidia, activation="relu"), "activation' is 'relu'"),
        (
            lambda: pickled(nvidia | {f"{name}.resample_filter": torch.ones(4, 4)}),
            r"b16\.conv0\.resample_filter' is not",
        ),
        (lambda: pickled(without(nvidia, f"{name}.noise_const")), rf"'{name}\.noise_const' is missing"),
        (
            lambda: pickled(nvidia | {"mapping.embed.weight": torch.ones(2, 2)}),
            r"no place for 'mapping\.embed\.weight'",
        ),
        (lambda: pickled(nvidia | {"synthesis.b4.conv1.weight": torch.ones(3, 12, 3, 3)}), r"'synthesis\.b4\.conv1"),
        (lambda: pickled({"synthesis.L0_36_512.weight": torch.ones(3)}), "a generator of another kind"),
        (lambda: saved(without(theirs, "noises.noise_3")), r"'noises\.noise_3' is missing"),
        (lambda: saved(theirs | {"extra": torch.ones(2)}), "no place for its 'extra'"),
        (lambda: saved(theirs | {"convs.0.conv.blur.kernel": torch.ones(4, 4)}), r"blur\.kernel' is not"),
        (lambda: saved(theirs | {"conv1.conv.weight": torch.ones(2, 12, 12, 3, 3)}), r"'conv1\.conv\.weight' is \(2,"),
        (lambda: saved(theirs | {"to_rgb1.bias": torch.ones(1, 5, 1, 1)}), r"torgb\.bias"),
        (lambda: saved(theirs, torch.zeros(17)), r"w_avg' is \(17,\)"),
    ):
        with pytest.raises(WeightsError, match=sentence) as caught:
            upstream.import_file(write())
        assert "\n" not in str(caught.value)
    assert not user.exists()
