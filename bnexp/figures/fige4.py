"""Figure E4, ours: what is left of claim 4 as eta -> 0, per ||w||, and at equal loss."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnexp.analysis import quantities as q
from bnexp.figures.axis import set_log_ticks
from bnexp.analysis.select import Selection, needs
from bnexp.figures.panel import say
from bnexp.analysis.quantities import Quantity
from bnexp.figures.sheet import Sheet, sheet
from bnexp.figures.style import look
from bnexp.analysis.summaries import falling, first_third, log_ratio, middle, ratio_at_equal_loss

TITLE = "Effective β where neither grid nor learning rate can bound it: as η → 0"
RECIPES = ("figE4a", "figE4b")
_NORMS = ("none", "bn")
_RATES = {"vgg": 0.1, "dln": 1e-6}
NEEDS = tuple(
    need
    for recipe, (family, lr) in zip(RECIPES, _RATES.items(), strict=True)
    for need in needs(recipe, family, _NORMS, [lr], {"curvature": "all", "train": "c f"})
)


def draw(selection: Selection, paper: bool) -> Figure:  # noqa: ARG001  the paper has no such figure
    """A row per net: beta as eta -> 0, the same at distances relative to ||w||, against loss."""
    page = sheet(
        "E4", TITLE, 4.4, selection, False, [look(norm) for norm in _NORMS], sentences(selection)
    )
    grid = page.body.subplots(len(_RATES), 3, squeeze=False)
    for row, (family, lr) in enumerate(_RATES.items()):
        for column, quantity in enumerate((q.BETA_0, q.BETA_0_SCALED)):
            axes, letter = grid[row, column], "abcdef"[3 * row + column]
            title = f"({letter}) {family.upper()}, lr {lr:g}"
            page.panel(axes, letter, quantity, family, _NORMS, [lr], title=title)
            axes.set_xlabel("steps")
        letter = "abcdef"[3 * row + 2]
        _at_equal_loss(page, grid[row, 2], letter, family, lr)
    return page.finish()


def sentences(selection: Selection) -> list[str]:
    """What was found, in two sentences made from the numbers: one per net."""
    told = []
    for family, lr in _RATES.items():
        early = _ratio(selection, q.BETA_0, family, lr)
        scaled = _ratio(selection, q.BETA_0_SCALED, family, lr)
        equal = _ratio_at_equal_loss(selection, family, lr)
        if math.isnan(early):
            continue
        told.append(
            f"As η → 0, the {family.upper()}'s β without BN is that with BN times "
            f"{10**early:.2g} in the first third of the run, times {10**scaled:.2g} at distances "
            f"relative to ‖w‖, and {_times(equal)} at equal loss (medians over seeds)."
        )
    return told


def _times(decades: float) -> str:
    return "not to be compared" if math.isnan(decades) else f"times {10**decades:.2g}"


def _pairs(selection: Selection, table: str, family: str, lr: float) -> list[tuple[int, list]]:  # type: ignore[type-arg]
    by_norm = [
        {run.seed: run for run in selection.runs(family, norm, lr, table)} for norm in _NORMS
    ]
    shared = sorted(set(by_norm[0]) & set(by_norm[1]))
    return [(seed, [runs[seed] for runs in by_norm]) for seed in shared]


def _ratio(selection: Selection, quantity: Quantity, family: str, lr: float) -> float:
    """Median over seeds of log10 of the ratio of medians over the first third, none over BN."""
    found = []
    for _, runs in _pairs(selection, "curvature", family, lr):
        none, bn = (middle(first_third(quantity.trace(run, None), run.steps)) for run in runs)
        found.append(log_ratio(none, bn))
    return _median(found)


def _ratio_at_equal_loss(selection: Selection, family: str, lr: float) -> float:
    found = []
    for _, runs in _pairs(selection, "curvature", family, lr):
        none, bn = ((q.TRAIN_LOSS.trace(r, None), q.BETA_0.trace(r, None)) for r in runs)
        found.append(ratio_at_equal_loss(none, bn))
    return _median(found)


def _at_equal_loss(page: Sheet, axes: Axes, letter: str, family: str, lr: float) -> None:
    """Beta against the least loss so far, from right to left as training goes; a line per seed."""
    axes.set_label(f"{letter}:beta_against_loss")
    page.head(axes, f"({letter}) at equal loss", family)
    axes.set_xlabel("least train loss so far")
    axes.set_ylabel(q.BETA_0.label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    for norm in _NORMS:
        its_look = look(norm)
        for run in page.selection.runs(family, norm, lr, "curvature"):
            loss, beta = falling(q.TRAIN_LOSS.trace(run, None), q.BETA_0.trace(run, None))
            axes.plot(
                loss, beta, color=its_look.colour, linestyle="-", linewidth=0.6, alpha=0.6,
                gid=f"line:{norm}:{run.seed}",
            )  # fmt: skip
    if axes.lines:
        set_log_ticks(axes.xaxis, *axes.get_xlim(), 4)
        set_log_ticks(axes.yaxis, *axes.get_ylim(), 6)
        axes.invert_xaxis()
    else:
        say(axes, "no runs")


def _median(values: list[float]) -> float:
    known = np.array([value for value in values if not math.isnan(value)])
    return float(np.median(known)) if len(known) else math.nan
