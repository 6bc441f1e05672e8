"""Denoisers are found by name, installed or not, and a broken one never takes the others down."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from echoq_models.denoise import registry
from echoq_models.errors import EchoQError

ROOT = Path(__file__).resolve().parents[2]


def points(monkeypatch: pytest.MonkeyPatch, **targets: str) -> None:
    """Pretend that packages with these entry points are installed."""
    found = [metadata.EntryPoint(name, target, registry.GROUP) for name, target in targets.items()]
    monkeypatch.setattr(metadata, "entry_points", lambda group: found)


def test_the_built_in_ones_are_there_without_an_installation(monkeypatch):
    points(monkeypatch)
    found = registry.denoisers()
    assert list(found) == ["fast", "unet", "pairs", "bm3d"]
    assert [d.name for d in found.values()] == list(found)
    assert not any(isinstance(d, registry.MissingDenoiser) for d in found.values())
    assert found["bm3d"].available() is None


def test_pyproject_names_the_same_objects():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"][registry.GROUP] == dict(registry.BUILT_IN)


def test_a_foreign_denoiser_is_found_and_cannot_take_a_built_in_name(monkeypatch):
    points(monkeypatch, smooth="echoq_models.denoise.bm3d:denoiser", fast="nowhere:nothing")
    found = registry.denoisers()
    assert list(found) == ["fast", "unet", "pairs", "bm3d", "smooth"]
    assert found["smooth"].title == "BM3D"
    assert not isinstance(found["fast"], registry.MissingDenoiser)


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("no_such_package:denoiser", "cannot be loaded"),
        ("echoq_models.denoise.bm3d:no_such_name", "cannot be loaded"),
        ("echoq_models.denoise.bm3d:Bm3dDenoiser", "is not a denoiser"),
        ("echoq_models.denoise.registry:GROUP", "is not a denoiser"),
    ],
)
def test_a_broken_one_is_listed_with_a_sentence(monkeypatch, loop, target, sentence):
    points(monkeypatch, theirs=target)
    theirs = registry.denoisers()["theirs"]
    said = theirs.available()
    assert said is not None
    assert sentence in said
    assert "'theirs'" in said
    with pytest.raises(EchoQError, match="theirs"):
        theirs.prepare(loop, None)


def test_an_unknown_name_lists_the_known_ones(monkeypatch):
    points(monkeypatch)
    with pytest.raises(EchoQError, match=r"'median' \(known: fast, unet, pairs, bm3d\)"):
        registry.get("median")


def test_finding_and_asking_needs_no_torch():
    code = (
        "import sys; from echoq_models.denoise import registry\n"
        "[d.available() for d in registry.denoisers().values()]\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_preload_builds_what_has_weights_and_passes_over_what_has_not(fast_weights):
    from echoq_models.denoise import network

    network._build.cache_clear()
    registry.preload()
    assert network._build.cache_info().currsize == 1
