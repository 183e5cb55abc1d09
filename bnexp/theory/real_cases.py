"""A layer of a network on its batch, in the setting of Fig 7."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnexp.models import Layer, Network
from bnexp.norms import BatchNorm, frozen_statistics
from bnexp.objective import Objective
from bnexp.theory.setting import Case


def inputs_of(model: Network, numbers: Sequence[int], batch: Tensor) -> dict[int, Tensor]:
    """What reaches each layer of ``numbers`` when ``batch`` is run through ``model``.

    With the batch's statistics; the running ones are left as they are.
    """
    found, x = {}, batch
    with torch.no_grad(), frozen_statistics(model):
        for number in range(1, max(numbers) + 1):
            if number in numbers:
                found[number] = x
            x = model.run_layer(number, x)
    return found


def has_bn(layer: Layer) -> bool:
    """Whether the layer was trained with BN, noisy or not."""
    return _split(layer)[0] is not None


def real_case(
    model: Network,
    objective: Objective,
    number: int,
    x: Tensor,
    targets: Tensor,
    *,
    start: Tensor | None = None,
    own_eps: bool = False,
    seed: int = 0,
) -> Case:
    """Layer ``number`` of ``model`` on its input ``x``; L is the data loss of what follows.

    The L2 term does not depend on y. A BN layer that was trained keeps its gamma and beta (eps is
    0, or its own where ``own_eps``). After any other layer a BN layer is put with gamma = sigma and
    beta = mu, so that nothing else changes; another normalisation there belongs to the rest, as
    does the noise of noisy BN. Use in training mode, with ``frozen_statistics``.
    """
    layer = model.layers[number]
    bn, after = _split(layer)
    affine = layer.affine
    if isinstance(affine, nn.Linear):
        x = x.flatten(1)

    def run(weight: Tensor) -> Tensor:
        if isinstance(affine, nn.Linear):
            return F.linear(x, weight, affine.bias)
        return F.conv2d(
            x, weight, affine.bias, affine.stride, affine.padding, affine.dilation, affine.groups
        )

    def rest(z: Tensor) -> Tensor:
        with frozen_statistics(model):
            out = layer.pool(layer.activation(after(z)))
            return objective.data(model.run_from(number + 1, out), targets)

    return Case(
        affine=run,
        weight=affine.weight.detach(),
        rest=rest,
        gamma=None if bn is None else bn.weight.detach(),
        beta=None if bn is None else bn.bias.detach(),
        inputs=lambda: _matrix(affine, x),
        start=start,
        eps=bn.eps if bn is not None and own_eps else 0.0,
        seed=seed,
    )


def _split(layer: Layer) -> tuple[BatchNorm | None, nn.Module]:
    """A layer's BN and what of its normalisation comes after it."""
    norm = layer.norm
    if isinstance(norm, BatchNorm):
        return norm, nn.Identity()
    if isinstance(norm, nn.Sequential) and isinstance(norm[0], BatchNorm):
        return norm[0], norm[1:]
    return None, norm


def _matrix(affine: nn.Conv2d | nn.Linear, x: Tensor) -> Tensor:
    """X, a row for each sample and position, a column for each weight of a unit."""
    if isinstance(affine, nn.Linear):
        return x
    assert affine.groups == 1
    assert not isinstance(affine.padding, str)
    columns = F.unfold(
        x, affine.weight.shape[2:], affine.dilation, affine.padding, affine.stride
    )  # fmt: skip
    return columns.movedim(1, 2).flatten(0, 1)
