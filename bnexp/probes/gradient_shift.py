"""Internal covariate shift as the paper defines it: Definition 2.1 (Fig 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from bnexp.probes.base import LayerProbe, LayerSchedule, Rows, Step
from bnexp.registry import PROBES


@PROBES.register("gradient_shift", LayerSchedule, passes=lambda o, k: o.suffixes(k) * 2 / 3)
class GradientShift(LayerProbe):
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
    wants_update = True

    def after_update(self, step: Step) -> Rows:
        model, objective, numbers = self.setting.model, self.setting.objective, self.numbers
        assert step.new_params is not None
        new = {1: step.grads[model.weight_name(1)]}
        if later := [number for number in numbers if number > 1]:
            points = step.params, step.new_params
            new |= model.mixed_gradients(objective, step.inputs, step.targets, *points, later)
        pairs = [(step.grads[model.weight_name(i)].double(), new[i].double()) for i in numbers]
        cosines = [_cosine(*pair) for pair in pairs]
        if 1 in numbers:
            cosines[0] = torch.ones_like(cosines[0])
        sizes = [old.norm() for old, _ in pairs]
        return self.rows(step, numbers, [(old - new).norm() for old, new in pairs], cosines, sizes)


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """<a, b> / (||a|| ||b||); NaN where one of them is zero."""
    cosine: Tensor = ((a / a.norm()) * (b / b.norm())).sum()
    return cosine.clamp(-1.0, 1.0)
