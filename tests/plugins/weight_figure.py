"""The figure ``weights``: how the norms of the weights grow, from the table of one's own probe."""

from bnexp.analysis.select import needs
from bnexp.figures.page import Page, figure

NORMS, LR = ("bn", "gn"), 0.05


@figure("weights", "Weights grow", needs("weights", "perceptron", NORMS, [LR], ["weights"]))
def draw(page: Page) -> None:
    """A line per norm: the norm of layer 1's weight over the steps."""
    axes = page.figure.subplots()
    for norm in page.selection.norms("perceptron"):
        for run in page.selection.runs("perceptron", norm, LR, "weights"):
            table = run.table("weights")
            first = table[table.layer == 1]
            axes.plot(first.step, first.norm, label=norm)
