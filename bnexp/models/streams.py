"""Several passes through a network of linear layers as one: each pass is a stream.

A pass through the deep linear network is many small products, and most of its time is not spent
multiplying. Streams lie side by side, ``(streams, units, samples)``, so the same calls do the work
of all of them. A normalisation sees the units of every stream as units of its own, hence each
stream has its own statistics; all meet the same noise.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from bnexp.models.layers import Network, Params
from bnexp.norms import BatchNorm, Noise, Statistics


def streamable(model: Network) -> bool:
    """Whether every layer of ``model`` is linear and has a norm of ours: passes can be joined."""
    return all(
        isinstance(layer.affine, nn.Linear)
        and isinstance(layer.pool, nn.Identity)
        and _known(layer.norm)
        for layer in model.layers
    )


def _known(norm: nn.Module) -> bool:
    if isinstance(norm, nn.Sequential):
        return all(map(_known, norm))
    return isinstance(norm, (nn.Identity, Noise, Statistics))


@dataclass(frozen=True)
class Streams:
    """What flows: ``x``, ``(streams, units, samples)``, to be normalised if ``norm``.

    The batch normalisation of a layer is left to the next one, whose weights take its gamma, and
    take away its beta if they are normalised again. ``gamma`` and ``beta`` are ``(units,)`` or
    ``(streams, units)``.
    """

    x: Tensor
    norm: BatchNorm | None = None
    gamma: Tensor | None = None
    beta: Tensor | None = None

    def beside(self, more: Streams) -> Streams:
        """These streams, then those of ``more``, as far through the same network."""
        return replace(self, x=torch.cat([self.x, more.x]))


class Kept:
    """The pre-activations of the layers ``wanted``, once they are ``found``.

    Each is ``(streams, samples, units)``, detached.
    """

    def __init__(self, wanted: Collection[int]) -> None:
        self._wanted = frozenset(wanted)
        self.found: dict[int, Tensor] = {}

    def see(self, number: int, x: Tensor) -> None:
        """Keep ``x``, ``(streams, units, samples)``, if layer ``number`` is wanted."""
        if number in self._wanted:
            self.found[number] = x.detach().mT

    def see_scaled(self, number: int, x: Tensor, gain: Tensor, shift: Tensor) -> None:
        """Keep ``x gain + shift``; all are as in `see`."""
        if number in self._wanted:
            self.found[number] = torch.addcmul(shift.detach(), x.detach(), gain.detach()).mT


def run_stream_layer(
    model: Network, number: int, into: Streams, params: Params, kept: Kept | None = None
) -> Streams:
    """Layer ``number`` on ``into``.

    Each of the layer's ``params`` (by full name) is one for all streams, or has a first dimension
    for the stream. Only for passes with the batch's statistics. Running averages that are not
    frozen are moved: ``(streams * units,)``. Pre-activations that are wanted are ``kept``.
    """
    layer, prefix = model.layers[number], f"layers.{number}."
    weight, bias = params[prefix + "affine.weight"], params.get(prefix + "affine.bias")
    centred = isinstance(layer.norm, BatchNorm)  # then it takes away all that is the same over x
    shifts = [] if centred or bias is None else [bias.unsqueeze(-1)]
    wide = (len(into.x), *weight.shape[-2:])
    if into.norm is None:
        x = torch.bmm(weight.expand(wide), into.x)
    else:
        assert into.gamma is not None
        assert into.beta is not None
        # whole rows, which is many times faster than torch.batch_norm on them
        normal, mean, scale = torch.native_layer_norm(
            into.x, [into.x.shape[-1]], None, None, into.norm.eps
        )
        x = torch.bmm((weight * into.gamma.unsqueeze(-2)).expand(wide), normal)
        into.norm.seen(mean, scale, into.x.shape[-1])
        if kept is not None:
            kept.see_scaled(number - 1, normal, into.gamma.unsqueeze(-1), into.beta.unsqueeze(-1))
        if not centred:
            shifts.append(torch.matmul(weight, into.beta.unsqueeze(-1)))
    for shift in shifts:
        x = x + shift
    if (
        isinstance(layer.norm, BatchNorm)
        and isinstance(layer.activation, nn.Identity)
        and number < len(model.layers)
    ):
        gamma, beta = (params[f"{prefix}norm.{name}"] for name in ("weight", "bias"))
        return Streams(x, layer.norm, gamma, beta)
    x = _normalised(layer.norm, prefix + "norm.", x, params)
    if kept is not None:
        kept.see(number, x)
    return Streams(layer.activation(x))


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
