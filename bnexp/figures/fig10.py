"""Fig 10: Fig 4 for the deep linear network."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnexp.analysis.select import Selection
from bnexp.figures.landscape import LandscapeFigure
from bnexp.figures.sheet import sheet
from bnexp.figures.style import look

TITLE = "The optimisation landscape of the deep linear network along the gradient"
RECIPES = ("fig10",)
_NORMS = ("none", "bn")
_FIGURE = LandscapeFigure("fig10", "dln", _NORMS, 1e-6, ("a", "b", "c"), log=True)
NEEDS = _FIGURE.needs()


def draw(selection: Selection, paper: bool) -> Figure:
    """Panels a, b: bands over eta; c: the max over eta."""
    page = sheet(10, TITLE, 2.5, selection, paper, [look(norm) for norm in _NORMS])
    grid = page.body.add_gridspec(1, 3, width_ratios=[1, 1, 1.08])
    _FIGURE.draw(page, [grid[0], grid[1], grid[2]])
    return page.finish()
