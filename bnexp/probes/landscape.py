"""The loss landscape along a direction: losses, gradient predictiveness and effective beta.

Appendix A.2.2, Figs 4, 10, 11, 12, 13; along random directions, section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bnexp.objective import Params, norm, norms
from bnexp.probes.base import Probe, Rows, Schedule, Step
from bnexp.registry import PROBES, expect, one_of
from bnexp.seeds import generator


@dataclass(frozen=True)
class LandscapeOptions(Schedule):
    """``etas`` are multiples of the learning rate; ``direction`` is gradient or random."""

    etas: Any
    direction: str

    def check(self, key: str) -> None:
        super().check(key)
        one_of(f"{key}.direction", self.direction, ("gradient", "random"))
        etas = self.etas if isinstance(self.etas, list) else []
        ok = all(type(eta) in (int, float) and 0 < eta < math.inf for eta in etas)
        ok = ok and 0 < len(etas) == len(set(etas))
        expected = "a list of different positive multiples of the learning rate"
        expect(ok, f"{key}.etas", expected, self.etas)


@PROBES.register("landscape", LandscapeOptions, passes=lambda options, _: len(options.etas))
class Landscape(Probe):
    """Tables ``landscape`` and ``smoothness``.

    At step t with batch B_t, g = grad L(theta_t; B_t) and the direction d (g itself, or a Gaussian
    vector of the same norm), for each eta of the grid, at the point theta_t - eta d, on the same
    batch, with the batch's statistics and the same noise. eta = 0 is not in the grid. Where a loss
    overflows, the gradient there is NaN: its predictiveness is infinite.
    """

    tables = {
        "landscape": {
            "step": "training step t",
            "eta": "step size eta: the point is theta_t - eta d",
            "loss": "L(theta_t - eta d)",
            "predictiveness": "||g(theta_t - eta d) - g||_2, of the whole vector",
            "beta": "predictiveness / ||eta d||_2; NaN where d is zero",
            "predictiveness_tensors": "as predictiveness, the 2-norms of the parameter tensors "
            "(W, gamma, beta, each on its own) summed",
            "beta_tensors": "predictiveness_tensors over the like sum of eta d",
        },
        "smoothness": {
            "step": "training step t",
            "loss_min": "least loss over the grid",
            "loss_max": "greatest loss over the grid",
            "lipschitz": "max over eta of |L(theta_t - eta d) - L(theta_t)| / ||eta d||_2",
            "predictiveness_min": "least predictiveness over the grid",
            "predictiveness_max": "greatest predictiveness over the grid",
            "beta": "effective beta-smoothness: max over eta of beta",
            "beta_eta": "the eta where it is reached",
        },
    }
    options: LandscapeOptions

    def direction(self, step: Step) -> Params:
        """d, by parameter: the gradient, or random of the gradient's norm."""
        if self.options.direction == "gradient":
            return step.grads
        device = step.grad_norm.device
        stream = generator(self.setting.seed, "probes", self.name, step.number, device=device)
        noise = {
            name: torch.empty_like(grad).normal_(generator=stream)
            for name, grad in step.grads.items()
        }
        scale = step.grad_norm / norm(noise.values())
        return {name: value * scale for name, value in noise.items()}

    def before_update(self, step: Step) -> Rows:
        model, objective = self.setting.model, self.setting.objective
        if step.lr == 0.0:  # the start of a warm-up: no step sizes
            return {}
        etas = [float(multiple) * step.lr for multiple in self.options.etas]
        direction = self.direction(step)
        found = model.along(
            objective, step.inputs, step.targets, step.params, step.grads, direction, etas
        )
        found = torch.where(found.isnan(), torch.inf, found)  # an overflow along the way
        losses, whole, tensors = found.double().tolist()
        length, length_tensors = norms(direction.values()).tolist()
        beta = _per_distance(whole, etas, length)
        changes = [abs(there - float(step.loss)) for there in losses]
        return {
            "landscape": {
                "step": [step.number] * len(etas),
                "eta": etas,
                "loss": losses,
                "predictiveness": whole,
                "beta": beta,
                "predictiveness_tensors": tensors,
                "beta_tensors": _per_distance(tensors, etas, length_tensors),
            },
            "smoothness": {
                "step": [step.number],
                "loss_min": [min(losses)],
                "loss_max": [max(losses)],
                "lipschitz": [max(_per_distance(changes, etas, length))],
                "predictiveness_min": [min(whole)],
                "predictiveness_max": [max(whole)],
                "beta": [max(beta)],
                "beta_eta": [etas[beta.index(max(beta))]],
            },
        }


def _per_distance(values: Sequence[float], etas: Sequence[float], length: float) -> list[float]:
    """Each value over its distance ||eta d||; NaN where the direction is zero."""
    if length == 0.0:
        return [math.nan] * len(etas)
    return [value / (eta * length) for value, eta in zip(values, etas, strict=True)]
