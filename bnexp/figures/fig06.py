"""Fig 6: the distributions of the VGG's layer 11 under the five normalisations."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnexp.analysis.scales import LP, VGG
from bnexp.analysis.select import Selection, needs
from bnexp.figures.ridges import REMARK, draw_layer, pasts_of
from bnexp.figures.sheet import sheet
from bnexp.figures.style import look, short
from bnexp.registry import FIGURES

TITLE = "Distributions of layer 11 of the VGG under other normalisations"
_LAYER = 11
NEEDS = needs("fig5a", VGG.family, LP, [VGG.lr], {"activations": "layer 11"})


@FIGURES.register("6", title=TITLE, recipes=("fig5a",), needs=NEEDS)
def draw(selection: Selection, paper: bool) -> Figure:  # noqa: ARG001 - an image in the paper
    """One panel of ridges per normalisation, all with the same x range."""
    norms = selection.norms(VGG.family)
    page = sheet("6", TITLE, 2.9, selection, False, [], [REMARK], one_seed=True)
    row = list(page.body.subplots(1, len(norms), squeeze=False)[0])
    draw_layer(row, pasts_of(page, VGG.family, [_LAYER]), "", _LAYER)
    for axes, norm in zip(row, norms, strict=True):
        axes.set_title(short(norm), color=look(norm).colour, loc="left")
        axes.tick_params(labelleft=axes is row[0])
    page.remark_scale(row[-1], VGG.family)
    row[0].set_ylabel("step")
    row[len(row) // 2].set_xlabel("activation")
    return page.finish()
