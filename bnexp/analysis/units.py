"""The distribution of one fixed unit per layer over training, and the shift of its moments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bnexp.analysis import read
from bnexp.analysis.series import Array, Trace
from bnexp.runs import Run


@dataclass(frozen=True)
class History:
    """A unit's values at some recorded steps of one run."""

    steps: Array
    values: tuple[Array, ...]


@dataclass(frozen=True)
class Moments:
    """A unit's mean and variance at the scheduled steps of one run."""

    steps: Array
    mean: Array
    var: Array


def histories(run: Run, layers: Sequence[int], amount: int) -> dict[int, History]:
    """Per layer that the run has, its unit's distribution at about `amount` steps spread over it.

    The table is read once for all layers: it is the largest there is.
    """
    recorded = read.steps(run, "activations")
    wanted = np.linspace(0, run.steps, amount + 1)
    wanted = wanted[wanted <= recorded[-1]]
    nearest = np.abs(recorded[:, None] - wanted[None, :]).argmin(axis=0)
    chosen = [int(step) for step in recorded[np.unique(nearest)]]
    frame = read.rows(run, "activations", ["step", "layer", "values"], layer=layers, step=chosen)
    return {
        int(str(layer)): History(
            rows["step"].to_numpy(dtype=np.float64),
            tuple(np.asarray(values, dtype=np.float64) for values in rows["values"]),
        )
        for layer, rows in frame.groupby("layer")
    }


def moments(run: Run, layers: Sequence[int]) -> dict[int, Moments]:
    """Per layer that the run has, the moments of the unit that table activations follows.

    Rows of the step after a scheduled one may be there too; the paper's points are the schedule.
    """
    columns = ["step", "layer", "unit"]
    fixed = read.rows(run, "activations", columns, layer=layers, step=0)
    units = dict(zip(map(int, fixed["layer"]), map(int, fixed["unit"]), strict=True))
    followed = sorted(set(units.values()))
    frame = read.rows(run, "moments", [*columns, "mean", "var"], unit=followed, layer=list(units))
    frame = frame[frame["step"] % int(run.option("probes.moments.every")) == 0]
    by_layer = {}
    for layer, unit in units.items():
        rows = frame[(frame["layer"] == layer) & (frame["unit"] == unit)].drop_duplicates("step")
        step, mean, var = (rows[c].to_numpy(dtype=np.float64) for c in ("step", "mean", "var"))
        if len(step):
            by_layer[layer] = Moments(step, mean, var)
    return by_layer


def shift(run: Run, unit: Moments | None, moment: str, successive: bool) -> Trace:
    """How the mean or var of a unit of the run changed since the last recorded step, or the first.

    Since the last step it is the absolute change. Empty without a unit.
    """
    diverged = run.state == "diverged"
    if unit is None:
        return Trace(np.empty(0), np.empty(0), np.empty(0), diverged)
    y = unit.mean if moment == "mean" else unit.var
    change = np.abs(np.diff(y)) if successive else y[1:] - y[0]
    return Trace(unit.steps[1:], change, change, diverged)
