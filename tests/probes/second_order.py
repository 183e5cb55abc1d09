"""Networks small enough for a dense Hessian, and what the probes of curvature record on them."""

from __future__ import annotations

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
    loss = reference.objective(net, LOSS[family], batch.inputs, batch.targets, *decay)
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

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__(type(self).__name__)
        object.__setattr__(self, "scale", scale)


class Linear(Own):
    """<outputs, targets>: linear in the weight of a single layer."""

    def data(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs * targets).sum()


class Flat(Own):
    """0 everywhere."""

    def data(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs * 0).sum()


class ScaleFree(Own):
    """Minus the cosine of outputs and targets: the same for c times the outputs."""

    def data(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return -(outputs * targets).sum() / (outputs.norm() * targets.norm())


class Cusp(Own):
    """Its slope is finite at outputs of 0 and its curvature is not."""

    def data(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.abs() ** 1.5 + outputs * targets).sum()


class Scaled(Own):
    """``scale`` times half the sum of squares."""

    def data(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).square().sum() / 2 * self.scale  # type: ignore[attr-defined]


def bare(value: float | None = None, k: int = 1) -> tuple[Network, Draws]:
    """A DLN of ``k`` layers without norms; all its weights are ``value``, if it is given."""
    model = built("dln", "none", k=k)
    if value is not None:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(value)
    return model, Draws("dln")
