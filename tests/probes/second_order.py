"""Networks small enough for a dense Hessian, and what the probes of curvature record on them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import grad

from bnexp.data.batches import Batch
from bnexp.models import Network, dln
from bnexp.models.layers import Layer
from bnexp.norms import at_step
from bnexp.objective import Objective
from tests import reference
from tests.helpers import (
    CLASSES,
    LOSS,
    Draws,
    K,
    measured,
    network,
    noise_of,
    normaliser,
    probe,
    trainer,
)

SIDE = 8


class SmallImages(Draws):
    """Batches of the images that `small` takes."""

    def at(self, step: int) -> Batch:
        whole = super().at(step)
        return Batch(whole.inputs[..., :SIDE, :SIDE].contiguous(), whole.targets, whole.index)


def small(family: str, norm: str) -> tuple[Network, Draws]:
    """A network of a few hundred parameters with all that its family has, and its batches.

    For the VGG: two convolutions with norm, ReLU and pooling, and logits, channels_last.
    """
    if family == "dln":
        return network("dln", norm), Draws("dln")
    norm_of, layers = normaliser(norm), []
    torch.manual_seed(0)
    for number, (before, after) in enumerate(((3, 3), (3, 2)), start=1):
        conv = nn.Conv2d(before, after, 3, padding=1)
        layers.append(Layer(conv, norm_of(number, after), nn.ReLU(), nn.MaxPool2d(2)))
    model = Network([*layers, Layer(nn.Linear(2 * (SIDE // 4) ** 2, CLASSES))])
    stream = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".norm." in name or name.endswith("bias"):
                parameter += 0.2 * torch.randn(parameter.shape, generator=stream)
    return model.double().to(memory_format=torch.channels_last), SmallImages("vgg")


def dense(
    family: str, norm: str, model: Network, batch: Batch, step: int, decay: tuple[float, str]
) -> tuple[Tensor, Tensor]:
    """The reference's gradient ``(n,)`` and Hessian ``(n, n)`` at the network's parameters."""
    at_step(model, step)
    layers = ["conv pool", "conv pool", "linear"] if family == "vgg" else ["linear"] * K
    net = reference.Net(layers, norm, family == "vgg", noise_of(model, batch.inputs))
    theta = reference.theta_of(dict(model.named_parameters()))
    loss = reference.objective(net, LOSS[family], batch.inputs, batch.targets, *decay)
    g = torch.cat([part.flatten() for part in grad(loss)(theta).values()])
    return g, reference.hessian(loss, theta)


def row(
    name: str, model: Network, batches: Any, objective: Objective, **options: Any
) -> dict[str, Any]:
    """What probe ``name`` records at step 0."""
    made = trainer(model, batches, probe(name, **options), objective=objective, lr=1e-3)
    return {column: value for column, (value,) in measured(made, 1)[name].items()}


class Flat(Objective):
    """0 everywhere."""

    def data(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs * 0).sum()


class ScaleFree(Objective):
    """Minus the cosine of outputs and targets: the same for c times the outputs."""

    def data(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return -(outputs * targets).sum() / (outputs.norm() * targets.norm())


class Cusp(Objective):
    """Its slope is finite at outputs of 0 and its curvature is not."""

    def data(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.abs() ** 1.5 + outputs * targets).sum()


def bare(value: float | None = None, k: int = 1) -> tuple[Network, Draws]:
    """A DLN of ``k`` layers without norms; all its weights are ``value``, if it is given."""
    model = dln(normaliser("none"), k=k, d=4)
    if value is not None:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(value)
    return model.double(), Draws("dln")
