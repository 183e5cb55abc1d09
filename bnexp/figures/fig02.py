"""Fig 2: noisy BN trains as well as BN, with distributions that are less stable than without."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnexp.analysis.quantities import TRAIN_ACCURACY
from bnexp.analysis.scales import NOISY, VGG
from bnexp.analysis.select import Selection, needs
from bnexp.figures.ridges import REMARK, draw_grid
from bnexp.figures.sheet import sheet
from bnexp.figures.style import look
from bnexp.registry import FIGURES

TITLE = "BN with noise that makes the distributions shift"
NEEDS = needs("fig2", VGG.family, NOISY, [VGG.lr], {"train": "left", "activations": "right"})


@FIGURES.register("2", title=TITLE, recipes=("fig2",), needs=NEEDS)
def draw(selection: Selection, paper: bool) -> Figure:
    """Left: train accuracy; right: ridgelines, a row per net and a column per layer."""
    norms = selection.norms(VGG.family)
    page = sheet("2", TITLE, 4.5, selection, paper, [look(norm) for norm in norms], [REMARK])
    grid = page.body.add_gridspec(len(norms), 4, width_ratios=[1.55, 1, 1, 1])
    left = page.body.add_subplot(grid[:, 0])
    left.set_xlabel("steps")
    page.panel(left, "left", TRAIN_ACCURACY, VGG.family, title="Training")
    draw_grid(page, grid, 1, "", VGG.family, VGG.unit_layers)
    return page.finish()
