"""Fig 5: training of the VGG and the deep linear network under the five normalisations."""

from __future__ import annotations

from matplotlib.figure import Figure

from bnexp.analysis.quantities import TRAIN_ACCURACY, TRAIN_LOSS
from bnexp.analysis.scales import DLN, EXPERIMENTS, LP, VGG
from bnexp.analysis.select import Selection, needs
from bnexp.figures.sheet import sheet
from bnexp.figures.style import look
from bnexp.registry import FIGURES

TITLE = "Training under other normalisations"
NEEDS = needs("fig5a", VGG.family, LP, [VGG.lr], {"train": "a"}) + needs(
    "fig5b", DLN.family, LP, [DLN.lr], {"train": "b"}
)
_PANELS = {VGG.family: ("a", TRAIN_ACCURACY), DLN.family: ("b", TRAIN_LOSS)}


@FIGURES.register("5", title=TITLE, recipes=("fig5a", "fig5b"), needs=NEEDS)
def draw(selection: Selection, paper: bool) -> Figure:
    """Panel a: the VGG's train accuracy; b: the deep linear network's train loss."""
    families = selection.drawn_families
    entries = [look(norm) for norm in selection.norms(families[0])]
    page = sheet("5", TITLE, 2.7, selection, paper, entries)
    row = page.body.subplots(1, len(families), squeeze=False)[0]
    for axes, family in zip(row, families, strict=True):
        letter, quantity = _PANELS[family]
        axes.set_xlabel("steps")
        page.panel(axes, letter, quantity, family, title=f"({letter}) {EXPERIMENTS[family].label}")
    return page.finish()
