"""Fig 1: train and test accuracy with and without BN, and the distributions of two layers."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnexp.analysis.select import Selection, needs
from bnexp.analysis.quantities import TEST_ACCURACY, TRAIN_ACCURACY
from bnexp.figures.ridges import REMARK, draw_grid
from bnexp.figures.sheet import sheet
from bnexp.figures.style import Look, look

TITLE = "What batch normalisation does to training the VGG"
RECIPES = ("fig1",)
_NORMS = ("none", "bn")
_LRS = (0.1, 0.5)
_LAYERS = (3, 11)
NEEDS = needs("fig1", "vgg", _NORMS, _LRS, {"train": "a", "eval": "b"}) + needs(
    "fig1", "vgg", _NORMS, _LRS[:1], {"activations": "c"}
)


def draw(selection: Selection, paper: bool) -> Figure:
    """Panels a, b: accuracies at two learning rates; c: ridgelines of layers 3 and 11."""
    entries = [_named(norm, lr) for lr in _LRS for norm in _NORMS]
    page = sheet(1, TITLE, 4.1, selection, paper, entries, [REMARK])
    grid = page.body.add_gridspec(2, 3, width_ratios=[1.5, 1, 1])
    train, test = page.body.add_subplot(grid[0, 0]), page.body.add_subplot(grid[1, 0])
    test.set_xlabel("steps")
    kind = "vgg", _NORMS, _LRS
    page.panel(train, "a", TRAIN_ACCURACY, *kind, title="(a) training")
    page.panel(test, "b", TEST_ACCURACY, *kind, title="(b) test")
    draw_grid(page, grid, 1, "c", "vgg", _NORMS, 0.1, _LAYERS)
    return page.finish()


def _named(norm: str, lr: float) -> Look:
    base = look(norm, faded=lr != _LRS[0])
    return Look(base.colour, base.dash, f"{base.label}, LR={lr:g}")
