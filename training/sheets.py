"""Sheets of pictures to look at."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from echoq_models.files import replacing
from echoq_models.generative.stylegan2 import to_grey


def grid(pictures: Tensor, columns: int = 8) -> np.ndarray:
    """Pictures (N, C, side, side) of -1 to 1, side by side: uint8 (rows side, columns side)."""
    grey = to_grey(pictures.float()).mul(255).round().to(torch.uint8).cpu().numpy()[:, 0]
    rows = -(-len(grey) // columns)
    cells = np.zeros((rows * columns, *grey.shape[1:]), dtype=np.uint8)
    cells[: len(grey)] = grey
    return np.vstack([np.hstack(list(cells[i : i + columns])) for i in range(0, len(cells), columns)])


def write_grid(path: Path, pictures: Tensor, columns: int = 8) -> None:
    """Write `grid` as a PNG."""
    write_picture(path, grid(pictures, columns))


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write a picture, uint8 (H, W) or (H, W, 3) BGR, as a PNG."""
    done, data = cv2.imencode(".png", picture)
    assert done
    with replacing(path) as new:
        new.write_bytes(data.tobytes())
