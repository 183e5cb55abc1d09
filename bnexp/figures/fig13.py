"""Fig 13: Figs 5b and 10 for the deep linear network under the five normalisations."""

from bnexp.analysis.quantities import TRAIN_LOSS
from bnexp.analysis.scales import DLN, LP
from bnexp.figures.landscape import landscape_figure

TITLE = "The landscape of the deep linear network under other normalisations"
landscape_figure("13", TITLE, "fig5b", DLN, LP, "bcd", TRAIN_LOSS)
