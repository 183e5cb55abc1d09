"""Ghost batch normalisation (Hoffer et al. 2017, Algorithm 1): statistics over parts of a batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bnexp.norms.paper import BatchNorm, StatisticsOptions
from bnexp.registry import NORMS, at_least


@dataclass(frozen=True)
class GhostOptions(StatisticsOptions):
    """``size``: samples in a ghost batch, at least 2."""

    size: int

    def check(self, key: str) -> None:
        super().check(key)
        at_least(f"{key}.size", self.size, 2)


class GhostBatchNorm(nn.Module):
    """Batch normalisation of each ghost batch by itself; at test time by the running statistics.

    A batch is cut, in order, into as many ghost batches as have ``size`` samples; what is left over
    is spread over them, and a smaller batch is one. The running statistics move once with each.
    """

    def __init__(self, units: int, options: GhostOptions) -> None:
        super().__init__()
        self.size, self.bn = options.size, BatchNorm(units, options)

    def forward(self, x: Tensor) -> Tensor:
        count = max(1, len(x) // self.size) if self.training else 1
        return torch.cat([self.bn(part) for part in x.tensor_split(count)])


NORMS.register("ghost", GhostOptions)(lambda units, options, _seed: GhostBatchNorm(units, options))
