"""Figure E1, ours: do the plateaus of beta and sharpness follow the learning rate or the norm?"""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from bnexp.analysis import quantities as q
from bnexp.analysis.quantities import Quantity
from bnexp.analysis.scales import DLN, LP
from bnexp.analysis.select import Selection, needs
from bnexp.analysis.summaries import last_half, median, median_of
from bnexp.figures.sheet import sheet
from bnexp.figures.style import look, short
from bnexp.registry import FIGURES
from bnexp.runs import Run

TITLE = "Does effective β measure the normalisation, or the learning rate? (DLN)"
_LRS = (1e-7, 3e-7, 1e-6, 3e-6)
NEEDS = needs("figE1", DLN.family, LP, _LRS, {"smoothness": "upper row", "sharpness": "lower row"})
EDGE = 0.1
"""Decades within which beta counts as being at 2/lr."""


@FIGURES.register("E1", title=TITLE, recipes=("figE1",), needs=NEEDS)
def draw(selection: Selection, paper: bool) -> Figure:  # noqa: ARG001  the paper has no such figure
    """Upper row: effective beta; lower: sharpness; both in units of 2/lr, a column per lr."""
    norms, lrs = selection.norms(DLN.family), selection.lrs(DLN.family)
    entries = [look(norm) for norm in norms]
    page = sheet("E1", TITLE, 4.2, selection, False, entries, sentences(selection))
    grid = page.body.subplots(2, len(lrs), sharex=True, sharey="row", squeeze=False)
    for row, quantity in enumerate((q.beta(log=True), q.SHARPNESS)):
        panels = []
        for column, lr in enumerate(lrs):
            letter, axes = chr(ord("a") + len(lrs) * row + column), grid[row, column]
            title = f"({letter}) lr {lr:g}"
            panel = page.panel(axes, letter, by_edge(quantity), DLN.family, lrs=[lr], title=title)
            panel.reference("2/lr", 1.0, "2/lr")
            panels.append(panel)
            if column:
                axes.set_ylabel("")
            if row:
                axes.set_xlabel("steps")
        page.same_limits(panels)
    return page.finish()


def sentences(selection: Selection) -> list[str]:
    """What the runs show, in two sentences made from the numbers."""
    norms, lrs = selection.norms(DLN.family), selection.lrs(DLN.family)
    beta = {
        (norm, lr): plateau(selection.runs(DLN.family, norm, lr, "smoothness"))
        for norm in norms
        for lr in lrs
    }
    ranges = []
    for norm in norms:
        values = [beta[norm, lr] for lr in lrs if not math.isnan(beta[norm, lr])]
        if values:
            ends = dict.fromkeys(f"{value:.2g}" for value in (min(values), max(values)))
            ranges.append(f"{' to '.join(ends)} ({short(norm)})")
    if not ranges:
        return []
    first = (
        "Over the last half of the run, effective β in units of 2/lr is, from the least to the "
        f"greatest over learning rates (medians over seeds): {', '.join(ranges)}."
    )
    known = [value for value in beta.values() if not math.isnan(value)]
    at_edge = [value for value in known if abs(math.log10(value or math.nan)) < EDGE]
    spans = [_span([beta[norm, lr] for norm in norms]) for lr in lrs]
    second = (
        f"It is within {10**EDGE - 1:.0%} of 2/lr in {len(at_edge)} of {len(known)} kinds of runs"
    )
    if not all(map(math.isnan, spans)):
        most = max(span for span in spans if not math.isnan(span))
        second += f", and at one learning rate the normalisations differ by a factor of {most:.2g}"
    return [first, f"{second}."]


def by_edge(quantity: Quantity) -> Quantity:
    """The quantity in units of 2/lr."""
    return q.scaled(quantity, lambda run: run.lr / 2, f"{quantity.label} / (2/lr)")


def plateau(runs: Sequence[Run]) -> float:
    """Effective beta in units of 2/lr: median over the last half of the run, and over seeds."""
    beta = by_edge(q.beta(log=True))
    return median_of([median(last_half(beta.trace(run, None), run.steps)) for run in runs])


def _span(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return max(known) / min(known) if len(known) > 1 and min(known) > 0 else math.nan
