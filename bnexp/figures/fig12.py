"""Fig 12: Figs 5a and 4 for the VGG under the five normalisations."""

from bnexp.analysis.quantities import TRAIN_ACCURACY
from bnexp.analysis.scales import LP, VGG
from bnexp.figures.landscape import landscape_figure

TITLE = "The landscape of the VGG under other normalisations"
landscape_figure("12", TITLE, "fig5a", VGG, LP, "bcd", TRAIN_ACCURACY)
