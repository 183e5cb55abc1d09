"""The deep linear network of the paper (Appendix A.1): k square linear layers, no non-linearity."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from bnexp.models.init import empty, initialise
from bnexp.models.layers import Layer, Network


def dln(
    norm: Callable[[int, int], nn.Module],
    *,
    k: int = 25,
    d: int = 10,
    init: str = "glorot_uniform",
    seed: int = 0,
) -> Network:
    """W_k .. W_1 x with ``k`` layers of ``d`` units: input and output ``(batch, d)``, float64.

    ``norm(number, units)`` gives the normalisation of each layer but the last. The layers have no
    biases. float64, because the gradients along the paper's grid of steps span 15 decades.
    """
    layers = []
    for number in range(1, k + 1):
        affine = empty(nn.Linear, d, d, bias=False, dtype=torch.float64)
        initialise(affine, init, seed, number)
        layers.append(Layer(affine, norm(number, d) if number < k else None))
    return Network(layers).double()
