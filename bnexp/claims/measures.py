"""The numbers that claims compare, each of one series: of a run of ours or of the paper's plot."""

from __future__ import annotations

import math

import numpy as np

from bnexp.claims.source import Source
from bnexp.figures.series import Array, Trace

REACH = 1 / 60
"""How far to either side accuracy is averaged, as a share of the run."""

LEVELS = 30
"""Losses that two nets are compared at."""


def first_third(trace: Trace, steps: int) -> Trace:
    """The part before a third of the run."""
    return _between(trace, 0, steps / 3)


def last_third(trace: Trace, steps: int) -> Trace:
    """The part after two thirds of the run (in the paper: steps 10,000 to 15,000)."""
    return _between(trace, 2 * steps / 3, math.inf)


def last_half(trace: Trace, steps: int) -> Trace:
    """The part after half of the run."""
    return _between(trace, steps / 2, math.inf)


def middle(trace: Trace) -> float:
    """The median of the line over its steps; NaN where there are none."""
    return _median(trace.lo)


def top(trace: Trace) -> float:
    """The median over steps of the band's upper edge."""
    return _median(trace.hi)


def width(trace: Trace) -> float:
    """How wide a band is: the median over steps of log10(top/bottom)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return _median(np.log10(trace.hi) - np.log10(trace.lo))


def log_ratio(of: float, over: float) -> float:
    """log10 of a ratio: 0.3 is twice as much; NaN where it says nothing (0/0, inf/inf)."""
    if math.isnan(of) or math.isnan(over) or of == over == 0:
        return math.nan
    if math.isinf(of) and math.isinf(over):
        return math.nan
    with np.errstate(divide="ignore"):
        return float(np.log10(np.float64(of)) - np.log10(np.float64(over)))


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

    The median over `LEVELS` losses, evenly spaced in log between those that both have gone
    through; each net is taken at the first recorded step by which its loss had come so far down.
    NaN where the two have no loss in common.
    """
    falls = [_falling(source, quantity, norm, lr) for norm in norms]
    high = min(loss[0] for loss, _ in falls)
    low = max(loss[-1] for loss, _ in falls)
    if not 0 < low < high:
        return math.nan
    ratios = []
    for level in np.geomspace(high, low, LEVELS):
        one, other = (float(y[np.argmax(loss <= level * (1 + 1e-12))]) for loss, y in falls)
        ratios.append(log_ratio(one, other))
    return _median(np.array(ratios))


def _falling(source: Source, quantity: str, norm: str, lr: float) -> tuple[Array, Array]:
    """The least loss so far, and the quantity, at the steps at which both were recorded."""
    loss = source.trace("train_loss", norm, lr)
    of = source.trace(quantity, norm, lr)
    least = np.minimum.accumulate(loss.lo)
    _, mine, its = np.intersect1d(loss.x, of.x, return_indices=True)
    if not len(mine):
        return np.array([math.nan]), np.array([math.nan])
    return least[mine], of.lo[its]


def _between(trace: Trace, low: float, high: float) -> Trace:
    inside = (trace.x >= low) & (trace.x <= high)
    return Trace(trace.x[inside], trace.lo[inside], trace.hi[inside], trace.diverged)


def _median(values: Array) -> float:
    known = values[~np.isnan(values)]
    with np.errstate(invalid="ignore"):  # the mean of two infinite middle values
        return float(np.median(known)) if len(known) else math.nan
