"""From a trained encoder to weights that ship: measured on held-out frames, fp16 safetensors, a model card."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from echoq_models.cine import sector as sectors
from echoq_models.generative.encoder import Encoder, describe
from echoq_models.generative.stylegan2 import Generator, to_grey
from echoq_models.metrics.fidelity import psnr, ssim
from echoq_models.segment import segment
from echoq_models.weights import store
from training import products
from training.data.frames import FrameStore
from training.encoder import as_pictures, held_out
from training.evaluation.methods import as_loop
from training.evaluation.segmentation import dice
from training.pipeline import PipelineConfig
from training.publish import INTENDED_USE

NAME = "encoder"
BLUR = 2.5  # pixels: speckle itself cannot be matched
LIMITS = (
    "Finds the generator's picture that is most like a frame: the same chambers, walls and haze, with other speckle. "
    "Frames unlike those that the two were trained on come back as others; look at the original beside it."
)


@torch.no_grad()
def reconstructed(encoder: Encoder, generator: Generator, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames (N, side, side) brought through w_plus, with constant noise."""
    place, parts = generator.s_mean.device, []
    for start in range(0, len(frames), 32):
        pictures = as_pictures(frames[start : start + 32], encoder.config.image_channels, place)
        drawn = generator.from_s(generator.to_s(encoder(pictures)))
        parts.append(to_grey(drawn).mul(255).round().to(torch.uint8).cpu().numpy()[:, 0])
    return np.concatenate(parts)


def judge(encoder: Encoder, generator: Generator, frames: NDArray[np.uint8]) -> dict[str, float | int]:
    """How near frames (N, side, side) and what is drawn of them are, within the frame's sector: SSIM blurred and not,
    PSNR; and Dice of the left ventricles that are found in them, of the frames in which one is found (0 where the
    reconstruction shows none)."""
    similar, plain, noise, overlap = [], [], [], []
    for frame, drawn in zip(frames, reconstructed(encoder, generator, frames), strict=True):
        inside = sectors.fit(as_loop(frame[None])).mask
        drawn = np.where(inside, drawn, np.uint8(0))
        similar.append(ssim(_blurred(frame), _blurred(drawn), inside))
        plain.append(ssim(frame, drawn, inside))
        noise.append(psnr(frame, drawn, inside))
        found = segment(as_loop(frame[None]), device="cpu")
        if found.found[0]:
            overlap.append(dice(found.lv, segment(as_loop(drawn[None]), device="cpu").lv))
    return {
        f"SSIM in the sector, blurred by {BLUR} pixels": round(float(np.mean(similar)), 4),
        "the same, not blurred": round(float(np.mean(plain)), 4),
        "PSNR in the sector": round(float(np.mean(noise)), 2),
        "LV Dice, frame and reconstruction": round(float(np.mean(overlap)), 4) if overlap else 0.0,
        "frames with an LV": len(overlap),
        "frames compared": len(frames),
    }


def _blurred(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    return cv2.GaussianBlur(frame.astype(np.float32), (0, 0), BLUR)


def publish(encoder: Encoder, recipe: PipelineConfig, folder: Path, recipe_path: Path, device: torch.device) -> Path:
    """Write encoder/encoder.safetensors (fp16) and its card into the run's folder; returns the path of the weights.

    The figures go to the card and to the log. Raises InputError when the generator is gone.
    """
    made_for, generator = products.generator(folder, device)
    frames = FrameStore(folder / "frames")
    log = folder / NAME / "log.jsonl"
    last = json.loads(log.read_text().splitlines()[-1])
    figures = judge(encoder.to(device), generator, frames.frames(held_out(frames, recipe.encoder.judged)))
    with log.open("a") as file:
        file.write(json.dumps({"step": last["step"], "samples_per_s": last["samples_per_s"], **figures}) + "\n")
    path = folder / NAME / f"{NAME}.safetensors"
    card = store.Card(
        name=NAME,
        title=f"{recipe.title}: encoder",
        architecture=describe(encoder.config),
        output="encoder",
        recipe=f"training/recipes/{recipe_path.name}",
        data=f"{made_for.data}; and frames that the generator drew",
        trained=f"{datetime.now(UTC):%Y-%m-%d}, {last['step']} steps of {recipe.encoder_train.batch} frames",
        figures={**figures, "frames a second in training": last["samples_per_s"]},
        generator=made_for.name,
        intended_use=INTENDED_USE,
        limits=LIMITS,
        licence=made_for.licence,
    )
    store.save(path, encoder.state_dict(), card, half=True)
    return path
