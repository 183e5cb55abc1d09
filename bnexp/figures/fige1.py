"""Figure E1, ours: do the plateaus of beta and sharpness follow the learning rate or the norm?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from bnexp.analysis import quantities as q
from bnexp.analysis.select import Selection, needs
from bnexp.analysis.quantities import Quantity
from bnexp.analysis.series import Trace
from bnexp.figures.sheet import sheet
from bnexp.figures.style import look, short
from bnexp.analysis.summaries import last_half, middle
from bnexp.runs import Run

TITLE = "Does effective β measure the normalisation, or the learning rate? (DLN)"
RECIPES = ("figE1",)
_NORMS = ("none", "bn", "l1", "l2", "linf")
_LRS = (1e-7, 3e-7, 1e-6, 3e-6)
NEEDS = needs("figE1", "dln", _NORMS, _LRS, {"smoothness": "a b c d", "sharpness": "e f g h"})


def draw(selection: Selection, paper: bool) -> Figure:  # noqa: ARG001  the paper has no such figure
    """Upper row: effective beta; lower: sharpness; both in units of 2/lr, a column per lr."""
    page = sheet(
        "E1", TITLE, 4.2, selection, False, [look(norm) for norm in _NORMS], sentences(selection)
    )
    grid = page.body.subplots(2, len(_LRS), sharex=True, sharey="row")
    for row, quantity in enumerate((q.beta(log=True), q.SHARPNESS)):
        for column, lr in enumerate(_LRS):
            letter = "abcdefgh"[len(_LRS) * row + column]
            axes = grid[row, column]
            title = f"({letter}) lr {lr:g}"
            panel = page.panel(axes, letter, _by_edge(quantity), "dln", _NORMS, [lr], title=title)
            panel.reference("2/lr", 1.0, "2/lr")
            if column:
                axes.set_ylabel("")
            if row:
                axes.set_xlabel("steps")
    return page.finish()


def sentences(selection: Selection) -> list[str]:
    """What was found, in two sentences made from the numbers."""
    beta = {
        (norm, lr): _plateau(selection.runs("dln", norm, lr, "smoothness"), q.beta(log=True))
        for norm in _NORMS
        for lr in _LRS
    }
    found = []
    for norm in _NORMS:
        values = [beta[norm, lr] for lr in _LRS if not math.isnan(beta[norm, lr])]
        if values:
            told = dict.fromkeys(f"{value:.2g}" for value in (min(values), max(values)))
            found.append(f"{' to '.join(told)} ({short(norm)})")
    if not found:
        return []
    first = (
        "Over the last half of the run, effective β in units of 2/lr is, from the least to the "
        f"greatest over learning rates (medians over seeds): {', '.join(found)}."
    )
    at_edge = [key for key, value in beta.items() if abs(math.log10(value or math.nan)) < EDGE]
    known = [key for key, value in beta.items() if not math.isnan(value)]
    spans = [_span([beta[n, lr] for n in _NORMS]) for lr in _LRS]
    second = (
        f"It is within {10**EDGE - 1:.0%} of 2/lr in {len(at_edge)} of {len(known)} kinds of runs, "
        "and at one learning rate the normalisations differ by a factor of up to "
        f"{max(s for s in spans if not math.isnan(s)):.2g}."
    )
    return [first, second]


EDGE = 0.1
"""Decades within which beta counts as being at 2/lr."""


def _by_edge(quantity: Quantity) -> Quantity:
    """The quantity in units of 2/lr."""

    def trace(run: Run, layer: int | None) -> Trace:
        found = quantity.trace(run, layer)
        unit = 2 / run.lr
        return Trace(found.x, found.lo / unit, found.hi / unit, found.diverged)

    return replace(quantity, label=f"{quantity.label} / (2/lr)", trace=trace)


def _plateau(runs: Sequence[Run], quantity: Quantity) -> float:
    """Median over seeds of the median over the last half of the run, in units of 2/lr."""
    values = [middle(last_half(_by_edge(quantity).trace(run, None), run.steps)) for run in runs]
    known = [value for value in values if not math.isnan(value)]
    return float(np.median(known)) if known else math.nan


def _span(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return max(known) / min(known) if len(known) > 1 and min(known) > 0 else math.nan
