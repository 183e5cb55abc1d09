"""How closely runs follow the paper's curves: the share of its points inside the seeds' band."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bnexp.analysis import landscape, paper
from bnexp.analysis.quantities import Quantity, paper_quantities, predictiveness_band
from bnexp.analysis.scales import eta_multiples
from bnexp.analysis.select import Need, select
from bnexp.analysis.series import Array, Trace
from bnexp.runs import Run


@dataclass(frozen=True)
class Coverage:
    """One curve of the paper beside our seeds.

    Attributes:
        points: how many of the paper's points are compared; a band has two at each step.
        inside: the share of them within our seeds' min to max.
        distance: the median over points of |log10(median of our seeds / paper)|; of accuracies and
            cosines, which may be 0 or negative, the median absolute difference.
        inferred: whether the paper prints no y labels: only the shape of its curve counts.
    """

    figure: int
    panel: str
    quantity: str
    family: str
    norm: str
    lr: float
    layer: int | None
    seeds: int
    points: int
    inside: float
    distance: float
    inferred: bool = False


def coverage(figure: int, runs: Sequence[Run], panel: str | None = None) -> list[Coverage]:
    """One entry per curve of the paper's figure (or of one panel) that some of the runs answer.

    Runs are chosen as for the figure itself, see `select`. A run's value at the paper's step is
    interpolated between recorded steps, in plotted space; the paper's points that lie before the
    run's second recorded step are compared only where their step itself was recorded, because
    the first updates change much.
    """
    quantities = paper_quantities()
    series = [s for s in paper.series_of(figure) if panel in (None, s["panel"])]
    tables = {name: quantity.table for name, quantity in quantities.items()}
    tables["gradient_difference"] = "landscape"
    needs = tuple(
        Need(f"fig{figure}", s["panel"], s["model"], s["norm"], s["lr"], tables[s["quantity"]])
        for s in series
    )
    chosen = select(needs, runs).matches
    rows = []
    for s, need in zip(series, needs, strict=True):
        if not (mine := chosen[need]):
            continue
        if s["quantity"] == "gradient_difference":
            points, inside, distances = _over_etas(figure, s, mine)
        else:
            quantity = quantities[s["quantity"]]
            if quantity.name == "gradient_predictiveness":
                quantity = predictiveness_band(True, landscape.predictiveness_column(mine))
            points, inside, distances = _over_steps(figure, s, quantity, mine)
        if not points:
            continue
        known = distances[~np.isnan(distances)]
        distance = float(np.median(known)) if len(known) else math.nan
        row = Coverage(
            figure,
            panel=s["panel"],
            quantity=s["quantity"],
            family=s["model"],
            norm=s["norm"],
            lr=s["lr"],
            layer=s["layer"],
            seeds=len(mine),
            points=points,
            inside=inside / points,
            distance=distance,
            inferred=s["inferred"],
        )
        rows.append(row)
    return rows


def compare(
    curve: paper.Curve,
    traces: Sequence[Trace],
    log: bool,
    ratio: bool,
    steps: Sequence[int] | None = None,
) -> tuple[int, int, Array]:
    """The paper's curve against one trace per seed: points compared, points inside, distances.

    Args:
        log: whether the axis is logarithmic in the paper, for interpolation.
        ratio: whether a distance is |log10(ours / paper)|, else |ours - paper|.
        steps: where to compare, brought inside the curve; None for the points of the plot.
    """
    points, inside, distances = 0, 0, [np.empty(0)]
    x = curve.x if steps is None else np.clip(np.array(steps, float), curve.x[0], curve.x[-1])
    if traces:
        recorded = np.unique(np.concatenate([trace.x for trace in traces]))
        early = recorded[1] if len(recorded) > 1 else math.inf
        x = x[(x <= recorded[-1]) & ((x >= early) | np.isin(x, recorded))]
    band = not np.array_equal(curve.lo, curve.hi)
    for edge in ("lo", "hi")[: 1 + band]:
        theirs = curve.at(x, log)[edge == "hi"]
        ours = np.array(
            [
                paper.Curve(t.x, getattr(t, edge), getattr(t, edge)).at(x, log)[0]
                for t in traces
                if len(t.x)
            ]
        ).reshape(-1, len(x))
        count, within, apart = _within(theirs, ours, ratio)
        points, inside = points + count, inside + within
        distances.append(apart)
    return points, inside, np.concatenate(distances)


def _within(theirs: Array, ours: Array, ratio: bool) -> tuple[int, int, Array]:
    """Of values of the paper (n,) and of seeds (seeds, n): compared, inside, distances."""
    known = np.isfinite(theirs) & np.isfinite(ours).any(axis=0)
    theirs, ours = theirs[known], ours[:, known]
    if not len(theirs):
        return 0, 0, np.empty(0)
    slack = 1e-9 * np.abs(theirs)
    inside = (theirs >= np.nanmin(ours, axis=0) - slack) & (
        theirs <= np.nanmax(ours, axis=0) + slack
    )
    ours = np.nanmedian(ours, axis=0)
    if not ratio:
        return len(theirs), int(inside.sum()), np.abs(ours - theirs)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.abs(np.log10(ours) - np.log10(theirs))
    return len(theirs), int(inside.sum()), apart


def _over_steps(
    figure: int, s: dict[str, object], quantity: Quantity, runs: Sequence[Run]
) -> tuple[int, int, Array]:
    panel, norm, lr, layer = str(s["panel"]), str(s["norm"]), s["lr"], s["layer"]
    assert isinstance(lr, float)
    assert layer is None or isinstance(layer, int)
    curve = paper.curve(figure, panel, quantity.name, norm, lr, layer)
    assert curve is not None
    traces = [quantity.trace(run, layer).until_diverged() for run in runs]
    return compare(curve, traces, quantity.log, quantity.ratio)


def _over_etas(figure: int, s: dict[str, object], runs: Sequence[Run]) -> tuple[int, int, Array]:
    """Fig 11: at every step that the paper shows, its points over the step sizes."""
    points, inside, distances = 0, 0, [np.empty(0)]
    column = landscape.predictiveness_column(runs)
    tables = [landscape.points(run, column, eta_multiples(run)) for run in runs]
    panel, norm, lr = str(s["panel"]), str(s["norm"]), s["lr"]
    assert isinstance(lr, float)
    for step, curve in paper.curves_by_step(figure, panel, "gradient_difference", norm, lr):
        ours = []
        for steps, etas, values in tables:
            near = int(np.abs(steps - step).argmin())
            if abs(steps[near] - step) <= 1 and len(etas) == len(curve.x):
                ours.append(values[near])
        if ours:
            count, within, apart = _within(curve.lo, np.array(ours), ratio=True)
            points, inside = points + count, inside + within
            distances.append(apart)
    return points, inside, np.concatenate(distances)
