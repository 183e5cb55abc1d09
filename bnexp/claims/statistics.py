"""What several seeds say of one number: an interval, an effect size, and a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

HOLDS, FAILS, MIXED, OPEN = "holds", "does not hold", "mixed", "cannot tell"
VERDICTS = (HOLDS, FAILS, MIXED, OPEN)

LEVEL = 0.95
FEWEST = 3
"""Seeds below which no interval is given."""
EXACT = 6
"""Seeds from which on the median has an exact interval at `LEVEL`: 1 - 2/2^6 is above it."""
SPLIT = 0.2
"""The share of seeds on the lesser side from which on the seeds are said to disagree."""


@dataclass(frozen=True)
class Region:
    """Where the effect lies if the statement holds: above ``low`` and below ``high``."""

    low: float = -math.inf
    high: float = math.inf

    def holds(self, value: float) -> bool:
        """Whether ``value`` lies in it; an infinite one does where the region has no edge."""
        above = value > self.low or self.low == -math.inf
        return above and (value < self.high or self.high == math.inf)

    def __str__(self) -> str:
        if math.isinf(self.high):
            return f"> {self.low:g}"
        if math.isinf(self.low):
            return f"< {self.high:g}"
        return f"in ({self.low:g}, {self.high:g})"


@dataclass(frozen=True)
class Estimate:
    """The effect over seeds.

    Attributes:
        seeds: how many gave a number.
        value: their mean below `EXACT` seeds, else their median.
        low, high: its 95 % interval: Student's below `EXACT` seeds, else the exact one of the
            median, which asks nothing of the distribution. NaN below `FEWEST` seeds.
        size: the standardised effect size, the rank-biserial correlation of paired samples: 1
            when every seed's effect lies on the claimed side of the region's edge, 0 when as much
            rank lies on either side, -1 when none does. NaN below `FEWEST` seeds.
        p: of the hypothesis that the effect lies outside the region; NaN below `FEWEST` seeds.
        share: the share of seeds whose own effect lies in the region.
    """

    seeds: int
    value: float
    low: float
    high: float
    size: float
    p: float
    share: float


def estimate(effects: Sequence[float], region: Region) -> Estimate:
    """What the effects of several seeds, one each, say. NaN are left out."""
    x = np.asarray([effect for effect in effects if not math.isnan(effect)], dtype=np.float64)
    if not len(x):
        return Estimate(0, math.nan, math.nan, math.nan, math.nan, math.nan, math.nan)
    share = float(np.mean([region.holds(value) for value in x]))
    value = float(np.median(x)) if len(x) >= EXACT else float(x.mean())
    if len(x) < FEWEST:
        return Estimate(len(x), value, math.nan, math.nan, math.nan, math.nan, share)
    low, high = _interval(x)
    p = max(
        [
            _p(x, edge, side)
            for edge, side in ((region.low, "greater"), (region.high, "less"))
            if math.isfinite(edge)
        ],
        default=math.nan,
    )
    return Estimate(len(x), value, low, high, _size(x, region), p, share)


def judge(found: Estimate, region: Region) -> tuple[str, str]:
    """The verdict on one number, and what to add in words ("" where nothing)."""
    if found.seeds == 0:
        return OPEN, "no runs"
    if found.seeds < FEWEST or math.isnan(found.low):
        return OPEN, f"{found.seeds} seed{'s' * (found.seeds > 1)}"
    if region.holds(found.low) and region.holds(found.high):
        return HOLDS, ""
    if found.high <= region.low or found.low >= region.high:
        return FAILS, ""
    if found.seeds >= EXACT and SPLIT <= found.share <= 1 - SPLIT:
        return MIXED, f"in {round(found.share * found.seeds)} of {found.seeds} seeds"
    return OPEN, f"{found.seeds} seeds leave both possible"


def together(verdicts: Sequence[str]) -> str:
    """The verdict on a statement from those on its parts, all of which it claims."""
    if len(set(verdicts)) == 1:
        return verdicts[0]
    if MIXED in verdicts or {HOLDS, FAILS} <= set(verdicts):
        return MIXED
    return OPEN


def _interval(x: np.ndarray) -> tuple[float, float]:
    if len(x) >= EXACT:
        found = stats.quantile_test(x, q=0.0, p=0.5).confidence_interval(LEVEL)
    elif not np.isfinite(x).all():
        return math.nan, math.nan
    elif np.ptp(x) == 0:  # where the t statistic is 0/0
        return float(x[0]), float(x[0])
    else:
        found = stats.ttest_1samp(x, 0.0).confidence_interval(LEVEL)
    return float(found.low), float(found.high)


def _p(x: np.ndarray, edge: float, side: str) -> float:
    """Of the effect not lying on ``side`` of ``edge``."""
    if len(x) >= EXACT:
        return float(stats.quantile_test(x, q=edge, p=0.5, alternative=side).pvalue)
    if not np.isfinite(x).all():
        return math.nan
    if np.ptp(x) == 0:
        return 0.0 if (x[0] > edge) == (side == "greater") and x[0] != edge else 1.0
    return float(stats.ttest_1samp(x, edge, alternative=side).pvalue)


def _size(x: np.ndarray, region: Region) -> float:
    """The rank-biserial correlation of what lies beyond each edge, the lesser of the two."""
    beyond = [
        side
        for side, edge in ((x - region.low, region.low), (region.high - x, region.high))
        if math.isfinite(edge)
    ]
    return min((_rank_biserial(side) for side in beyond), default=math.nan)


def _rank_biserial(x: np.ndarray) -> float:
    ranks = stats.rankdata(np.abs(x))
    return float((np.sign(x) * ranks).sum() / ranks.sum())
