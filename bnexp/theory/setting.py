"""The setting of the paper's theorems (Fig 7): one BN layer after a linear layer.

The network is y = X W' (a linear layer or convolution, bias included), z = gamma (y - mu) / sigma
+ beta, and a loss that is a function of z, the rest of the network. sigma^2 is the biased variance
and eps is 0 unless said otherwise. The same function is the loss L of the network without BN as a
function of y and the loss L^ of the one with BN as a function of z; the paper compares the two
where dL/dy = dL^/dz. Here this holds by construction: g, the gradient without BN, and H, its
Hessian, are taken at the point z that the BN network is at. Where no BN layer was trained, gamma =
sigma and beta = mu (Observation 4.3): then z = y, and that point is the network's own.
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
"""A unit whose variance over the batch is below this part of its mean square counts as constant:
with eps 0 BN is not defined on a constant unit, and on one that is nearly so, rounding is what
remains of y - mu."""


def rows_of(values: Tensor) -> Tensor:
    """``(batch, units, ..)`` as ``(units, m)``: each unit's values over batch and positions."""
    return values.movedim(1, 0).flatten(1)


def _spread(values: Tensor, like: Tensor) -> Tensor:
    return values.view(1, -1, *[1] * (like.dim() - 2))


@dataclass(frozen=True)
class Moments:
    """Per unit, ``(units,)``: the mean, sigma = sqrt(biased variance + eps), and who is constant.

    sigma is 1 where a unit is constant and eps is 0.
    """

    mean: Tensor
    sigma: Tensor
    constant: Tensor


def moments(y: Tensor, eps: float = 0.0) -> Moments:
    """The moments of ``y``, ``(batch, units, ..)``; differentiable."""
    rows = rows_of(y)
    mean = rows.mean(1)
    var = (rows - mean[:, None]).square().mean(1)
    constant = (var <= CONSTANT * rows.square().mean(1)).detach()
    if eps == 0.0:
        var = torch.where(constant, torch.ones_like(var), var)
    return Moments(mean, (var + eps).sqrt(), constant)


def normalise(y: Tensor, gamma: Tensor, beta: Tensor, eps: float = 0.0) -> Tensor:
    """gamma (y - mu) / sigma + beta of ``(batch, units, ..)``, with the moments of ``y`` itself."""
    found = moments(y, eps)
    yhat = (y - _spread(found.mean, y)) / _spread(found.sigma, y)
    return _spread(gamma, y) * yhat + _spread(beta, y)


@dataclass(frozen=True)
class Case:
    """One BN layer after a linear layer, and all that follows it.

    Attributes:
        affine: from the weight to y, ``(batch, units, ..)``.
        weight: W, ``(units, ..)``; a unit's row W_j may have any shape.
        rest: from z (of y's shape) to the loss, a scalar.
        gamma, beta: ``(units,)``; None for sigma and mu.
        inputs: makes X, ``(m, inputs of a unit)``, where affine is X W_j' plus a constant.
        start: W_0 of Lemma 4.5, of W's shape; None for a random one.
        again: the case with other X, of the same shape; None where that cannot be had.
        seed: of all that the checks draw at random.
    """

    affine: Callable[[Tensor], Tensor]
    weight: Tensor
    rest: Callable[[Tensor], Tensor]
    gamma: Tensor | None
    beta: Tensor | None
    inputs: Callable[[], Tensor]
    start: Tensor | None = None
    again: Callable[[Tensor], Case] | None = None
    eps: float = 0.0
    seed: int = 0


