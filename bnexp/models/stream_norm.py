"""Batch normalisation and the linear layer after it as one, units before samples.

``torch.batch_norm`` walks such rows sample by sample on a CPU, and its backward pass twice. Here
whole rows are worked on, in place, and what the backward pass has to sum over the samples comes out
of the product that is the weight's gradient anyway.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class NormLinear(torch.autograd.Function):
    """W (z - mean z) / sqrt(var z + eps) over the samples, biased variance; the mean; the variance.

    W is ``(streams, units, inputs)`` and z ``(streams, inputs, samples)``. **z is overwritten**, so
    nobody else may look at it. Differentiable once, by W and z; the statistics are not. With
    ``centred``, the gradient of what is returned adds up to zero over the samples, as it does if
    that is batch normalised next.
    """

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, z: Tensor, eps: float, centred: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The units after W, ``(streams, units, samples)``, and ``(streams, inputs, 1)`` twice."""
        mean = z.mean(-1, keepdim=True)
        normal = z.sub_(mean)
        var = torch.linalg.vector_norm(normal, dim=-1, keepdim=True).square_().div_(z.shape[-1])
        scale = var.add(eps).rsqrt_()
        normal.mul_(scale)
        ctx.centred = centred
        ctx.save_for_backward(weight, normal, scale)
        ctx.mark_non_differentiable(mean, var)
        ctx.set_materialize_grads(False)
        return torch.bmm(weight, normal), mean, var

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient by W and z."""
        grad = grads[0]
        weight, normal, scale = ctx.saved_tensors
        samples = normal.shape[-1]
        by_weight = torch.bmm(grad, normal.mT) if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return by_weight, None, None, None
        # scale (h - mean h - normal mean(h normal)), where h = W^T grad
        back = weight.mT * scale
        by_z = torch.bmm(back, grad)
        if by_weight is None:
            along = (by_z * normal).mean(-1, keepdim=True)
        else:
            along = (weight * by_weight).sum(-2).unsqueeze(-1) * scale / samples
        by_z.addcmul_(normal, along, value=-1)
        if not ctx.centred:
            by_z.sub_(torch.bmm(back, grad.mean(-1, keepdim=True)))
        return by_weight, by_z, None, None
