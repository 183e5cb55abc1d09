"""Where a claim reads its numbers: the runs of one seed, or the paper's own curves.

A claim is evaluated on a `Source`, so the paper's value and ours are the same statistic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Source:
    """Series over ``steps`` steps of training.

    ``find`` gives a quantity (a key of `QUANTITIES`) of a normalisation at a learning rate, for a
    layer where it has layers; None where there is none.
    """

    steps: int
    find: Callable[[str, str, float, int | None], Trace | None]

    def trace(self, quantity: str, norm: str, lr: float, layer: int | None = None) -> Trace:
        """The series, a line or a band; `MissingSeriesError` where there is none."""
        trace = self.find(quantity, norm, lr, layer)
        if trace is None:
            raise MissingSeriesError
        return trace


def of_runs(runs: Mapping[Need, Run]) -> Source:
    """The runs of one seed that meet a claim's needs."""

    def find(quantity: str, norm: str, lr: float, layer: int | None) -> Trace | None:
        wanted = QUANTITIES[quantity]
        for need, run in runs.items():
            if (need.norm, need.table) == (norm, wanted.table) and np.isclose(need.lr, lr):
                return wanted.trace(run, layer)
        return None

    return Source(max(run.steps for run in runs.values()), find)


def of_paper(family: str) -> Source:
    """The paper's curves of one family of networks, from the first figure that shows them.

    At the steps that it recorded: its plots leave out points on straight lines (of a log axis).
    """
    experiment = EXPERIMENTS[family]

    def find(quantity: str, norm: str, lr: float, layer: int | None) -> Trace | None:
        curve = paper.first_curve(family, quantity, norm, lr, layer)
        if curve is None:
            return None
        x = np.arange(curve.x[0], curve.x[-1] + experiment.every / 2, experiment.every)
        return Trace(x, *curve.at(np.minimum(x, curve.x[-1]), QUANTITIES[quantity].log))

    return Source(experiment.steps, find)


def _shift(column: str) -> Callable[[Run, int | None], Trace]:
    """Median over the layer's units of the change between successive recorded steps."""

    def trace(run: Run, layer: int | None) -> Trace:
        assert layer is not None
        every = int(run.option("probes.moments.every"))
        stride = every * max(1, round(run.steps / POINTS / every))
        wanted = range(0, run.steps + 1, stride)
        frame = read.rows(run, "moments", ["step", "unit", column], layer=layer, step=wanted)
        table = frame.drop_duplicates(["step", "unit"]).pivot(index="step", columns="unit")
        change = np.abs(np.diff(table.to_numpy(dtype=np.float64), axis=0))
        median = np.median(change, axis=1) if change.size else np.empty(0)
        x = table.index.to_numpy(dtype=np.float64)[1:]
        return Trace(x, median, median, run.state == "diverged")

    return trace


QUANTITIES: dict[str, Quantity] = {
    quantity.name: quantity
    for quantity in (
        *q.paper_quantities().values(),
        Quantity("abs_mean_step_change", "moments", "", _shift("mean"), log=True),
        Quantity("abs_var_step_change", "moments", "", _shift("var"), log=True),
        *(q.beta_from(multiple) for multiple in (0.125, 0.25, 0.5)),
        q.BETA_0,
        q.BETA_0_SCALED,
        q.SHARPNESS,
    )
}
"""Every quantity by name; those that the paper plots are called as its curves are."""
