"""Loss and accuracy on the test split, with running statistics and without noise (Fig 1b)."""

from __future__ import annotations

import torch

from bnexp.objective import accuracy
from bnexp.probes.base import Options, Probe, Rows, Step, register


@register("eval", Options)
class Eval(Probe):
    """Table ``eval``: step, split, loss, accuracy.

    ``loss`` is the mean data loss over the split, ``accuracy`` a fraction, both at theta_t in
    evaluation mode. No rows where the data has no test split.
    """

    def before_update(self, step: Step) -> Rows:
        model, objective = self.setting.model, self.setting.objective
        model.eval()
        loss = correct = count = 0.0
        with torch.no_grad():
            for inputs, targets in self.setting.evaluation("test"):
                outputs = model(inputs)
                loss += float(objective.data(outputs, targets)) * len(targets)
                correct += float(accuracy(outputs, targets)) * len(targets)
                count += len(targets)
        if count == 0:
            return {}
        return {
            "eval": {
                "step": [step.number],
                "split": ["test"],
                "loss": [loss / count],
                "accuracy": [correct / count],
            }
        }
