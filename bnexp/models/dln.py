"""The deep linear network of the paper (Appendix A.1): k square linear layers, no non-linearity."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from bnexp.models.base import MakeNorm, ModelOptions, Task
from bnexp.models.network import Chain, Stage
from bnexp.registry import MODELS, at_least, expect, one_of

LOSSES = ("sum_squares", "half_sum_squares", "mean_squares")


@dataclass(frozen=True)
class DlnOptions(ModelOptions):
    """``k`` layers of ``d`` units."""

    k: int
    d: int

    def check(self, key: str) -> None:
        super().check(key)
        one_of(f"{key}.loss", self.loss, LOSSES)
        at_least(f"{key}.k", self.k, 1)
        at_least(f"{key}.d", self.d, 1)
        expect(self.k <= 1000, f"{key}.k", "1000 layers at most", self.k)
        expect(self.d <= 4096, f"{key}.d", "4096 units at most", self.d)


@MODELS.register("dln", DlnOptions, task="regression")
def dln(options: DlnOptions, norm: MakeNorm, task: Task) -> Chain:  # noqa: ARG001
    """W_k .. W_1 x: input and output ``(batch, d)``; every layer but the last is normalised.

    The layers have no biases. Weights are drawn in float64, as the gradients along the paper's
    grid of steps span 15 decades.
    """
    k, d = options.k, options.d
    return Chain(
        Stage(nn.Linear(d, d, bias=False, dtype=torch.float64), norm(i, d) if i < k else None)
        for i in range(1, k + 1)
    )
