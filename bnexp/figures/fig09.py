"""Fig 9: the distributions of three layers of the deep linear network, without and with BN."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnexp.analysis.select import Selection, needs
from bnexp.figures.ridges import REMARK, draw_grid
from bnexp.figures.sheet import sheet

TITLE = "Distributions in the deep linear network"
RECIPES = ("fig9",)
_NORMS = ("none", "bn")
_LAYERS = (1, 11, 24)
NEEDS = needs("fig9", "dln", _NORMS, [1e-6], {"activations": "layers 1, 11, 24"})


def draw(selection: Selection, paper: bool) -> Figure:  # noqa: ARG001 - an image in the paper
    """Ridges, a row per net and a column per layer."""
    page = sheet(9, TITLE, 4.2, selection, False, [], [REMARK], one_seed=True)
    grid = page.body.add_gridspec(2, len(_LAYERS))
    draw_grid(page, grid, 0, "", "dln", _NORMS, 1e-6, _LAYERS)
    return page.finish()
