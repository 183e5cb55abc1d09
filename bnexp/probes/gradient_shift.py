"""Internal covariate shift as the paper defines it: Definition 2.1 (Fig 3)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bnexp.probes.base import LayerSchedule, Probe, Rows, Step
from bnexp.registry import PROBES


@dataclass(frozen=True)
class GradientShiftSchedule(LayerSchedule):
    """Which layers to measure, and when."""

    def passes(self, layers: int) -> float:
        # from layer i on, the suffix forward and two thirds of its backward
        numbers = range(1, layers + 1) if self.layers == "all" else self.layers
        return sum((layers - i + 1) / layers for i in numbers if i > 1) * 2 / 3 + 1 / 3


@PROBES.register("gradient_shift", GradientShiftSchedule)
class GradientShift(Probe):
    """Table ``gradient_shift``, for layer i on the batch of step t with the same noise:

    G = grad_{W_i} L(W_1, .., W_k) at theta_t, and G' = grad_{W_i} L(W_1', .., W_{i-1}', W_i, ..,
    W_k), where ' is after the update. W_i is the affine map's weight; all parameters of the
    preceding layers move, gamma, beta and bias included. Layer 1 has none before it: exactly 0 and
    1.
    """

    tables = {
        "gradient_shift": {
            "step": "training step t",
            "layer": "layer i, from 1",
            "l2": "||G - G'||_2",
            "cos": "<G, G'> / (||G|| ||G'||); NaN where one of them is zero",
            "grad_norm": "||G||_2",
        }
    }
    options: LayerSchedule
    wants_update = True

    def after_update(self, step: Step) -> Rows:
        model = self.setting.model
        numbers = self.options.numbers(model)
        assert step.new_params is not None
        after = {1: step.grads[model.weight_name(1)]}
        if later := [number for number in numbers if number > 1]:
            after |= model.mixed_gradients(
                self.setting.objective, step.inputs, step.targets, step.params, step.new_params,
                later,
            )  # fmt: skip
        columns: dict[str, list[Tensor]] = {"l2": [], "cos": [], "grad_norm": []}
        for number in numbers:
            old, new = step.grads[model.weight_name(number)].double(), after[number].double()
            columns["l2"].append((old - new).norm())
            columns["cos"].append(_cosine(old, new) if number > 1 else old.new_ones(()))
            columns["grad_norm"].append(old.norm())
        return {
            "gradient_shift": {
                "step": [step.number] * len(numbers),
                "layer": numbers,
                **columns,
            }
        }


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """<a, b> / (||a|| ||b||); NaN where one of them is zero."""
    cosine: Tensor = ((a / a.norm()) * (b / b.norm())).sum()
    return cosine.clamp(-1.0, 1.0)
