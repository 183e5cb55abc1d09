"""The loss landscape along a direction: losses, gradient predictiveness and effective beta.

Appendix A.2.2, Figs 4, 10, 11, 12, 13; along random directions, section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bnexp.config.schema import expect, one_of
from bnexp.models import Params
from bnexp.objective import norm, norms_of, norms_of_points
from bnexp.probes.base import Options, Probe, Rows, Step, register
from bnexp.seeds import generator


@dataclass(frozen=True)
class LandscapeOptions(Options):
    """``etas`` are multiples of the learning rate; ``direction`` is gradient or random."""

    etas: Any
    direction: str

    def passes(self, layers: int) -> float:  # noqa: ARG002
        return float(len(self.etas))

    def check(self, name: str, layers: int) -> None:
        super().check(name, layers)
        one_of(f"probes.{name}.direction", self.direction, ("gradient", "random"))
        ok = isinstance(self.etas, list) and len(self.etas) > 0
        ok = ok and all(
            type(eta) in (int, float) and math.isfinite(eta) and eta > 0 for eta in self.etas
        )
        ok = ok and len(set(self.etas)) == len(self.etas)
        expected = "a list of different positive multiples of the learning rate"
        expect(ok, f"probes.{name}.etas", expected, self.etas)


@register("landscape", LandscapeOptions)
class Landscape(Probe):
    """Tables ``landscape`` and ``smoothness``.

    At step t with batch B_t, g = grad L(theta_t; B_t) and the direction d (g itself, or a Gaussian
    vector of the same norm), for each eta of the grid, at the point theta_t - eta d, on the same
    batch, with the batch's statistics and the same noise:

    ``landscape``: step, eta, loss = L(theta_t - eta d), predictiveness =
    ||g(theta_t - eta d) - g||_2, beta = predictiveness / ||eta d||_2; and predictiveness_sum and
    beta_sum with the sum over layers of the layers' norms in place of the whole vector's norm.

    ``smoothness``: step, the least and greatest loss and predictiveness over the grid (eta = 0 is
    not in it), lipschitz = max |L(theta_t - eta d) - L(theta_t)| / ||eta d||_2, beta = the
    effective beta-smoothness, max of beta, and beta_eta, the eta where it is reached.

    Where a loss overflows, the gradient there is no number: its predictiveness is infinite.
    """

    options: LandscapeOptions

    def direction(self, step: Step) -> Params:
        """d, by parameter: the gradient, or random of the gradient's norm."""
        if self.options.direction == "gradient":
            return step.grads
        device = next(iter(step.grads.values())).device
        stream = generator(self.setting.seed, "probes", self.name, step.number, device=device)
        noise = {
            name: torch.empty_like(grad).normal_(generator=stream)
            for name, grad in step.grads.items()
        }
        scale = step.grad_norm / norm(noise.values())
        return {name: value * scale for name, value in noise.items()}

    def before_update(self, step: Step) -> Rows:
        model, objective = self.setting.model, self.setting.objective
        direction = self.direction(step)
        length, length_sum = norms_of(model, direction)
        columns: list[Tensor] = []
        etas = [float(multiple) * self.setting.lr for multiple in self.options.etas]
        here_grads = [step.grads[name] for name in step.params]
        for there in objective.passes_along(
            model, step.inputs, step.targets, step.params, direction, etas
        ):
            change = torch._foreach_sub(list(there.grads.values()), here_grads)
            norms = norms_of_points(model, dict(zip(there.grads, change, strict=True)))
            columns.append(torch.stack([there.loss, *norms]))
        values = _infinite(torch.cat(columns, 1)).double().tolist()
        names = ("loss", "predictiveness", "predictiveness_sum")
        found: dict[str, list[float]] = dict(zip(names, values, strict=True))
        here, one, total = (float(value) for value in (step.loss, length, length_sum))
        found["beta"] = _per_distance(found["predictiveness"], etas, one)
        found["beta_sum"] = _per_distance(found["predictiveness_sum"], etas, total)
        changes = [abs(loss - here) for loss in found["loss"]]
        beta = max(found["beta"])
        return {
            "landscape": {
                "step": [step.number] * len(etas),
                "eta": etas,
                **{name: found[name] for name in ("loss", "predictiveness", "beta")},
                **{name: found[name] for name in ("predictiveness_sum", "beta_sum")},
            },
            "smoothness": {
                "step": [step.number],
                "loss_min": [min(found["loss"])],
                "loss_max": [max(found["loss"])],
                "lipschitz": [max(_per_distance(changes, etas, one))],
                "predictiveness_min": [min(found["predictiveness"])],
                "predictiveness_max": [max(found["predictiveness"])],
                "beta": [beta],
                "beta_eta": [etas[found["beta"].index(beta)]],
            },
        }


def _infinite(values: Tensor) -> Tensor:
    """``values``, with an infinity for what is no number (an overflow along the way)."""
    return torch.where(values.isnan(), torch.inf, values)


def _per_distance(values: Sequence[float], etas: Sequence[float], length: float) -> list[float]:
    """Each value over its distance ||eta d||; no number where the direction is zero."""
    if length == 0.0:
        return [math.nan] * len(etas)
    return [value / (eta * length) for value, eta in zip(values, etas, strict=True)]
