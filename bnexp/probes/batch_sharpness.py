"""Batch sharpness: the curvature of a batch's loss along its own gradient, over batches."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bnexp.probes.base import Probe, Rows, Schedule, Step
from bnexp.probes.curvature import along_gradient, finite
from bnexp.registry import PROBES, at_least
from bnexp.seeds import derive


@dataclass(frozen=True)
class BatchSharpnessOptions(Schedule):
    """``batches``: how many are averaged over."""

    batches: int

    def check(self, key: str) -> None:
        super().check(key)
        at_least(f"{key}.batches", self.batches, 1)


@PROBES.register(
    "batch_sharpness", BatchSharpnessOptions, passes=lambda options, _layers: 4.0 * options.batches
)
class BatchSharpness(Probe):
    """Table ``batch_sharpness`` (Andreyev and Beneventano 2024, arXiv 2412.20553).

    g and H are the gradient and the Hessian of the objective at theta_t on a batch of the run's own
    size, with its own statistics; the batches are drawn from a stream of the probe's own. Where the
    run gives no others (full-batch training, a loop of one's own) it is that of the step alone.
    """

    tables = {
        "batch_sharpness": {
            "step": "training step t",
            "batch_sharpness": "mean over batches of g'Hg / ||g||^2; NaN where it is not finite",
            "ratio_of_means": "mean of g'Hg over that of ||g||^2",
            "batches": "how many batches",
        }
    }
    options: BatchSharpnessOptions

    def before_update(self, step: Step) -> Rows:
        model, objective, draw = self.setting.model, self.setting.objective, self.setting.draw
        batches = [(step.inputs, step.targets)]
        if draw is not None:
            seeds = range(self.options.batches)
            batches = [draw(derive(self.setting.seed, self.name, step.number, i)) for i in seeds]
        curvatures, squares = [], []
        for inputs, targets in batches:
            there = model.second_order(objective, inputs, targets, step.params)
            length, along, _ = along_gradient(there)
            curvatures.append(along)
            squares.append(length.double().square())
        curvature, square = torch.stack(curvatures), torch.stack(squares)
        mean, ratio = curvature.mean(), (curvature * square).sum() / square.sum()
        return self.row(step, finite(mean), finite(ratio), len(batches))
