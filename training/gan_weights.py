"""From a trained generator to weights that ship: measured against held-out frames, fp16 safetensors, a model card."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from echoq_models.generative.stylegan2 import Generator, describe, to_grey
from echoq_models.weights import store
from training.data.frames import FrameStore, provenance
from training.evaluation import fd_echo
from training.gan import GanTrainer
from training.pipeline import PipelineConfig
from training.publish import INTENDED_USE

NAME = "generator"
LIMITS = (
    "Draws frames that look like those it was trained on; they show nobody. What lies outside those frames (other "
    "views, other sectors, contrast agent, colour Doppler, text) it cannot draw, and a frame brought back through it "
    "is another picture of a similar heart: look at the original beside it."
)


@torch.no_grad()
def drawn(generator: Generator, count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Random frames of a generator as it was trained, with random noise: uint8 (count, side, side)."""
    place = generator.s_mean.device
    torch.manual_seed(seed)
    parts = []
    for start in range(0, count, 64):
        z = torch.randn(min(64, count - start), generator.config.z_dim, device=place)
        parts.append(to_grey(generator(z, "random")).mul(255).round().to(torch.uint8).cpu().numpy()[:, 0])
    return np.concatenate(parts)


def judge(generator: Generator, frames: FrameStore, count: int) -> dict[str, float | int]:
    """FD-echo and its kernel form between generated and held-out frames, and, to compare with, between training and
    held-out ones; as many of each as there are, at most `count`."""
    held_out = np.concatenate([frames.of("val"), frames.of("test")])[:count]
    count = len(held_out)
    net = fd_echo.network(generator.s_mean.device)
    real = frames.frames(held_out)
    ours = fd_echo.fd_echo(drawn(generator, count), real, net)
    known = fd_echo.fd_echo(frames.frames(frames.of("train")[:count]), real, net)
    return {
        "FD-echo": round(ours.frechet, 4),
        "KD-echo": round(ours.kernel, 5),
        "FD-echo of training frames": round(known.frechet, 4),
        "KD-echo of training frames": round(known.kernel, 5),
        "frames compared": count,
    }


def publish(trainer: GanTrainer, recipe: PipelineConfig, folder: Path, recipe_path: Path) -> Path:
    """Write gan/generator.safetensors (fp16) and its card into the run's folder; returns the path of the weights.

    The averaged generator ships, with mean and deviation of its style channels.
    """
    generator = trainer.average
    generator.measure()
    frames = FrameStore(folder / "frames")
    data, licence = provenance(recipe.frames, frames)
    last = json.loads((trainer.folder / "log.jsonl").read_text().splitlines()[-1])
    path = trainer.folder / f"{NAME}.safetensors"
    card = store.Card(
        name=NAME,
        title=recipe.title,
        architecture=describe(generator.config),
        output="generator",
        recipe=f"training/recipes/{recipe_path.name}",
        data=data,
        trained=f"{datetime.now(UTC):%Y-%m-%d}, {last['kimg']:.0f} kimg in batches of {recipe.gan.batch}",
        figures={**judge(generator, frames, recipe.gan.judged), "s per kimg": last["s_per_kimg"]},
        intended_use=INTENDED_USE,
        limits=LIMITS,
        licence=licence,
    )
    store.save(path, generator.state_dict(), card, half=True)
    return path
