"""Loss and accuracy on the test split, with running statistics and without noise (Fig 1b)."""

from __future__ import annotations

import torch

from bnexp.objective import accuracy
from bnexp.probes.base import Probe, Rows, Schedule, Step
from bnexp.registry import PROBES


@PROBES.register("eval", Schedule)
class Eval(Probe):
    """Table ``eval``: at theta_t, in evaluation mode, over the whole split.

    The running statistics are those at the end of step t's forward pass. No rows where the data
    have no test split.
    """

    tables = {
        "eval": {
            "step": "training step t",
            "split": "the split that is evaluated: test",
            "loss": "the data loss over the split (a mean for cross-entropy)",
            "accuracy": "fraction of the split that is classified right; NaN for regression",
        }
    }

    def due(self, step: int) -> bool:
        """On the schedule, and at the last step, so that a run always has its result."""
        return super().due(step) or step == self.setting.steps

    def before_update(self, step: Step) -> Rows:
        model, objective = self.setting.model, self.setting.objective
        model.eval()
        with torch.no_grad():
            parts = [(model.outputs(x), y) for x, y in self.setting.evaluation("test")]
        if not parts:
            return {}
        outputs, targets = (torch.cat(column) for column in zip(*parts, strict=True))
        return {
            "eval": {
                "step": [step.number],
                "split": ["test"],
                "loss": [float(objective.data(outputs, targets))],
                "accuracy": [float(accuracy(outputs, targets))],
            }
        }
