"""How the gradient grows from layer to layer at initialisation (Yang et al. 2019, 1902.08129).

In a wide random network of linear layers, BN and a non-linearity, the squared norm of the gradient
grows on the way back by a factor per layer: pi/(pi - 1) with ReLU in the limit of large batches,
(B - 2)/(B - 3) without a non-linearity: BN's Jacobian takes off two directions, to one of which,
1, the gradient is orthogonal already, so (B - 2)/(B - 1) of its square is left, and the mean of
1/sigma^2 over B Gaussian samples less their mean is (B - 1)/(B - 3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bnexp.seeds import generator
from bnexp.theory.setting import normalise

ENDS = 3
"""Layers at either end that are not counted: there the network is not at its fixed point yet."""

SETTINGS = (
    ("linear", 12, 256, 8),
    ("linear", 12, 256, 16),
    ("linear", 12, 256, 32),
    ("linear", 12, 64, 32),
    ("linear", 24, 256, 32),
    ("relu", 12, 256, 8),
    ("relu", 12, 256, 32),
    ("relu", 12, 256, 128),
    ("relu", 12, 64, 128),
    ("relu", 24, 256, 128),
    ("relu", 12, 256, 512),
)
"""What ``bnexp theory`` measures: non-linearity, depth, width and batch."""


@dataclass(frozen=True)
class Growth:
    """The factor per layer: mean and standard error over networks, and what is predicted.

    The prediction is for infinite width, that with ReLU for infinite batches, too.
    """

    activation: str
    depth: int
    width: int
    batch: int
    networks: int
    measured: float
    error: float
    predicted: float


def growth(
    activation: str, depth: int, width: int, batch: int, *, networks: int, seed: int = 0
) -> Growth:
    """The growth of ||dL/dx_l||^2 per layer back, x_l the activations ``(batch, width)``.

    Networks x_l = phi(BN(W_l x_{l-1})) with Gaussian weights, gamma 1, beta 0, eps 0, float64;
    Gaussian inputs, and a random linear loss.
    """
    streams = [generator(seed, "growth", depth, width, i) for i in range(networks)]
    factors = torch.stack([_factor(activation, depth, width, batch, s) for s in streams])
    linear = (batch - 2) / (batch - 3)
    predicted = math.pi / (math.pi - 1) if activation == "relu" else linear
    mean, error = float(factors.mean()), float(factors.std() / networks**0.5)
    return Growth(activation, depth, width, batch, networks, mean, error, predicted)


def _factor(activation: str, depth: int, width: int, batch: int, stream: torch.Generator) -> Tensor:
    """The geometric mean over the layers counted, in one network."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=stream, dtype=torch.float64)

    ones = torch.ones(width, dtype=torch.float64)
    activations = [normal(batch, width).requires_grad_()]
    with torch.enable_grad():
        for _ in range(depth):
            y = activations[-1] @ (normal(width, width) * (2 / width) ** 0.5)
            z = normalise(y, ones, 0 * ones)
            activations.append(z.relu() if activation == "relu" else z)
        loss = (activations[-1] * normal(batch, width)).sum()
        gradients = torch.autograd.grad(loss, activations)
    first, last = ENDS, depth - ENDS
    ratio = gradients[first].square().sum() / gradients[last].square().sum()
    return ratio ** (1 / (last - first))
