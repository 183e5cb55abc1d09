"""The numbers that claims compare, of the runs of one seed or of the paper's own curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bnexp.analysis import paper, read, summaries
from bnexp.analysis import quantities as q
from bnexp.analysis.quantities import Quantity
from bnexp.analysis.scales import EXPERIMENTS
from bnexp.analysis.select import Need, Where
from bnexp.analysis.series import Trace
from bnexp.analysis.summaries import log_ratio
from bnexp.claims.statistics import Effect
from bnexp.runs import Run

TARGET = 80.0
"""Percent of train accuracy that speed is measured to."""
POINTS = 200
"""The most recorded steps between which the moments' shift of all units is taken."""

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
    "first": lambda trace: float(trace.lo[0]) if len(trace.lo) else math.nan,
    "final": lambda trace: float(trace.lo[-1]) if len(trace.lo) else math.nan,
    "steps": lambda trace: float(min(trace.x[trace.lo >= TARGET], default=math.inf)),
}
"""``steps``: the first at which train accuracy is at `TARGET`; inf where it never is."""


class MissingSeriesError(Exception):
    """The source has no such series."""


@dataclass(frozen=True)
class Term:
    """One number of one kind of run: a summary of a quantity over a span of the run.

    By keys of `QUANTITIES`, `SUMMARIES` and `SPANS`; ``where`` as `bnexp.analysis.select.Need`
    has it.
    """

    quantity: str
    norm: str
    lr: float
    layer: int | None = None
    summary: str = "median"
    span: str = "whole run"
    where: Where = ()

    def trace(self, source: Source) -> Trace:
        """The series, a line or a band; `MissingSeriesError` where the source has none."""
        trace = source.find(self)
        if trace is None:
            raise MissingSeriesError
        return trace

    def value(self, source: Source) -> float:
        """The number; NaN where the series has no values. Train accuracy is smoothed before.

        A diverged run ends at a loss of inf, an accuracy of 0.
        """
        trace = self.trace(source)
        if self.quantity == "train_accuracy":
            trace = smooth(trace, source.steps)
        if self.summary == "final" and trace.diverged:
            return math.inf if self.quantity == "train_loss" else 0.0
        return SUMMARIES[self.summary](SPANS[self.span](trace, source.steps))


class Source(NamedTuple):
    """The runs of one seed, or the paper's curves; ``find`` gives a term's series if there is."""

    steps: int
    find: Callable[[Term], Trace | None]


def of_runs(runs: Mapping[Need, Run]) -> Source:
    """The runs of one seed that meet a claim's needs."""

    def find(term: Term) -> Trace | None:
        wanted = QUANTITIES[term.quantity]
        for need, run in runs.items():
            kind = term.norm, wanted.table, term.where
            alike = (need.norm, need.table, need.where) == kind
            if alike and math.isclose(need.lr, term.lr):
                return wanted.trace(run, term.layer)
        return None

    return Source(max(run.steps for run in runs.values()), find)


def of_paper(family: str) -> Source:
    """The paper's curves of one family of networks, from the first figure that shows them.

    At the steps that it recorded: its plots leave out points on straight lines (of a log axis).
    """
    experiment = EXPERIMENTS[family]

    def find(term: Term) -> Trace | None:
        curve = paper.first_curve(family, term.quantity, term.norm, term.lr, term.layer)
        if curve is None or term.where:
            return None
        x = np.arange(curve.x[0], curve.x[-1] + experiment.every / 2, experiment.every)
        return Trace(x, *curve.at(np.minimum(x, curve.x[-1]), QUANTITIES[term.quantity].log))

    return Source(experiment.steps, find)


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


def _shift(name: str, column: str) -> Quantity:
    """Median over the layer's units of the change between successive recorded steps."""

    def trace(run: Run, layer: int | None) -> Trace:
        assert layer is not None
        every = int(run.option("probes.moments.every"))
        stride = every * max(1, round(run.steps / POINTS / every))
        wanted = range(0, run.steps + 1, stride)
        frame = read.rows(run, "moments", ["step", "unit", column], layer=layer, step=wanted)
        table = frame.drop_duplicates(["step", "unit"]).pivot(index="step", columns="unit")
        change = table.astype(np.float64).diff().abs().iloc[1:].median(axis=1, skipna=False)
        line = change.to_numpy()
        return Trace(change.index.to_numpy(np.float64), line, line, run.state == "diverged")

    return Quantity(name, "moments", "", trace, log=True)


QUANTITIES: dict[str, Quantity] = {
    quantity.name: quantity
    for quantity in (
        *q.paper_quantities().values(),
        _shift("abs_mean_step_change", "mean"),
        _shift("abs_var_step_change", "var"),
        *(q.beta_from(multiple) for multiple in (0.125, 0.25, 0.5)),
        q.BETA_0,
        q.BETA_0_SCALED,
        q.SHARPNESS,
        q.BATCH_SHARPNESS,
        q.DATA_LOSS,
        q.GRADIENT_SPREAD,
        q.LEAST_RANK,
        q.MODE_GAP,
        q.TEST_LOSS,
        q.SPLIT_LOSS,
        q.ROTATION,
        q.UPDATE_SPREAD,
    )
}
"""Every quantity by name; those that the paper plots are called as its curves are."""

Comparison = Callable[[Source, Sequence[Term]], float | Effect]
"""The number that decides a part of a claim, of one seed's runs or the paper's curves."""


def of_values(function: Callable[..., float]) -> Comparison:
    return lambda source, terms: function(*(term.value(source) for term in terms))


def two_over_lr(source: Source, terms: Sequence[Term]) -> float:
    """log10 of the term over 2/lr."""
    return log_ratio(terms[0].value(source), 2 / terms[0].lr)


def at_equal_loss(source: Source, terms: Sequence[Term]) -> float:
    """log10 of the ratio of a quantity of two nets where their losses are equal.

    The terms are quantity and loss of the first net, and of the second.
    """
    first, loss, second, other_loss = (term.trace(source) for term in terms)
    return summaries.ratio_at_equal_loss((loss, first), (other_loss, second))


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


def apart(source: Source, terms: Sequence[Term]) -> float:
    """log10 of the greatest difference of two runs' series, relative to the first: -16 or above."""
    return summaries.greatest_difference(*(term.trace(source) for term in terms))


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
    "apart": apart,
    "share_of_gap": of_values(summaries.share_of_gap),
}
"""``ratio`` is log10 of the first over the second; ``least_ratio`` of the others' least over the
first."""
