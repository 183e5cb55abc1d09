"""Fig 1: train and test accuracy with and without BN, and the distributions of two layers."""

from __future__ import annotations

from dataclasses import replace

from matplotlib.figure import Figure

from bnexp.analysis.quantities import TEST_ACCURACY, TRAIN_ACCURACY
from bnexp.analysis.scales import BOTH, VGG
from bnexp.analysis.select import Selection, needs
from bnexp.figures.ridges import REMARK, draw_grid
from bnexp.figures.sheet import sheet
from bnexp.figures.style import look
from bnexp.registry import FIGURES

TITLE = "What batch normalisation does to training the VGG"
_LAYERS = (3, 11)
NEEDS = needs("fig1", VGG.family, BOTH, (VGG.lr, 0.5), {"train": "a", "eval": "b"}) + needs(
    "fig1", VGG.family, BOTH, [VGG.lr], {"activations": "c"}
)


@FIGURES.register("1", title=TITLE, recipes=("fig1",), needs=NEEDS)
def draw(selection: Selection, paper: bool) -> Figure:
    """Panels a, b: accuracies at two learning rates; c: ridgelines of layers 3 and 11."""
    norms, lrs = selection.norms(VGG.family), selection.lrs(VGG.family)
    entries = [
        replace(its := look(norm, faded=bool(rank)), label=f"{its.label}, LR={lr:g}")
        for rank, lr in enumerate(lrs)
        for norm in norms
    ]
    page = sheet("1", TITLE, 2.05 * max(2, len(norms)), selection, paper, entries, [REMARK])
    grid = page.body.add_gridspec(len(norms), 3, width_ratios=[1.5, 1, 1])
    train, test = page.body.add_subplot(grid[0, 0]), page.body.add_subplot(grid[1:, 0])
    test.set_xlabel("steps")
    page.panel(train, "a", TRAIN_ACCURACY, VGG.family, title="(a) training")
    page.panel(test, "b", TEST_ACCURACY, VGG.family, title="(b) test")
    draw_grid(page, grid, 1, "c", VGG.family, _LAYERS)
    return page.finish()
