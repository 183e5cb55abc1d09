"""Fig 4: the VGG's loss landscape, gradient predictiveness and effective beta-smoothness."""

from bnexp.analysis.scales import BOTH, VGG
from bnexp.figures.landscape import landscape_figure

TITLE = "The optimisation landscape of the VGG along the gradient"
landscape_figure("4", TITLE, "fig4", VGG, BOTH, "abc")
