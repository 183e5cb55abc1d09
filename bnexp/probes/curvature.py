"""Curvature along the gradient: what the effective beta tends to as eta -> 0."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bnexp.models import Network
from bnexp.objective import norm
from bnexp.probes.base import Probe, Rows, Schedule, Step
from bnexp.registry import PROBES


@dataclass(frozen=True)
class CurvatureSchedule(Schedule):
    """When to measure."""

    def passes(self, layers: int) -> float:  # noqa: ARG002
        return 4.0  # forward, gradient with its graph, and that graph's own backward pass


@PROBES.register("curvature", CurvatureSchedule)
class Curvature(Probe):
    """Table ``curvature``.

    g and H are the gradient and the Hessian of the objective (L2 term included) at theta_t on the
    batch of step t, with the batch's statistics and the same noise. A normalised network computes
    the same with c times the weights, but its curvature is 1/c^2 of what it was; hence the scaled
    columns, which are per distance relative to ||w||. NaN where g is zero or a product overflows.
    """

    tables = {
        "curvature": {
            "step": "training step t",
            "curvature": "g'Hg / ||g||^2, signed",
            "beta_0": "||Hg|| / ||g||: the limit of beta along the gradient as eta -> 0",
            "weight_norm": "||w|| of the affine maps' weights W_1, .., W_k",
            "param_norm": "2-norm of all parameters",
            "curvature_scaled": "curvature times ||w||^2",
            "beta_0_scaled": "beta_0 times ||w||^2",
        }
    }

    def before_update(self, step: Step) -> Rows:
        setting = self.setting
        model = setting.model
        there = model.second_order(setting.objective, step.inputs, step.targets, step.params)
        # along the unit vector, so nothing is squared that could overflow
        length = norm(there.gradient)
        unit = [part / length for part in there.gradient]
        hvp = there.hvp(unit)
        curvature, beta = finite(dot(unit, hvp)), finite(norm(hvp))
        if float(length) == 0.0:
            curvature = beta = math.nan
        weights = weight_norm(model, step)
        return {
            "curvature": {
                "step": [step.number],
                "curvature": [curvature],
                "beta_0": [beta],
                "weight_norm": [weights],
                "param_norm": [float(norm(p.detach() for p in step.params.values()))],
                "curvature_scaled": [curvature * weights**2],
                "beta_0_scaled": [beta * weights**2],
            }
        }


def weight_norm(model: Network, step: Step) -> float:
    """||w|| of the affine maps' weights W_1, .., W_k as one vector."""
    return float(norm(step.params[name].detach() for name in model.weight_names()))


def dot(a: list[Tensor], b: list[Tensor]) -> Tensor:
    """<a, b> of two lists of tensors taken as vectors; a scalar, summed in float64."""
    parts = [(x.double() * y.double()).sum() for x, y in zip(a, b, strict=True)]
    return torch.stack(parts).sum()


def finite(value: Tensor) -> float:
    """``value`` as a float; NaN where it overflowed."""
    number = float(value)
    return number if math.isfinite(number) else math.nan
