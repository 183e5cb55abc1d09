"""Fig 6: the distributions of the VGG's layer 11 under the five normalisations."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnexp.analysis.select import Selection, needs
from bnexp.figures.ridges import REMARK, draw_layer, pasts_of
from bnexp.figures.sheet import sheet
from bnexp.figures.style import look, short

TITLE = "Distributions of layer 11 of the VGG under other normalisations"
RECIPES = ("fig6",)
_NORMS = ("none", "bn", "l1", "l2", "linf")
NEEDS = needs("fig6", "vgg", _NORMS, [0.1], {"activations": "layer 11"})


def draw(selection: Selection, paper: bool) -> Figure:  # noqa: ARG001 - an image in the paper
    """One panel of ridges per normalisation, all with the same x range."""
    page = sheet(6, TITLE, 2.9, selection, False, [], [REMARK], one_seed=True)
    row = list(page.body.subplots(1, len(_NORMS)))
    draw_layer(row, pasts_of(page, "vgg", _NORMS, 0.1, [11]), "", 11)
    for axes, norm in zip(row, _NORMS, strict=True):
        axes.set_title(short(norm), color=look(norm).colour, loc="left")
        axes.tick_params(labelleft=axes is row[0])
    page.remark_scale(row[-1], "vgg")
    row[0].set_ylabel("step")
    row[len(row) // 2].set_xlabel("activation")
    return page.finish()
