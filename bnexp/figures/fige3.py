"""Figure E3, ours: the landscape along random directions, which sec. 3.2 speaks of (claim 6)."""

from __future__ import annotations

import math

from bnexp.analysis import quantities as q
from bnexp.analysis.scales import BOTH, DLN, EXPERIMENTS, VGG
from bnexp.analysis.select import Selection, needs
from bnexp.analysis.summaries import band_width, median, median_of
from bnexp.figures.page import Page, figure, letters

_ROWS = {
    (VGG.family, "random"): "figE3a",
    (VGG.family, "gradient"): "fig4",
    (DLN.family, "random"): "figE3b",
    (DLN.family, "gradient"): "fig10",
}
"""Network and direction, and the recipe of the runs."""


@figure(
    "E3",
    "Along random directions of the gradient's length, and along the gradient",
    [
        need
        for (family, along), recipe in _ROWS.items()
        for need in needs(
            recipe, family, BOTH, [EXPERIMENTS[family].lr], {"smoothness": "all"}, along
        )
    ],
)
def fig_e3(page: Page) -> None:
    """A row per net and direction: the bands of loss and gradient change over eta, and beta."""
    rows = [key for key in _ROWS if key[0] in page.families]
    page.height = 1.85 * len(rows)
    quantities = q.LOSS_BAND, q.predictiveness_band(log=True), q.BETA
    for row, (family, along) in zip(
        page.figure.subplots(len(rows), 3, squeeze=False), rows, strict=True
    ):
        for axes, quantity in zip(row, quantities, strict=True):
            letter = letters(len(page.panels))
            title = f"({letter}) {family.upper()}, {along}"
            panel = page.panel(axes, letter, quantity, family, title=title, direction=along)
        for lr in page.selection.lrs(family):
            panel.reference("2/lr", 2 / lr, "2/lr")
    page.remarks += sentences(page.selection)


def sentences(selection: Selection) -> list[str]:
    """What the runs show, in two sentences made from the numbers."""
    bands, betas = [], []
    for family, along in _ROWS:
        for lr in selection.lrs(family)[:1]:
            runs = [selection.runs(family, norm, lr, "smoothness", along) for norm in BOTH]
            widths = [
                median_of([band_width(q.LOSS_BAND.trace(run, None)) for run in r]) for r in runs
            ]
            none, bn = (median_of([median(q.BETA.trace(run, None)) for run in r]) for r in runs)
            if not any(map(math.isnan, widths)):
                kind = f"({family.upper()}, {along})"
                bands.append(f"{widths[0]:.2g} and {widths[1]:.2g} {kind}")
                betas.append(f"{none / bn:.2g} {kind}" if bn else f"- {kind}")
    if not bands:
        return []
    return [
        "The loss spans over η, in decades without and with BN (medians over steps and seeds): "
        f"{', '.join(bands)}.",
        f"Effective β without BN is that with BN times {', '.join(betas)}.",
    ]
