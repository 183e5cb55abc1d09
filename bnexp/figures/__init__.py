"""The paper's figures, drawn from run directories beside the paper's own curves, and our own.

One file per figure; each registers itself with the recipes that make its runs, what it needs of
them and the function that draws it::

    @FIGURES.register("myfig", title="..", recipes=("fig4",), needs=needs("fig4", "vgg", ..))
    def draw(selection: Selection, paper: bool) -> matplotlib.figure.Figure: ...

Reads runs through `bnexp.analysis` and nothing else of the package.
"""

from bnexp.analysis.select import Need, Selection, needs, select
from bnexp.figures.draw import (
    FORMATS,
    Choice,
    Drawn,
    Recipe,
    draw_figures,
    drawable,
    figure,
    figure_ids,
    message,
)

__all__ = [
    "FORMATS",
    "Choice",
    "Drawn",
    "Need",
    "Recipe",
    "Selection",
    "draw_figures",
    "drawable",
    "figure",
    "figure_ids",
    "message",
    "needs",
    "select",
]
