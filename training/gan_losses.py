"""The terms of the generator's and the discriminator's training (Karras et al. 2020, arXiv 1912.04958)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from echoq_models.generative.stylegan2 import Generator


def mixed_w_plus(generator: Generator, size: int, mixing: float) -> Tensor:
    """w_plus (size, num_ws, w_dim) of random z; in a share `mixing` of them a second w from a random row on."""
    place = generator.s_mean.device
    z = torch.randn(2, size, generator.config.z_dim, device=place)
    first, second = (generator.w_plus(generator.mapping(part)) for part in z)
    rows = generator.config.num_ws
    cut = torch.randint(1, rows, (size, 1), device=place)
    cut = torch.where(torch.rand(size, 1, device=place) < mixing, cut, rows)
    return torch.where((torch.arange(rows, device=place) < cut)[:, :, None], first, second)


def draw(generator: Generator, w_plus: Tensor) -> Tensor:
    """Pictures with random noise."""
    return generator.from_s(generator.to_s(w_plus), "random")


def generator_loss(fake_logits: Tensor) -> Tensor:
    """Non-saturating: -log sigmoid(D(fake))."""
    return F.softplus(-fake_logits).mean()


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-log sigmoid(D(real)) - log(1 - sigmoid(D(fake)))."""
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def gradient_penalty(discriminator: nn.Module, real: Tensor) -> Tensor:
    """R1: half the mean squared norm of D's gradient at real pictures (Mescheder et al. 2018, arXiv 1801.04406)."""
    real = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return 0.5 * gradient.square().sum((1, 2, 3)).mean()


def path_lengths(generator: Generator, w_plus: Tensor) -> Tensor:
    """(N,) how far pictures move when w does: |J^T y| for a random picture y, a root mean square over the rows."""
    pictures = draw(generator, w_plus)
    y = torch.randn_like(pictures) / generator.config.resolution
    (gradient,) = torch.autograd.grad((pictures * y).sum(), w_plus, create_graph=True)
    return gradient.square().sum(2).mean(1).sqrt()
