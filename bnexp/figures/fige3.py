"""Figure E3, ours: the landscape along random directions, which sec. 3.2 speaks of (claim 6)."""

from __future__ import annotations

import math

from matplotlib.figure import Figure

from bnexp.analysis import quantities as q
from bnexp.analysis.scales import BOTH, DLN, EXPERIMENTS, VGG
from bnexp.analysis.select import Selection, needs
from bnexp.analysis.summaries import band_width, median, median_of
from bnexp.figures.sheet import sheet
from bnexp.figures.style import look
from bnexp.registry import FIGURES

TITLE = "Along random directions of the gradient's length, and along the gradient"
_RECIPES = {
    (VGG.family, "random"): "figE3a",
    (VGG.family, "gradient"): "fig4",
    (DLN.family, "random"): "figE3b",
    (DLN.family, "gradient"): "fig10",
}
NEEDS = tuple(
    need
    for (family, along), recipe in _RECIPES.items()
    for need in needs(recipe, family, BOTH, [EXPERIMENTS[family].lr], {"smoothness": "all"}, along)
)


@FIGURES.register("E3", title=TITLE, recipes=tuple(_RECIPES.values()), needs=NEEDS)
def draw(selection: Selection, paper: bool) -> Figure:  # noqa: ARG001  the paper has no such figure
    """A row per net and direction: the bands of loss and gradient change over eta, and beta."""
    rows = [key for key in _RECIPES if key[0] in selection.drawn_families]
    entries = [look(norm) for norm in selection.norms(rows[0][0])]
    page = sheet("E3", TITLE, 1.85 * len(rows), selection, False, entries, sentences(selection))
    grid = page.body.subplots(len(rows), 3, squeeze=False)
    for row, (family, direction) in enumerate(rows):
        for column, quantity in enumerate(
            (q.loss_band(), q.predictiveness_band(True), q.beta(True))
        ):
            axes, letter = grid[row, column], "abcdefghijkl"[3 * row + column]
            title = f"({letter}) {family.upper()}, {direction}"
            panel = page.panel(axes, letter, quantity, family, title=title, direction=direction)
            if column == 2:
                for lr in selection.lrs(family):
                    panel.reference("2/lr", 2 / lr, "2/lr")
            if row == len(rows) - 1:
                axes.set_xlabel("steps")
    return page.finish()


def sentences(selection: Selection) -> list[str]:
    """What the runs show, in two sentences made from the numbers."""
    bands, betas = [], []
    for family, direction in _RECIPES:
        lr = selection.lrs(family)[0]
        values = []
        for norm in BOTH:
            runs = selection.runs(family, norm, lr, "smoothness", direction)
            widths = [band_width(q.loss_band().trace(run, None)) for run in runs]
            levels = [median(q.beta(True).trace(run, None)) for run in runs]
            values.append((median_of(widths), median_of(levels)))
        (none_width, none_beta), (bn_width, bn_beta) = values
        if math.isnan(none_width) or math.isnan(bn_width):
            continue
        kind = f"{family.upper()}, {direction}"
        bands.append(f"{none_width:.2g} and {bn_width:.2g} ({kind})")
        betas.append(f"{none_beta / bn_beta:.2g} ({kind})" if bn_beta else f"- ({kind})")
    if not bands:
        return []
    return [
        "The loss spans over η, in decades without and with BN (medians over steps and seeds): "
        f"{', '.join(bands)}.",
        f"Effective β without BN is that with BN times {', '.join(betas)}.",
    ]
