"""What claims are made of: the figures' quantities, and some that no figure of the paper shows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bnexp.analysis import quantities as q
from bnexp.analysis import read
from bnexp.analysis.quantities import Quantity
from bnexp.analysis.series import Trace
from bnexp.runs import Run

POINTS = 200
"""Recorded steps that the shift of all units is taken between, at most."""


def _shift(column: str) -> Callable[[Run, int | None], Trace]:
    """Median over the layer's units of the change between successive recorded steps."""

    def trace(run: Run, layer: int | None) -> Trace:
        assert layer is not None
        every = int(run.option("probes.moments.every"))
        kept = every * max(1, round(run.steps / POINTS / every))
        wanted = range(0, run.steps + 1, kept)
        frame = read.rows(run, "moments", ["step", "unit", column], layer=layer, step=wanted)
        table = frame.drop_duplicates(["step", "unit"]).pivot(
            index="step", columns="unit", values=column
        )
        change = np.abs(np.diff(table.to_numpy(dtype=np.float64), axis=0))
        middle = np.median(change, axis=1) if change.size else np.empty(0)
        x = table.index.to_numpy(dtype=np.float64)[1:]
        return Trace(x, middle, middle, run.state == "diverged")

    return trace


QUANTITIES: dict[str, Quantity] = {
    quantity.name: quantity
    for quantity in (
        q.TRAIN_ACCURACY,
        q.TEST_ACCURACY,
        q.TRAIN_LOSS,
        q.ICS_L2,
        q.ics_cosine(-1.0),
        q.loss_band(),
        q.predictiveness_band(log=True),
        q.beta(log=True),
        Quantity("abs_mean_step_change", "moments", "|μₜ₊₁ − μₜ|", _shift("mean"), log=True),
        Quantity("abs_var_step_change", "moments", "|σ²ₜ₊₁ − σ²ₜ|", _shift("var"), log=True),
        *(q.beta_from(multiple) for multiple in (0.125, 0.25, 0.5)),
        q.BETA_0,
        q.BETA_0_SCALED,
        q.SHARPNESS,
    )
}
"""Every quantity by name; the names of those that the paper plots are those of its curves."""
