"""The comparison with real frames measures what it says."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from tests.shared import fan_frames
from training.cli import app
from training.phantom import realism


def grains(axial: float, lateral: float, spread: float = 20.0, seed: int = 0) -> realism.Frames:
    """A patch of Gaussian noise whose autocorrelation is that many pixels wide at half maximum."""
    noise = np.random.default_rng(seed).normal(size=(256, 256))
    down, side = (width / 2.3548 / np.sqrt(2) for width in (axial, lateral))
    smooth = cv2.GaussianBlur(noise, (0, 0), sigmaX=side, sigmaY=down)
    patch = np.clip(smooth / smooth.std() * spread + 120, 0, 255).astype(np.uint8)
    return realism.Frames("grains", patch[None], np.ones((1, 256, 256), dtype=bool))


@pytest.mark.parametrize(("axial", "lateral"), [(3.0, 5.0), (4.0, 7.0)])
def test_speckle_widths_of_a_known_grain(axial: float, lateral: float) -> None:
    found = realism.look(grains(axial, lateral))
    assert found.widths[0] == pytest.approx((axial, lateral), rel=0.15)
    assert found.roughness[0] == pytest.approx(20.0, rel=0.15)


def test_a_wall_does_not_count_as_speckle() -> None:
    plain = grains(3.0, 5.0)
    walled = plain.patches.astype(int)
    walled[:, :, 120:136] += 60
    framed = realism.Frames("walled", np.clip(walled, 0, 255).astype(np.uint8), plain.masks)
    assert realism.look(framed).widths[0] == pytest.approx(realism.look(plain).widths[0], rel=0.2)


def test_half_width_interpolates_and_knows_no_end() -> None:
    assert realism.half_width(np.array([1.0, 0.75, 0.25, 0.0])) == pytest.approx(3.0)
    assert np.isnan(realism.half_width(np.array([1.0, 0.9, 0.8])))


def test_black_frames_have_no_width_and_do_not_stop_the_table() -> None:
    black = realism.Frames("real", np.zeros((2, 256, 256), dtype=np.uint8), np.ones((2, 256, 256), dtype=bool))
    one, other = realism.look(black), realism.look(grains(3.0, 5.0))
    assert np.isnan(one.widths).all()
    table = realism.as_table(realism.Comparison(one, other, other))
    assert "| speckle width, axial, pixels | - |" in table
    assert realism.grey_distance(one, other) == pytest.approx(1.0, abs=0.01)
    assert realism.grey_distance(other, other) == 0.0


def test_real_loops_are_taken_from_files_and_folders(tmp_path: Path, fan_file: Path) -> None:
    assert realism.real_frames(fan_file).patches.shape == (3, 256, 256)
    (tmp_path / "more").mkdir()
    np.savez(tmp_path / "more" / "other.npz", frames=fan_frames(9, seed=1), times_ms=np.arange(9) * 40.0)
    found = realism.real_frames(tmp_path)
    assert len(found.patches) == 3 + realism.PER_LOOP
    assert not found.patches[~found.masks].any() or (found.patches[~found.masks] > 0).mean() < 0.05


def test_the_command_prints_a_table_and_writes_a_sheet(tmp_path: Path, fan_file: Path) -> None:
    sheet = tmp_path / "beside.png"
    result = CliRunner().invoke(app, ["phantom", "--beside", str(fan_file), "-o", str(sheet), "--quick"])
    assert result.exit_code == 0, result.output
    assert "| quantity | real | phantom | clean twin |" in result.output
    assert "speckle width, lateral" in result.output
    picture = cv2.imread(str(sheet))
    assert picture is not None and min(picture.shape[:2]) > 500 and picture.std() > 20


def test_a_folder_without_loops_is_told(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["phantom", "--beside", str(tmp_path), "-o", str(tmp_path / "a.png"), "--quick"])
    assert result.exit_code == 3 and "no loop" in result.output