class Point:
    """A case's gradients and Hessians at the point it is at; everything is detached."""

    def __init__(self, case: Case) -> None:
        self.case = case
        with torch.no_grad():
            self.y = case.affine(case.weight)
        self.moments = moments(self.y, case.eps)
        self.gamma = self.moments.sigma if case.gamma is None else case.gamma.detach()
        self.beta = self.moments.mean if case.beta is None else case.beta.detach()
        self.z = normalise(self.y, self.gamma, self.beta, case.eps)
        mean, sigma = (value[:, None] for value in (self.moments.mean, self.moments.sigma))
        self.yhat = (rows_of(self.y) - mean) / sigma
        """y^, ``(units, m)``."""

    def loss_after_bn(self, y: Tensor) -> Tensor:
        """L^ as a function of y."""
        return self.case.rest(normalise(y, self.gamma, self.beta, self.case.eps))

    @property
    def m(self) -> int:
        """How many values a unit has: batch times positions."""
        return self.yhat.shape[1]

    @property
    def units(self) -> list[int]:
        """The units that are not constant."""
        return [int(j) for j in (~self.moments.constant).nonzero().flatten()]

    @cached_property
    def plain(self) -> SecondOrder:
        """The loss as a function of z: what the network without BN sees."""
        return SecondOrder(self.case.rest, [self.z])

    @cached_property
    def normed(self) -> SecondOrder:
        """L^ as a function of y, through the BN layer."""
        return SecondOrder(self.loss_after_bn, [self.y])

    @cached_property
    def by_weight(self) -> SecondOrder:
        """L^ as a function of W."""
        return SecondOrder(lambda w: self.loss_after_bn(self.case.affine(w)), [self.case.weight])

    @cached_property
    def g(self) -> Tensor:
        """The gradient that arrives at the layer, dL/dy = dL^/dz, ``(units, m)``."""
        return rows_of(self.plain.gradient[0])

    @cached_property
    def v(self) -> Tensor:
        """grad_y L^, by automatic differentiation through the BN layer, ``(units, m)``."""
        return rows_of(self.normed.gradient[0])

    @cached_property
    def x(self) -> Tensor:
        """X, ``(m, inputs of a unit)``."""
        return self.case.inputs()

    @cached_property
    def _bases(self) -> dict[bool, Tensor]:
        return {}

    def basis(self, bias: bool) -> Tensor:
        """Orthonormal columns that span those of X, and where ``bias`` the vector 1 too."""
        if bias not in self._bases:
            columns = [self.x, self.x.new_ones(len(self.x), 1)][: 1 + bias]
            self._bases[bias] = torch.linalg.qr(torch.cat(columns, 1))[0]
        return self._bases[bias]

    @cached_property
    def restored(self) -> Tensor:
        """z at gamma = sigma, beta = mu, of the shape of y (Observation 4.3)."""
        return normalise(self.y, self.moments.sigma, self.moments.mean, self.case.eps)

    @cached_property
    def restored_losses(self) -> tuple[float, float]:
        """L^ at gamma = sigma, beta = mu, and L at y."""
        with torch.no_grad():
            return float(self.case.rest(self.restored)), float(self.case.rest(self.y))

    def times(self, function: SecondOrder, rows: Tensor) -> Tensor:
        """The Hessian of ``plain`` or ``normed`` times ``rows``, both ``(units, m)``."""
        batch, units, *positions = self.y.shape
        shaped = rows.view(units, batch, *positions).movedim(0, 1)
        return rows_of(function.hvp([shaped])[0])


class Unit:
    """Unit ``j`` of a layer: the vectors of the theorems, ``(m,)`` each, and its own Hessians."""

    def __init__(self, point: Point, j: int) -> None:
        self.point, self.j = point, j
        self.m = point.m
        self.gamma = float(point.gamma[j])
        self.beta = float(point.beta[j])
        self.sigma = float(point.moments.sigma[j])
        self.mean = float(point.moments.mean[j])
        self.gain = self.gamma / self.sigma
        self.yhat, self.g, self.v = point.yhat[j], point.g[j], point.v[j]
        self.y = rows_of(point.y)[j]
        self.w = point.case.weight[j].detach().flatten()

    def stream(self, *names: str | int) -> torch.Generator:
        """A random stream of this unit's own."""
        return generator(
            self.point.case.seed, "theory", "unit", self.j, *names, device=self.y.device
        )

    def normal(self, *shape: int, stream: torch.Generator) -> Tensor:
        """Standard Gaussian numbers."""
        return torch.randn(*shape, generator=stream, dtype=self.y.dtype, device=self.y.device)

    def hessian(self, direction: Tensor) -> Tensor:
        """H_jj times ``direction``: the loss without BN, by y_j."""
        return self._block(self.point.plain, direction)

    def hessian_after_bn(self, direction: Tensor) -> Tensor:
        """H^_jj times ``direction``: the loss with BN, by y_j."""
        return self._block(self.point.normed, direction)

    def _block(self, function: SecondOrder, direction: Tensor) -> Tensor:
        rows = torch.zeros_like(self.point.yhat)
        rows[self.j] = direction
        return self.point.times(function, rows)[self.j]

    def project(self, direction: Tensor) -> Tensor:
        """P u = u - <1, u>/m - y^ <y^, u>/m: BN's Jacobian is gamma/sigma P."""
        return direction - direction.mean() - self.yhat * (self.yhat @ direction) / self.m

    @cached_property
    def hv(self) -> Tensor:
        """H_jj v."""
        return self.hessian(self.v)

    @cached_property
    def curvature_left(self) -> float:
        """v' H^_jj v."""
        return float(self.v @ self.hessian_after_bn(self.v))
