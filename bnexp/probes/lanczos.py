"""The largest eigenvalue of a symmetric matrix that is only known by its products with vectors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

BASIS = 24
"""The Krylov dimension at most: the memory it takes, in vectors of the matrix's size."""

RESTART = 12
"""How many Ritz vectors the basis is restarted with when it is full."""


@dataclass(frozen=True)
class Eigenpair:
    """An estimate of the largest (algebraic) eigenvalue and its eigenvector.

    ``vector`` is of length 1; ``residual`` is ||Hv - value v|| / |value|: some eigenvalue lies that
    close, relatively. ``products`` is how many Hv it took. ``converged`` says whether the residual
    came down to the tolerance. Where a product is not finite, value and residual are NaN.
    """

    value: float
    vector: Tensor
    residual: float
    products: int
    converged: bool


def largest_eigenvalue(
    hvp: Callable[[Tensor], Tensor],
    start: Tensor,
    *,
    tolerance: float,
    at_least: int,
    at_most: int,
) -> Eigenpair:
    """The largest eigenvalue of the symmetric matrix whose product with v is ``hvp(v)``.

    Thick-restart Lanczos (Wu and Simon 2000) with full reorthogonalisation, so no eigenvalue is
    found twice and a short basis will do. It stops when the relative residual is at most
    ``tolerance``, after ``at_least`` to ``at_most`` products; earlier where the vectors at hand
    span all that ``start`` reaches.

    Args:
        start: not zero, ``(size,)``; an eigenvector has to have a part in it to be found.
    """
    size = len(start)
    room = min(BASIS, size)
    basis = start.new_empty(room, size)
    projected = torch.zeros(room, room, dtype=torch.float64)  # basis times matrix times basis'
    rounding = 10 * torch.finfo(start.dtype).eps
    vector, held, products = start / start.norm(), 0, 0
    while True:
        basis[held] = vector
        held += 1
        rest = hvp(vector)
        products += 1
        along = _orthogonalise(rest, basis[:held]).double().cpu()
        projected[held - 1, :held] = projected[:held, held - 1] = along
        beyond = float(rest.norm())
        if not (math.isfinite(beyond) and bool(along.isfinite().all())):
            return Eigenpair(math.nan, vector, math.nan, products, False)
        values, vectors = torch.linalg.eigh(projected[:held, :held])
        value, best = float(values[-1]), vectors[:, -1]
        error = beyond * abs(float(best[-1]))
        closed = held == size or beyond <= rounding * float(values.abs().max())
        converged = closed or (error <= tolerance * abs(value) and products >= at_least)
        if converged or products >= at_most:
            ritz = best.to(basis) @ basis[:held]
            relative = error / abs(value) if error else 0.0
            return Eigenpair(value, ritz / ritz.norm(), relative, products, converged)
        if held == room:
            held = min(RESTART, room - 1)
            basis[:held] = vectors[:, -held:].T.to(basis) @ basis
            projected.zero_()
            projected[range(held), range(held)] = values[-held:]
        vector = rest / beyond


def _orthogonalise(vector: Tensor, basis: Tensor) -> Tensor:
    """Take out of ``vector``, in place, its parts along the rows of ``basis``; returns them."""
    along = torch.zeros_like(basis[:, 0])
    for _ in range(2):  # the second time takes out what rounding left
        part = basis @ vector
        vector -= part @ basis
        along += part
    return along
