"""Loss and accuracy of each training step on its own batch (Figs 1a, 2, 3, 5, 12a, 13a)."""

from __future__ import annotations

from bnexp.objective import accuracy
from bnexp.probes.base import Options, Probe, Rows, Step, register


@register("train", Options)
class Train(Probe):
    """Table ``train``: step, loss, data_loss, accuracy, grad_norm.

    ``loss`` is the whole objective, ``data_loss`` leaves its L2 term out, ``accuracy`` is that of
    the single training batch (a fraction; NaN for regression), ``grad_norm`` the 2-norm of the
    objective's gradient. All at theta_t, before the update.
    """

    passive = True

    def before_update(self, step: Step) -> Rows:
        return {
            "train": {
                "step": [step.number],
                "loss": [step.loss],
                "data_loss": [step.data_loss],
                "accuracy": [accuracy(step.outputs, step.targets)],
                "grad_norm": [step.grad_norm],
            }
        }
