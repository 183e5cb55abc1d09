"""Figure E4, ours: what is left of claim 4 as eta -> 0, per ||w||, and at equal loss."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnexp.analysis import quantities as q
from bnexp.analysis.scales import BOTH, DLN, EXPERIMENTS, VGG
from bnexp.analysis.select import Selection, needs
from bnexp.analysis.summaries import (
    falling,
    first_third,
    log_ratio,
    median,
    median_of,
    ratio_at_equal_loss,
)
from bnexp.figures.axis import set_log_ticks
from bnexp.figures.panel import say
from bnexp.figures.sheet import Sheet, sheet
from bnexp.figures.style import look
from bnexp.registry import FIGURES
from bnexp.runs import Run

TITLE = "Effective β where neither grid nor learning rate can bound it: as η → 0"
_RECIPES = {VGG.family: "figE4a", DLN.family: "figE4b"}
NEEDS = tuple(
    need
    for family, recipe in _RECIPES.items()
    for need in needs(
        recipe, family, BOTH, [EXPERIMENTS[family].lr], {"curvature": "all", "train": "c f"}
    )
)


@FIGURES.register("E4", title=TITLE, recipes=tuple(_RECIPES.values()), needs=NEEDS)
def draw(selection: Selection, paper: bool) -> Figure:  # noqa: ARG001  the paper has no such figure
    """A row per net: beta as eta -> 0, the same at distances relative to ||w||, against loss."""
    families = selection.drawn_families
    entries = [look(norm) for norm in selection.norms(families[0])]
    page = sheet("E4", TITLE, 2.2 * len(families), selection, False, entries, sentences(selection))
    grid = page.body.subplots(len(families), 3, squeeze=False)
    for row, family in enumerate(families):
        for column, quantity in enumerate((q.BETA_0, q.BETA_0_SCALED)):
            axes, letter = grid[row, column], "abcdef"[3 * row + column]
            title = f"({letter}) {family.upper()}, lr {selection.lrs(family)[0]:g}"
            page.panel(axes, letter, quantity, family, title=title)
            axes.set_xlabel("steps")
        _at_equal_loss(page, grid[row, 2], "abcdef"[3 * row + 2], family)
    return page.finish()


def sentences(selection: Selection) -> list[str]:
    """What the runs show, a sentence per net made from the numbers."""
    words = []
    for family in selection.families:
        pairs = _pairs(selection, family)
        early, scaled = (
            median_of([log_ratio(*(_early(quantity, run) for run in pair)) for pair in pairs])
            for quantity in (q.BETA_0, q.BETA_0_SCALED)
        )
        equal = median_of([_at_same_loss(*pair) for pair in pairs])
        if math.isnan(early):
            continue
        words.append(
            f"As η → 0, the {family.upper()}'s β without BN is that with BN times "
            f"{10**early:.2g} in the first third of the run, times {10**scaled:.2g} at distances "
            f"relative to ‖w‖, and {_times(equal)} at equal loss (medians over seeds)."
        )
    return words


def _times(decades: float) -> str:
    return "not to be compared" if math.isnan(decades) else f"times {10**decades:.2g}"


def _pairs(selection: Selection, family: str) -> list[tuple[Run, Run]]:
    """Runs without and with BN that share a seed."""
    lr = selection.lrs(family)[0]
    none, bn = (
        {run.seed: run for run in selection.runs(family, norm, lr, "curvature")} for norm in BOTH
    )
    return [(none[seed], bn[seed]) for seed in sorted(none.keys() & bn.keys())]


def _early(quantity: q.Quantity, run: Run) -> float:
    return median(first_third(quantity.trace(run, None), run.steps))


def _at_same_loss(none: Run, bn: Run) -> float:
    nets = [(q.TRAIN_LOSS.trace(run, None), q.BETA_0.trace(run, None)) for run in (none, bn)]
    return ratio_at_equal_loss(*nets)


def _at_equal_loss(page: Sheet, axes: Axes, letter: str, family: str) -> None:
    """Beta against the least loss so far, from right to left as training goes; a line per seed."""
    axes.set_label(f"{letter}:beta_against_loss")
    page.head(axes, f"({letter}) at equal loss", family)
    axes.set_xlabel("least train loss so far")
    axes.set_ylabel(q.BETA_0.label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    lr = page.selection.lrs(family)[0]
    for norm in page.selection.norms(family):
        colour = look(norm).colour
        for run in page.selection.runs(family, norm, lr, "curvature"):
            loss, beta = falling(q.TRAIN_LOSS.trace(run, None), q.BETA_0.trace(run, None))
            axes.plot(
                loss, beta, color=colour, linestyle="-", linewidth=0.6, alpha=0.6,
                gid=f"line:{norm}:{run.seed}",
            )  # fmt: skip
    if axes.lines:
        set_log_ticks(axes.xaxis, *axes.get_xlim(), 4)
        set_log_ticks(axes.yaxis, *axes.get_ylim(), 6)
        axes.invert_xaxis()
    else:
        say(axes, "no runs")
