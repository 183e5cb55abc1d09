"""The setting of the paper's theorems (Fig 7): one BN layer after a linear layer.

y = X W' (a linear layer or convolution, bias included), z = gamma (y - mu) / sigma + beta with the
biased variance sigma^2 and eps 0 unless said otherwise, and a loss that is a function of z, the
rest of the network. The same function is the loss L of the network without BN as a function of y
and the loss L^ of the one with BN as a function of z; the paper compares the two where dL/dy =
dL^/dz. Here that holds by construction: the gradient g and the Hessian H without BN are taken at
the z that the BN network is at. Where no BN layer was trained, gamma = sigma and beta = mu
(Observation 4.3), so that z = y.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from bnexp.objective import SecondOrder
from bnexp.seeds import generator

CONSTANT = 1e-10
"""A unit whose variance is below this part of its mean square is constant: BN is undefined there,
and of y - mu rounding is all that remains."""


def rows_of(values: Tensor) -> Tensor:
    """``(batch, units, ..)`` as ``(units, m)``: each unit's values over batch and positions."""
    return values.movedim(1, 0).flatten(1)


def moments(y: Tensor, eps: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """Per unit, ``(units,)``: mean, sigma = sqrt(biased variance + eps), whether it is constant.

    Differentiable; sigma is 1 where a unit is constant and eps is 0.
    """
    rows = rows_of(y)
    mean = rows.mean(1)
    var = (rows - mean[:, None]).square().mean(1)
    constant = (var <= CONSTANT * rows.square().mean(1)).detach()
    if eps == 0.0:
        var = torch.where(constant, torch.ones_like(var), var)
    return mean, (var + eps).sqrt(), constant


def normalise(y: Tensor, gamma: Tensor, beta: Tensor, eps: float = 0.0) -> Tensor:
    """gamma (y - mu) / sigma + beta of ``(batch, units, ..)``, with the moments of ``y`` itself."""
    mean, sigma, _ = moments(y, eps)
    mean, sigma, gamma, beta = (
        values.view(1, -1, *[1] * (y.dim() - 2)) for values in (mean, sigma, gamma, beta)
    )
    return gamma * ((y - mean) / sigma) + beta


@dataclass(frozen=True)
class Case:
    """One BN layer after a linear layer, and all that follows it.

    Attributes:
        affine: from the weight and x to y, ``(batch, units, ..)``.
        weight: W, ``(units, ..)``; a unit's row W_j may have any shape.
        x: what reaches the linear layer.
        rest: from z (of y's shape) to the loss, a scalar.
        gamma, beta: ``(units,)``; None for sigma and mu.
        matrix: from x to X, ``(m, inputs of a unit)``, where affine is X W_j' plus a constant.
        start: W_0 of Lemma 4.5, of W's shape; None for a random one.
        seed: of all that the checks draw at random.
    """

    affine: Callable[[Tensor, Tensor], Tensor]
    weight: Tensor
    x: Tensor
    rest: Callable[[Tensor], Tensor]
    gamma: Tensor | None
    beta: Tensor | None
    matrix: Callable[[Tensor], Tensor] = lambda x: x
    start: Tensor | None = None
    eps: float = 0.0
    seed: int = 0


class Point:
    """A case's gradients and Hessians at the point it is at; everything is detached.

    ``m`` is the number of values of a unit; ``yhat``, ``g`` = dL/dy = dL^/dz and ``v`` = grad_y L^
    are ``(units, m)``, ``x`` is X. ``plain`` is the loss as a function of z, as the network without
    BN has it; ``normed`` and ``by_weight`` are L^ as a function of y and of W.
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        with torch.no_grad():
            self.y = case.affine(case.weight, case.x)
        self.mean, self.sigma, self.constant = moments(self.y, case.eps)
        self.gamma = self.sigma if case.gamma is None else case.gamma.detach()
        self.beta = self.mean if case.beta is None else case.beta.detach()
        self.z = normalise(self.y, self.gamma, self.beta, case.eps)
        self.yhat = (rows_of(self.y) - self.mean[:, None]) / self.sigma[:, None]
        self.m = self.yhat.shape[1]
        self.units = [int(j) for j in (~self.constant).nonzero().flatten()]
        self.plain = SecondOrder(case.rest, [self.z])
        self.normed = SecondOrder(self.loss_after_bn, [self.y])
        self.g, self.v = (rows_of(f.gradient[0]) for f in (self.plain, self.normed))

    def loss_after_bn(self, y: Tensor) -> Tensor:
        """L^ as a function of y."""
        return self.case.rest(normalise(y, self.gamma, self.beta, self.case.eps))

    def loss_of_weight(self, w: Tensor) -> Tensor:
        """L^ as a function of W."""
        return self.loss_after_bn(self.case.affine(w, self.case.x))

    @cached_property
    def by_weight(self) -> SecondOrder:
        return SecondOrder(self.loss_of_weight, [self.case.weight])

    @cached_property
    def x(self) -> Tensor:
        return self.case.matrix(self.case.x)

    @cached_property
    def basis(self) -> Tensor:
        """Orthonormal columns: all span X's columns and 1, all but the last X's alone."""
        columns = torch.cat([self.x, self.x.new_ones(len(self.x), 1)], 1)
        basis: Tensor = torch.linalg.qr(columns)[0]
        return basis

    def times(self, function: SecondOrder, rows: Tensor) -> Tensor:
        """The Hessian of ``plain`` or ``normed`` times ``rows``, both ``(units, m)``."""
        batch, units, *positions = self.y.shape
        shaped = rows.view(units, batch, *positions).movedim(0, 1)
        return rows_of(function.hvp([shaped])[0])


class Unit:
    """Unit ``j`` of a layer: the vectors of the theorems, ``(m,)`` each; ``inner`` is <g, y^>."""

    def __init__(self, point: Point, j: int) -> None:
        self.point, self.j, self.m = point, j, point.m
        self.gamma, self.sigma = float(point.gamma[j]), float(point.sigma[j])
        self.gain = self.gamma / self.sigma
        self.yhat, self.g, self.v = point.yhat[j], point.g[j], point.v[j]
        self.y, self.w = rows_of(point.y)[j], point.case.weight[j].detach().flatten()
        self.inner = float(self.g @ self.yhat)

    def stream(self, name: str) -> torch.Generator:
        """A random stream of this unit's own."""
        seed, device = self.point.case.seed, self.y.device
        return generator(seed, "theory", "unit", self.j, name, device=device)

    def normal(self, *shape: int, stream: torch.Generator) -> Tensor:
        """Standard Gaussian numbers."""
        return torch.randn(*shape, generator=stream, dtype=self.y.dtype, device=self.y.device)

    def hessian(self, direction: Tensor, after_bn: bool = False) -> Tensor:
        """H_jj of the loss without BN, or H^_jj of that with, by y_j, times ``direction``."""
        rows = torch.zeros_like(self.point.yhat)
        rows[self.j] = direction
        function = self.point.normed if after_bn else self.point.plain
        return self.point.times(function, rows)[self.j]
