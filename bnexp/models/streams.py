"""Several passes through a network of linear layers as one: each pass is a stream.

A pass through the deep linear network is many small products, and most of its time is not spent
multiplying. Streams lie side by side, ``(streams, units, samples)``, so the same calls do the work
of all of them. A normalisation sees the units of every stream as units of its own, hence each
stream has its own statistics; all meet the same noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bnexp.models.layers import Network, Params
from bnexp.models.stream_norm import LinearNorm
from bnexp.norms import BatchNorm, Noise, Statistics


def streamable(model: Network) -> bool:
    """Whether every layer of ``model`` is linear: then its passes can be joined."""
    return all(
        isinstance(layer.affine, nn.Linear) and isinstance(layer.pool, nn.Identity)
        for layer in model.layers
    )


@dataclass(frozen=True)
class Streams:
    """What flows: gamma x + beta, where ``x`` is ``(streams, units, samples)``.

    ``gamma`` and ``beta`` are ``(units,)``, or ``(streams, units)``; without them it is ``x``
    itself. They are left to the next layer, to whose weights they cost less than to the samples.
    """

    x: Tensor
    gamma: Tensor | None = None
    beta: Tensor | None = None

    def values(self) -> Tensor:
        """gamma x + beta, ``(streams, units, samples)``."""
        if self.gamma is None or self.beta is None:
            return self.x
        return self.x * self.gamma.unsqueeze(-1) + self.beta.unsqueeze(-1)

    def beside(self, more: Streams) -> Streams:
        """These streams, then those of ``more``, which have the same gamma and beta."""
        return Streams(torch.cat([self.x, more.x]), self.gamma, self.beta)


def run_stream_layer(model: Network, number: int, into: Streams, params: Params) -> Streams:
    """Layer ``number`` on ``into``.

    Each of the layer's ``params`` (by full name) is one for all streams, or has a first dimension
    for the stream. Only for passes with the batch's statistics and the running ones frozen.
    """
    layer, prefix = model.layers[number], f"layers.{number}."
    x, weight = into.x, params[prefix + "affine.weight"]
    folded = weight if into.gamma is None else weight * into.gamma.unsqueeze(-2)
    folded = folded.expand(len(x), *weight.shape[-2:])
    plain = isinstance(layer.activation, nn.Identity)
    if isinstance(layer.norm, BatchNorm):
        # the mean that is subtracted takes beta and the bias with it
        normal = LinearNorm.apply(folded, x, layer.norm.eps)
        gamma, beta = (params[f"{prefix}norm.{name}"] for name in ("weight", "bias"))
        out = Streams(normal, gamma, beta)
        return out if plain else Streams(layer.activation(out.values()))
    x = torch.bmm(folded, x)
    if into.beta is not None:
        x = x + torch.matmul(weight, into.beta.unsqueeze(-1))
    if layer.affine.bias is not None:
        x = x + params[prefix + "affine.bias"].unsqueeze(-1)
    return Streams(layer.activation(_normalised(layer.norm, prefix + "norm.", x, params)))


def _normalised(norm: nn.Module, prefix: str, x: Tensor, params: Params) -> Tensor:
    if isinstance(norm, nn.Identity):
        return x
    if isinstance(norm, nn.Sequential):
        for name, part in norm.named_children():
            x = _normalised(part, f"{prefix}{name}.", x, params)
        return x
    streams, units, samples = x.shape
    if isinstance(norm, Noise):
        m, s = norm.draw(x.detach()[0].T)
        return torch.addcmul(m.T, s.T, x)
    assert isinstance(norm, Statistics)
    gamma, beta = (
        params[prefix + name].expand(streams, units).reshape(-1) for name in ("weight", "bias")
    )
    folded = norm.normalise(x.reshape(1, streams * units, samples), gamma, beta)
    return folded.view(streams, units, samples)
