"""Figure E2, ours: is the VGG's flat effective beta saturation of the grid, or 2/lr?"""

from __future__ import annotations

import math

from bnexp.analysis.quantities import BETA, beta_from
from bnexp.analysis.scales import BOTH, VGG
from bnexp.analysis.select import Selection, needs
from bnexp.figures.page import Page, figure, letters, plateau
from bnexp.figures.panel import Panel, say
from bnexp.figures.style import Look, short

_GRIDS = {
    0.125: Look("#332288", "-", "ηₘᵢₙ = lr/8"),
    0.25: Look("#117733", (0.0, (6.0, 1.2)), "ηₘᵢₙ = lr/4"),
    0.5: Look("#CC6677", (0.0, (2.0, 1.0)), "ηₘᵢₙ = lr/2, the paper's"),
}


@figure(
    "E2",
    "Is the flat effective β of Fig 4c the grid's end, 1/ηₘᵢₙ, or 2/lr? (VGG)",
    needs("figE2", VGG.family, BOTH, (VGG.lr, 0.03), {"landscape": "all"}, least_eta=0.125),
)
def fig_e2(page: Page) -> None:
    """A panel per net and learning rate: effective beta with each grid, and where each ends.

    The paper's grid begins at lr/2, where 1/eta_min is 2/lr, so that its plot cannot tell.
    """
    norms, lrs = page.selection.norms(VGG.family), page.selection.lrs(VGG.family)
    page.height = 4.2
    grid = page.figure.subplots(len(lrs), len(norms), squeeze=False)
    for row, lr in zip(grid, lrs, strict=True):
        for axes, norm in zip(row, norms, strict=True):
            letter = letters(len(page.panels))
            runs = page.selection.runs(VGG.family, norm, lr, "landscape")
            panel = Panel(axes, True, page.selection.steps(VGG.family))
            axes.set_label(f"{letter}:beta")
            axes.set(ylabel=BETA.label, title=f"({letter}) {short(norm)}, lr {lr:g}")
            for multiple, its_look in _GRIDS.items():
                traces = [beta_from(multiple).trace(run, None) for run in runs]
                panel.add(f"{multiple:g}", its_look, traces)
                end = f"1/ηₘᵢₙ = {1 / multiple:g}/lr" + " = 2/lr" * (multiple == 0.5)
                panel.reference(f"1/eta_min {multiple:g}", 1 / (multiple * lr), end)
            if not panel.ours:
                say(axes, "no runs")
            page.panels.append(panel)
    page.remarks += sentences(page.selection)


def sentences(selection: Selection) -> list[str]:
    """What the runs show, in two sentences made from the numbers."""
    moved, edges = [], []
    for lr in selection.lrs(VGG.family):
        for norm in selection.norms(VGG.family):
            runs = selection.runs(VGG.family, norm, lr, "landscape")
            fine, coarse = (plateau(runs, beta_from(least)) for least in (0.125, 0.5))
            if not math.isnan(fine / coarse):
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
