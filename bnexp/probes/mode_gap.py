"""The gap between training and test mode: what running statistics change on the same batch."""

from __future__ import annotations

import torch

from bnexp.objective import accuracy
from bnexp.probes.base import Probe, Rows, Schedule, Step
from bnexp.registry import PROBES


@PROBES.register("mode_gap", Schedule, passes=lambda _options, _layers: 1 / 3)
class ModeGap(Probe):
    """Table ``mode_gap``: the batch of step t at theta_t, in test mode beside training mode.

    In test mode batch normalisation uses its running statistics, and there is no noise or dropout;
    a network without any of these has no gap.
    """

    tables = {
        "mode_gap": {
            "step": "training step t",
            "train_mode": "the data loss on the batch, in training mode",
            "test_mode": "the same in test mode",
            "accuracy": "fraction of the batch that is classified right in test mode",
        }
    }

    def before_update(self, step: Step) -> Rows:
        self.setting.model.eval()
        with torch.no_grad():
            outputs = self.setting.model.outputs(step.inputs)
        loss = self.setting.objective.data(outputs, step.targets)
        return self.row(step, step.data_loss, loss, accuracy(outputs, step.targets))
