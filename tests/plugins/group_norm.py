"""Group normalisation (Wu and He 2018): the norm ``gn``."""

from dataclasses import dataclass

from torch import nn

from bnexp.registry import NORMS, Options, at_least, positive


@dataclass(frozen=True)
class GroupNormOptions(Options):
    """``groups`` at most: as many as divide the number of units."""

    groups: int
    eps: float

    def check(self, key: str) -> None:
        at_least(f"{key}.groups", self.groups, 1)
        positive(f"{key}.eps", self.eps)


@NORMS.register("gn", GroupNormOptions)
def group_norm(units: int, options: GroupNormOptions, seed: int) -> nn.Module:
    """Normalises each sample over groups of units."""
    groups = max(g for g in range(1, options.groups + 1) if units % g == 0)
    return nn.GroupNorm(groups, units, options.eps)
