"""Reads what figures need from the tables of a run, and just these columns and rows.

The landscape is taken over the paper's grid of step sizes (Appendix A.2.2): bands are min to max,
effective beta-smoothness is the max. Table ``smoothness`` has both over all step sizes of the run;
where the run's grid is finer, they are made of table ``landscape``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import wraps
from typing import Any

import numpy as np
import pandas as pd

from bnexp.analysis.scales import DLN, eta_multiples, is_among
from bnexp.analysis.series import Array, Trace
from bnexp.runs import Run

History = dict[int, Array]
"""A unit's values by step."""


def once(reader: Callable[[Run, int | None], Trace]) -> Callable[[Run, int | None], Trace]:
    """``reader``, whose traces each run remembers: many figures and claims ask for the same."""
    if hasattr(reader, "__wrapped__"):
        return reader

    @wraps(reader)
    def remembered(run: Run, layer: int | None) -> Trace:
        key = reader, layer
        if key not in run.memory:
            run.memory[key] = reader(run, layer)
        trace: Trace = run.memory[key]
        return trace

    return remembered


def rows(
    run: Run, table: str, columns: list[str], **where: int | str | Collection[int]
) -> pd.DataFrame:
    """The columns of the rows that satisfy `where` (a value, or a collection to be in), by step.

    Raises:
        UserError: a part is damaged or lacks a column; the message names it.
    """
    return run.table(table, columns, **where)


def floats(column: Any) -> Array:
    """A column of a table as an array of float64."""
    return np.asarray(column, dtype=np.float64)


def trace(run: Run, x: Any, lo: Any, hi: Any = None) -> Trace:
    """A line of the run, or a band where ``hi`` is given."""
    y, of = floats(lo), (run.norm, run.lr, run.seed)
    return Trace(floats(x), y, y if hi is None else floats(hi), run.state == "diverged", of)


def line(run: Run, table: str, column: str, **where: int | str) -> Trace:
    """One column against the step."""
    frame = rows(run, table, ["step", column], **where)
    return trace(run, frame["step"], frame[column])


def eta_band(run: Run, column: str) -> Trace:
    """Min to max over eta of a column of table ``landscape``, by step."""
    if _grid_is_papers(run) and column in ("loss", "predictiveness"):
        lo, hi = f"{column}_min", f"{column}_max"
        frame = rows(run, "smoothness", ["step", lo, hi])
        return trace(run, frame["step"], frame[lo], frame[hi])
    step, _, values = points(run, column, eta_multiples(run))
    return trace(run, step, values.min(axis=1), values.max(axis=1))


def beta(run: Run, least: float = 0.0, where: bool = False) -> Trace:
    """Effective beta-smoothness, the max of beta over the grid, or the eta ``where`` it is reached.

    With ``least``, over all step sizes of the run that are at least ``least`` times lr.
    """
    if not least and _grid_is_papers(run):
        return line(run, "smoothness", "beta_eta" if where else "beta")
    measured = sorted(map(float, run.option("probes.landscape.etas")))
    grid = [eta for eta in measured if eta >= least * (1 - 1e-6)] if least else eta_multiples(run)
    step, etas, values = points(run, "beta", grid)
    best = values.argmax(axis=1)[:, None]
    return trace(run, step, np.take_along_axis(etas if where else values, best, axis=1)[:, 0])


def points(
    run: Run, column: str, multiples: Sequence[float], steps: list[int] | None = None
) -> tuple[Array, Array, Array]:
    """Table ``landscape`` as matrices: steps (n,), step sizes (n, m), values of the column (n, m).

    At the step sizes ``multiples`` times the step's learning rate, and only at ``steps`` where
    these are given.
    """
    where = {} if steps is None else {"step": steps}
    frame = rows(run, "landscape", ["step", "eta", column], **where)
    frame = frame.drop_duplicates(["step", "eta"]).sort_values(["step", "eta"], kind="stable")
    measured = sorted(map(float, run.option("probes.landscape.etas")))
    chosen = [i for i, eta in enumerate(measured) if is_among(eta, tuple(multiples))]
    step, eta, values = (
        floats(frame[name]).reshape(-1, len(measured)) for name in ("step", "eta", column)
    )
    return step[:, 0], eta[:, chosen], values[:, chosen]


def _grid_is_papers(run: Run) -> bool:
    """Whether table ``smoothness`` of the run is over just the `eta_multiples`, or empty."""
    if "landscape" not in run.option("probes"):
        return True
    return len(run.option("probes.landscape.etas")) == len(eta_multiples(run))


def predictiveness_column(runs: Sequence[Run]) -> str:
    """The column of table ``landscape`` to compare with the paper's gradient predictiveness.

    The paper's DLN figures (10b, 11b, 13c) sum norms over the parameter tensors: that column where
    the runs are such and all have it, else the norm of the whole gradient.
    """
    summed = "predictiveness_tensors"
    papers = bool(runs) and all(
        run.family == DLN.family and summed in run.columns("landscape") for run in runs
    )
    return summed if papers else "predictiveness"


def histories(run: Run, layers: Sequence[int], amount: int) -> dict[int, History]:
    """Per layer that the run has, its unit's values at about `amount` steps spread over it.

    The table is read once for all layers: it is the largest there is.
    """
    recorded = rows(run, "activations", ["step"])["step"].unique()
    wanted = np.linspace(0, run.steps, amount + 1)
    wanted = wanted[wanted <= recorded.max()]
    nearest = np.abs(recorded[:, None] - wanted[None, :]).argmin(axis=0)
    steps = [int(step) for step in recorded[np.unique(nearest)]]
    frame = rows(run, "activations", ["step", "layer", "values"], layer=layers, step=steps)
    by_layer: dict[int, History] = {}
    for step, layer, values in zip(frame["step"], frame["layer"], frame["values"], strict=True):
        by_layer.setdefault(int(layer), {})[int(step)] = floats(values)
    return by_layer


def unit_moment(run: Run, layer: int, moment: str) -> tuple[Array, Array]:
    """Steps, and the mean or var there, of the layer's unit that table activations follows.

    Rows of the step after a scheduled one may be there too; the paper's points are the schedule.
    """
    units = rows(run, "activations", ["unit"], layer=layer, step=0)["unit"].unique().tolist()
    frame = rows(run, "moments", ["step", moment], layer=layer, unit=units)
    if len(frame):
        frame = frame[frame["step"] % int(run.option("probes.moments.every")) == 0]
    frame = frame.drop_duplicates("step")
    return floats(frame["step"]), floats(frame[moment])
