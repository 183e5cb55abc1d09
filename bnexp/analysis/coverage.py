"""How closely runs follow the paper's curves: the share of its points inside the seeds' band."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bnexp.analysis import paper, read
from bnexp.analysis.quantities import paper_quantities, predictiveness_band
from bnexp.analysis.scales import eta_multiples
from bnexp.analysis.select import Need, select
from bnexp.analysis.series import Array, Trace
from bnexp.analysis.summaries import median_of
from bnexp.runs import Run

Compared = tuple[int, int, Array]
"""Points compared, points of them inside the seeds' min to max, distances."""


def coverage(figure: int, runs: Sequence[Run]) -> pd.DataFrame:
    """One row per curve of the paper's figure that some of the runs answer.

    Runs are chosen as for the figure itself, see `select`. A run's value at the paper's step is
    interpolated between recorded steps, in plotted space; the paper's points that lie before the
    run's second recorded step are compared only where their step itself was recorded, because
    the first updates change much.

    Returns:
        By panel, quantity, model, norm, lr and layer: ``inferred``, whether the paper prints no y
        labels, so that only the shape of its curve counts; ``seeds``; ``points``, how many of the
        paper's points are compared (a band has two at each step); ``inside``, the share of them
        within our seeds' min to max; ``distance``, the median over points of
        |log10(median of our seeds / paper)|, for accuracies and cosines, which may be 0 or
        negative, the median absolute difference.
    """
    tables = {name: quantity.table for name, quantity in paper_quantities().items()}
    tables["gradient_difference"] = "landscape"
    series = paper.series_of(figure)
    kinds = [(s["model"], s["norm"], s["lr"], tables[s["quantity"]]) for s in series]
    chosen = select([Need("", *kind) for kind in kinds], runs)
    rows = []
    for s, kind in zip(series, kinds, strict=True):
        if mine := chosen.runs(*kind):
            over = _over_etas if s["quantity"] == "gradient_difference" else _over_steps
            points, inside, apart = over(figure, s, mine)
            if points:
                result = {"points": points, "inside": inside / points, "distance": median_of(apart)}
                rows.append({**s, "seeds": len(mine), **result})
    return pd.DataFrame(rows)


def compare(
    curve: Trace,
    traces: Sequence[Trace],
    log: bool,
    ratio: bool,
    steps: Sequence[int] | None = None,
) -> Compared:
    """The paper's curve against one trace per seed.

    Args:
        log: whether the axis is logarithmic in the paper, for interpolation.
        ratio: whether a distance is |log10(ours / paper)|, else |ours - paper|.
        steps: where to compare, brought inside the curve; None for the points of the plot.
    """
    if not (traces := [trace for trace in traces if len(trace.x)]):
        return 0, 0, np.empty(0)
    x = curve.x if steps is None else np.clip(np.array(steps, float), curve.x[0], curve.x[-1])
    recorded = np.unique(np.concatenate([trace.x for trace in traces]))
    early = recorded[1] if len(recorded) > 1 else math.inf
    x = x[(x <= recorded[-1]) & ((x >= early) | np.isin(x, recorded))]
    edges = 1 if np.array_equal(curve.lo, curve.hi) else 2
    theirs, *ours = (np.concatenate(line.at(x, log)[:edges]) for line in (curve, *traces))
    return _within(theirs, np.array(ours), ratio)


def _within(theirs: Array, ours: Array, ratio: bool) -> Compared:
    """Of values of the paper (n,) and of seeds (seeds, n)."""
    known = np.isfinite(theirs) & np.isfinite(ours).any(axis=0)
    if not known.any():
        return 0, 0, np.empty(0)
    theirs, ours = theirs[known], ours[:, known]
    slack = 1e-9 * np.abs(theirs)
    least, most = np.nanmin(ours, axis=0) - slack, np.nanmax(ours, axis=0) + slack
    ours = np.nanmedian(ours, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.abs(np.log10(ours) - np.log10(theirs) if ratio else ours - theirs)
    return len(theirs), int(((theirs >= least) & (theirs <= most)).sum()), apart


def _over_steps(figure: int, s: dict[str, Any], runs: Sequence[Run]) -> Compared:
    quantity = paper_quantities()[s["quantity"]]
    if quantity.name == "gradient_predictiveness":
        quantity = predictiveness_band(read.predictiveness_column(runs))
    curve = paper.curve(figure, s["panel"], quantity.name, s["norm"], s["lr"], s["layer"])
    assert curve is not None
    traces = [quantity.trace(run, s["layer"]).until_diverged() for run in runs]
    return compare(curve, traces, quantity.log, quantity.ratio)


def _over_etas(figure: int, s: dict[str, Any], runs: Sequence[Run]) -> Compared:
    """Fig 11: at every step that the paper shows, its points over the step sizes."""
    column = read.predictiveness_column(runs)
    tables = [read.points(run, column, eta_multiples(run)) for run in runs]
    theirs, ours = [], []
    for step, curve in paper.curves_by_step(figure, s["panel"], s["quantity"], s["norm"], s["lr"]):
        here = np.full((len(runs), len(curve.x)), np.nan)
        for row, (steps, _, values) in zip(here, tables, strict=True):
            near = int(np.abs(steps - step).argmin())
            if abs(steps[near] - step) <= 1 and values.shape[1] == len(curve.x):
                row[:] = values[near]
        theirs.append(curve.lo)
        ours.append(here)
    return _within(np.concatenate(theirs), np.concatenate(ours, axis=1), ratio=True)
