"""What a line or a band comes to: the numbers that sentences and claims are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from bnexp.analysis.series import Array, Trace

LEVELS = 30
"""Losses that two nets are compared at."""


def part(start: float, end: float, trace: Trace, steps: int) -> Trace:
    """The part from ``start`` sixths of the run to ``end`` sixths."""
    inside = (trace.x >= start * steps / 6) & (trace.x <= end * steps / 6)
    return replace(trace, x=trace.x[inside], lo=trace.lo[inside], hi=trace.hi[inside])


first_third = partial(part, 0, 2)
last_third = partial(part, 4, math.inf)  # in the paper: steps 10,000 to 15,000
last_half = partial(part, 3, math.inf)


def median(trace: Trace) -> float:
    """The median of the line over its steps; NaN where there are none."""
    return median_of(trace.lo)


def upper_nan_median(trace: Trace) -> float:
    """The median over steps of the band's upper edge."""
    return median_of(trace.hi)


def band_width(trace: Trace) -> float:
    """How wide a band is: the median over steps of log10(top/bottom)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return median_of(np.log10(trace.hi) - np.log10(trace.lo))


def log_ratio(of: float, over: float = 1.0) -> float:
    """log10 of a ratio: 0.3 is twice as much; NaN for 0/0 and inf/inf."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.log10(np.float64(of)) - np.log10(np.float64(over)))


def median_of(values: Sequence[float] | Array) -> float:
    """The median of the values that are not NaN; NaN where there are none."""
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    with np.errstate(invalid="ignore"):  # the mean of two infinite middle values
        return float(np.median(known)) if len(known) else math.nan


def greatest_difference(one: Trace, other: Trace) -> float:
    """log10 of the greatest difference of two lines over their steps, relative to the first.

    -16, the rounding of a float64, where they are equal; inf where one ends before the other.
    """
    if len(one.x) != len(other.x):
        return math.inf
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.abs(other.lo / one.lo - 1)
    return log_ratio(max(float(apart.max()), 1e-16))


def share_of_gap(of: float, low: float, high: float) -> float:
    """How much of the way from ``low`` to ``high`` accuracy (in %) ``of`` makes, in percent.

    NaN where there is no gap to speak of: of less than 10 points.
    """
    return 100 * (of - low) / (high - low) if high - low >= 10 else math.nan


def by_seed(*kinds: Sequence[Trace]) -> list[tuple[Trace, ...]]:
    """The traces of the seeds that every kind of run has, together."""
    of = [
        {trace.of[2] if trace.of else place: trace for place, trace in enumerate(kind)}
        for kind in kinds
    ]
    return [tuple(kind[seed] for kind in of) for seed in of[0] if all(seed in kind for kind in of)]


def ratio_at_equal_loss(one: tuple[Trace, Trace], other: tuple[Trace, Trace]) -> float:
    """log10 of the ratio of a quantity between two nets where their losses are equal.

    Each net is its loss and the quantity over steps. The median over `LEVELS` losses, evenly
    spaced in log between those that both have gone through; between the steps at which a net's
    loss has come down its quantity is interpolated, both in log. NaN where the nets have no loss
    in common.
    """
    falls = [falling(*net) for net in (one, other)]
    high = min(loss[0] for loss, _ in falls)
    low = max(loss[-1] for loss, _ in falls)
    if not 0 < low < high:
        return math.nan
    levels = np.linspace(math.log10(high), math.log10(low), LEVELS)
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = (
            np.interp(levels, np.log10(loss[::-1]), np.log10(y[::-1])) for loss, y in falls
        )
        return median_of(first - second)


def falling(loss: Trace, quantity: Trace) -> tuple[Array, Array]:
    """The loss and the quantity at the steps at which both were recorded and the least loss so far
    had come down since the step before."""
    least = np.minimum.accumulate(loss.lo)
    _, of_loss, of_quantity = np.intersect1d(loss.x, quantity.x, return_indices=True)
    if not len(of_loss):
        return np.array([math.nan]), np.array([math.nan])
    lower, at = np.unique(-least[of_loss], return_index=True)
    return -lower, quantity.lo[of_quantity][at]
