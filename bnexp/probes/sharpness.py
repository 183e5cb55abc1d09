"""Sharpness: the largest eigenvalue of the Hessian, which gradient descent drives to 2/lr."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from bnexp.models.network import HessianPoint
from bnexp.probes.base import Probe, Rows, Schedule, Setting, Step
from bnexp.probes.curvature import weight_norm
from bnexp.probes.lanczos import largest_eigenvalue
from bnexp.registry import PROBES, at_least, positive
from bnexp.seeds import generator

NEW = 0.1
"""The random part of a warm start, relative to the last eigenvector."""

LEAST = 12
"""Products at least: a start near an eigenvector has a small residual before it meets others."""


@dataclass(frozen=True)
class SharpnessOptions(Schedule):
    """``tolerance``: the relative residual to stop at; ``max_iterations``: or after so many."""

    tolerance: float
    max_iterations: int

    def passes(self, layers: int) -> float:  # noqa: ARG002
        return 4.0 + 2.0 * min(self.max_iterations, LEAST + 1)

    def check(self, key: str) -> None:
        super().check(key)
        positive(f"{key}.tolerance", self.tolerance)
        at_least(f"{key}.max_iterations", self.max_iterations, 1)


@PROBES.register("sharpness", SharpnessOptions)
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

    def __init__(self, options: Schedule, setting: Setting) -> None:
        super().__init__(options, setting)
        self._eigenvector: Tensor | None = None

    def state(self) -> dict[str, Tensor]:
        """The last eigenvector, ``(parameters,)``."""
        return {} if self._eigenvector is None else {"eigenvector": self._eigenvector}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self._eigenvector = state.get("eigenvector")

    def before_update(self, step: Step) -> Rows:
        setting = self.setting
        model = setting.model
        there = model.second_order(setting.objective, step.inputs, step.targets, step.params)
        pair = largest_eigenvalue(
            lambda v: _hvp(there, v),
            self._start(step, there),
            tolerance=self.options.tolerance,
            at_least=min(LEAST, self.options.max_iterations),
            at_most=self.options.max_iterations,
        )
        if math.isfinite(pair.value):
            self._eigenvector = pair.vector
        return {
            "sharpness": {
                "step": [step.number],
                "sharpness": [pair.value],
                "sharpness_scaled": [pair.value * weight_norm(model, step) ** 2],
                "iterations": [pair.products],
                "residual": [pair.residual],
                "converged": [pair.converged],
            }
        }

    def _start(self, step: Step, there: HessianPoint) -> Tensor:
        """The last eigenvector plus a random part, so that every direction is represented."""
        flat = _flat(there.gradient)
        stream = generator(self.setting.seed, "probes", self.name, step.number, device=flat.device)
        new = torch.empty_like(flat).normal_(generator=stream)
        if self._eigenvector is None:
            return new
        new *= NEW / new.norm()
        return new + self._eigenvector.to(new)


def _flat(parts: list[Tensor]) -> Tensor:
    """``parts`` as one vector."""
    return torch.cat([part.reshape(-1) for part in parts])


def _hvp(there: HessianPoint, vector: Tensor) -> Tensor:
    """H v of a vector that `_flat` could have made."""
    shapes = [part.shape for part in there.gradient]
    pieces = torch.split(vector, [shape.numel() for shape in shapes])
    return _flat(there.hvp([v.view(shape) for v, shape in zip(pieces, shapes, strict=True)]))
