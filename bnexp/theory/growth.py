"""How the gradient grows from layer to layer at initialisation (Yang et al. 2019, 1902.08129).

In a wide random network of linear layers, BN and a non-linearity, the squared norm of the gradient
grows on the way back by a factor per layer: pi/(pi - 1) with ReLU in the limit of large batches,
(B - 2)/(B - 3) without a non-linearity: BN's Jacobian takes off two directions, to one of which,
1, the gradient is orthogonal already, so (B - 2)/(B - 1) of its square is left, and the mean of
1/sigma^2 over B Gaussian samples less their mean is (B - 1)/(B - 3).
"""

from __future__ import annotations

import math
from typing import Any

import torch

from bnexp.seeds import generator
from bnexp.theory.setting import normalise

ENDS = 3
"""Layers at either end that are not counted: there the network is not at its fixed point yet."""

LINEAR = ((12, 256, 8), (12, 256, 16), (12, 256, 32), (12, 64, 32), (24, 256, 32))
RELU = ((12, 256, 8), (12, 256, 32), (12, 256, 128), (12, 64, 128), (24, 256, 128), (12, 256, 512))
SETTINGS = (*(("linear", *s) for s in LINEAR), *(("relu", *s) for s in RELU))
"""What ``bnexp theory`` measures: non-linearity, depth, width and batch."""


def growth(
    activation: str, depth: int, width: int, batch: int, *, networks: int, seed: int = 0
) -> dict[str, Any]:
    """The growth of ||dL/dx_l||^2 per layer back, x_l the activations ``(batch, width)``.

    Networks x_l = phi(BN(W_l x_{l-1})) with Gaussian weights, gamma 1, beta 0, eps 0, float64;
    Gaussian inputs, and a random linear loss. The geometric mean over layers; ``measured`` and
    ``error`` are mean and standard error over networks, ``predicted`` is for infinite width, and
    with ReLU for infinite batches, too.
    """
    ones = torch.ones(width, dtype=torch.float64)
    factors = []
    for network in range(networks):
        stream = generator(seed, "growth", depth, width, network)

        def normal(*shape: int, stream: torch.Generator = stream) -> torch.Tensor:
            return torch.randn(*shape, generator=stream, dtype=torch.float64)

        x = [normal(batch, width).requires_grad_()]
        with torch.enable_grad():
            for _ in range(depth):
                z = normalise(x[-1] @ (normal(width, width) * (2 / width) ** 0.5), ones, 0 * ones)
                x.append(z.relu() if activation == "relu" else z)
            gradients = torch.autograd.grad((x[-1] * normal(batch, width)).sum(), x)
        ratio = gradients[ENDS].square().sum() / gradients[depth - ENDS].square().sum()
        factors.append(float(ratio) ** (1 / (depth - 2 * ENDS)))
    values = torch.tensor(factors, dtype=torch.float64)
    return {
        "activation": activation,
        "depth": depth,
        "width": width,
        "batch": batch,
        "measured": float(values.mean()),
        "error": float(values.std() / networks**0.5),
        "predicted": math.pi / (math.pi - 1) if activation == "relu" else (batch - 2) / (batch - 3),
    }
