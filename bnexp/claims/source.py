"""Where a claim reads its numbers: the runs of one seed, or the paper's own curves.

A claim is evaluated on a `Source`, so the paper's value and ours are the same statistic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from bnexp.analysis import paper, read
from bnexp.analysis import quantities as q
from bnexp.analysis.quantities import Quantity
from bnexp.analysis.scales import EXPERIMENTS
from bnexp.analysis.select import Need
from bnexp.analysis.series import Trace
from bnexp.runs import Run

POINTS = 200
"""The most recorded steps between which the moments' shift of all units is taken."""


class MissingSeriesError(Exception):
    """The source has no such series."""


class Source(Protocol):
    """One set of runs: one per normalisation and learning rate."""

    def trace(self, quantity: str, norm: str, lr: float, layer: int | None = None) -> Trace:
        """The quantity (a key of `QUANTITIES`) over steps, a line or a band.

        Raises:
            MissingSeriesError: the source has none.
        """
        ...

    @property
    def steps(self) -> int:
        """The number of steps that the runs were to make."""
        ...


class RunSource:
    """The runs of one seed that meet a claim's needs."""

    def __init__(self, runs: Mapping[Need, Run]) -> None:
        self._runs = runs

    @property
    def steps(self) -> int:
        return max(run.steps for run in self._runs.values())

    def trace(self, quantity: str, norm: str, lr: float, layer: int | None = None) -> Trace:
        wanted = QUANTITIES[quantity]
        for need, run in self._runs.items():
            if (need.norm, need.table) == (norm, wanted.table) and np.isclose(need.lr, lr):
                return wanted.trace(run, layer)
        raise MissingSeriesError(f"{quantity} of {norm} at lr {lr:g}")


class PaperSource:
    """The paper's curves of one family of networks, from the first figure that shows them."""

    def __init__(self, family: str) -> None:
        self._experiment = EXPERIMENTS[family]

    @property
    def steps(self) -> int:
        return self._experiment.steps

    def trace(self, quantity: str, norm: str, lr: float, layer: int | None = None) -> Trace:
        curve = paper.first_curve(self._experiment.family, quantity, norm, lr, layer)
        if curve is None:
            raise MissingSeriesError(f"{quantity} of {norm} at lr {lr:g}")
        return _resampled(curve, self._experiment.every, QUANTITIES[quantity].log)


def _resampled(curve: paper.Curve, every: int, log: bool) -> Trace:
    """The curve at the steps that the paper recorded: its plots dropped points on straight lines.

    In between it is interpolated as plotted: on log axes linearly in log10.
    """
    x = np.arange(curve.x[0], curve.x[-1] + every / 2, every)
    lo, hi = curve.at(np.minimum(x, curve.x[-1]), log)
    return Trace(x, lo, hi)


def _shift(column: str) -> Callable[[Run, int | None], Trace]:
    """Median over the layer's units of the change between successive recorded steps."""

    def trace(run: Run, layer: int | None) -> Trace:
        assert layer is not None
        every = int(run.option("probes.moments.every"))
        stride = every * max(1, round(run.steps / POINTS / every))
        wanted = range(0, run.steps + 1, stride)
        frame = read.rows(run, "moments", ["step", "unit", column], layer=layer, step=wanted)
        table = frame.drop_duplicates(["step", "unit"]).pivot(
            index="step", columns="unit", values=column
        )
        change = np.abs(np.diff(table.to_numpy(dtype=np.float64), axis=0))
        median = np.median(change, axis=1) if change.size else np.empty(0)
        x = table.index.to_numpy(dtype=np.float64)[1:]
        return Trace(x, median, median, run.state == "diverged")

    return trace


QUANTITIES: dict[str, Quantity] = {
    quantity.name: quantity
    for quantity in (
        *q.paper_quantities().values(),
        Quantity("abs_mean_step_change", "moments", "|μₜ₊₁ − μₜ|", _shift("mean"), log=True),
        Quantity("abs_var_step_change", "moments", "|σ²ₜ₊₁ − σ²ₜ|", _shift("var"), log=True),
        *(q.beta_from(multiple) for multiple in (0.125, 0.25, 0.5)),
        q.BETA_0,
        q.BETA_0_SCALED,
        q.SHARPNESS,
    )
}
"""Every quantity by name; those that the paper plots are called as its curves are."""
