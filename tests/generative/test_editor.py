"""Frames edited in a generator whose channels are known: what is added where, and what must stay."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from echoq_models.cine import sector as sectors
from echoq_models.cine.loop import CineLoop
from echoq_models.cine.sector import Sector
from echoq_models.errors import InputError, WeightsError
from echoq_models.generative import editor as editors
from echoq_models.generative import effects
from echoq_models.generative.editor import FrameEditor
from echoq_models.weights import store
from tests.make_networks import GLOBAL, LEVEL, NEAR, STEP, bright_loop, save_noise_networks
from tests.shared import ROOT


@pytest.fixture(autouse=True)
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's folder of weights, and nothing that ships."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("ECHOQ_WEIGHTS", str(folder))
    monkeypatch.setattr(store.resources, "path", lambda *parts: tmp_path / "nothing")
    editors._build.cache_clear()  # it keeps what other tests made
    return folder


@pytest.fixture
def editor(weights: Path) -> FrameEditor:
    """The planted generator and its encoder on the CPU."""
    save_noise_networks(weights)
    return editors.load(where="cpu")


@pytest.fixture(scope="module")
def loop() -> CineLoop:
    """A fan with a bright ellipse in speckle."""
    return bright_loop(3)[0]


def seen(loop: CineLoop, t: int = 0) -> tuple[np.ndarray, np.ndarray, Sector]:
    sector = sectors.fit(loop)
    return sectors.patches(loop.frames[t][None], sector)[0, 0], editors.sector_patch(sector), sector


def test_a_generator_is_found_with_its_encoder_or_the_sentence_says_what_lacks(weights: Path) -> None:
    assert editors.pairs() == {}
    sentence = editors.available()
    assert sentence == editors.NOTHING_HERE and "echoq weights import" in sentence and "training" in sentence
    save_noise_networks(weights, "mine", made_for="another")
    assert editors.available() == "There is no encoder for the generator 'mine': import or train one."
    save_noise_networks(weights, "mine", made_for="")  # it fits by its shape
    assert list(editors.pairs()) == ["mine"] and editors.available("mine") is None
    save_noise_networks(weights, "generator", made_for="")
    assert list(editors.pairs()) == ["generator", "mine"]
    with pytest.raises(WeightsError, match="no weights called 'other'"):
        editors.find("other")
    (weights / "generator.safetensors").write_bytes(b"torn")
    with pytest.raises(WeightsError, match="sha256 differs"):
        editors.load("generator", "cpu")


def test_channels_of_another_generator_are_refused(weights: Path) -> None:
    entry = save_noise_networks(weights)
    assert entry.card is not None
    wrong = replace(entry.card, noise_channels={"global": {"b64.conv1:247": -1.0}})
    entry.path.with_suffix(".json").write_text(wrong.to_json(), encoding="utf-8")
    with pytest.raises(InputError, match="of another generator"):
        editors.load(where="cpu")


def test_planted_channels_add_what_they_were_made_to_add(editor: FrameEditor, loop: CineLoop) -> None:
    patch, inside, _ = seen(loop)
    encoded = editor.encode(patch, inside)
    assert encoded.s.shape[0] == 1 and encoded.reconstruction.shape == (32, 32)
    assert encoded.reconstruction.dtype == np.float32 and 0 < encoded.reconstruction.min() < 0.4
    assert editor.channels.components["global"] == {GLOBAL: 1.0}
    for sigma in (1.0, 2.5):
        added = editor.change(encoded, editor.channels.changes({"global": sigma}))
        np.testing.assert_allclose(added, sigma * STEP, atol=1e-5)
    near = editor.change(encoded, editor.channels.changes({"near field": 1.0}))
    assert near[:4].mean() > 0.5 * STEP and np.abs(near[20:]).max() < 0.02 * STEP
    both = editor.change(encoded, editor.channels.changes({"global": 1.0, "near field": 1.0}))
    np.testing.assert_allclose(both, near + STEP, atol=1e-5)
    assert not editor.change(encoded, {}).any() and not editor.change(encoded, {GLOBAL: 0.0}).any()
    with pytest.raises(InputError, match="no style channel"):
        editor.change(encoded, {"b64.conv1:0": 1.0})


def test_the_change_alone_is_pasted(editor: FrameEditor, loop: CineLoop) -> None:
    """Speckle, what is outside the sector and coloured pixels are the source's."""
    patch, inside, sector = seen(loop)
    change = editor.change(editor.encode(patch, inside), {GLOBAL: 2.0})
    doppler = np.zeros(loop.size, dtype=bool)
    doppler[100:110, 150:160] = True
    (noisy,) = editors.paste(loop.frames[:1], [change], sector, [doppler])
    frame = loop.frames[0]
    outside = ~sector.mask | doppler
    assert np.array_equal(noisy[outside], frame[outside])
    room = ~outside & (frame < 200)
    assert np.abs(noisy[room] - (frame[room] + 2 * STEP * 255)).max() <= 0.51
    (same,) = editors.paste(loop.frames[:1], [0 * change], sector)
    assert np.array_equal(same, frame)


