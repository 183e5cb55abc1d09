"""Figure E2, ours: is the VGG's flat effective beta saturation of the grid, or 2/lr?"""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from bnexp.analysis.quantities import beta_from
from bnexp.analysis.scales import BOTH, VGG
from bnexp.analysis.select import Selection, needs
from bnexp.analysis.summaries import last_half, median, median_of
from bnexp.figures.panel import Panel
from bnexp.figures.sheet import sheet
from bnexp.figures.style import Look, short
from bnexp.registry import FIGURES
from bnexp.runs import Run

TITLE = "Is the flat effective β of Fig 4c the grid's end, 1/ηₘᵢₙ, or 2/lr? (VGG)"
NEEDS = needs("figE2", VGG.family, BOTH, (VGG.lr, 0.03), {"landscape": "a b c d"}, least_eta=0.125)
_GRIDS = {
    0.125: Look("#332288", "-", "ηₘᵢₙ = lr/8"),
    0.25: Look("#117733", (0.0, (6.0, 1.2)), "ηₘᵢₙ = lr/4"),
    0.5: Look("#CC6677", (0.0, (2.0, 1.0)), "ηₘᵢₙ = lr/2, the paper's"),
}


@FIGURES.register("E2", title=TITLE, recipes=("figE2",), needs=NEEDS)
def draw(selection: Selection, paper: bool) -> Figure:  # noqa: ARG001  the paper has no such figure
    """A panel per net and learning rate: effective beta with each grid, and where each ends."""
    norms, lrs = selection.norms(VGG.family), selection.lrs(VGG.family)
    page = sheet("E2", TITLE, 4.2, selection, False, list(_GRIDS.values()), sentences(selection))
    grid = page.body.subplots(len(lrs), len(norms), squeeze=False)
    for row, lr in enumerate(lrs):
        for column, norm in enumerate(norms):
            axes, letter = grid[row, column], chr(ord("a") + len(norms) * row + column)
            runs = selection.runs(VGG.family, norm, lr, "landscape")
            panel = Panel(axes, True, selection.steps(VGG.family))
            axes.set_label(f"{letter}:beta")
            axes.set_ylabel("effective β-smoothness")
            page.head(axes, f"({letter}) {short(norm)}, lr {lr:g}", VGG.family)
            for multiple, its_look in _GRIDS.items():
                traces = [beta_from(multiple).trace(run, None) for run in runs]
                panel.add(f"{multiple:g}", its_look, traces, filled=False)
            for multiple in _GRIDS:
                end = f"1/ηₘᵢₙ = {1 / multiple:g}/lr" + " = 2/lr" * (multiple == _SAME)
                panel.reference(f"1/eta_min {multiple:g}", 1 / (multiple * lr), end)
            if not panel.ours:
                panel.say("no runs")
            if row:
                axes.set_xlabel("steps")
            page.panels.append(panel)
    return page.finish()


_SAME = 0.5
"""The multiple of lr at which 1/eta_min is 2/lr: the paper's, so that its plot cannot tell."""


def sentences(selection: Selection) -> list[str]:
    """What the runs show, in two sentences made from the numbers."""
    moved, edges = [], []
    for lr in selection.lrs(VGG.family):
        for norm in selection.norms(VGG.family):
            runs = selection.runs(VGG.family, norm, lr, "landscape")
            fine, coarse = _plateau(runs, 0.125), _plateau(runs, 0.5)
            if math.isnan(fine) or math.isnan(coarse):
                continue
            moved.append(f"{fine / coarse:.2f} ({short(norm)}, lr {lr:g})")
            edges.append(f"{fine * lr / 8:.2f}, {fine * lr / 2:.2f}")
    if not moved:
        return []
    return [
        "Beginning the grid at lr/8 instead of lr/2 multiplies effective β over the last half of "
        f"the run (medians over seeds) by {', '.join(moved)}: saturation would give 4, the edge of "
        "stability 1.",
        f"With the finer grid it is, in units of 1/ηₘᵢₙ and of 2/lr: {'; '.join(edges)}.",
    ]


def _plateau(runs: Sequence[Run], multiple: float) -> float:
    beta = beta_from(multiple)
    return median_of([median(last_half(beta.trace(run, None), run.steps)) for run in runs])
