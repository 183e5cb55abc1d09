"""The two sides of Theorems 4.1 and 4.2 along training: how much of the smoothing they explain."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bnexp.probes.base import LayerSchedule, Probe, Rows, Step
from bnexp.registry import PROBES
from bnexp.theory import TERMS, Point, inputs_of, layer_terms, real_case


@dataclass(frozen=True)
class TheorySchedule(LayerSchedule):
    """Which layers to measure, and when."""

    def passes(self, layers: int) -> float:
        # from layer i on: the suffix and its gradient twice, and three Hessian-vector products
        numbers = range(1, layers + 1) if self.layers == "all" else self.layers
        return sum((layers - i + 1) / layers for i in numbers) * 8 + 1 / 3


@PROBES.register("theory", TheorySchedule)
class Theory(Probe):
    """Table ``theory``: the terms of 4.1 and 4.2 (``bnexp/theory/check.py``) for each layer.

    A layer with BN, noisy or not, is measured as it is, with its eps, at theta_t on the training
    batch with its statistics and noise. After any other layer a BN layer is put with gamma = sigma,
    beta = mu and eps 0, which changes no activation. L is the data loss: the L2 term does not
    depend on a layer's outputs.

    <1, g_j> is the gradient of beta_j and <g_j, y^_j> that of gamma_j. What 4.1 takes off beyond
    the scale gamma/sigma is their squares over m, so where gamma and beta are trained, it goes to 0
    with their gradients.
    """

    tables = {
        "theory": {
            "step": "training step t",
            "layer": "layer, from 1",
            **{name: f"{name} of layer_terms" for name in TERMS},
        }
    }
    options: LayerSchedule

    def before_update(self, step: Step) -> Rows:
        model = self.setting.model
        numbers = self.options.numbers(model)
        inputs = inputs_of(model, numbers, step.inputs)
        columns: dict[str, list[Tensor]] = {name: [] for name in TERMS}
        for number in numbers:
            case = real_case(
                model,
                self.setting.objective,
                number,
                inputs[number],
                step.inputs,
                step.targets,
                own_eps=True,
            )
            for name, value in layer_terms(Point(case)).items():
                columns[name].append(value)
        return {
            "theory": {
                "step": [step.number] * len(numbers),
                "layer": numbers,
                **columns,
            }
        }
