"""Fig 5: training of the VGG and the deep linear network under the five normalisations."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnexp.analysis.select import Selection, needs
from bnexp.analysis.quantities import TRAIN_ACCURACY, TRAIN_LOSS
from bnexp.figures.sheet import sheet
from bnexp.figures.style import look

TITLE = "Training under other normalisations"
RECIPES = ("fig5a", "fig5b")
_NORMS = ("none", "bn", "l1", "l2", "linf")
NEEDS = needs("fig5a", "vgg", _NORMS, [0.1], {"train": "a"}) + needs(
    "fig5b", "dln", _NORMS, [1e-6], {"train": "b"}
)


def draw(selection: Selection, paper: bool) -> Figure:
    """Panel a: the VGG's train accuracy; b: the deep linear network's train loss."""
    page = sheet(5, TITLE, 2.7, selection, paper, [look(norm) for norm in _NORMS])
    left, right = page.body.subplots(1, 2)
    left.set_xlabel("steps")
    right.set_xlabel("steps")
    page.panel(left, "a", TRAIN_ACCURACY, "vgg", _NORMS, [0.1], title="(a) VGG")
    page.panel(right, "b", TRAIN_LOSS, "dln", _NORMS, [1e-6], title="(b) deep linear network")
    return page.finish()
