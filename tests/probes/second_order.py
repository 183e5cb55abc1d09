"""Networks small enough for a dense Hessian, and what the probes of curvature record on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import grad

from bnexp.data.batches import Batch
from bnexp.models import Network
from bnexp.objective import Objective
from tests import reference
from tests.helpers import (
    LOSS,
    Draws,
    built,
    measured,
    network,
    probe,
    small,
    theta_of,
    trainer,
    twin,
)


def tiny(family: str, norm: str) -> tuple[Network, Draws]:
    """A network of a few hundred parameters with all that its family has, and its batches."""
    if family == "dln":
        return network("dln", norm), Draws("dln")
    return small(norm), Draws("vgg", side=8)


def dense(
    family: str, norm: str, model: Network, batch: Batch, step: int, decay: tuple[float, str]
) -> tuple[Tensor, Tensor]:
    """The reference's gradient ``(n,)`` and Hessian ``(n, n)`` at the network's parameters."""
    net = twin(model, "small" if family == "vgg" else "dln", norm, batch.inputs, step)
    loss = reference.objective(net, LOSS[family], *batch, *decay)
    theta = theta_of(model)
    return reference.flat(grad(loss)(theta)), reference.hessian(loss, theta)


def row(
    name: str, model: Network, batches: Any, objective: Objective, **options: Any
) -> dict[str, Any]:
    """What probe ``name`` records at step 0."""
    made = trainer(model, batches, probe(name, **options), objective=objective, lr=1e-3)
    return {column: value for column, (value,) in measured(made, 1)[name].items()}


class Own(Objective):
    """A data loss that is not one of the package's, so that it is taken by autograd."""

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__("own")
        object.__setattr__(self, "data", loss)


LINEAR = Own(lambda out, target: (out * target).sum())
FLAT = Own(lambda out, target: (out * 0).sum())
SCALE_FREE = Own(lambda out, target: -(out * target).sum() / (out.norm() * target.norm()))
CUSP = Own(lambda out, target: (out.abs() ** 1.5 + out * target).sum())
"""Linear in a single layer; 0; the same for c times the outputs; of finite slope at outputs of 0
where its curvature is not."""


def scaled(scale: float) -> Own:
    """``scale`` times half the sum of squares."""
    return Own(lambda out, target: (out - target).square().sum() / 2 * scale)


def bare(value: float | None = None, k: int = 1) -> tuple[Network, Draws]:
    """A DLN of ``k`` layers without norms; all its weights are ``value``, if it is given."""
    model = built("dln", "none", k=k)
    if value is not None:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(value)
    return model, Draws("dln")
