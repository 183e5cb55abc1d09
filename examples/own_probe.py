"""A probe of your own: it declares its table and says what it measures; it leaves no trace either.

python examples/own_probe.py; in runs of the suite: bnexp train plugins=[own_probe]
+probes.cosine_of_step.every=100 +probes.cosine_of_step.dense=0 (in this folder)
"""

import torch
from torch import nn
from torch.nn import functional as F

from bnexp import measure
from bnexp.probes import Probe, Rows, Schedule, Step
from bnexp.registry import PROBES


@PROBES.register("cosine_of_step", Schedule)
class CosineOfStep(Probe):
    """Does the update go along the negative gradient? And is the gradient still so after it?"""

    tables = {
        "cosine_of_step": {
            "step": "training step t",
            "update": "cosine of theta_{t+1} - theta_t and -g(theta_t)",
            "gradient": "cosine of g(theta_{t+1}) and g(theta_t), on the same batch",
        }
    }
    wants_update = True

    def after_update(self, step: Step) -> Rows:
        model, new = self.setting.model, step.new_params
        there = model.evaluate(self.setting.objective, step.inputs, step.targets, params=new)
        g, there, update = (
            torch.cat([values[name].flatten() for name in step.grads])
            for values in (
                step.grads,
                there.grads,
                {name: new[name] - step.params[name] for name in step.grads},
            )
        )
        update, gradient = (F.cosine_similarity(v, g, dim=0) for v in (-update, there))
        return self.row(step, float(update), float(gradient))


if __name__ == "__main__":
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 3))
    batch = torch.randn(32, 5), torch.randint(0, 3, (32,))
    for lr in (0.01, 1.0):
        tables = measure(model, F.cross_entropy, batch, ("cosine_of_step", "curvature"), lr=lr)
        print(lr, tables["cosine_of_step"].to_dict("records"))
