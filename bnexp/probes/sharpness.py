"""Sharpness: the largest eigenvalue of the Hessian, which gradient descent drives to 2/lr."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from bnexp.config.schema import at_least, positive
from bnexp.objective import SecondOrder
from bnexp.probes.base import Options, Probe, Rows, Setting, Step, register
from bnexp.probes.curvature import weight_norm
from bnexp.probes.lanczos import largest_eigenvalue
from bnexp.seeds import generator

NEW = 0.1
"""The random part of a warm start, relative to the eigenvector before."""

LEAST = 12
"""Products at least: a start near an eigenvector has a small residual before it meets others."""


@dataclass(frozen=True)
class SharpnessOptions(Options):
    """``tolerance``: the relative residual to stop at; ``max_iterations``: or after so many."""

    tolerance: float
    max_iterations: int

    def passes(self, layers: int) -> float:  # noqa: ARG002
        return 4.0 + 2.0 * min(self.max_iterations, LEAST + 1)

    def check(self, name: str, layers: int) -> None:
        super().check(name, layers)
        positive(f"probes.{name}.tolerance", self.tolerance)
        at_least(f"probes.{name}.max_iterations", self.max_iterations, 1)


@register("sharpness", SharpnessOptions)
class Sharpness(Probe):
    """Table ``sharpness``: step, sharpness, sharpness_scaled, iterations, residual, converged.

    ``sharpness`` is the largest (algebraic) eigenvalue of the Hessian of the objective (L2 term
    included) at theta_t on the batch of step t, with the batch's statistics and the same noise. In
    a full-batch run that is the Hessian of the loss. ``sharpness_scaled`` is sharpness times
    ||w||^2, w the affine maps' weights (see `Curvature`).

    By Lanczos (`largest_eigenvalue`): ``iterations`` Hessian-vector products, down to the relative
    ``residual``; ``converged`` says whether that is the tolerance. It starts at the eigenvector
    found the time before plus a random part. Where the Hessian is not finite, ``sharpness`` and
    ``residual`` are no numbers and it has not converged.
    """

    options: SharpnessOptions

    def __init__(self, options: Options, setting: Setting) -> None:
        super().__init__(options, setting)
        self._before: Tensor | None = None

    def state(self) -> dict[str, Tensor]:
        """The eigenvector found last, ``(parameters,)``."""
        return {} if self._before is None else {"eigenvector": self._before}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self._before = state.get("eigenvector")

    def before_update(self, step: Step) -> Rows:
        setting = self.setting
        there = setting.objective.second_order(
            setting.model, step.inputs, step.targets, step.params
        )
        found = largest_eigenvalue(
            lambda v: _times(there, v),
            self._start(step, there),
            tolerance=self.options.tolerance,
            at_least=min(LEAST, self.options.max_iterations),
            at_most=self.options.max_iterations,
        )
        if math.isfinite(found.value):
            self._before = found.vector
        return {
            "sharpness": {
                "step": [step.number],
                "sharpness": [found.value],
                "sharpness_scaled": [found.value * weight_norm(step) ** 2],
                "iterations": [found.products],
                "residual": [found.residual],
                "converged": [found.converged],
            }
        }

    def _start(self, step: Step, there: SecondOrder) -> Tensor:
        """Where to start from: the eigenvector before, and something new in every direction."""
        flat = _flat(there.gradient)
        stream = generator(self.setting.seed, "probes", self.name, step.number, device=flat.device)
        new = torch.empty_like(flat).normal_(generator=stream)
        if self._before is None:
            return new
        new *= NEW / new.norm()
        return new + self._before.to(new)


def _flat(parts: list[Tensor]) -> Tensor:
    """``parts`` as one vector."""
    return torch.cat([part.reshape(-1) for part in parts])


def _times(there: SecondOrder, vector: Tensor) -> Tensor:
    """H v of a vector that `_flat` could have made."""
    shapes = [part.shape for part in there.gradient]
    pieces = torch.split(vector, [shape.numel() for shape in shapes])
    return _flat(there.times([v.view(shape) for v, shape in zip(pieces, shapes, strict=True)]))
