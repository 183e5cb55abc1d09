"""Curvature along the gradient: what the effective beta tends to as eta -> 0."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from bnexp.objective import SecondOrder, norm
from bnexp.probes.base import Probe, Rows, Schedule, Step
from bnexp.registry import PROBES


@PROBES.register("curvature", Schedule, passes=lambda _options, _layers: 4.0)
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
        there = second_order(self, step)
        length, along, hvp = along_gradient(there)
        curvature, beta = finite(along), finite(norm(hvp))
        if float(length) == 0.0:
            curvature = beta = math.nan
        w, size = weight_norm(self, step), float(norm(p.detach() for p in step.params.values()))
        return self.row(step, curvature, beta, w, size, curvature * w**2, beta * w**2)


def along_gradient(there: SecondOrder) -> tuple[Tensor, Tensor, list[Tensor]]:
    """||g||, u'Hu and Hu for u = g / ||g||, so that nothing is squared that could overflow."""
    length = norm(there.gradient)
    unit = list(torch._foreach_div(there.gradient, length))
    hvp = there.hvp(unit)
    return length, flat(unit).double() @ flat(hvp).double(), hvp


def second_order(probe: Probe, step: Step) -> SecondOrder:
    """The objective, its gradient and its Hessian at theta_t on the batch of the step."""
    model, objective = probe.setting.model, probe.setting.objective
    return model.second_order(objective, step.inputs, step.targets, step.params)


def flat(parts: Iterable[Tensor]) -> Tensor:
    """``parts`` as one vector."""
    return torch.cat([part.reshape(-1) for part in parts])


def weight_norm(probe: Probe, step: Step) -> float:
    """||w|| of the affine maps' weights W_1, .., W_k as one vector."""
    return float(norm(step.params[name].detach() for name in probe.setting.model.weight_names()))


def finite(value: Tensor) -> float:
    """``value`` as a float; NaN where it overflowed."""
    number = float(value)
    return number if math.isfinite(number) else math.nan
