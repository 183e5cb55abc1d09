"""A linear layer and its batch normalisation as one: each unit's samples lie next to each other.

``torch.batch_norm`` walks such rows sample by sample on a CPU. Written with whole-row operations,
in place where nobody else looks, it takes less than half the time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class LinearNorm(torch.autograd.Function):
    """(z - mean z) / sqrt(var z + eps) over the samples of z = W x, biased variance.

    W is ``(streams, units, inputs)`` and x ``(streams, inputs, samples)``. Differentiable once, by
    both.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, x: Tensor, eps: float) -> Tensor:
        """The normalised units, ``(streams, units, samples)``."""
        normal = torch.bmm(weight, x)
        normal.sub_(normal.mean(-1, keepdim=True))
        var = torch.linalg.vector_norm(normal, dim=-1, keepdim=True).square_()
        scale = var.div_(x.shape[-1]).add_(eps).rsqrt_()
        normal.mul_(scale)
        ctx.save_for_backward(weight, x, normal, scale)
        return normal

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient by W and x."""
        (grad,) = grads
        weight, x, normal, scale = ctx.saved_tensors
        # scale (g - mean g - normal mean(g normal)), with one broadcast factor at a time
        along = (grad * normal).mean(-1, keepdim=True)
        by_z = (grad * scale).sub_(grad.mean(-1, keepdim=True) * scale)
        by_z.addcmul_(normal, along * scale, value=-1)
        by_weight = torch.bmm(by_z, x.mT) if ctx.needs_input_grad[0] else None
        by_x = torch.bmm(weight.mT, by_z) if ctx.needs_input_grad[1] else None
        return by_weight, by_x, None
