"""Several passes through a network of linear layers as one: each pass is a stream.

A pass through the deep linear network is many small products, and most of its time is not spent
multiplying. Streams lie side by side, ``(streams, units, samples)``, so the same calls do the work
of all of them. A normalisation sees the units of every stream as units of its own, hence each
stream has its own statistics; all meet the same noise.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bnexp.models.layers import Network, Params
from bnexp.norms import Noise, Statistics


def streamable(model: Network) -> bool:
    """Whether every layer of ``model`` is linear: then its passes can be joined."""
    return all(
        isinstance(layer.affine, nn.Linear) and isinstance(layer.pool, nn.Identity)
        for layer in model.layers
    )


def run_stream_layer(model: Network, number: int, x: Tensor, params: Params) -> Tensor:
    """Layer ``number`` on ``x``, ``(streams, units, samples)``.

    Each of the layer's ``params`` (by full name) is one for all streams, or has a first dimension
    for the stream. Only for passes with the batch's statistics and the running ones frozen.
    """
    layer, prefix = model.layers[number], f"layers.{number}."
    x = torch.matmul(params[prefix + "affine.weight"], x)
    if layer.affine.bias is not None:
        x = x + params[prefix + "affine.bias"].unsqueeze(-1)
    out: Tensor = layer.activation(_normalised(layer.norm, prefix + "norm.", x, params))
    return out


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
