"""The distribution of one fixed unit per layer over training, and the shift of its moments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from bnexp.analysis import read
from bnexp.analysis.series import Array, Trace
from bnexp.runs import Run

History = dict[int, Array]
"""A unit's values by step."""


def histories(run: Run, layers: Sequence[int], amount: int) -> dict[int, History]:
    """Per layer that the run has, its unit's values at about `amount` steps spread over it.

    The table is read once for all layers: it is the largest there is.
    """
    recorded = read.rows(run, "activations", ["step"])["step"].unique()
    wanted = np.linspace(0, run.steps, amount + 1)
    wanted = wanted[wanted <= recorded.max()]
    nearest = np.abs(recorded[:, None] - wanted[None, :]).argmin(axis=0)
    steps = [int(step) for step in recorded[np.unique(nearest)]]
    frame = read.rows(run, "activations", ["step", "layer", "values"], layer=layers, step=steps)
    by_layer: dict[int, History] = {}
    for step, layer, values in zip(frame["step"], frame["layer"], frame["values"], strict=True):
        by_layer.setdefault(int(layer), {})[int(step)] = read.floats(values)
    return by_layer


def moments(run: Run, layers: Sequence[int]) -> dict[int, pd.DataFrame]:
    """Per layer that the run has, step, mean and var of the unit that table activations follows.

    Rows of the step after a scheduled one may be there too; the paper's points are the schedule.
    """
    key = ["layer", "unit"]
    units = read.rows(run, "activations", ["step", *key], layer=layers, step=0)[key]
    wanted = {name: units[name].unique().tolist() for name in key}
    frame = read.rows(run, "moments", ["step", *key, "mean", "var"], **wanted)
    frame = frame[frame["step"] % int(run.option("probes.moments.every")) == 0]
    followed = frame.merge(units.drop_duplicates(), on=key).drop_duplicates(["layer", "step"])
    return {int(str(layer)): rows for layer, rows in followed.groupby("layer")}


def shift(run: Run, unit: pd.DataFrame | None, moment: str, successive: bool) -> Trace:
    """How the mean or var of a unit of the run changed since the last recorded step, or the first.

    Since the last step it is the absolute change. Empty without a unit.
    """
    x, y = (np.empty(0) if unit is None else read.floats(unit[c]) for c in ("step", moment))
    change = np.abs(np.diff(y)) if successive else y[1:] - y[:1]
    return Trace(x[1:], change, change, run.state == "diverged")
