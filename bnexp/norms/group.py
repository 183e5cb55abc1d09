"""Normalisations of each sample on its own: ``layer``, ``group`` and ``instance``.

All three subtract the mean and divide by sqrt(var + eps), with biased variance over the positions
and over groups of units of one sample, then scale and shift by a gamma and beta per unit: over all
units (Ba et al. 2016), over groups (Wu and He 2018) or over each unit by itself (Ulyanov et al.
2016). They compute the same in training and at test time.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from bnexp.errors import UserError
from bnexp.registry import NORMS, Options, at_least


@dataclass(frozen=True)
class SampleOptions(Options):
    """``eps`` beside the variance."""

    eps: float

    def check(self, key: str) -> None:
        at_least(f"{key}.eps", self.eps, 0)


@dataclass(frozen=True)
class GroupOptions(SampleOptions):
    """``groups`` at most: as many as divide the number of units and have two or more each."""

    groups: int

    def check(self, key: str) -> None:
        super().check(key)
        at_least(f"{key}.groups", self.groups, 1)


class GroupNorm(nn.GroupNorm):
    """torch's; what has one value to a group, which would become 0, is a `UserError`."""

    def attach(self, affine: nn.Module | None) -> None:
        if isinstance(affine, nn.Linear) and self.num_groups == self.num_channels:
            raise UserError(
                "norm: expected one with several values to a mean, as the model's layers have no "
                "positions; instance normalisation is for images"
            )

    def forward(self, x: Tensor) -> Tensor:
        if x[0].numel() == self.num_groups:
            raise UserError(
                f"norm: expected several values to a mean; there are {self.num_groups} groups in a "
                f"layer whose outputs are {' x '.join(map(str, x.shape[1:]))}"
            )
        return super().forward(x)


NORMS.register("layer", SampleOptions)(
    lambda units, options, _seed: GroupNorm(1, units, options.eps)
)
NORMS.register("instance", SampleOptions)(
    lambda units, options, _seed: GroupNorm(units, units, options.eps)
)


@NORMS.register("group", GroupOptions)
def group(units: int, options: GroupOptions, _seed: int) -> GroupNorm:
    """Over groups of consecutive units."""
    most = max(1, min(options.groups, units // 2))
    groups = max(g for g in range(1, most + 1) if units % g == 0)
    return GroupNorm(groups, units, options.eps)
