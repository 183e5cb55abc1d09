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
    """W (gamma (z - mean z) / sqrt(var z + eps)) over the samples, biased variance.

    W is ``(streams, units, inputs)``, gamma ``(streams, inputs)`` and z ``(streams, inputs,
    samples)``. **z is overwritten**, so nobody else may look at it. Differentiable once, by W,
    gamma and z. With ``centred``, the gradient of what is returned adds up to zero over the
    samples, as it does if that is batch normalised next.
    """

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, gamma: Tensor, z: Tensor, eps: float, centred: bool
    ) -> tuple[Tensor, ...]:
        """The units after W; as constants the mean and variance of z, and what it is multiplied by.

        The last three are ``(streams, inputs, 1)``. z is what is left of it without its mean.
        """
        mean = z.mean(-1, keepdim=True)
        z.sub_(mean)
        var = torch.linalg.vector_norm(z, dim=-1, keepdim=True).square_().mul_(1 / z.shape[-1])
        scale = var.add(eps).rsqrt_()
        gain = scale * gamma.unsqueeze(-1)
        scaled = weight * gain.mT
        ctx.centred = centred
        ctx.save_for_backward(weight, z, scale, gain, scaled)
        ctx.mark_non_differentiable(mean, var, gain)
        ctx.set_materialize_grads(False)
        return torch.bmm(scaled, z), mean, var, gain

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient by W, gamma and z."""
        grad = grads[0]
        weight, z, scale, gain, scaled = ctx.saved_tensors
        by_weight = by_gamma = by_z = along = None
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:
            product = torch.bmm(z, grad.mT)  # the gradient by the scaled W, transposed
            by_weight = (product * gain).mT
            by_gain = product.mul_(weight.mT).sum(-1, keepdim=True)
            by_gamma = (by_gain * scale).squeeze(-1)
            along = by_gain.mul_(gain)
        if ctx.needs_input_grad[2]:
            by_z = torch.bmm(scaled.mT, grad)
            if along is None:
                along = (by_z * z).sum(-1, keepdim=True)
            # by the scale too, which depends on z
            by_z.addcmul_(z, along.mul_(scale.square()), value=-1 / z.shape[-1])
            if not ctx.centred:
                by_z.sub_(torch.bmm(scaled.mT, grad.mean(-1, keepdim=True)))
        return by_weight, by_gamma, by_z, None, None
