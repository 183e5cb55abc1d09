"""Figure E3, ours: the landscape along random directions, which sec. 3.2 speaks of (claim 6)."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure

from bnexp.analysis import quantities as q
from bnexp.analysis.select import Selection, needs
from bnexp.figures.sheet import sheet
from bnexp.figures.style import look
from bnexp.analysis.summaries import middle, width

TITLE = "Along random directions of the gradient's length, and along the gradient"
RECIPES = ("figE3a", "figE3b", "fig4", "fig10")
_NORMS = ("none", "bn")
_RATES = {"vgg": 0.1, "dln": 1e-6}
_ROWS = tuple((family, direction) for family in _RATES for direction in ("random", "gradient"))
_RECIPE = {
    ("vgg", "random"): "figE3a",
    ("dln", "random"): "figE3b",
    ("vgg", "gradient"): "fig4",
    ("dln", "gradient"): "fig10",
}
NEEDS = tuple(
    need
    for family, direction in _ROWS
    for need in needs(
        _RECIPE[family, direction],
        family,
        _NORMS,
        [_RATES[family]],
        {"smoothness": "all"},
        direction,
    )
)


def draw(selection: Selection, paper: bool) -> Figure:  # noqa: ARG001  the paper has no such figure
    """A row per net and direction: the bands of loss and gradient change over eta, and beta."""
    page = sheet(
        "E3", TITLE, 7.4, selection, False, [look(norm) for norm in _NORMS], sentences(selection)
    )
    grid = page.body.subplots(len(_ROWS), 3, squeeze=False)
    for row, (family, direction) in enumerate(_ROWS):
        lr = _RATES[family]
        for column, quantity in enumerate(
            (q.loss_band(), q.predictiveness_band(True), q.beta(True))
        ):
            axes, letter = grid[row, column], "abcdefghijkl"[3 * row + column]
            title = f"({letter}) {family.upper()}, {direction}"
            panel = page.panel(
                axes, letter, quantity, family, _NORMS, [lr], title=title, direction=direction
            )
            if quantity.name == "beta_smoothness":
                panel.reference("2/lr", 2 / lr, "2/lr")
            if row == len(_ROWS) - 1:
                axes.set_xlabel("steps")
    return page.finish()


def sentences(selection: Selection) -> list[str]:
    """What was found, in two sentences made from the numbers."""
    bands, betas = [], []
    for family, direction in _ROWS:
        found = {}
        for norm in _NORMS:
            runs = selection.runs(family, norm, _RATES[family], "smoothness", direction)
            found[norm] = (
                _median([width(q.loss_band().trace(run, None)) for run in runs]),
                _median([middle(q.beta(True).trace(run, None)) for run in runs]),
            )
        (none_width, none_beta), (bn_width, bn_beta) = found["none"], found["bn"]
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


def _median(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.median(known)) if known else math.nan
