"""Fig 4: the VGG's loss landscape, gradient predictiveness and effective beta-smoothness."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnexp.analysis.select import Selection
from bnexp.figures.landscape import LandscapeFigure
from bnexp.figures.sheet import sheet
from bnexp.figures.style import look

TITLE = "The optimisation landscape of the VGG along the gradient"
RECIPES = ("fig4",)
_NORMS = ("none", "bn")
_FIGURE = LandscapeFigure("fig4", "vgg", _NORMS, 0.1, ("a", "b", "c"), log=False)
NEEDS = _FIGURE.needs()


def draw(selection: Selection, paper: bool) -> Figure:
    """Panels a, b: bands over eta; c: the max over eta."""
    page = sheet(4, TITLE, 2.5, selection, paper, [look(norm) for norm in _NORMS])
    grid = page.body.add_gridspec(1, 3, width_ratios=[1, 1, 1.08])
    _FIGURE.draw(page, [grid[0], grid[1], grid[2]])
    return page.finish()
