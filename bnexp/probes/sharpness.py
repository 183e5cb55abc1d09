"""Sharpness: the largest eigenvalue of the Hessian, which gradient descent drives to 2/lr."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from bnexp.probes.base import Probe, Rows, Schedule, Setting, Step
from bnexp.probes.curvature import flat, second_order, weight_norm
from bnexp.registry import PROBES, at_least, positive
from bnexp.seeds import generator

NEW = 0.1
"""The random part of a warm start, relative to the last eigenvector."""

LEAST = 12
"""Products at least: a start near an eigenvector has a small residual before it meets others."""

BASIS = 24
"""The Krylov dimension at most: the memory it takes, in vectors of the matrix's size."""

RESTART = 12
"""How many Ritz vectors the basis is restarted with when it is full."""


@dataclass(frozen=True)
class SharpnessOptions(Schedule):
    """``tolerance``: the relative residual to stop at; ``max_iterations``: or after so many."""

    tolerance: float
    max_iterations: int

    def check(self, key: str) -> None:
        super().check(key)
        positive(f"{key}.tolerance", self.tolerance)
        at_least(f"{key}.max_iterations", self.max_iterations, 1)


def passes(options: SharpnessOptions, _layers: int) -> float:
    return 4.0 + 2.0 * min(options.max_iterations, LEAST + 1)


@PROBES.register("sharpness", SharpnessOptions, passes=passes)
class Sharpness(Probe):
    """Table ``sharpness``: the largest (algebraic) eigenvalue of the objective's Hessian.

    At theta_t on the batch of step t, with the batch's statistics and the same noise; in a
    full-batch run that is the Hessian of the loss. By Lanczos (`largest_eigenvalue`), started at
    the eigenvector of the measurement before plus a random part.
    """

    tables = {
        "sharpness": {
            "step": "training step t",
            "sharpness": "largest eigenvalue of the Hessian (L2 term included); NaN where the "
            "Hessian is not finite",
            "sharpness_scaled": "sharpness times ||w||^2, w the affine maps' weights",
            "iterations": "Hessian-vector products",
            "residual": "relative residual of the eigenpair",
            "converged": "whether the residual is at most the tolerance",
        }
    }
    options: SharpnessOptions

    def __init__(self, options: SharpnessOptions, setting: Setting) -> None:
        super().__init__(options, setting)
        self._eigenvector: Tensor | None = None

    def state(self) -> dict[str, Tensor]:
        """The last eigenvector, ``(parameters,)``."""
        return {} if self._eigenvector is None else {"eigenvector": self._eigenvector}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self._eigenvector = state.get("eigenvector")

    def before_update(self, step: Step) -> Rows:
        there = second_order(self, step)
        shapes = [part.shape for part in there.gradient]

        def hvp(vector: Tensor) -> Tensor:
            parts = torch.split(vector, [shape.numel() for shape in shapes])
            return flat(there.hvp([v.view(s) for v, s in zip(parts, shapes, strict=True)]))

        most = self.options.max_iterations
        start, least = self._start(step, flat(there.gradient)), min(LEAST, most)
        tolerance = self.options.tolerance
        found = largest_eigenvalue(hvp, start, tolerance=tolerance, at_least=least, at_most=most)
        if math.isfinite(found.value):
            self._eigenvector = found.vector
        scaled = found.value * weight_norm(self, step) ** 2
        value, products, residual = found.value, found.products, found.residual
        return self.row(step, value, scaled, products, residual, found.converged)

    def _start(self, step: Step, like: Tensor) -> Tensor:
        """The last eigenvector plus a random part, so that every direction is represented."""
        stream = generator(self.setting.seed, "probes", self.name, step.number, device=like.device)
        new = torch.empty_like(like).normal_(generator=stream)
        if self._eigenvector is None:
            return new
        new *= NEW / new.norm()
        return new + self._eigenvector.to(new)


class Eigenpair(NamedTuple):
    """An estimate of the largest (algebraic) eigenvalue; ``vector`` is of length 1.

    ``residual`` is ||Hv - value v|| / |value|: some eigenvalue lies that close, relatively. It took
    ``products`` Hv. Where one of them is not finite, value and residual are NaN.
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
    span all that ``start``, ``(size,)``, reaches: what is to be found has to have a part in it.
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
        coordinates = torch.zeros_like(basis[:held, 0])
        for _ in range(2):  # the second time takes out what rounding left
            part = basis[:held] @ rest
            rest = rest - part @ basis[:held]
            coordinates += part
        along = coordinates.double().cpu()
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
