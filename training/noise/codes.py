"""StyleSpace codes of clean and of noisy frames: what the paper's statistics are taken from.

With an encoder in the run they are codes of stored frames, labelled by a list (CSV) or by the phantom's haze levels.
Without one they are codes of pictures that the generator draws, labelled by a reading of their haze: a linear map from
cell means to the visible grey of the three components, fitted to the stored phantom frames.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from echoq_models.errors import InputError
from echoq_models.generative.encoder import Encoder
from echoq_models.generative.stylegan2 import Generator, to_grey
from training.data.frames import FrameStore
from training.data.phantom_frames import COMPONENTS
from training.noise.haze_model import BLACK_DB, pooled

BATCH = 32
LABELS = ("clean", "noisy")


@dataclass(frozen=True)
class Codes:
    """clean, noisy: float32 (N, S).  source: a sentence that says of what."""

    clean: Tensor
    noisy: Tensor
    source: str


@dataclass(frozen=True)
class Inverter:
    """A generator, and the encoder that finds its codes, if there is one."""

    generator: Generator
    encoder: Encoder | None

    @property
    def place(self) -> torch.device:
        return self.generator.s_mean.device

    @torch.no_grad()
    def codes(self, grey: Tensor) -> Tensor:
        """s of frames (N, 1, side, side) in [0, 1]. Raises InputError without an encoder."""
        if self.encoder is None:
            raise InputError("There is no encoder in the run folder: run `python -m training encoder` first.")
        parts = (self.encoder(part.to(self.place) * 2 - 1) for part in grey.split(BATCH))
        return torch.cat([self.generator.to_s(w_plus) for w_plus in parts])

    @torch.no_grad()
    def drawn(self, s: Tensor) -> Tensor:
        """Grey pictures (N, 1, side, side) of codes, always with the same noise buffers."""
        return torch.cat([to_grey(self.generator.from_s(part, "constant")) for part in s.split(BATCH)])

    @torch.no_grad()
    def random(self, count: int, seed: int) -> Tensor:
        """s of random w."""
        draw = torch.Generator().manual_seed(seed)
        z = torch.randn(count, self.generator.config.z_dim, generator=draw).to(self.place)
        return self.generator.to_s(self.generator.w_plus(self.generator.mapping(z)))


def grey_of(store: FrameStore, numbers: NDArray[np.int64]) -> Tensor:
    """Stored frames as (N, 1, side, side) in [0, 1]."""
    return torch.from_numpy(store.frames(numbers))[:, None].float() / 255


def visible(store: FrameStore, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
    """How far each component rises above black where it is strongest, (N, 3): 1 at the myocardium's level."""
    levels = np.stack([store.index[f"{name}_db"][numbers] for name in COMPONENTS], axis=1)
    return np.clip((levels - BLACK_DB) / -BLACK_DB, 0, None).astype(np.float32)


def of_phantom(store: FrameStore) -> bool:
    """Whether the store knows the haze of its frames."""
    return all(f"{name}_db" in store.index for name in COMPONENTS)


def _check_haze(store: FrameStore) -> None:
    """What is learnt from stored frames about drawn ones needs the phantom's."""
    if not of_phantom(store):
        raise InputError("Frames of an archive need an encoder: run `python -m training encoder` first.")


def labelled(store: FrameStore, list_path: Path | None, noisy_db: float) -> dict[str, NDArray[np.int64]]:
    """Numbers of the store's clean and noisy training frames, by label.

    list_path: a CSV with the columns patient, loop, frame and label ("clean" or "noisy"; other labels are left out).
    None: by the phantom's haze, clean without any, noisy from a total level of `noisy_db` on. Raises InputError when
    nothing says which frames are noisy, or fewer than two are of a kind.
    """
    train = store.of("train")
    if list_path is not None:
        found = _listed(store, train, list_path)
    elif of_phantom(store):
        level = store.index["haze_db"][train]
        silent = visible(store, train).max(axis=1) == 0
        found = {"clean": train[silent], "noisy": train[level >= noisy_db]}
    else:
        raise InputError(
            f"Nothing says which frames of {store.folder} are noisy: give [channels] of the recipe a labelling list, "
            "labels = FILE, a CSV with the columns patient, loop, frame and label (clean or noisy)."
        )
    for label, numbers in found.items():
        if len(numbers) < 2:
            raise InputError(
                f"{list_path or store.folder} has {len(numbers)} {label} frames to train on; it must have both kinds."
            )
    return found


def _listed(store: FrameStore, train: NDArray[np.int64], path: Path) -> dict[str, NDArray[np.int64]]:
    keys = ("patient", "loop", "frame")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        wanted = {tuple(row[key] for key in keys): row["label"].strip().lower() for row in rows}
    except OSError as error:
        raise InputError(f"The labelling list {path} cannot be read: {error.strerror or error}.") from None
    except (KeyError, AttributeError, ValueError, csv.Error):
        raise InputError(f"{path} is no labelling list: it needs the columns patient, loop, frame and label.") from None
    columns = [store.index[key][train].astype(str) for key in keys]
    labels = np.array([wanted.get(names, "") for names in zip(*columns, strict=True)])
    return {label: train[labels == label] for label in LABELS}


def collect(
    inverter: Inverter, store: FrameStore, count: int, list_path: Path | None, noisy_db: float, seed: int
) -> Codes:
    """At most `count` codes of each kind. Raises InputError as `labelled` does."""
    rng = np.random.default_rng(seed)
    if inverter.encoder is not None:
        found = labelled(store, list_path, noisy_db)
        some = {k: rng.choice(v, min(count, len(v)), replace=False) for k, v in found.items()}
        clean, noisy = (inverter.codes(grey_of(store, some[label])) for label in LABELS)
        by = f"labelled by {list_path.name}" if list_path else f"the noisy ones with haze of {noisy_db:g} dB or more"
        return Codes(clean, noisy, f"{len(clean)} clean and {len(noisy)} noisy frames, encoded; {by}")
    _check_haze(store)
    s = inverter.random(4 * count, seed)
    haze = drawn_haze(store, inverter.drawn(s), seed)
    order = haze.argsort()
    source = f"{count} clean and {count} noisy pictures, drawn and sorted by a reading of their haze (no encoder)"
    return Codes(s[order[:count]], s[order[-count:]], source)


def drawn_haze(store: FrameStore, grey: Tensor, seed: int, fitted: int = 2000) -> Tensor:
    """A reading of the haze in pictures (N, 1, side, side), all components together: (N,), about 0 for none.

    Raises InputError where the haze of the store's frames is not known.
    """
    _check_haze(store)
    train = store.of("train")
    some = np.random.default_rng(seed).choice(train, min(fitted, len(train)), replace=False)
    cells = pooled(grey_of(store, some))
    target = torch.from_numpy(visible(store, some).sum(axis=1))
    mean = cells.mean(0)
    spread = cells - mean
    ridge = 0.003 * len(spread) * torch.eye(spread.shape[1])
    weights = torch.linalg.solve(spread.T @ spread + ridge, spread.T @ (target - target.mean()))
    return (pooled(grey).cpu() - mean) @ weights + target.mean()
