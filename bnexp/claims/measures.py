"""The numbers that claims compare, each of one series: of a run of ours or of the paper's plot."""

from __future__ import annotations

import math

import numpy as np

from bnexp.claims.source import Source
from bnexp.analysis.series import Trace
from bnexp.analysis.summaries import last_third, log_ratio, ratio_at_equal_loss

REACH = 1 / 60
"""How far to either side accuracy is averaged, as a share of the run."""


def smooth(trace: Trace, steps: int) -> Trace:
    """Means over what lies within 1/60 of the run to either side: 5 points in the paper's plots.

    The steps that a diverged run did not live to see count as 0 (accuracy in percent).
    """
    x, y = trace.x, trace.lo
    if trace.diverged and len(x) > 1:
        unseen = np.arange(x[-1], steps, max(x[-1] - x[-2], 1.0)) + (x[-1] - x[-2])
        x, y = np.append(x, unseen), np.append(y, np.zeros(len(unseen)))
    total = np.append(0.0, np.cumsum(y))
    first = np.searchsorted(x, x - steps * REACH, side="left")
    last = np.searchsorted(x, x + steps * REACH, side="right")
    line = (total[last] - total[first]) / (last - first)
    return Trace(x, line, line, trace.diverged)


def steps_to(source: Source, percent: float, norm: str, lr: float) -> float:
    """The first step at which train accuracy (`smooth`) is at ``percent``; inf if it never is."""
    line = smooth(source.trace("train_accuracy", norm, lr), source.steps)
    reached = line.x[line.lo >= percent]
    return float(reached[0]) if len(reached) else math.inf


def speed(source: Source, percent: float, slow: str, fast: str, lr: float) -> float:
    """log10 of how many times the steps of ``fast`` the net ``slow`` takes to reach ``percent``.

    A net that never does counts with all its steps, which is too few; NaN where neither does.
    """
    late, early = (steps_to(source, percent, norm, lr) for norm in (slow, fast))
    if math.isinf(late) and math.isinf(early):
        return math.nan
    return log_ratio(min(late, source.steps), min(early, source.steps))


def final_accuracy(source: Source, norm: str, lr: float) -> float:
    """Train accuracy in percent, mean over the last third of the run; 0 once it has diverged."""
    line = last_third(smooth(source.trace("train_accuracy", norm, lr), source.steps), source.steps)
    return float(line.lo.mean()) if len(line.lo) else math.nan


def test_accuracy(source: Source, norm: str, lr: float) -> float:
    """Test accuracy in percent at the end of the run; 0 for one that has diverged."""
    line = source.trace("test_accuracy", norm, lr)
    if line.diverged:
        return 0.0
    return float(line.lo[-1]) if len(line.lo) else math.nan


def final_loss(source: Source, norm: str, lr: float) -> float:
    """Train loss at the end of the run; inf for one that has diverged."""
    line = source.trace("train_loss", norm, lr)
    if line.diverged:
        return math.inf
    return float(line.lo[-1]) if len(line.lo) else math.nan


def at_equal_loss(source: Source, quantity: str, norms: tuple[str, str], lr: float) -> float:
    """log10 of the ratio of a quantity between two nets where their losses are equal.

    See `bnexp.analysis.summaries.ratio_at_equal_loss`.
    """
    pairs = [
        (source.trace("train_loss", norm, lr), source.trace(quantity, norm, lr)) for norm in norms
    ]
    return ratio_at_equal_loss(*pairs)
