"""What several seeds say of one number: an interval, an effect size, and a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

HOLDS, FAILS, MIXED, OPEN = "holds", "does not hold", "mixed", "cannot tell"
DEAD = "baseline at chance"
VERDICTS = (HOLDS, FAILS, MIXED, DEAD, OPEN)

LEVEL = 0.95
FEWEST = 3
"""Seeds below which no interval is given."""
EXACT = 6
"""Seeds from which on the median has an exact interval at `LEVEL`: 1 - 2/2^6 is above it."""
SPLIT = 0.2
"""The share of seeds on the lesser side from which on the seeds are said to disagree."""


@dataclass(frozen=True)
class Effect:
    """One seed's number; with ``bound`` ("at least", "at most") censored: no more is known."""

    value: float
    bound: str = ""


@dataclass(frozen=True)
class Region:
    """The range of the effect if the statement holds: above ``low`` and below ``high``."""

    low: float = -math.inf
    high: float = math.inf

    def holds(self, value: float) -> bool:
        """Whether ``value`` lies in it; an infinite one does where the region has no edge."""
        above = value > self.low or self.low == -math.inf
        return above and (value < self.high or self.high == math.inf)

    def holds_for(self, effect: Effect) -> bool:
        """Whether the effect lies in it for certain, censored or not."""
        certain = {"at least": math.isinf(self.high), "at most": math.isinf(self.low)}
        return self.holds(effect.value) and certain.get(effect.bound, True)

    def __str__(self) -> str:
        if math.isinf(self.high):
            return f"> {self.low:g}"
        return f"< {self.high:g}" if math.isinf(self.low) else f"in ({self.low:g}, {self.high:g})"


@dataclass(frozen=True)
class Estimate:
    """The effect over ``seeds`` numbers, of which ``censored`` are bounds only.

    ``value`` is the mean below `EXACT` seeds, else the median; ``low`` to ``high`` the 95 %
    interval: Student's below `EXACT` seeds, else the exact one of the median, which asks nothing of
    the distribution. An effect known to be at least some number counts with that number from below,
    and as infinite from above. ``size`` is the rank-biserial correlation of paired samples: 1 when
    every effect lies on the claimed side of the region's edge, -1 when none does; ``p`` is of the
    hypothesis that the effect lies outside the region; ``share`` of the seeds lie in it. Below
    `FEWEST` seeds there is only ``value`` and ``share``.
    """

    seeds: int
    censored: int = 0
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    size: float = math.nan
    p: float = math.nan
    share: float = math.nan


def estimate(effects: Sequence[Effect], region: Region) -> Estimate:
    """The estimate from one effect per seed. NaN are left out."""
    known = [effect for effect in effects if not math.isnan(effect.value)]
    if not known:
        return Estimate(0)
    x = np.array([effect.value for effect in known], dtype=np.float64)
    share = float(np.mean([region.holds_for(effect) for effect in known]))
    value = float(np.median(x)) if len(x) >= EXACT else float(x.mean())
    censored = sum(bool(effect.bound) for effect in known)
    if len(x) < FEWEST:
        return Estimate(len(x), censored, value, share=share)
    low = _interval(x, np.array([effect.bound == "at most" for effect in known]), -math.inf)[0]
    high = _interval(x, np.array([effect.bound == "at least" for effect in known]), math.inf)[1]
    edges = [edge for edge in ((region.low, 1), (region.high, -1)) if math.isfinite(edge[0])]
    p = max((_p(x, edge, sign) for edge, sign in edges), default=math.nan)
    size = min((_rank_biserial(sign * (x - edge)) for edge, sign in edges), default=math.nan)
    return Estimate(len(x), censored, value, low, high, size, p, share)


def judge(estimate: Estimate, region: Region) -> tuple[str, str]:
    """The verdict on one number, and a remark ("" where there is none)."""
    seeds = estimate.seeds
    if seeds == 0:
        return OPEN, "no runs"
    if seeds < FEWEST or math.isnan(estimate.low) or math.isnan(estimate.high):
        return OPEN, f"{seeds} seed{'s' * (seeds > 1)}"
    if region.holds(estimate.low) and region.holds(estimate.high):
        return HOLDS, ""
    if estimate.high <= region.low or estimate.low >= region.high:
        return FAILS, ""
    if seeds >= EXACT and SPLIT <= estimate.share <= 1 - SPLIT:
        return MIXED, f"in {round(estimate.share * seeds)} of {seeds} seeds"
    return OPEN, f"{seeds} seeds leave both possible"


def combine(verdicts: Sequence[str]) -> str:
    """The verdict on a statement from those on its parts, all of which it claims."""
    if len(set(verdicts)) == 1:
        return verdicts[0]
    if DEAD in verdicts:
        return DEAD
    return MIXED if MIXED in verdicts or {HOLDS, FAILS} <= set(verdicts) else OPEN


def _interval(x: np.ndarray, unlimited: np.ndarray, limit: float) -> tuple[float, float]:
    """The interval where the ``unlimited`` values may be as far away as ``limit``."""
    if len(x) >= EXACT:
        test = stats.quantile_test(np.where(unlimited, limit, x), q=0.0, p=0.5)
    elif not np.isfinite(x).all():
        return math.nan, math.nan
    elif unlimited.any() or np.ptp(x) == 0:  # the mean is not bounded, the t statistic is 0/0
        end = limit if unlimited.any() else float(x[0])
        return end, end
    else:
        test = stats.ttest_1samp(x, 0.0)
    interval = test.confidence_interval(LEVEL)
    return float(interval.low), float(interval.high)


def _p(x: np.ndarray, edge: float, sign: int) -> float:
    """Of the effect not lying above (``sign`` 1) or below (-1) ``edge``."""
    side = "greater" if sign == 1 else "less"
    if len(x) >= EXACT:
        return float(stats.quantile_test(x, q=edge, p=0.5, alternative=side).pvalue)
    if not np.isfinite(x).all():
        return math.nan
    if np.ptp(x) == 0:
        return 0.0 if sign * (x[0] - edge) > 0 else 1.0
    return float(stats.ttest_1samp(x, edge, alternative=side).pvalue)


def _rank_biserial(x: np.ndarray) -> float:
    ranks = stats.rankdata(np.abs(x))
    return float((np.sign(x) * ranks).sum() / ranks.sum())
