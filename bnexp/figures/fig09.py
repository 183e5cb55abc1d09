"""Fig 9: the distributions of three layers of the deep linear network, without and with BN."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnexp.analysis.scales import BOTH, DLN
from bnexp.analysis.select import Selection, needs
from bnexp.figures.ridges import REMARK, draw_grid
from bnexp.figures.sheet import sheet
from bnexp.registry import FIGURES

TITLE = "Distributions in the deep linear network"
NEEDS = needs("fig10", DLN.family, BOTH, [DLN.lr], {"activations": "layers 1, 11, 24"})


@FIGURES.register("9", title=TITLE, recipes=("fig10",), needs=NEEDS)
def draw(selection: Selection, paper: bool) -> Figure:  # noqa: ARG001 - an image in the paper
    """Ridges, a row per net and a column per layer."""
    page = sheet("9", TITLE, 4.2, selection, False, [], [REMARK], one_seed=True)
    grid = page.body.add_gridspec(len(selection.norms(DLN.family)), len(DLN.unit_layers))
    draw_grid(page, grid, 0, "", DLN.family, DLN.unit_layers)
    return page.finish()
