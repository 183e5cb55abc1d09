"""Fig 12: Figs 5a and 4 for the VGG under the five normalisations."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnexp.analysis.select import Selection
from bnexp.figures.landscape import LandscapeFigure
from bnexp.analysis.quantities import TRAIN_ACCURACY
from bnexp.figures.sheet import sheet
from bnexp.figures.style import look

TITLE = "The landscape of the VGG under other normalisations"
RECIPES = ("fig12",)
_NORMS = ("none", "bn", "l1", "l2", "linf")
_FIGURE = LandscapeFigure("fig12", "vgg", _NORMS, 0.1, ("b", "c", "d"), log=False)
NEEDS = _FIGURE.needs(train="a")


def draw(selection: Selection, paper: bool) -> Figure:
    """Panel a: train accuracy; b, c: bands over eta; d: the max over eta."""
    page = sheet(12, TITLE, 5.2, selection, paper, [look(norm) for norm in _NORMS])
    grid = page.body.add_gridspec(2, 2)
    axes = page.body.add_subplot(grid[0, 0])
    axes.set_xlabel("steps")
    page.panel(axes, "a", TRAIN_ACCURACY, "vgg", _NORMS, [0.1], title="(a)")
    _FIGURE.draw(page, [grid[0, 1], grid[1, 0], grid[1, 1]])
    return page.finish()
