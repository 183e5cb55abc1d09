"""The figure ``weights``: how the norms of the weights grow, from the table of one's own probe."""

from matplotlib.figure import Figure

from bnexp.analysis.select import Selection, needs
from bnexp.registry import FIGURES

NORMS, LR = ("bn", "gn"), 0.05


@FIGURES.register(
    "weights",
    title="Weights grow",
    recipes=("weights",),
    needs=needs("weights", "perceptron", NORMS, [LR], ["weights"]),
)
def draw(selection: Selection, paper: bool) -> Figure:
    """A line per norm: the norm of layer 1's weight over the steps."""
    figure = Figure()
    axes = figure.subplots()
    for norm in selection.norms("perceptron"):
        for run in selection.runs("perceptron", norm, LR, "weights"):
            table = run.table("weights")
            first = table[table.layer == 1]
            axes.plot(first.step, first.norm, label=norm)
    return figure
