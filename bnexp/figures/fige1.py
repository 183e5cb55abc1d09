"""Figure E1, ours: do the plateaus of beta and sharpness follow the learning rate or the norm?"""

from __future__ import annotations

import math

import numpy as np

from bnexp.analysis import quantities as q
from bnexp.analysis.quantities import Quantity
from bnexp.analysis.scales import DLN, LP
from bnexp.analysis.select import Selection, needs
from bnexp.figures.page import Page, figure, letters, plateau
from bnexp.figures.style import short

_LRS = (1e-7, 3e-7, 1e-6, 3e-6)
EDGE = 0.1
"""Decades within which beta counts as being at 2/lr."""


def by_edge(quantity: Quantity) -> Quantity:
    """The quantity in units of 2/lr."""
    return q.scaled(quantity, lambda run: run.lr / 2, f"{quantity.label} / (2/lr)")


@figure(
    "E1",
    "Does effective β measure the normalisation, or the learning rate? (DLN)",
    needs("figE1", DLN.family, LP, _LRS, {"smoothness": "upper row", "sharpness": "lower row"}),
)
def fig_e1(page: Page) -> None:
    """Upper row: effective beta; lower: sharpness; both in units of 2/lr, a column per lr."""
    lrs = page.selection.lrs(DLN.family)
    page.height = 4.2
    grid = page.figure.subplots(2, len(lrs), sharex=True, sharey="row", squeeze=False)
    for row, quantity in enumerate((by_edge(q.BETA), by_edge(q.SHARPNESS))):
        panels = []
        for axes, lr in zip(grid[row], lrs, strict=True):
            letter = letters(len(page.panels))
            title = f"({letter}) lr {lr:g}"
            panels.append(page.panel(axes, letter, quantity, DLN.family, lrs=[lr], title=title))
            panels[-1].reference("2/lr", 1.0, "2/lr")
            panels[-1].siblings = panels
    page.remarks += sentences(page.selection)


def sentences(selection: Selection) -> list[str]:
    """What the runs show, in two sentences made from the numbers."""
    norms, lrs = selection.norms(DLN.family), selection.lrs(DLN.family)
    beta = np.array(
        [
            [
                plateau(selection.runs(DLN.family, n, lr, "smoothness"), by_edge(q.BETA))
                for lr in lrs
            ]
            for n in norms
        ]
    )
    known = ~np.isnan(beta)
    if not known.any():
        return []
    ranges = []
    for norm, row in zip(norms, beta, strict=True):
        if len(values := row[~np.isnan(row)]):
            ends = dict.fromkeys(f"{value:.2g}" for value in (values.min(), values.max()))
            ranges.append(f"{' to '.join(ends)} ({short(norm)})")
    first = (
        "Over the last half of the run, effective β in units of 2/lr is, from the least to the "
        f"greatest over learning rates (medians over seeds): {', '.join(ranges)}."
    )
    edge = np.abs(np.log10(beta[known])) < EDGE
    second = f"It is within {10**EDGE - 1:.0%} of 2/lr in {edge.sum()} of {edge.size} kinds of runs"
    spans = [
        values.max() / values.min()
        for column in beta.T
        if len(values := column[~np.isnan(column)]) > 1
    ]
    if spans and math.isfinite(most := max(spans)):
        second += f", and at one learning rate the normalisations differ by a factor of {most:.2g}"
    return [first, f"{second}."]
