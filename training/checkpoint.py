"""Checkpoints of a training: tensors as safetensors, counters in the metadata, whole files only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from echoq_models.files import replacing

NAME = "checkpoint.safetensors"


def write(folder: Path, tensors: Mapping[str, Tensor], step: int, seconds: float) -> None:
    """Put the tensors, the step reached and the seconds spent into `folder`, whole or not at all. Raises OSError."""
    kept = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with replacing(folder / NAME) as new:
        save_file(kept, new, metadata={"step": str(step), "seconds": str(seconds)})


def read(folder: Path, device: torch.device) -> tuple[dict[str, Tensor], int, float] | None:
    """The tensors on `device`, the step and the seconds that `write` put there; None where there is no checkpoint."""
    path = folder / NAME
    if not path.exists():
        return None
    with safe_open(path, framework="pt") as f:
        meta = f.metadata()
    return load_file(path, device=str(device)), int(meta["step"]), float(meta["seconds"])


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it."""
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def moments(optimizer: Optimizer, prefix: str) -> dict[str, Tensor]:
    """What an optimiser remembers of each parameter, by PREFIX, the parameter's number and the thing's name."""
    state = optimizer.state_dict()["state"]
    return {f"{prefix}{i}.{name}": torch.as_tensor(value) for i, of in state.items() for name, value in of.items()}


def restore(optimizer: Optimizer, tensors: Mapping[str, Tensor], prefix: str) -> None:
    """Give an optimiser back what `moments` took from it; step counts belong on the CPU."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in below(tensors, prefix).items():
        index, name = key.split(".")
        state.setdefault(int(index), {})[name] = value.cpu() if name == "step" else value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
