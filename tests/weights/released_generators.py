"""StyleGAN2 files as others write them, random and small, and what they draw, written out from the published layouts.

Nothing here shares code with ours: modulation is fused into the weights of each frame, up-sampling puts zeros between
the pixels and filters with an explicit kernel, transposed convolution is a convolution of the spread picture.
"""

from __future__ import annotations

import argparse
import math
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

State = dict[str, torch.Tensor]

KERNEL = torch.outer(torch.tensor([1.0, 3.0, 3.0, 1.0]), torch.tensor([1.0, 3.0, 3.0, 1.0])) / 64


def nvidia_shapes(
    widths: dict[int, int], z: int, w: int, mapping: int = 2, colours: int = 1
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of G_ema's parameters and buffers. widths: channels at each side."""
    found: dict[str, tuple[int, ...]] = {}
    for i in range(mapping):
        found |= {f"mapping.fc{i}.weight": (w, z if i == 0 else w), f"mapping.fc{i}.bias": (w,)}
    found["mapping.w_avg"] = (w,)
    before = widths[4]
    for side, width in widths.items():
        block = f"synthesis.b{side}"
        found[f"{block}.resample_filter"] = (4, 4)
        if side == 4:
            found[f"{block}.const"] = (width, 4, 4)
        for layer, n_in in (("conv0", before), ("conv1", width)) if side > 4 else (("conv1", width),):
            name = f"{block}.{layer}"
            found |= {f"{name}.affine.weight": (n_in, w), f"{name}.affine.bias": (n_in,)}
            found |= {f"{name}.weight": (width, n_in, 3, 3), f"{name}.bias": (width,)}
            found |= {f"{name}.noise_strength": (), f"{name}.noise_const": (side, side)}
            found[f"{name}.resample_filter"] = (4, 4)
        name = f"{block}.torgb"
        found |= {f"{name}.affine.weight": (width, w), f"{name}.affine.bias": (width,)}
        found |= {f"{name}.weight": (colours, width, 1, 1), f"{name}.bias": (colours,)}
        before = width
    return found


def rosinality_shapes(widths: dict[int, int], w: int, mapping: int = 2, colours: int = 1) -> dict[str, tuple[int, ...]]:
    """Names and shapes of g_ema's."""
    found: dict[str, tuple[int, ...]] = {}
    for i in range(1, mapping + 1):
        found |= {f"style.{i}.weight": (w, w), f"style.{i}.bias": (w,)}
    found["input.input"] = (1, widths[4], 4, 4)

    def convolution(name: str, n_in: int, n_out: int, size: int) -> None:
        found[f"{name}.conv.weight"] = (1, n_out, n_in, size, size)
        found.update({f"{name}.conv.modulation.weight": (n_in, w), f"{name}.conv.modulation.bias": (n_in,)})
        found.update({f"{name}.noise.weight": (1,), f"{name}.activate.bias": (n_out,)} if size == 3 else {})
        found.update({f"{name}.bias": (1, n_out, 1, 1)} if size == 1 else {})

    convolution("conv1", widths[4], widths[4], 3)
    convolution("to_rgb1", widths[4], colours, 1)
    found["noises.noise_0"] = (1, 1, 4, 4)
    for k, side in enumerate(sorted(widths)[1:]):
        convolution(f"convs.{2 * k}", widths[side // 2], widths[side], 3)
        convolution(f"convs.{2 * k + 1}", widths[side], widths[side], 3)
        found[f"convs.{2 * k}.conv.blur.kernel"] = found[f"to_rgbs.{k}.upsample.kernel"] = (4, 4)
        convolution(f"to_rgbs.{k}", widths[side], colours, 1)
        found |= {f"noises.noise_{2 * k + i}": (1, 1, side, side) for i in (1, 2)}
    return found


def random_state(shapes: dict[str, tuple[int, ...]], seed: int = 7) -> State:
    """Random weights at the scale of a trained network's: affines about 1, everything else felt."""
    generator = torch.Generator().manual_seed(seed)
    state: State = {}
    for name, shape in shapes.items():
        value = torch.randn(shape, generator=generator)
        if name.endswith(("resample_filter", "kernel")):
            value = KERNEL * (4 if name.endswith("kernel") else 1)
        elif name.startswith(("mapping.fc", "style.")):
            value = value * (100 if name.endswith("weight") else 20)
        elif name.endswith(("affine.bias", "modulation.bias")):
            value = 1 + 0.3 * value
        elif name.endswith(("noise_strength", "noise.weight", "bias", "w_avg")):
            value = 0.3 * value
        state[name] = value
    return state


def spread(x: torch.Tensor, before: int, after: int) -> torch.Tensor:
    """Zeros between the pixels (one behind the last, too) and around them."""
    n, c, h, w = x.shape
    wide = torch.zeros(n, c, 2 * h, 2 * w)
    wide[:, :, ::2, ::2] = x
    return F.pad(wide, (before, after, before, after))


def filtered(x: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    return torch.stack([F.conv2d(x[:, c : c + 1], kernel[None, None])[:, 0] for c in range(x.shape[1])], dim=1)


def mapped(state: State, names: list[str], z: torch.Tensor) -> torch.Tensor:
    """The mapping network, which both layouts have alike."""
    x = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    for name in names:
        weight = state[f"{name}.weight"]
        x = x @ (weight * 0.01 / math.sqrt(weight.shape[1])).T + state[f"{name}.bias"] * 0.01
        x = torch.where(x > 0, x, 0.2 * x) * math.sqrt(2)
    return x


def nvidia_draw(state: State, w_plus: torch.Tensor, clamp: float | None) -> tuple[torch.Tensor, torch.Tensor]:
    """The picture with constant noise, and the styles of all layers one after the other."""

    def style(name: str, row: int) -> torch.Tensor:
        weight, bias = state[f"{name}.affine.weight"], state[f"{name}.affine.bias"]
        return w_plus[:, row] @ weight.T / math.sqrt(weight.shape[1]) + bias

    def kept(x: torch.Tensor) -> torch.Tensor:
        return x if clamp is None else x.clamp(-clamp, clamp)

    def layer(name: str, x: torch.Tensor, s: torch.Tensor, up: bool) -> torch.Tensor:
        drawn = []
        for one, its in zip(x, s, strict=True):
            weight = state[f"{name}.weight"] * its[None, :, None, None]
            weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
            if up:
                drawn.append(F.conv2d(filtered(spread(one[None], 3, 2), 4 * KERNEL), weight.flip(2, 3)))
            else:
                drawn.append(F.conv2d(one[None], weight, padding=1))
        y = torch.cat(drawn) + state[f"{name}.noise_const"] * state[f"{name}.noise_strength"]
        y = y + state[f"{name}.bias"][None, :, None, None]
        return kept(torch.where(y > 0, y, 0.2 * y) * math.sqrt(2))

    styles, row = [], 0
    x = state["synthesis.b4.const"][None].repeat(len(w_plus), 1, 1, 1)
    picture = torch.zeros(())
    sides = sorted({int(name.split(".")[1][1:]) for name in state if name.startswith("synthesis.b")})
    for side in sides:
        for conv in ("conv0", "conv1") if side > 4 else ("conv1",):
            name = f"synthesis.b{side}.{conv}"
            styles.append(style(name, row))
            x = layer(name, x, styles[-1], conv == "conv0")
            row += 1
        name = f"synthesis.b{side}.torgb"
        styles.append(style(name, row))
        weight = state[f"{name}.weight"]
        seen = x * (styles[-1] / math.sqrt(weight.shape[1]))[:, :, None, None]
        colour = kept(F.conv2d(seen, weight) + state[f"{name}.bias"][None, :, None, None])
        picture = colour + (filtered(spread(picture, 2, 1), 4 * KERNEL) if side > 4 else 0)
    return picture, torch.cat(styles, dim=1)


def rosinality_draw(state: State, w_plus: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same for rosinality's layout."""
    styles = []

    def convolved(name: str, x: torch.Tensor, row: int, up: bool = False) -> torch.Tensor:
        weight, size = state[f"{name}.conv.weight"], state[f"{name}.conv.weight"].shape[-1]
        made_by = state[f"{name}.conv.modulation.weight"]
        s = w_plus[:, row] @ made_by.T / math.sqrt(made_by.shape[1]) + state[f"{name}.conv.modulation.bias"]
        styles.append(s)
        weight = weight * s[:, None, :, None, None] / math.sqrt(weight.shape[2] * size * size)
        if size == 1:
            return torch.cat([F.conv2d(one[None], its) for one, its in zip(x, weight, strict=True)])
        weight = weight / (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
        drawn = []
        for one, its in zip(x, weight, strict=True):
            if up:  # transposed convolution, then the blur
                wide = F.conv2d(spread(one[None], 2, 1), its.flip(2, 3))
                drawn.append(filtered(F.pad(wide, (1, 1, 1, 1)), state[f"{name}.conv.blur.kernel"]))
            else:
                drawn.append(F.conv2d(one[None], its, padding=1))
        return torch.cat(drawn)

    def styled(name: str, x: torch.Tensor, row: int, noise: int, up: bool = False) -> torch.Tensor:
        y = convolved(name, x, row, up) + state[f"{name}.noise.weight"] * state[f"noises.noise_{noise}"]
        y = y + state[f"{name}.activate.bias"][None, :, None, None]
        return torch.where(y > 0, y, 0.2 * y) * math.sqrt(2)

    x = styled("conv1", state["input.input"].repeat(len(w_plus), 1, 1, 1), 0, 0)
    picture = convolved("to_rgb1", x, 1) + state["to_rgb1.bias"]
    for k in range(sum(name.endswith("upsample.kernel") for name in state)):
        x = styled(f"convs.{2 * k}", x, 2 * k + 1, 2 * k + 1, up=True)
        x = styled(f"convs.{2 * k + 1}", x, 2 * k + 2, 2 * k + 2)
        skip = filtered(spread(picture, 2, 1), state[f"to_rgbs.{k}.upsample.kernel"])
        picture = convolved(f"to_rgbs.{k}", x, 2 * k + 3) + state[f"to_rgbs.{k}.bias"] + skip
    return picture, torch.cat(styles, dim=1)


class Persistent(nn.Module):
    """A module that pickles as those of NVIDIA's `persistence` do: source text, the name of its class, its state."""

    source = "raise RuntimeError('this text must never be run')"

    def __reduce__(self) -> tuple:  # type: ignore[override]
        meta = {"type": "class", "version": 6, "module_src": self.source, "class_name": "Generator"}
        meta["state"] = self.__dict__
        rebuild = sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj  # type: ignore[attr-defined]
        return rebuild, (meta,), None, None, None


@contextmanager
def nvidia_modules() -> Iterator[None]:
    """The modules that NVIDIA's pickles name are there while they are written, and gone when they are read."""
    persistence, util = ModuleType("torch_utils.persistence"), ModuleType("dnnlib.util")
    exec("def _reconstruct_persistent_obj(meta): raise RuntimeError('called')", persistence.__dict__)
    exec("class EasyDict(dict): pass", util.__dict__)
    persistence._reconstruct_persistent_obj.__module__ = persistence.__name__
    util.EasyDict.__module__ = util.__name__
    made = {"torch_utils": ModuleType("torch_utils"), "torch_utils.persistence": persistence}
    made |= {"dnnlib": ModuleType("dnnlib"), "dnnlib.util": util}
    sys.modules.update(made)
    try:
        yield
    finally:
        for name in made:
            del sys.modules[name]


def as_module(state: State, attributes: dict[str, object]) -> nn.Module:
    """A tree of modules with these parameters and buffers, and attributes by dotted name."""
    top = Persistent()

    def owner(name: str) -> tuple[nn.Module, str]:
        *path, last = name.split(".")
        module = top
        for part in path:
            if part not in module._modules:
                module.add_module(part, Persistent())
            module = module.get_submodule(part)  # type: ignore[assignment]
        return module, last

    for name, value in state.items():
        module, last = owner(name)
        if last in ("noise_const", "resample_filter", "w_avg"):
            module.register_buffer(last, value)
        else:
            value = value.to(memory_format=torch.channels_last) if value.ndim == 4 else value
            module.register_parameter(last, nn.Parameter(value, requires_grad=False))
    for name, value in attributes.items():
        module, last = owner(name)
        setattr(module, last, value)
    return top


def nvidia_attributes(
    state: State, clamp: int | None, lr: float = 0.01, activation: str = "lrelu"
) -> dict[str, object]:
    """What stands beside the tensors in NVIDIA's modules; its gains are numpy's numbers."""
    found: dict[str, object] = {"z_dim": 16, "c_dim": 0, "_init_args": (), "_init_kwargs": {"synthesis_kwargs": {}}}
    for name in state:
        layer, _, last = name.rpartition(".")
        if last == "noise_const":
            found |= {f"{layer}.conv_clamp": clamp, f"{layer}.activation": activation, f"{layer}.up": 1}
            found[f"{layer}.act_gain"] = np.sqrt(2)
        elif layer.startswith("mapping.fc"):
            found |= {f"{layer}.bias_gain": lr, f"{layer}.activation": "lrelu"}
            found[f"{layer}.weight_gain"] = lr / np.sqrt(16)
        elif layer.endswith("torgb"):
            found[f"{layer}.conv_clamp"] = clamp
    return found


def write_nvidia(path: Path, state: State, protocol: int = 4, **options: object) -> Path:
    """A network snapshot as stylegan2-ada-pytorch's training writes it."""
    with nvidia_modules():
        generator = as_module(state, nvidia_attributes(state, **options))  # type: ignore[arg-type]
        other = as_module({"b4.out.weight": torch.zeros(1, 8)}, {})
        easy = sys.modules["dnnlib.util"].EasyDict  # type: ignore[attr-defined]
        kwargs = easy(class_name="training.dataset.ImageFolderDataset", path="frames.zip", xflip=False)
        content = {"training_set_kwargs": kwargs, "G": other, "D": other, "augment_pipe": None, "G_ema": generator}
        path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


def write_rosinality(path: Path, state: State, latent_avg: torch.Tensor | None, zipped: bool = True) -> Path:
    """A checkpoint of rosinality's training, or of its converter (which adds the mean w)."""
    content = {"g": {"x": torch.zeros(1)}, "g_ema": state, "d": {"convs.0.0.weight": torch.zeros(2)}}
    content |= {"args": argparse.Namespace(path="frames", iter=800000), "g_optim": {"state": {0: {"step": 5}}}}
    content |= {} if latent_avg is None else {"latent_avg": latent_avg}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path
