"""Loss and accuracy of each training step on its own batch (Figs 1a, 2, 3, 5, 12a, 13a)."""

from __future__ import annotations

from bnexp.probes.base import Probe, Rows, Schedule, Step
from bnexp.registry import PROBES


@PROBES.register("train", Schedule)
class Train(Probe):
    """Table ``train``: all at theta_t, before the update."""

    tables = {
        "train": {
            "step": "training step t",
            "loss": "the objective, L2 term included, on the batch of step t",
            "data_loss": "the objective without its L2 term",
            "accuracy": "fraction of the batch that is classified right; NaN for regression",
            "grad_norm": "2-norm of the objective's gradient",
            "lr": "learning rate of the update that follows",
        }
    }
    passive = True

    def before_update(self, step: Step) -> Rows:
        return {
            "train": {
                "step": [step.number],
                "loss": [step.loss],
                "data_loss": [step.data_loss],
                "accuracy": [step.accuracy],
                "grad_norm": [step.grad_norm],
                "lr": [step.lr],
            }
        }
