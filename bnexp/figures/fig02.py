"""Fig 2: noisy BN trains as well as BN, with distributions that are less stable than without."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnexp.analysis.select import Selection, needs
from bnexp.analysis.quantities import TRAIN_ACCURACY
from bnexp.figures.ridges import REMARK, draw_grid
from bnexp.figures.sheet import sheet
from bnexp.figures.style import look

TITLE = "BN with noise that makes the distributions shift"
RECIPES = ("fig2",)
_NORMS = ("none", "bn", "noisy_bn")
_LAYERS = (2, 9, 13)
NEEDS = needs("fig2", "vgg", _NORMS, [0.1], {"train": "left", "activations": "right"})


def draw(selection: Selection, paper: bool) -> Figure:
    """Left: train accuracy; right: ridgelines, a row per net and a column per layer."""
    entries = [look(norm) for norm in _NORMS]
    page = sheet(2, TITLE, 4.5, selection, paper, entries, [REMARK])
    grid = page.body.add_gridspec(3, 4, width_ratios=[1.55, 1, 1, 1])
    left = page.body.add_subplot(grid[:, 0])
    left.set_xlabel("steps")
    page.panel(left, "left", TRAIN_ACCURACY, "vgg", _NORMS, [0.1], title="Training")
    draw_grid(page, grid, 1, "", "vgg", _NORMS, 0.1, _LAYERS)
    return page.finish()
