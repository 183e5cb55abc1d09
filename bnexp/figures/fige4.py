"""Figure E4, ours: what is left of claim 4 as eta -> 0, per ||w||, and at equal loss."""

from __future__ import annotations

import math

from matplotlib.axes import Axes

from bnexp.analysis import quantities as q
from bnexp.analysis.scales import BOTH, DLN, VGG
from bnexp.analysis.select import Selection, needs
from bnexp.analysis.summaries import (
    falling,
    first_third,
    log_ratio,
    median,
    median_of,
    ratio_at_equal_loss,
)
from bnexp.figures.page import Page, figure, letters
from bnexp.figures.panel import say
from bnexp.figures.style import look, set_log_ticks

_TABLES = {"curvature": "all", "train": "c f"}


@figure(
    "E4",
    "Effective β where neither grid nor learning rate can bound it: as η → 0",
    needs("figE4a", VGG.family, BOTH, [VGG.lr], _TABLES)
    + needs("figE4b", DLN.family, BOTH, [DLN.lr], _TABLES),
)
def fig_e4(page: Page) -> None:
    """A row per net: beta as eta -> 0, the same at distances relative to ||w||, against loss."""
    page.height = 2.2 * len(page.families)
    grid = page.figure.subplots(len(page.families), 3, squeeze=False)
    for row, family in enumerate(page.families):
        lr = page.selection.lrs(family)[0]
        for axes, quantity in zip(grid[row], (q.BETA_0, q.BETA_0_SCALED), strict=False):
            letter = letters(len(page.panels) + row)
            title = f"({letter}) {family.upper()}, lr {lr:g}"
            page.panel(axes, letter, quantity, family, title=title)
        _at_equal_loss(page, grid[row, 2], letters(len(page.panels) + row), family, lr)
    page.remarks += sentences(page.selection)


def _at_equal_loss(page: Page, axes: Axes, letter: str, family: str, lr: float) -> None:
    """Beta against the least loss so far, from right to left as training goes; a line per seed."""
    axes.set_label(f"{letter}:beta_against_loss")
    axes.set(title=f"({letter}) at equal loss", xlabel="least train loss so far")
    axes.set(xscale="log", yscale="log", ylabel=q.BETA_0.label)
    for norm in page.selection.norms(family):
        for run in page.selection.runs(family, norm, lr, "curvature"):
            loss, beta = falling(q.TRAIN_LOSS.trace(run, None), q.BETA_0.trace(run, None))
            axes.plot(
                loss, beta, color=look(norm).colour, linewidth=0.6, alpha=0.6,
                gid=f"line:{norm}:{run.seed}",
            )  # fmt: skip
    if not axes.lines:
        say(axes, "no runs")
        return
    set_log_ticks(axes.xaxis, *axes.get_xlim(), 4)
    set_log_ticks(axes.yaxis, *axes.get_ylim(), 6)
    axes.invert_xaxis()


def sentences(selection: Selection) -> list[str]:
    """What the runs show, a sentence per net made from the numbers; pairs share a seed."""
    words = []
    for family in selection.families:
        lr = selection.lrs(family)[0]
        none, bn = (
            {r.seed: r for r in selection.runs(family, norm, lr, "curvature")} for norm in BOTH
        )
        pairs = [(none[seed], bn[seed]) for seed in sorted(none.keys() & bn.keys())]

        def early(quantity: q.Quantity) -> list[list[float]]:
            return [
                [median(first_third(quantity.trace(run, None), run.steps)) for run in pair]
                for pair in pairs  # noqa: B023
            ]

        ratios, scaled = (
            median_of([log_ratio(*pair) for pair in early(quantity)])
            for quantity in (q.BETA_0, q.BETA_0_SCALED)
        )
        nets = [
            [(q.TRAIN_LOSS.trace(run, None), q.BETA_0.trace(run, None)) for run in pair]
            for pair in pairs
        ]
        equal = median_of([ratio_at_equal_loss(*pair) for pair in nets])
        if math.isnan(ratios):
            continue
        at_loss = "not to be compared" if math.isnan(equal) else f"times {10**equal:.2g}"
        words.append(
            f"As η → 0, the {family.upper()}'s β without BN is that with BN times {10**ratios:.2g} "
            f"in the first third of the run, times {10**scaled:.2g} at distances relative to ‖w‖, "
            f"and {at_loss} at equal loss (medians over seeds)."
        )
    return words
