"""Internal covariate shift as the paper defines it: Definition 2.1 (Fig 3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bnexp.probes.base import LayerOptions, Probe, Rows, Step, as_lists, register


@dataclass(frozen=True)
class GradientShiftOptions(LayerOptions):
    """Which layers to measure, and when."""

    def passes(self, layers: int) -> float:
        # from layer i on, the suffix forward and two thirds of its backward
        numbers = range(1, layers + 1) if self.layers == "all" else self.layers
        return sum((layers - i + 1) / layers for i in numbers if i > 1) * 2 / 3 + 1 / 3


@register("gradient_shift", GradientShiftOptions)
class GradientShift(Probe):
    """Table ``gradient_shift``: step, layer, l2, cos, grad_norm.

    For layer i and the batch of step t: G = grad_{W_i} L(W_1, .., W_k) at theta_t, and
    G' = grad_{W_i} L(W_1', .., W_{i-1}', W_i, .., W_k), where ' is after the update, on the same
    batch with the same noise. l2 = ||G - G'||_2, cos = <G, G'> / (||G|| ||G'||), grad_norm =
    ||G||_2. W_i is the affine map's weight; all parameters of the preceding layers move, gamma,
    beta and bias included. Layer 1 has none before it: exactly 0 and 1.

    The new prefix is run once, layer by layer; from each measured layer on the old suffix is run
    on what reaches it, and only W_i's gradient is taken.
    """

    options: GradientShiftOptions
    wants_update = True

    def after_update(self, step: Step) -> Rows:
        model, objective = self.setting.model, self.setting.objective
        numbers = self.options.numbers(model)
        after = {1: step.grads[model.weight_name(1)]}
        if numbers != [1]:
            hidden = self._hidden(step, numbers)
            after |= objective.weight_grads(model, hidden, step.targets, step.params)
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
                **as_lists(columns),
            }
        }

    def _hidden(self, step: Step, numbers: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
        """What reaches each of ``numbers`` but layer 1 through the new parameters before it."""
        assert step.new_params is not None
        x = step.inputs
        for number in range(1, numbers[-1] + 1):
            if number > 1 and number in numbers:
                yield number, x
            if number < numbers[-1]:
                with torch.no_grad():
                    x = self.setting.model.run_layer(number, x, step.new_params)


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """<a, b> / (||a|| ||b||); no number where one of them is zero."""
    cosine: Tensor = ((a / a.norm()) * (b / b.norm())).sum()
    return cosine.clamp(-1.0, 1.0)
