"""The paper's figures, drawn from run directories beside the paper's own curves.

One file per figure (`fig01.py` ..), each with the recipes that make its runs (`RECIPES`), what it
needs of them (`NEEDS`), and `draw`. Reads runs and nothing else of the package.
"""

from bnexp.analysis.select import Need, Selection, select
from bnexp.figures.draw import (
    FIGURES,
    FORMATS,
    PAPER,
    Drawn,
    Recipe,
    check_ids,
    draw_figures,
    missing_message,
)

__all__ = [
    "FIGURES",
    "FORMATS",
    "PAPER",
    "Drawn",
    "Need",
    "Recipe",
    "Selection",
    "check_ids",
    "draw_figures",
    "missing_message",
    "select",
]
