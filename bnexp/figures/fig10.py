"""Fig 10: Fig 4 for the deep linear network."""

from bnexp.analysis.scales import BOTH, DLN
from bnexp.figures.landscape import landscape_figure

TITLE = "The optimisation landscape of the deep linear network along the gradient"
landscape_figure("10", TITLE, "fig10", DLN, BOTH, "abc")
