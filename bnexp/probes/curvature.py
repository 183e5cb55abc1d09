"""Curvature along the gradient: what the effective beta tends to as eta -> 0."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bnexp.objective import norm
from bnexp.probes.base import Options, Probe, Rows, Step, register


@dataclass(frozen=True)
class CurvatureOptions(Options):
    """When to measure."""

    def passes(self, layers: int) -> float:  # noqa: ARG002
        return 4.0  # forward, gradient with its graph, and that graph's own backward pass


@register("curvature", CurvatureOptions)
class Curvature(Probe):
    """Table ``curvature``: step, curvature, beta_0, weight_norm, param_norm, curvature_scaled,
    beta_0_scaled.

    With g and H the gradient and the Hessian of the objective (L2 term included) at theta_t on the
    batch of step t, with the batch's statistics and the same noise:

    ``curvature`` = g'Hg / ||g||^2, signed: that of the loss along g. ``beta_0`` = ||Hg|| / ||g||:
    the limit of table ``landscape``'s beta along the gradient as eta -> 0, never below
    |curvature|, and equal to it where g is an eigenvector of H.

    ``weight_norm`` = ||w|| of the affine maps' weights W_1, .., W_k; ``param_norm`` that of all
    parameters. A normalised network computes the same with c times the weights, but its curvature
    is 1/c^2 of what it was; so ``curvature_scaled`` and ``beta_0_scaled`` are the two times
    ||w||^2, their values per distance relative to ||w||.

    Where g is zero or a product overflows, there is no number.
    """

    def before_update(self, step: Step) -> Rows:
        setting = self.setting
        there = setting.objective.second_order(
            setting.model, step.inputs, step.targets, step.params
        )
        # along the unit vector, so nothing is squared that could overflow
        length = norm(there.gradient)
        unit = [part / length for part in there.gradient]
        bent = there.times(unit)
        curvature, beta = finite(dot(unit, bent)), finite(norm(bent))
        if float(length) == 0.0:
            curvature = beta = math.nan
        weights = weight_norm(step)
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


def weight_norm(step: Step) -> float:
    """||w|| of the affine maps' weights W_1, .., W_k as one vector."""
    return float(norm(p.detach() for n, p in step.params.items() if n.endswith(".affine.weight")))


def dot(one: list[Tensor], other: list[Tensor]) -> Tensor:
    """<one, other> of two lists of tensors taken as vectors; a scalar, summed in float64."""
    parts = [(a.double() * b.double()).sum() for a, b in zip(one, other, strict=True)]
    return torch.stack(parts).sum()


def finite(value: Tensor) -> float:
    """``value`` as a number; no number where it overflowed."""
    number = float(value)
    return number if math.isfinite(number) else math.nan
