"""The numbers that claims compare, and how."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bnexp.analysis import summaries
from bnexp.analysis.series import Trace
from bnexp.analysis.summaries import log_ratio
from bnexp.claims.source import Source
from bnexp.claims.statistics import Effect

TARGET = 80.0
"""Percent of train accuracy that speed is measured to."""

SPANS: Mapping[str, Callable[[Trace, int], Trace]] = {
    "whole run": lambda trace, _: trace,
    "first third": summaries.first_third,
    "last third": summaries.last_third,
    "last half": summaries.last_half,
}
SUMMARIES: Mapping[str, Callable[[Trace], float]] = {
    "median": summaries.median,
    "upper edge": summaries.upper_nan_median,  # the median over steps of a band's upper edge
    "width": summaries.band_width,  # the median over steps of log10(top/bottom) of a band
    "mean": lambda trace: float(trace.lo.mean()) if len(trace.lo) else math.nan,
    "maximum": lambda trace: float(trace.hi.max()) if len(trace.hi) else math.nan,
    "final": lambda trace: float(trace.lo[-1]) if len(trace.lo) else math.nan,
    "steps": lambda trace: float(min(trace.x[trace.lo >= TARGET], default=math.inf)),
}
"""``steps``: the first at which train accuracy is at `TARGET`; inf where it never is."""


@dataclass(frozen=True)
class Term:
    """One number of one kind of run: a summary of a quantity over a span of the run.

    By keys of `bnexp.claims.source.QUANTITIES`, `SUMMARIES` and `SPANS`.
    """

    quantity: str
    norm: str
    lr: float
    layer: int | None = None
    summary: str = "median"
    span: str = "whole run"

    def value(self, source: Source) -> float:
        """The number; NaN where the series has no values. Train accuracy is smoothed before.

        A diverged run ends at a loss of inf, an accuracy of 0.

        Raises:
            MissingSeriesError: the source has no such series.
        """
        trace = source.trace(self.quantity, self.norm, self.lr, self.layer)
        if self.quantity == "train_accuracy":
            trace = smooth(trace, source.steps)
        if self.summary == "final" and trace.diverged:
            return math.inf if self.quantity == "train_loss" else 0.0
        return SUMMARIES[self.summary](SPANS[self.span](trace, source.steps))


def smooth(trace: Trace, steps: int) -> Trace:
    """Means over what lies within 1/60 of the run to either side: 5 points in the paper's plots.

    The steps that a diverged run did not reach count as 0 (accuracy in percent).
    """
    x, y = trace.x, trace.lo
    if trace.diverged and len(x) > 1:
        rest = np.arange(x[-1], steps, max(x[-1] - x[-2], 1.0)) + (x[-1] - x[-2])
        x, y = np.append(x, rest), np.append(y, np.zeros(len(rest)))
    total = np.append(0.0, np.cumsum(y))
    first = np.searchsorted(x, x - steps / 60, side="left")
    last = np.searchsorted(x, x + steps / 60, side="right")
    line = (total[last] - total[first]) / (last - first)
    return Trace(x, line, line, trace.diverged)


Comparison = Callable[[Source, Sequence[Term]], float | Effect]
"""The number that decides a part of a claim, of one seed's runs or the paper's curves."""


def of_values(function: Callable[..., float]) -> Comparison:
    """The comparison that is a function of the terms' values."""
    return lambda source, terms: function(*(term.value(source) for term in terms))


def two_over_lr(source: Source, terms: Sequence[Term]) -> float:
    """log10 of the term over 2/lr."""
    return log_ratio(terms[0].value(source), 2 / terms[0].lr)


def at_equal_loss(source: Source, terms: Sequence[Term]) -> float:
    """log10 of the ratio of the two terms' quantities where the nets' losses are equal."""
    first, second = (
        (source.trace("train_loss", t.norm, t.lr), source.trace(t.quantity, t.norm, t.lr))
        for t in terms
    )
    return summaries.ratio_at_equal_loss(first, second)


def speed(source: Source, terms: Sequence[Term]) -> Effect:
    """log10 of the first net's steps to 80 % train accuracy over the second's.

    A net that never gets there counts with all steps of its run, which makes the effect a bound;
    NaN where neither gets there.
    """
    slow, fast = (term.value(source) for term in terms)
    if math.isinf(slow) and math.isinf(fast):
        return Effect(math.nan)
    bound = "at least" if math.isinf(slow) else "at most" if math.isinf(fast) else ""
    return Effect(log_ratio(min(slow, source.steps), min(fast, source.steps)), bound)


COMPARISONS: Mapping[str, Comparison] = {
    "value": of_values(lambda value: value),
    "difference": of_values(lambda first, second: first - second),
    "difference_of_differences": of_values(lambda a, b, c, d: (a - b) - (c - d)),
    "ratio": of_values(log_ratio),
    "octaves": of_values(lambda first, second: log_ratio(first, second) / math.log10(2)),
    "least_ratio": of_values(lambda first, *others: log_ratio(min(others), first)),
    "two_over_lr": two_over_lr,
    "at_equal_loss": at_equal_loss,
    "speed": speed,
}
"""``ratio`` is log10 of the first over the second; ``least_ratio`` of the others' least over the
first."""