def test_what_the_generator_does_not_know_is_said(editor: FrameEditor, weights: Path, loop: CineLoop) -> None:
    patch, inside, _ = seen(loop)
    small = editors.shrunk(patch, 32)
    same = editors.compared(patch, small, inside)
    assert same.ssim > 0.999 and same.psnr > 60 and same.known
    upside_down = editors.compared(patch, small[::-1], inside)
    assert upside_down.ssim < 0.65 and not upside_down.known
    flat = editors.compared(patch, np.full((32, 32), patch[inside].mean(), dtype=np.float32), inside, known_ssim=0.0)
    assert not flat.known  # even where the limit allows it
    assert not editor.encode(patch, inside).likeness.known
    with pytest.raises(InputError, match="no ultrasound sector"):
        editors.compared(patch, small, np.zeros_like(inside))


def test_an_encoder_may_bring_a_limit_of_its_own(weights: Path) -> None:
    save_noise_networks(weights)
    card = editors.find().encoder.card
    assert card is not None and editors.load(where="cpu").known_ssim == editors.KNOWN_SSIM
    path = weights / "encoder.safetensors"
    store.write(path, path.read_bytes(), replace(card, figures={editors.KNOWN_KEY: 0.8}))
    editors._build.cache_clear()  # it is kept by the tensors, which are the same
    assert editors.load(where="cpu").known_ssim == 0.8


def test_refining_comes_nearer(editor: FrameEditor) -> None:
    """The generator's grey depends on w: a bright frame pulls it up."""
    patch, inside = np.full((256, 256), 0.7, dtype=np.float32), np.ones((256, 256), dtype=bool)
    first = editor.encode(patch, inside)
    second = editor.refined(first, patch, inside)
    third = editor.refined(second, patch, inside)
    assert first.likeness.psnr < second.likeness.psnr < third.likeness.psnr
    assert third.reconstruction.mean() > first.reconstruction.mean() + 0.01


def test_the_channels_that_act_are_found_and_turned_the_way_of_noise(editor: FrameEditor, loop: CineLoop) -> None:
    patch, inside, _ = seen(loop)
    encoded = editor.encode(patch, inside)
    assert set(effects.farthest(editor, encoded, inside, 3)) == {GLOBAL, NEAR, LEVEL}
    listed = effects.candidates(editor, encoded, inside, 5)
    assert listed[:2] == [GLOBAL, NEAR] and LEVEL in listed and len(listed) == len(set(listed)) == 5
    found = {each.channel: each for each in effects.effects(editor, encoded, patch, inside, listed)}
    assert list(found) == listed
    assert (found[GLOBAL].amount, found[NEAR].amount) == (effects.SIGMA, -effects.SIGMA)
    np.testing.assert_allclose(found[GLOBAL].change, effects.SIGMA * STEP, atol=1e-5)
    still = [each for name, each in found.items() if name not in (GLOBAL, NEAR, LEVEL, "b4.conv1:0")]
    assert all(np.abs(each.change).max() < 1e-6 for each in still)
    ranked = replace(editor, ranked=(LEVEL, "b8.torgb:1"))
    assert effects.candidates(ranked, encoded, inside) == [GLOBAL, NEAR, LEVEL, "b8.torgb:1"]


def test_the_window_may_import_it_without_torch() -> None:
    code = (
        "import sys, echoq_models.generative.editor, echoq_models.runtime.noise_types; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
