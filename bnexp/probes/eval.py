"""Loss and accuracy: of each step on its own batch (Figs 1a, 2, 3, 5, 12a, 13a); on the test split,
with running statistics and without noise (Fig 1b)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from bnexp.objective import accuracy
from bnexp.probes.base import Probe, Rows, Schedule, Step
from bnexp.registry import PROBES, expect


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
        accuracy, size = step.accuracy, step.grad_norm
        return self.row(step, step.loss, step.data_loss, accuracy, size, step.lr)


@dataclass(frozen=True)
class EvalOptions(Schedule):
    """``splits``: which are evaluated, of test and train."""

    splits: Any = field(default_factory=lambda: ["test"])

    def check(self, key: str) -> None:
        super().check(key)
        ok = self.splits in (["test"], ["train"], ["test", "train"], ["train", "test"])
        expect(ok, f"{key}.splits", "a list of test, train or both", self.splits)


@PROBES.register("eval", EvalOptions)
class Eval(Probe):
    """Table ``eval``: at theta_t, in evaluation mode, over the whole split.

    The running statistics are those at the end of step t's forward pass. No rows of a split that
    the data do not have.
    """

    tables = {
        "eval": {
            "step": "training step t",
            "split": "the split that is evaluated: test or train",
            "loss": "the data loss over the split (a mean for cross-entropy)",
            "accuracy": "fraction of the split that is classified right; NaN for regression",
        }
    }
    options: EvalOptions

    def due(self, step: int) -> bool:
        """On the schedule, and at the last step, so that a run always has its result."""
        return super().due(step) or step == self.setting.steps

    def before_update(self, step: Step) -> Rows:
        model, objective = self.setting.model, self.setting.objective
        model.eval()
        found = []
        for split in self.options.splits:
            with torch.no_grad():
                parts = [(model.outputs(x), y) for x, y in self.setting.evaluation(split)]
            if parts:
                outputs, targets = (torch.cat(column) for column in zip(*parts, strict=True))
                loss = float(objective.data(outputs, targets))
                found.append((split, loss, float(accuracy(outputs, targets))))
        return self.rows(step, *map(list, zip(*found, strict=True))) if found else {}
