"""The two sides of Theorems 4.1 and 4.2 along training: how much of the smoothing they explain."""

from __future__ import annotations

from bnexp.probes.base import LayerProbe, LayerSchedule, Rows, Step
from bnexp.registry import PROBES
from bnexp.theory import TERMS, Point, inputs_of, layer_terms, real_case


@PROBES.register("theory", LayerSchedule, passes=lambda o, layers: o.suffixes(layers) * 8)
class Theory(LayerProbe):
    """Table ``theory``: the terms of 4.1 and 4.2 (``bnexp/theory/check.py``) for each layer.

    A layer with BN, noisy or not, is measured as it is, with its eps, at theta_t on the training
    batch with its statistics and noise. After any other layer a BN layer is put with gamma = sigma,
    beta = mu and eps 0, which changes no activation. L is the data loss: the L2 term does not
    depend on a layer's outputs. What 4.1 takes off beyond the scale gamma/sigma is the squared
    gradients of gamma and beta over m, so it goes to 0 with them where they are trained.
    """

    tables = {
        "theory": {
            "step": "training step t",
            "layer": "layer, from 1",
            **{name: f"{name} of layer_terms" for name in TERMS},
        }
    }

    def before_update(self, step: Step) -> Rows:
        model, objective = self.setting.model, self.setting.objective
        inputs = inputs_of(model, self.numbers, step.inputs)
        terms = []
        for i in self.numbers:
            batch = inputs[i], step.inputs, step.targets
            case = real_case(model, objective, i, *batch, own_eps=True)
            terms.append(layer_terms(Point(case)))
        return self.rows(step, self.numbers, *([each[name] for each in terms] for name in TERMS))
